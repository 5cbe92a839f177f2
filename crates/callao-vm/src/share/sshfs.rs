//! Directories by sshfs, backwards (Lima's `reverse-sshfs`): the host's `sftp-server` talks with the guest's `sshfs` over
//! the ssh connection, so the guest needs no way back to the host. Must not know why this way was taken.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use callao_template::machine::Mount;
use tokio::process::{Child, ChildStderr};

use crate::child;
use crate::limits::{GUEST_SCRIPT_WAIT, SCRIPT_OUTPUT_BYTES_MAX};
use crate::program;
use crate::ssh::command::Argv;
use crate::ssh::master::{self, Master};
use crate::ssh::quote::quote;
use crate::ssh::said::said;

/// Where distributions keep `sftp-server`: Debian and Ubuntu; Fedora; Arch, Alpine and openSUSE; others.
pub const DIRS: [&str; 4] = [
    "/usr/lib/openssh",
    "/usr/libexec/openssh",
    "/usr/lib/ssh",
    "/usr/libexec",
];

/// Root by whatever means: the user of a machine may be root already.
const AS_ROOT: &str = "as_root=; [ \"$(id -u)\" = 0 ] || as_root='sudo -n'; ";

/// Why a directory is not mounted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program of the host cannot be started.
    #[error("mount {location}: {program} cannot be run: {error}")]
    Program {
        /// The directory.
        location: String,
        /// The program.
        program: String,
        /// Why.
        error: io::Error,
    },
    /// sshfs in the guest ended.
    #[error(
        "mount {location} at {mount_point}: sshfs in the guest ended (it needs sshfs and FUSE there): `{said}`"
    )]
    Ended {
        /// The directory.
        location: String,
        /// Where it should be in the guest.
        mount_point: String,
        /// What it said.
        said: String,
    },
    /// The guest does not mount it.
    #[error("mount {location} at {mount_point}: not there after {} s", within.as_secs())]
    Slow {
        /// The directory.
        location: String,
        /// Where it should be in the guest.
        mount_point: String,
        /// How long it was waited.
        within: Duration,
    },
    /// The guest cannot be asked.
    #[error("mount {location}: {error}")]
    Guest {
        /// The directory.
        location: String,
        /// Why.
        error: master::Error,
    },
}

/// The `sftp-server` in the directories.
#[must_use]
pub fn find(dirs: &[PathBuf]) -> Option<PathBuf> {
    program::find("sftp-server", dirs)
}

/// The host's side. It is `sftp-server` that refuses to write (`-R`), whatever the guest does.
#[must_use]
pub fn server(program: &Path, mount: &Mount) -> Argv {
    let mut argv: Argv = vec![program.to_owned().into()];
    if !mount.writable {
        argv.push("-R".into());
    }
    argv.extend(["-d".into(), escaped_tokens(&mount.location).into()]);
    argv
}

/// sftp-server expands `%d` and `%u` in its start directory.
fn escaped_tokens(path: &str) -> String {
    path.replace('%', "%%")
}

/// The guest's side, for its `sh`. What is left of a mount before, whose connection ended, makes room.
#[must_use]
pub fn client(mount: &Mount) -> String {
    let (source, point) = (
        quote(&format!(":{}", mount.location)),
        quote(&mount.mount_point),
    );
    let mut options = "slave,allow_other".to_owned();
    for (option, is_on) in [
        (",ro", !mount.writable),
        (",cache=no", !mount.sshfs_cache),
        (",follow_symlinks", mount.sshfs_follow_symlinks),
    ] {
        if is_on {
            options += option;
        }
    }
    let is_mounted = is_mounted(&mount.mount_point);
    format!(
        "{AS_ROOT}{is_mounted} && $as_root umount -l {point}; \
         $as_root mkdir -p {point} && exec $as_root sshfs {source} {point} -o {options}"
    )
}

/// A test for the guest's `sh`. The kernel writes some characters in octal (`fs/proc_namespace.c`).
pub(crate) fn is_mounted(mount_point: &str) -> String {
    let mut written = String::new();
    for c in mount_point.chars() {
        match c {
            ' ' | '\t' | '\n' | '\\' => {
                // Writing to a string cannot fail.
                let _ = write!(written, "\\{:03o}", u32::from(c));
            }
            c => written.push(c),
        }
    }
    format!(
        "grep -qF {} /proc/mounts",
        quote(&format!(" {written} fuse.sshfs "))
    )
}

/// Waits in the guest, so that it is one session and not one for each look. It ends by itself: a guest is not told when
/// nobody waits for it any more.
fn waits(mount_point: &str, within: Duration) -> String {
    let is_mounted = is_mounted(mount_point);
    let looks = within.as_secs() * 10;
    format!(
        "n={looks}; until {is_mounted}; do n=$((n - 1)); [ $n -gt 0 ] || exit 1; sleep 0.1 2>/dev/null || sleep 1; done\n"
    )
}

/// A directory that the guest has.
#[derive(Debug)]
pub struct Mounted {
    server: Child,
    client: Child,
    words: Option<ChildStderr>,
    mount: Mount,
}

/// Mounts a directory in the guest. It is there when this returns, and goes with the connection.
///
/// # Errors
/// See [`Error`].
pub async fn mount(
    master: &Master,
    program: &Path,
    mount: &Mount,
    within: Duration,
) -> Result<Mounted, Error> {
    let mut mounted = start(master, program, mount)?;
    let script = waits(&mount.mount_point, within);
    let error = tokio::select! {
        waited = master.run(&script, within) => match waited {
            Ok(output) if output.code == Some(0) => return Ok(mounted),
            Ok(output) => Error::Ended {
                location: mount.location.clone(),
                mount_point: mount.mount_point.clone(),
                said: said(output.stderr.as_bytes()),
            },
            Err(master::Error::Slow { .. }) => Error::Slow {
                location: mount.location.clone(),
                mount_point: mount.mount_point.clone(),
                within,
            },
            Err(error) => Error::Guest { location: mount.location.clone(), error },
        },
        said = mounted.ended() => Error::Ended {
            location: mount.location.clone(),
            mount_point: mount.mount_point.clone(),
            said,
        },
    };
    mounted.end().await;
    Err(error)
}

/// Starts both sides, each with the other's output as its input.
fn start(master: &Master, program: &Path, mount: &Mount) -> Result<Mounted, Error> {
    let failed = |program: &dyn std::fmt::Display, error| Error::Program {
        location: mount.location.clone(),
        program: program.to_string(),
        error,
    };
    let pipe = || io::pipe().map_err(|error| failed(&"pipe", error));
    let (from_client, to_server) = pipe()?;
    let (from_server, to_client) = pipe()?;
    let server = child::command(&server(program, mount))
        .stdin(from_client)
        .stdout(to_client)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&program.display(), error))?;
    let mut argv = master.argv(&["-T"]);
    argv.extend(["--".into(), client(mount).into()]);
    let mut client = child::command(&argv)
        .stdin(from_server)
        .stdout(to_server)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&"ssh", error))?;
    Ok(Mounted {
        server,
        words: client.stderr.take(),
        client,
        mount: mount.clone(),
    })
}

impl Mounted {
    /// Waits until either side ends, and says why.
    pub async fn ended(&mut self) -> String {
        let words = child::read_start(self.words.take(), SCRIPT_OUTPUT_BYTES_MAX);
        let (words, _) = tokio::select! {
            // Its words end with it.
            words = words => words,
            _ = self.server.wait() => return "the host's sftp-server ended".to_owned(),
        };
        // Whatever its status is, it has ended.
        let _ = self.client.wait().await;
        said(&words)
    }

    /// Unmounts it in the guest, as far as the guest is there, and ends both sides.
    ///
    /// # Errors
    /// The guest does not unmount it; both sides have ended nevertheless.
    pub async fn stop(mut self, master: &Master) -> Result<(), Error> {
        let point = quote(&self.mount.mount_point);
        let script = format!("{AS_ROOT}$as_root umount {point} || $as_root umount -l {point}\n");
        let asked = master.run(&script, GUEST_SCRIPT_WAIT).await;
        self.end().await;
        let location = self.mount.location;
        match asked {
            Ok(output) if output.code == Some(0) => Ok(()),
            Ok(output) => Err(Error::Ended {
                location,
                mount_point: self.mount.mount_point,
                said: said(output.stderr.as_bytes()),
            }),
            Err(error) => Err(Error::Guest { location, error }),
        }
    }

    async fn end(&mut self) {
        child::end(&mut self.client).await;
        child::end(&mut self.server).await;
    }
}

#[cfg(test)]
mod tests;
