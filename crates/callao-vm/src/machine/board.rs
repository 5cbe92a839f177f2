//! Where the supervisor writes down how its machine is, for everybody else to read. Must not know why anything changes.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::error::Error;
use crate::instance::Instance;
use crate::process_id::ProcessId;
use crate::state::{Phase, State};
use crate::{files, limits};

/// What is written down.
#[derive(Debug)]
pub(super) struct Board {
    path: PathBuf,
    reserve: PathBuf,
    log: PathBuf,
    state: Mutex<State>,
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
        let board = Board {
            path,
            reserve: instance.places().state_reserve(),
            log: instance.places().supervisor_log(),
            state: Mutex::new(state),
        };
        board.keep_room();
        Ok(board)
    }

    /// What is written down now.
    pub(super) fn state(&self) -> State {
        // Whoever panicked with it ended the supervisor.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clone()
    }

    /// Room for the moment when the disk is full. There may be none to keep.
    fn keep_room(&self) {
        let _ = files::reserve(&self.reserve, limits::STATE_RESERVE_BYTES);
    }

    /// Changes it. A disk that is full must not end the machine, and shall be told nevertheless: some room was kept for
    /// that. The next change is written again as a whole.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.clone();
        change(&mut state);
        if before == *state {
            return;
        }
        if state.write(&self.path).is_err() && files::remove(&self.reserve).is_ok() {
            let _ = state.write(&self.path);
        }
        if before.phase != state.phase || before.doing != state.doing {
            self.log(&format!("{}: {}", state.phase.name(), state.doing));
        }
        if before.error != state.error
            && let Some(failure) = &state.error
        {
            self.log(&format!(
                "{}\n{}",
                failure.message,
                failure.details.join("\n")
            ));
        }
        if state.error.is_none() {
            self.keep_room();
        }
    }

    /// Adds a line to the supervisor's log. A log that cannot be written is no reason to end a machine.
    pub(super) fn log(&self, text: &str) {
        let _ = files::append_line(&self.log, text);
    }

    /// What is being done, in a few words.
    pub(super) fn doing(&self, doing: &str) {
        self.change(|state| state.doing = doing.into());
    }

    /// Something that is not as it should be and hinders nothing.
    pub(super) fn notice(&self, notice: impl Into<String>) {
        let notice = notice.into();
        self.log(&notice);
        self.change(|state| {
            if !state.notices.contains(&notice) && state.notices.len() < limits::NOTICES_COUNT_MAX {
                state.notices.push(notice);
            }
        });
    }
}
