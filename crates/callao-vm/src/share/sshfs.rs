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
use crate::limits::SCRIPT_OUTPUT_BYTES_MAX;
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

/// The guest's side, for its `sh`: it becomes sshfs, whose number is then in a file.
#[must_use]
pub fn client(mount: &Mount) -> String {
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
    let [point, file, source] = [
        &mount.mount_point,
        &pid_file(mount),
        &format!(":{}", mount.location),
    ]
    .map(|word| quote(word));
    format!(
        "{AS_ROOT}exec $as_root sh -c \
         'mkdir -p \"$1\" && echo $$ >\"$2\" && exec sshfs \"$3\" \"$1\" -o \"$4\"' \
         sshfs {point} {file} {source} {options}"
    )
}

/// Where the guest keeps the number of the sshfs of a mount: a directory that a restart empties.
fn pid_file(mount: &Mount) -> String {
    let name = mount.mount_point.replace('%', "%%").replace('/', "%-");
    format!("/run/callao-sshfs{name}.pid")
}

/// Takes away what an earlier connection left, for the guest's `sh`. Its sshfs may be about to end, and unmounts by path
/// as it does, whatever is there by then: it is ended first, in a way that leaves it no time. Whether its mount goes with
/// it depends on the version of libfuse.
fn clear(mount: &Mount) -> String {
    let (is_mounted, point) = (is_mounted(&mount.mount_point), quote(&mount.mount_point));
    let script = format!(
        "n=50\n\
         if p=$(cat {file} 2>/dev/null) && [ \"$(cat /proc/$p/comm 2>/dev/null)\" = sshfs ]; then\n\
         kill -9 $p\n\
         while [ -e /proc/$p/cwd ] && [ $n -gt 0 ]; do n=$((n - 1)); sleep 0.1 2>/dev/null || sleep 1; done\n\
         fi\n\
         while {is_mounted}; do umount -l {point} || exit; done\n",
        file = quote(&pid_file(mount)),
    );
    format!("{AS_ROOT}$as_root sh -c {}\n", quote(&script))
}

/// A test for the guest's `sh`. The kernel writes some characters in octal (`fs/proc_namespace.c`).
fn is_mounted(mount_point: &str) -> String {
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
    let ended = |said| Error::Ended {
        location: mount.location.clone(),
        mount_point: mount.mount_point.clone(),
        said,
    };
    let not_asked = |error| match error {
        master::Error::Slow { .. } => Error::Slow {
            location: mount.location.clone(),
            mount_point: mount.mount_point.clone(),
            within,
        },
        error => Error::Guest {
            location: mount.location.clone(),
            error,
        },
    };
    let cleared = master.run(&clear(mount), within).await.map_err(not_asked)?;
    if cleared.code != Some(0) {
        return Err(ended(said(cleared.stderr.as_bytes())));
    }
    let mut mounted = start(master, program, mount)?;
    let script = waits(&mount.mount_point, within);
    let error = tokio::select! {
        waited = master.run(&script, within) => match waited {
            Ok(output) if output.code == Some(0) => return Ok(mounted),
            Ok(output) => ended(said(output.stderr.as_bytes())),
            Err(error) => not_asked(error),
        },
        said = mounted.ended() => ended(said),
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

    async fn end(&mut self) {
        child::end(&mut self.client).await;
        child::end(&mut self.server).await;
    }
}

#[cfg(test)]
mod tests;
