//! How an instance really is: what was written down, against what is alive. Pure.

use std::fmt;

use crate::state::{Phase, State};

/// How an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was never started.
    Created,
    /// It is being started.
    Starting,
    /// It runs.
    Running,
    /// It is being stopped.
    Stopping,
    /// It does not run.
    Stopped,
    /// Something is wrong: see the reason.
    Broken,
}

impl Status {
    /// As limactl writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Status::Created => "Created",
            Status::Starting => "Starting",
            Status::Running => "Running",
            Status::Stopping => "Stopping",
            Status::Stopped => "Stopped",
            Status::Broken => "Broken",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which of the two processes of an instance are alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alive {
    /// Who looks after it.
    pub supervisor: bool,
    /// QEMU.
    pub qemu: bool,
}

/// How an instance is, and why, if that needs a reason.
#[must_use]
pub fn judge(written: Option<&State>, alive: Alive) -> (Status, Option<String>) {
    let Some(state) = written else {
        return (Status::Created, None);
    };
    let failure = || state.error.as_ref().map(|failure| failure.message.clone());
    if alive.supervisor {
        return match state.phase {
            Phase::Starting => (Status::Starting, failure()),
            Phase::Running if alive.qemu => (Status::Running, failure()),
            // It is about to say so itself.
            Phase::Running | Phase::Stopping => (Status::Stopping, None),
            Phase::Stopped => (Status::Stopped, failure()),
            Phase::Broken => (Status::Broken, failure()),
        };
    }
    if alive.qemu {
        let why = "QEMU runs, but nobody looks after it: its supervisor was killed";
        return (Status::Broken, Some(why.into()));
    }
    match state.phase {
        Phase::Starting => (
            Status::Stopped,
            Some("its last start did not come to an end".into()),
        ),
        Phase::Running => (
            Status::Stopped,
            Some("it was not stopped: QEMU and its supervisor were killed, or this computer went down".into()),
        ),
        Phase::Stopping | Phase::Stopped => (Status::Stopped, failure()),
        Phase::Broken => (Status::Broken, failure()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Alive = Alive {
        supervisor: false,
        qemu: false,
    };
    const BOTH: Alive = Alive {
        supervisor: true,
        qemu: true,
    };
    const QEMU: Alive = Alive {
        supervisor: false,
        qemu: true,
    };
    const SUPERVISOR: Alive = Alive {
        supervisor: true,
        qemu: false,
    };

    #[test]
    fn what_is_alive_counts_more_than_what_was_written() {
        use Phase::{Broken, Running, Starting, Stopped, Stopping};
        let table = [
            (Starting, BOTH, Status::Starting),
            (Starting, SUPERVISOR, Status::Starting),
            (Starting, QEMU, Status::Broken),
            (Starting, NONE, Status::Stopped),
            (Running, BOTH, Status::Running),
            (Running, SUPERVISOR, Status::Stopping),
            (Running, QEMU, Status::Broken),
            (Running, NONE, Status::Stopped),
            (Stopping, BOTH, Status::Stopping),
            (Stopping, SUPERVISOR, Status::Stopping),
            (Stopping, QEMU, Status::Broken),
            (Stopping, NONE, Status::Stopped),
            (Stopped, SUPERVISOR, Status::Stopped),
            (Stopped, QEMU, Status::Broken),
            (Stopped, NONE, Status::Stopped),
            (Broken, SUPERVISOR, Status::Broken),
            (Broken, QEMU, Status::Broken),
            (Broken, NONE, Status::Broken),
        ];
        for (phase, alive, status) in table {
            let state = State {
                phase,
                ..State::default()
            };
            assert_eq!(judge(Some(&state), alive).0, status, "{phase:?} {alive:?}");
        }
        assert_eq!(judge(None, NONE), (Status::Created, None));
    }

    #[test]
    fn a_crash_is_told() {
        let state = State {
            phase: Phase::Running,
            ..State::default()
        };
        assert_eq!(
            judge(Some(&state), NONE).1.as_deref(),
            Some(
                "it was not stopped: QEMU and its supervisor were killed, or this computer went down"
            )
        );
        assert_eq!(
            judge(Some(&state), QEMU).1.as_deref(),
            Some("QEMU runs, but nobody looks after it: its supervisor was killed")
        );
    }
}
