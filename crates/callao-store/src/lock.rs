//! Waiting for a lock that another process holds, so that the caller can say so and can give up.
//! Must not know what is being locked.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::limits;

/// What is being waited for. Handed to the caller before each pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    /// The locked file or directory.
    pub path: PathBuf,
    /// How long it has been waited for.
    pub since: Duration,
}

/// The caller's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitChoice {
    /// Try again in a moment.
    KeepWaiting,
    /// End with [`Error::Locked`].
    GiveUp,
}

/// What the callers of this crate hand in. Lima holds its lock for a whole download, so there is no time limit here.
pub type Wait<'a> = &'a mut dyn FnMut(Waited) -> WaitChoice;

/// Gives up at once.
pub fn do_not_wait(_: Waited) -> WaitChoice {
    WaitChoice::GiveUp
}

/// What a lock is tried for; `None` means busy.
pub(crate) fn acquire<T>(
    path: &Path,
    wait: Wait<'_>,
    mut attempt: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let begun = Instant::now();
    loop {
        if let Some(held) = attempt()? {
            return Ok(held);
        }
        let waited = Waited {
            path: path.to_owned(),
            since: begun.elapsed(),
        };
        if wait(waited) == WaitChoice::GiveUp {
            return Err(Error::Locked {
                path: path.to_owned(),
            });
        }
        thread::sleep(Duration::from_millis(limits::LOCK_POLL_MS));
    }
}
