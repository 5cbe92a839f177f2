//! virtiofsd on the host: where it is, what it can do, and one process per mount. There are two programs of this name: in
//! Rust (since 2021), and in C, which came with QEMU until 7.2. Must not know what QEMU does with the socket.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Child;
use tokio::time::{Instant, sleep};

use crate::child;
use crate::files;
use crate::limits::{
    SCRIPT_OUTPUT_BYTES_MAX, VIRTIOFSD_HELP_BYTES_MAX, VIRTIOFSD_HELP_WAIT, VIRTIOFSD_POLL,
    VIRTIOFSD_START_WAIT,
};
use crate::ssh::command::Argv;
use crate::ssh::said::said;

/// Where distributions keep it, outside `PATH`: Fedora, Debian 13 and Ubuntu; Debian 12; Arch; Alpine and openSUSE.
pub const DIRS: [&str; 5] = [
    "/usr/libexec",
    "/usr/lib/qemu",
    "/usr/lib",
    "/usr/local/libexec",
    "/usr/libexec/virtiofsd",
];

/// A virtiofsd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Where it is.
    pub program: PathBuf,
    /// Which of the two it is.
    pub kind: Kind,
    /// Whether it can refuse to write.
    pub read_only: bool,
}

/// Which of the two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `--shared-dir`.
    Rust,
    /// `-o source=`; it needs root for its sandbox.
    C,
}

/// Why a directory is not shared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be started.
    #[error("{} cannot be run: {error}", program.display())]
    Program {
        /// Where it is.
        program: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It ended.
    #[error("{} does not share {location}: `{said}`", program.display())]
    Ended {
        /// Where it is.
        program: PathBuf,
        /// The directory.
        location: String,
        /// What it said.
        said: String,
    },
    /// It made no socket.
    #[error("{} does not share {location}: no socket after {} s", program.display(), VIRTIOFSD_START_WAIT.as_secs())]
    Slow {
        /// Where it is.
        program: PathBuf,
        /// The directory.
        location: String,
    },
}

/// The best virtiofsd in the directories: one that can refuse to write, else the first. One that this user may not run
/// does not count.
pub async fn find(dirs: &[PathBuf], is_root: bool) -> Option<Daemon> {
    let mut best: Option<Daemon> = None;
    for program in dirs.iter().map(|dir| dir.join("virtiofsd")) {
        if !files::is_program(&program) {
            continue;
        }
        let argv = vec![program.clone().into(), "--help".into()];
        let help = child::run(&argv, b"", VIRTIOFSD_HELP_BYTES_MAX, VIRTIOFSD_HELP_WAIT).await;
        let Ok(help) = help else { continue };
        // The one in C says it on either, by version.
        let text = [help.stdout, help.stderr].concat();
        let Some((kind, read_only)) = abilities(&String::from_utf8_lossy(&text)) else {
            continue;
        };
        if kind == Kind::C && !is_root {
            continue;
        }
        let daemon = Daemon {
            program,
            kind,
            read_only,
        };
        if daemon.read_only {
            return Some(daemon);
        }
        best.get_or_insert(daemon);
    }
    best
}

/// Which one it is, and whether it can refuse to write, by its help.
#[must_use]
pub fn abilities(help: &str) -> Option<(Kind, bool)> {
    if help.contains("--shared-dir") {
        return Some((Kind::Rust, help.contains("--readonly")));
    }
    (help.contains("--socket-path") && help.contains("-o source=")).then_some((Kind::C, false))
}

impl Daemon {
    /// The command line for one directory.
    #[must_use]
    pub fn argv(&self, socket: &Path, location: &str, writable: bool) -> Argv {
        let mut argv: Argv = vec![self.program.clone().into()];
        match self.kind {
            Kind::Rust => {
                argv.extend(["--socket-path".into(), socket.to_owned().into()]);
                argv.extend(["--shared-dir", location, "--cache", "auto"].map(Into::into));
                if !writable {
                    argv.push("--readonly".into());
                }
            }
            Kind::C => {
                let mut path = std::ffi::OsString::from("--socket-path=");
                path.push(socket);
                // A comma would end the option (fuse_opt).
                let location = location.replace('\\', "\\\\").replace(',', "\\,");
                let source = format!("source={location}");
                argv.extend([
                    path,
                    "-f".into(),
                    "-o".into(),
                    source.into(),
                    "-o".into(),
                    "cache=auto".into(),
                ]);
            }
        }
        argv
    }

    /// Starts it for one directory; its socket is there when this returns. It ends with QEMU, or when the handle is
    /// dropped.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn share(
        &self,
        socket: &Path,
        location: &str,
        writable: bool,
    ) -> Result<Sharing, Error> {
        let program = || self.program.clone();
        let failed = |error| Error::Program {
            program: self.program.clone(),
            error,
        };
        // QEMU would take one that was left behind for the new one.
        files::remove(socket).map_err(failed)?;
        let argv = self.argv(socket, location, writable);
        let mut child = child::command(&argv)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let stderr = child.stderr.take();
        // Whoever does not read it stops it one day.
        let words = tokio::spawn(child::read_start(stderr, SCRIPT_OUTPUT_BYTES_MAX));
        let start = Instant::now();
        while !files::is_socket(socket) {
            if child.try_wait().map_err(failed)?.is_some() {
                let (words, _) = words.await.unwrap_or_default();
                return Err(Error::Ended {
                    program: program(),
                    location: location.to_owned(),
                    said: said(&words),
                });
            }
            if start.elapsed() > VIRTIOFSD_START_WAIT {
                child::end(&mut child).await;
                return Err(Error::Slow {
                    program: program(),
                    location: location.to_owned(),
                });
            }
            sleep(VIRTIOFSD_POLL).await;
        }
        Ok(Sharing {
            child,
            socket: socket.to_owned(),
        })
    }
}

/// A directory that is shared.
#[derive(Debug)]
pub struct Sharing {
    child: Child,
    socket: PathBuf,
}

impl Sharing {
    /// Waits for its end: QEMU has gone, or it failed.
    pub async fn ended(&mut self) {
        // A child that cannot be waited for has ended.
        let _ = self.child.wait().await;
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it and removes its socket.
    pub async fn stop(mut self) {
        child::end(&mut self.child).await;
        let _ = files::remove(&self.socket);
    }
}

#[cfg(test)]
mod tests;
