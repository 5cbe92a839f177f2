//! The one connection to a guest that the supervisor keeps (OpenSSH's `ControlMaster`): scripts and forwards go through
//! it, and it is opened again when it ends. Must not know what the scripts do, nor which forwards are wanted.
//!
//! ```text
//!            logged in                  token cancelled
//!   Down ----------------> Up(round) ------------------> Ended
//!    ^                        |                            ^
//!    '--- ssh ended, pause ---'      token cancelled ------'
//! ```

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::command::{Access, Argv};
use super::said::said;
use crate::child::{self, Ended};
use crate::files;
use crate::limits::{
    FORWARD_WAIT, LOGIN_WAIT, MASTER_CONNECT_WAIT, MASTER_LOGIN_WAIT, MASTER_PAUSE,
    MASTER_PAUSE_MAX, MASTER_POLL, MASTER_SAID_BYTES_MAX, SCRIPT_OUTPUT_BYTES_MAX,
};

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// There is none; what ssh said last.
    Down(String),
    /// There is one, the how-many-th. Forwards end with their round.
    Up(u64),
    /// There will be none any more.
    Ended,
}

/// Why something did not go through the connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// ssh cannot be started.
    #[error("{program} cannot be run: {error}")]
    Program {
        /// Which program.
        program: String,
        /// Why.
        error: io::Error,
    },
    /// The guest lets nobody in.
    #[error("no login in the guest within {} s; ssh said last: `{said}`", within.as_secs())]
    Login {
        /// How long it was waited.
        within: Duration,
        /// What ssh said.
        said: String,
    },
    /// A script does not end.
    #[error("a script in the guest did not end within {} s", within.as_secs())]
    Slow {
        /// How long it was waited.
        within: Duration,
    },
    /// The connection ended for good, or the token was cancelled.
    #[error("the connection to the guest was ended")]
    Ended,
    /// A forward was refused.
    #[error("ssh does not forward {what}: `{said}`")]
    Forward {
        /// `-L` or `-R` and its argument.
        what: String,
        /// What ssh said.
        said: String,
    },
}

/// How a script in the guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; 255 is ssh's own as well. `None`: ssh was killed.
    pub code: Option<i32>,
    /// What it printed, its start if it was long.
    pub stdout: String,
    /// What it printed as errors, its start if it was long.
    pub stderr: String,
    /// Whether something was cut off.
    pub is_cut: bool,
}

/// One forward, as ssh's options have it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forward {
    /// The guest listens, and the host is connected to (`-R`); else the other way round (`-L`).
    pub reverse: bool,
    /// Who listens, a colon, who is connected to.
    pub spec: String,
}

impl Forward {
    fn option(&self) -> &'static str {
        if self.reverse { "-R" } else { "-L" }
    }
}

/// The use of the connection. Clones share it.
#[derive(Debug, Clone)]
pub struct Master {
    access: Access,
    control: PathBuf,
    state: watch::Receiver<State>,
}

/// The connection itself: [`Keeping::run`] holds it open.
#[derive(Debug)]
pub struct Keeping {
    access: Access,
    control: PathBuf,
    state: watch::Sender<State>,
}

/// A connection with its socket at `control` (at most [`crate::limits::CONTROL_PATH_BYTES_MAX`] long). Nothing happens
/// until it is run.
#[must_use]
pub fn new(access: Access, control: PathBuf) -> (Master, Keeping) {
    let (sender, receiver) = watch::channel(State::Down(String::new()));
    let master = Master {
        access: access.clone(),
        control: control.clone(),
        state: receiver,
    };
    let keeping = Keeping {
        access,
        control,
        state: sender,
    };
    (master, keeping)
}

/// Ends the connection of a supervisor that was killed: it holds the forwards that the next one wants.
pub async fn end_left_behind(access: &Access, control: &std::path::Path) {
    if !files::is_there(control) {
        return;
    }
    let mut options = through(control);
    options.extend(["-O", "exit"].map(Into::into));
    // Without one there is nothing to end.
    let _ = child::run(
        &access.ssh(&options),
        b"",
        MASTER_SAID_BYTES_MAX,
        FORWARD_WAIT,
    )
    .await;
}

impl Keeping {
    /// Keeps the connection until the token is cancelled. The socket is gone afterwards.
    pub async fn run(self, cancel: CancellationToken) {
        let mut pause = MASTER_PAUSE;
        let mut round = 0;
        while !cancel.is_cancelled() {
            let was_up = self.connect(&mut round, &cancel).await;
            pause = next_pause(pause, was_up);
            tokio::select! {
                () = cancel.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
        let _ = files::remove(&self.control);
        self.state.send_replace(State::Ended);
    }

    /// One connection, to its end. Whether it had logged in.
    async fn connect(&self, round: &mut u64, cancel: &CancellationToken) -> bool {
        // A socket that was left behind would make ssh work without one.
        let _ = files::remove(&self.control);
        let spawned = child::command(&self.argv())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut ssh = match spawned {
            Ok(ssh) => ssh,
            Err(error) => {
                self.state.send_replace(State::Down(error.to_string()));
                return false;
            }
        };
        let mut words = Words::of(&mut ssh);
        let start = Instant::now();
        let mut is_up = false;
        loop {
            tokio::select! {
                () = cancel.cancelled() => {
                    child::end(&mut ssh).await;
                    return is_up;
                }
                _ = ssh.wait() => break,
                () = words.read() => {}
                // It makes its socket once it has logged in.
                () = sleep(MASTER_POLL), if !is_up => {
                    if files::is_there(&self.control) {
                        is_up = true;
                        *round += 1;
                        self.state.send_replace(State::Up(*round));
                    } else if start.elapsed() > MASTER_LOGIN_WAIT {
                        child::end(&mut ssh).await;
                        break;
                    }
                }
            }
        }
        words.read_rest().await;
        self.state.send_replace(State::Down(words.said()));
        is_up
    }

    fn argv(&self) -> Argv {
        let mut options = through(&self.control);
        options.extend(
            [
                "-M",
                "-N",
                "-o",
                "ControlPersist=no",
                "-o",
                "StreamLocalBindUnlink=yes",
            ]
            .map(Into::into),
        );
        // QEMU accepts connections to a guest that boots, and what was sent into it is not repeated for seconds.
        options.extend([
            "-o".into(),
            format!("ConnectTimeout={}", MASTER_CONNECT_WAIT.as_secs()).into(),
        ]);
        self.access.ssh(&options)
    }
}

/// Short after a connection that worked, longer after each that did not.
fn next_pause(pause: Duration, was_up: bool) -> Duration {
    if was_up {
        MASTER_PAUSE
    } else {
        (pause * 2).min(MASTER_PAUSE_MAX)
    }
}

/// The socket comes before `-F`, so it counts also where `ssh.config` has none.
fn through(control: &std::path::Path) -> Argv {
    vec!["-S".into(), control.to_owned().into()]
}

/// What ssh says while it runs; the end is kept.
struct Words {
    stream: Option<ChildStderr>,
    kept: Vec<u8>,
}

impl Words {
    fn of(ssh: &mut Child) -> Self {
        Self {
            stream: ssh.stderr.take(),
            kept: Vec::new(),
        }
    }

    /// Reads something; never returns once there is nothing any more.
    async fn read(&mut self) {
        let Some(stream) = &mut self.stream else {
            return std::future::pending().await;
        };
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer).await {
            Ok(length @ 1..) => {
                self.kept.extend_from_slice(&buffer[..length]);
                let surplus = self.kept.len().saturating_sub(MASTER_SAID_BYTES_MAX);
                self.kept.drain(..surplus);
            }
            _ => self.stream = None,
        }
    }

    /// What is still in the pipe of a child that has ended. A child of its own may hold it open.
    async fn read_rest(&mut self) {
        while self.stream.is_some() && timeout(MASTER_POLL, self.read()).await.is_ok() {}
    }

    fn said(&self) -> String {
        said(&self.kept)
    }
}

impl Master {
    /// How the connection is, and a way to wait for changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// How to reach the guest without the connection.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Waits until the guest lets in and a command runs in it.
    ///
    /// # Errors
    /// It does not in time, or the connection was ended.
    pub async fn lets_in(&self, within: Duration, cancel: &CancellationToken) -> Result<(), Error> {
        let mut last = String::new();
        let tried = async {
            loop {
                self.up(&mut last).await?;
                match self.run("true\n", LOGIN_WAIT).await {
                    Ok(output) if output.code == Some(0) => return Ok(()),
                    // A guest that still boots lets in and out again (`pam_nologin`).
                    Ok(output) => last = said(output.stderr.as_bytes()),
                    Err(Error::Slow { .. }) => {
                        "the login worked, but `true` does not end".clone_into(&mut last)
                    }
                    Err(error) => return Err(error),
                }
                sleep(MASTER_PAUSE).await;
            }
        };
        let result = tokio::select! {
            () = cancel.cancelled() => return Err(Error::Ended),
            result = timeout(within, tried) => result,
        };
        result.unwrap_or(Err(Error::Login { within, said: last }))
    }

    /// Waits for a connection, and notes what ssh says meanwhile.
    async fn up(&self, last: &mut String) -> Result<(), Error> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                State::Up(_) => return Ok(()),
                State::Down(said) if said.is_empty() => {}
                State::Down(said) => last.clone_from(said),
                State::Ended => return Err(Error::Ended),
            }
            state.changed().await.map_err(|_| Error::Ended)?;
        }
    }

    /// Runs a script in the guest, with the interpreter of its first line or `sh`. The script is the interpreter's
    /// standard input, as Lima does it, so it may be long.
    ///
    /// # Errors
    /// ssh cannot be run, or the script does not end in time. A script that fails is no error.
    pub async fn run(&self, script: &str, within: Duration) -> Result<Output, Error> {
        let ended = self
            .run_raw(script, SCRIPT_OUTPUT_BYTES_MAX, within)
            .await?;
        Ok(Output {
            code: ended.status.code(),
            stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
            is_cut: ended.is_cut,
        })
    }

    /// The same, for a script whose output need not be text and may be so long.
    pub(crate) async fn run_raw(
        &self,
        script: &str,
        bytes_max: usize,
        within: Duration,
    ) -> Result<Ended, Error> {
        let mut argv = self.argv(&["-T"]);
        argv.extend(["--".into(), interpreter(script).into()]);
        child::run(&argv, script.as_bytes(), bytes_max, within)
            .await
            .map_err(|error| self.failed(error, within))
    }

    /// Opens a forward.
    ///
    /// # Errors
    /// ssh refuses it, mostly because something else listens there.
    pub async fn forward(&self, forward: &Forward) -> Result<(), Error> {
        self.ask("forward", forward).await
    }

    /// Closes a forward; connections through it go on.
    ///
    /// # Errors
    /// ssh does not know it.
    pub async fn cancel(&self, forward: &Forward) -> Result<(), Error> {
        self.ask("cancel", forward).await
    }

    async fn ask(&self, what: &str, forward: &Forward) -> Result<(), Error> {
        let argv = self.argv(&["-O", what, forward.option(), &forward.spec]);
        let refused = |said| Error::Forward {
            what: format!("{} {}", forward.option(), forward.spec),
            said,
        };
        match child::run(&argv, b"", SCRIPT_OUTPUT_BYTES_MAX, FORWARD_WAIT).await {
            Ok(ended) if ended.status.success() => Ok(()),
            Ok(ended) => Err(refused(said(&ended.stderr))),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(refused(format!(
                "no answer within {} s",
                FORWARD_WAIT.as_secs()
            ))),
            Err(error) => Err(self.failed(error, FORWARD_WAIT)),
        }
    }

    /// A command line that goes through the connection.
    pub(crate) fn argv(&self, options: &[&str]) -> Argv {
        let mut all = through(&self.control);
        all.extend(options.iter().map(Into::into));
        self.access.ssh(&all)
    }

    fn failed(&self, error: io::Error, within: Duration) -> Error {
        if error.kind() == io::ErrorKind::TimedOut {
            return Error::Slow { within };
        }
        let program = self.access.client.ssh.first().cloned().unwrap_or_default();
        Error::Program {
            program: program.to_string_lossy().into_owned(),
            error,
        }
    }
}

/// What the first line of a script names (Lima: `ssh.ParseScriptInterpreter`).
fn interpreter(script: &str) -> &str {
    let named = script
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("#!"));
    named
        .map(str::trim)
        .filter(|named| !named.is_empty())
        .unwrap_or("sh")
}

#[cfg(test)]
mod tests;
