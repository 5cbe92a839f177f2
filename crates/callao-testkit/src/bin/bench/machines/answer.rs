//! When a guest answers, seen from outside: the first `ssh ... true` that succeeds. One login is made in either guest: into
//! that of callao it is callao's own, which every ssh with the machine's `ssh.config` uses; into the other it is ours.

use std::ffi::OsStr;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::BOOT_LIMIT;
use crate::Outcome;

/// Pause between two looks at the port: that of callao, so that both lose as much.
const BANNER_PAUSE: Duration = Duration::from_millis(100);
/// How long one look waits. QEMU's network accepts before the guest has one, and such a connection may stay silent.
const BANNER_WAIT: Duration = Duration::from_secs(1);
/// Pause between two looks at a file.
const FILE_PAUSE: Duration = Duration::from_millis(5);

/// How to get into a guest.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// By the configuration that callao writes, which names the connection that it keeps open.
    Kept {
        /// The configuration.
        config: PathBuf,
        /// The socket of the connection.
        socket: PathBuf,
        /// The name in the configuration.
        host: String,
    },
    /// By a login of our own, with the user and the key of such a configuration.
    Own {
        /// The configuration.
        config: PathBuf,
        /// The guest's ssh on this computer.
        port: u16,
        /// The name in the configuration.
        host: String,
    },
}

impl Door {
    /// Waits until `true` has run in the guest.
    pub(crate) fn open(&self) -> Outcome<()> {
        let end = Instant::now() + BOOT_LIMIT;
        match self {
            Self::Kept { socket, .. } => there(socket, end)?,
            Self::Own { port, .. } => banner(*port, end)?,
        }
        while !self.try_true()? {
            if Instant::now() > end {
                return Err("the guest lets nobody in".into());
            }
            std::thread::sleep(FILE_PAUSE);
        }
        Ok(())
    }

    fn try_true(&self) -> Outcome<bool> {
        let mut ssh = Command::new("ssh");
        let host: &OsStr = match self {
            Self::Kept { config, host, .. } => {
                ssh.arg("-F").arg(config);
                host.as_ref()
            }
            Self::Own { config, port, host } => {
                ssh.args(["-S", "none", "-p", &port.to_string()])
                    .arg("-F")
                    .arg(config);
                host.as_ref()
            }
        };
        ssh.args([host, "true".as_ref()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(ssh.status()?.success())
    }
}

fn there(path: &Path, end: Instant) -> Outcome<()> {
    while !path.exists() {
        if Instant::now() > end {
            return Err(format!("{} does not come", path.display()).into());
        }
        std::thread::sleep(FILE_PAUSE);
    }
    Ok(())
}

/// Waits until something says "SSH-" at the port. Looks overlap, as one of them may never be answered.
fn banner(port: u16, end: Instant) -> Outcome<()> {
    let (sender, heard) = mpsc::channel();
    while Instant::now() < end {
        let sender = sender.clone();
        std::thread::spawn(move || {
            if says_ssh(port).unwrap_or(false) {
                // Nobody listens any more once one look has succeeded.
                let _ = sender.send(());
            }
        });
        if heard.recv_timeout(BANNER_PAUSE).is_ok() {
            return Ok(());
        }
    }
    Err("the guest's ssh says nothing".into())
}

fn says_ssh(port: u16) -> std::io::Result<bool> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, BANNER_WAIT)?;
    stream.set_read_timeout(Some(BANNER_WAIT))?;
    let mut start = [0; 4];
    stream.read_exact(&mut start)?;
    Ok(&start == b"SSH-")
}

/// A port of loopback that nobody has at this moment.
pub(crate) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
