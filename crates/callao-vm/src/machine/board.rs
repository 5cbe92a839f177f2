//! Where the supervisor writes down how its machine is, for everybody else to read. Must not know why anything changes.

use std::path::PathBuf;

use crate::error::Error;
use crate::files;
use crate::instance::Instance;
use crate::process_id::ProcessId;
use crate::state::{Phase, State};

/// What is written down.
#[derive(Debug)]
pub(super) struct Board {
    path: PathBuf,
    log: PathBuf,
    state: State,
}

impl Board {
    /// The machine is being started, by this process. What was known of QEMU is kept: it may still run.
    ///
    /// # Errors
    /// [`Error::Io`]: what cannot be written down cannot be looked after.
    pub(super) fn begin(instance: &Instance) -> Result<Self, Error> {
        let path = instance.places().state();
        // A state that cannot be read is replaced; QEMU's own file of its process says whether it runs.
        let before = State::read(&path).ok().flatten().unwrap_or_default();
        let state = State {
            phase: Phase::Starting,
            supervisor: ProcessId::own(),
            qemu: before.qemu,
            ssh_port: before.ssh_port,
            accelerator: before.accelerator,
            ..State::default()
        };
        state.write(&path)?;
        Ok(Board {
            path,
            log: instance.places().supervisor_log(),
            state,
        })
    }

    /// What is written down now.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Changes it. A disk that is full must not end the machine: the next change is written again as a whole.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut State)) {
        let before = self.state.clone();
        change(&mut self.state);
        if before == self.state {
            return;
        }
        let _ = self.state.write(&self.path);
        if before.phase != self.state.phase || before.doing != self.state.doing {
            self.log(&format!(
                "{}: {}",
                self.state.phase.name(),
                self.state.doing
            ));
        }
        if before.error != self.state.error
            && let Some(failure) = &self.state.error
        {
            self.log(&format!(
                "{}\n{}",
                failure.message,
                failure.details.join("\n")
            ));
        }
    }

    /// Adds a line to the supervisor's log. A log that cannot be written is no reason to end a machine.
    pub(super) fn log(&self, text: &str) {
        let _ = files::append_line(&self.log, text);
    }

    /// What is being done, in a few words.
    pub(super) fn doing(&mut self, doing: &str) {
        self.change(|state| state.doing = doing.into());
    }

    /// Something that is not as it should be and hinders nothing.
    pub(super) fn notice(&mut self, notice: impl Into<String>) {
        let notice = notice.into();
        self.log(&notice);
        self.change(|state| {
            if !state.notices.contains(&notice)
                && state.notices.len() < crate::limits::NOTICES_COUNT_MAX
            {
                state.notices.push(notice);
            }
        });
    }
}
