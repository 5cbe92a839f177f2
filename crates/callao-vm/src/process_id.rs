//! Which process is meant: a number that the system gives again, and when it was started, so that it is not taken for another.
//!
//! It must not know what the process is. Zombies count as dead: they do nothing any more.

use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::{files, limits};

/// A process of this computer since it was booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// When it was started, in clock ticks since boot (`/proc/PID/stat`, field 22; see proc(5)).
    pub start_ticks: u64,
}

/// What a process is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

impl ProcessId {
    /// The process that has this number now; none if there is none, or only a zombie.
    #[must_use]
    pub fn of_pid(pid: u32) -> Option<Self> {
        let path = format!("/proc/{pid}/stat");
        let stat = files::read_text(Path::new(&path), limits::SMALL_TEXT_BYTES_MAX).ok()?;
        let (state, start_ticks) = state_and_start(&stat)?;
        // Z is a zombie, X and x are dead.
        (!matches!(state, 'Z' | 'X' | 'x')).then_some(Self { pid, start_ticks })
    }

    /// This process.
    #[must_use]
    pub fn own() -> Option<Self> {
        Self::of_pid(std::process::id())
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of_pid(self.pid) == Some(self)
    }

    /// Sends it a signal; false if it had ended already. Another process that got its number meanwhile is not touched.
    ///
    /// # Errors
    /// It is somebody else's.
    pub fn signal(self, ask: Ask) -> std::io::Result<bool> {
        let signal = match ask {
            Ask::Terminate => Signal::TERM,
            Ask::Kill => Signal::KILL,
        };
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Ok(false);
        };
        // First the handle and then the look: what the handle means cannot change any more.
        let sent = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(_) | Err(rustix::io::Errno::SRCH) if !self.is_alive() => return Ok(false),
            Ok(handle) => pidfd_send_signal(handle, signal),
            // Kernels before 5.3, and sandboxes: between the look and the signal is a moment.
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) if self.is_alive() => {
                rustix::process::kill_process(pid, signal)
            }
            Err(_) if !self.is_alive() => return Ok(false),
            Err(error) => Err(error),
        };
        match sent {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The number in a pid file; none if there is no file or no number in it.
#[must_use]
pub fn read_pidfile(path: &Path) -> Option<u32> {
    let text = files::read_text(path, limits::SMALL_TEXT_BYTES_MAX).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

/// State and start (fields 3 and 22) of a `/proc/PID/stat`. The second field is a name in parentheses that may contain
/// blanks and parentheses itself, so the last one counts.
fn state_and_start(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write pid files")]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn names_with_blanks_and_parentheses_are_passed_over() {
        let rest = "S 1 2 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 2";
        for name in ["qemu", "a b", "a) R 1 (b", "((", ")", "x) Z 1 2 3"] {
            let stat = format!("42 ({name}) {rest}");
            assert_eq!(state_and_start(&stat), Some(('S', 98765)), "{name}");
        }
        for broken in [
            "",
            "42",
            "42 (x)",
            "42 (x) S 1 2",
            "42 (x) S 1 2 3 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 x",
        ] {
            assert_eq!(state_and_start(broken), None, "{broken}");
        }
    }

    #[test]
    fn this_process_is_alive_and_no_other_start_is() {
        let own = ProcessId::own().expect("we run");
        assert!(own.is_alive());
        let before = ProcessId {
            start_ticks: own.start_ticks - 1,
            ..own
        };
        assert!(!before.is_alive());
        // It would end this test.
        assert!(!before.signal(Ask::Kill).expect("nothing happens"));
        let text = serde_json::to_string(&own).expect("it is written");
        assert_eq!(
            text,
            format!("{{\"pid\":{},\"startTicks\":{}}}", own.pid, own.start_ticks)
        );
        assert_eq!(
            serde_json::from_str::<ProcessId>(&text).expect("it is read"),
            own
        );
    }

    #[test]
    fn a_process_is_ended_and_a_zombie_is_dead() {
        for ask in [Ask::Terminate, Ask::Kill] {
            let mut child = Command::new("/bin/sleep")
                .arg("600")
                .stdin(Stdio::null())
                .spawn()
                .expect("it starts");
            let id = ProcessId::of_pid(child.id()).expect("it runs");
            assert!(id.signal(ask).expect("it is ours"));
            // Without waiting for it, it stays as a zombie.
            while id.is_alive() {
                std::thread::yield_now();
            }
            assert!(!id.signal(ask).expect("a zombie is dead"));
            child.wait().expect("it ended");
            assert_eq!(ProcessId::of_pid(child.id()), None);
            assert!(!id.signal(ask).expect("it is gone"));
        }
    }

    #[test]
    fn pid_files_hold_a_number_or_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("pid");
        assert_eq!(read_pidfile(&file), None);
        for (text, expected) in [
            ("123\n", Some(123)),
            ("", None),
            ("0", None),
            ("-1", None),
            ("x", None),
        ] {
            std::fs::write(&file, text).expect("written");
            assert_eq!(read_pidfile(&file), expected, "{text}");
        }
    }
}
