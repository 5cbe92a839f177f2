//! `daemon.json` in the state directory: where the running daemon is, for other callaos of the same user. It is locked as
//! long as the daemon lives, so a file that a crash left behind says nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::{self, Host, LockedFile};

/// The version of the file.
const VERSION: u32 = 1;
const FILE_BYTES_MAX: u64 = 64 << 10;
/// How often something that is not what is expected is looked at again: it is being written at this very moment, or
/// somebody looks whether it is locked.
const LOOKS_COUNT: u32 = 20;
/// How often the place is tried for.
const TAKES_COUNT: u32 = 5;
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Where a running daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    v: u32,
    /// Its process.
    pub(crate) pid: u32,
    /// `http://127.0.0.1:PORT`
    pub(crate) gateway: String,
    /// `None` if it was built without peers.
    pub(crate) peer_id: Option<String>,
    /// Multiaddrs that end in `/p2p/ID`.
    pub(crate) addresses: Vec<String>,
    /// What a callao of the same user proves itself by.
    pub(crate) token: String,
    /// `http://ADDRESS:PORT`, where the local network gets what it serves; `None`: nowhere.
    #[serde(default)]
    pub(crate) lan: Option<String>,
    /// The cache that it serves.
    #[serde(default)]
    pub(crate) cache_dir: PathBuf,
}

impl Running {
    /// This process, which serves `cache_dir`.
    pub(crate) fn new(gateway: String, token: String, cache_dir: PathBuf) -> Self {
        Running {
            v: VERSION,
            pid: std::process::id(),
            gateway,
            peer_id: None,
            addresses: Vec::new(),
            token,
            lan: None,
            cache_dir,
        }
    }
}

/// The running daemon of this user, if there is one.
///
/// # Errors
/// Disk: the file is there and cannot be read. Unexpected: it is not what this callao writes.
pub(crate) fn running(host: &Host) -> Result<Option<Running>, CommandError> {
    let Ok(dir) = host.state_dir() else {
        return Ok(None);
    };
    let path = file(&dir);
    for look in 0..LOOKS_COUNT {
        if look > 0 {
            std::thread::sleep(LOOK_PAUSE);
        }
        let bytes = host::read_locked(&path, FILE_BYTES_MAX)
            .map_err(|error| CommandError::io("read", &path, &error))?;
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        // It starts, or ends, or writes.
        if let Ok(running) = serde_json::from_slice::<Running>(&bytes) {
            return Ok((running.v == VERSION).then_some(running));
        }
    }
    Ok(None)
}

/// The place of the only daemon of this user.
#[derive(Debug)]
pub(super) struct Place {
    file: LockedFile,
    path: PathBuf,
}

impl Place {
    /// Takes it.
    ///
    /// # Errors
    /// Locked: another daemon runs. Usage: no state directory is known. Disk.
    pub(super) fn take(host: &Host) -> Result<Self, CommandError> {
        let dir = host.state_dir().map_err(CommandError::usage)?;
        let path = file(&dir);
        for look in 0..TAKES_COUNT {
            if look > 0 {
                std::thread::sleep(LOOK_PAUSE);
            }
            let locked =
                host::lock_file(&path).map_err(|error| CommandError::io("lock", &path, &error))?;
            if let Some(file) = locked {
                return Ok(Place { file, path });
            }
            if let Some(other) = running(host)? {
                return Err(is_taken(Some(&other)));
            }
        }
        Err(is_taken(None))
    }

    /// Says where this daemon is.
    ///
    /// # Errors
    /// Disk.
    pub(super) fn tell(&self, running: &Running) -> Result<(), CommandError> {
        let text = serde_json::to_vec(running)
            .map_err(|error| CommandError::new(ExitCode::Unexpected, error.to_string()))?;
        self.write(&text)
    }

    /// Says that it is nowhere any more.
    ///
    /// # Errors
    /// Disk.
    pub(super) fn leave(self) -> Result<(), CommandError> {
        self.write(b"")
    }

    fn write(&self, bytes: &[u8]) -> Result<(), CommandError> {
        let written = self.file.write(bytes);
        written.map_err(|error| CommandError::io("write", &self.path, &error))
    }
}

fn is_taken(other: Option<&Running>) -> CommandError {
    let what = match other {
        Some(other) => format!(
            "`callao serve` runs already: process {}, gateway {}",
            other.pid, other.gateway
        ),
        None => "another `callao serve` is starting or ending".into(),
    };
    CommandError::new(ExitCode::Locked, what)
        .hint("one is enough: it serves everything in the cache; callao peers and its gateway show what it does")
}

fn file(dir: &Path) -> PathBuf {
    dir.join("daemon.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(dir: &Path) -> Host {
        let text = dir.to_str().expect("text");
        Host::with_variables([("XDG_STATE_HOME", text)])
    }

    fn here() -> Running {
        Running::new("http://127.0.0.1:1".into(), "token".into(), "/cache".into())
    }

    #[test]
    fn a_daemon_is_found_as_long_as_it_lives() {
        let dir = tempfile::tempdir().expect("a directory");
        let host = host(dir.path());
        assert_eq!(running(&host).expect("nothing"), None);
        let place = Place::take(&host).expect("it is free");
        place.tell(&here()).expect("it is written");
        assert_eq!(running(&host).expect("it is read"), Some(here()));
        // As after a crash: the file stays, the lock does not.
        drop(place);
        assert_eq!(running(&host).expect("nobody"), None);
        let place = Place::take(&host).expect("it is free again");
        place.tell(&here()).expect("it is written");
        place.leave().expect("it is written");
        assert_eq!(running(&host).expect("nobody"), None);
    }

    #[test]
    fn the_second_daemon_is_told_where_the_first_one_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let host = host(dir.path());
        let place = Place::take(&host).expect("it is free");
        let told = |error: CommandError| (error.kind, error.message);
        assert_eq!(
            told(Place::take(&host).expect_err("taken")),
            (
                ExitCode::Locked,
                "another `callao serve` is starting or ending".into()
            )
        );
        place.tell(&here()).expect("it is written");
        let pid = std::process::id();
        assert_eq!(
            told(Place::take(&host).expect_err("taken")),
            (
                ExitCode::Locked,
                format!("`callao serve` runs already: process {pid}, gateway http://127.0.0.1:1")
            )
        );
    }

    #[test]
    fn what_another_version_wrote_is_not_taken_for_ours() {
        let dir = tempfile::tempdir().expect("a directory");
        let host = host(dir.path());
        let place = Place::take(&host).expect("it is free");
        place
            .tell(&Running { v: 2, ..here() })
            .expect("it is written");
        assert_eq!(running(&host).expect("it is read"), None);
    }
}
