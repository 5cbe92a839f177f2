//! A real registry (Debian's `docker-registry`, the reference implementation of the protocol) on loopback.
//!
//! It keeps its configuration and everything that is pushed in a directory of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::process::{Process, until};
use super::{REGISTRY_VARIABLE, find};

/// How long it may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How often another port is tried.
const TRIES: u32 = 5;

/// The name that opens a registry with logins.
pub const USER: &str = "ali";
/// Its password.
pub const PASSWORD: &str = "sesame";
/// The two as an `htpasswd` file has them (bcrypt is the only way that the registry takes).
const HTPASSWD: &str = "ali:$2b$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O\n";

/// A running registry; ends when dropped.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    address: SocketAddr,
    // Removed when the registry ends.
    _files: TempDir,
}

impl Registry {
    /// An empty registry that lets everybody in, or only [`USER`] with [`PASSWORD`]. `None` when there is no
    /// docker-registry, which has then been said.
    ///
    /// # Panics
    /// When it is there and does not start; and as [`super::skip`] does.
    pub fn start(with_login: bool) -> Option<Self> {
        Self::start_in(&std::env::temp_dir(), with_login)
    }

    /// The same, its files below `directory`.
    ///
    /// # Panics
    /// As [`Registry::start`].
    pub fn start_in(directory: &Path, with_login: bool) -> Option<Self> {
        let binary = find("docker-registry", REGISTRY_VARIABLE)?;
        let mut trouble = String::new();
        for _ in 0..TRIES {
            match Self::try_start(&binary, directory, with_login) {
                Ok(registry) => return Some(registry),
                // Most likely somebody took the port between our look and its.
                Err(error) => trouble = error,
            }
        }
        panic!("{} does not start: {trouble}", binary.display());
    }

    fn try_start(binary: &Path, directory: &Path, with_login: bool) -> Result<Self, String> {
        let told = |error: std::io::Error| error.to_string();
        let files = tempfile::Builder::new()
            .prefix("callao-registry-")
            .tempdir_in(directory)
            .map_err(told)?;
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .map_err(told)?;
        let conf = files.path().join("config.yml");
        fs::write(&conf, configuration(files.path(), address, with_login)).map_err(told)?;
        fs::write(files.path().join("htpasswd"), HTPASSWD).map_err(told)?;
        let errors = files.path().join("error.log");
        let log = fs::File::create(&errors).map_err(told)?;
        let mut process = Process::start(
            Command::new(binary)
                .arg("serve")
                .arg(&conf)
                // It reads its settings from the environment as well.
                .env_clear()
                .env("OTEL_TRACES_EXPORTER", "none")
                .current_dir(files.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log),
        )
        .map_err(told)?;
        let listens = until(&mut process, START_LIMIT, || {
            TcpStream::connect(address).ok()
        });
        if listens.is_none() || process.ended().is_some() {
            return Err(fs::read_to_string(errors).unwrap_or_default());
        }
        Ok(Self {
            process,
            address,
            _files: files,
        })
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Ends it; the port refuses from then on.
    pub fn stop(&mut self) {
        self.process.stop();
    }
}

fn configuration(files: &Path, address: SocketAddr, with_login: bool) -> String {
    let files = files.display();
    let auth = match with_login {
        true => format!("auth:\n  htpasswd:\n    realm: callao\n    path: {files}/htpasswd\n"),
        false => String::new(),
    };
    format!(
        "version: 0.1
log:
  level: error
storage:
  filesystem:
    rootdirectory: {files}/data
http:
  addr: {address}
{auth}"
    )
}
