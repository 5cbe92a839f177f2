//! A child process that ends with its owner.
//!
//! Ends it by its process id: politely first, and by force when it does not listen.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);
/// Pause between two looks at a process.
const LOOK: Duration = Duration::from_millis(5);

/// A running child; SIGTERM, then SIGKILL, when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command`.
    ///
    /// # Errors
    /// What the operating system reports.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        Ok(Self {
            child: command.spawn()?,
        })
    }

    /// The child itself.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends it; returns when it is gone.
    pub fn stop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        // An error means that it ended just now.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let since = Instant::now();
        while self.ended().is_none() {
            if since.elapsed() > GRACE {
                self.kill();
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Asks `ready` until it gives something, or the process ends, or `limit` has passed.
pub(crate) fn until<T>(
    process: &mut Process,
    limit: Duration,
    mut ready: impl FnMut() -> Option<T>,
) -> Option<T> {
    let since = Instant::now();
    loop {
        if let Some(value) = ready() {
            return Some(value);
        }
        if process.ended().is_some() || since.elapsed() > limit {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}
