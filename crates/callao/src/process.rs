//! Runs another program to its end: what it gets, how long it may take, how much it may say. Nothing of it is left
//! behind: no thread, and no process of its own group when it had to be ended. Must not know which program it is.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::interrupt::Interrupt;

/// Longer than anything that a helper program has to do without the network.
const DEADLINE_MS: u64 = 30_000;
/// The answers that we read are small; a filled template is at most a few hundred KiB.
const OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long output is waited for when the program has ended but something that it started still holds its pipes.
const DRAIN_MS: u64 = 500;
const READ_BYTES: usize = 16 * 1024;

/// A program and everything that it is given.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    set: Vec<(OsString, OsString)>,
    removed: Vec<OsString>,
    stdin: Option<Vec<u8>>,
    deadline: Duration,
    output_bytes_max: usize,
    shares_terminal: bool,
}

/// How a program ended, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; what it means is for the caller to know.
    pub code: i32,
    /// What it said on stdout.
    pub stdout: Vec<u8>,
    /// What it said on stderr.
    pub stderr: Vec<u8>,
}

impl Ended {
    /// stdout as text.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// stderr as text, without blank ends.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_string()
    }
}

/// Why a program did not come to an end of its own.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No such file, and none of this name on `PATH`.
    #[error("there is no program `{program}`")]
    NotFound {
        /// Its path or name.
        program: String,
    },
    /// The system does not run it.
    #[error("failed to run `{program}`: {source}")]
    NotStarted {
        /// Its path or name.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It did not end in time.
    #[error("`{program}` was still running after {seconds} s and was ended")]
    TooSlow {
        /// Its path or name.
        program: String,
        /// The time that it had.
        seconds: u64,
    },
    /// It says too much.
    #[error("`{program}` said more than {bytes_max} bytes and was ended")]
    TooMuch {
        /// Its path or name.
        program: String,
        /// What it may say.
        bytes_max: usize,
    },
    /// Somebody else ended it, or it crashed.
    #[error("`{program}` was ended by signal {signal}")]
    Signal {
        /// Its path or name.
        program: String,
        /// The number of the signal.
        signal: i32,
    },
    /// We were asked to stop.
    #[error("`{program}` was ended because callao was interrupted")]
    Interrupted {
        /// Its path or name.
        program: String,
    },
    /// Its pipes fail.
    #[error("failed to read what `{program}` says: {source}")]
    Pipe {
        /// Its path or name.
        program: String,
        /// Why.
        source: std::io::Error,
    },
}

impl From<ProcessError> for CommandError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Interrupted { .. } => CommandError::interrupted(),
            other => CommandError::new(ExitCode::Unexpected, other.to_string()),
        }
    }
}

impl Program {
    /// A program by its path, or by its name, which is looked for on `PATH`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Program {
            path: path.into(),
            arguments: Vec::new(),
            set: Vec::new(),
            removed: Vec::new(),
            stdin: None,
            deadline: Duration::from_millis(DEADLINE_MS),
            output_bytes_max: OUTPUT_BYTES_MAX,
            shares_terminal: false,
        }
    }

    /// Adds an argument.
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn arguments<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(self, all: I) -> Self {
        all.into_iter().fold(self, Program::argument)
    }

    /// Sets a variable of its environment, which is otherwise ours.
    pub fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.set
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Takes a variable out of its environment.
    pub fn without_variable(mut self, name: impl AsRef<OsStr>) -> Self {
        self.removed.push(name.as_ref().to_owned());
        self
    }

    /// What it reads on stdin; nothing otherwise.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// How long it may take in all.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How much it may say on stdout, and as much again on stderr.
    pub fn output_bytes_max(mut self, bytes_max: usize) -> Self {
        self.output_bytes_max = bytes_max;
        self
    }

    /// It may ask the user something on the terminal. It stays in our process group then, so if it has to be ended,
    /// programs that it started are not.
    pub fn shares_terminal(mut self) -> Self {
        self.shares_terminal = true;
        self
    }

    /// Runs it to its end. A signal ends it early. Not for asynchronous code: see [`Program::run_async`].
    ///
    /// # Errors
    /// [`ProcessError`]: it cannot be run, takes too long, says too much, or is ended by a signal.
    pub fn run(&self, interrupt: &Interrupt) -> Result<Ended, ProcessError> {
        // Without the guard a signal would end us and leave the program running.
        let _guard = interrupt.guard();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| ProcessError::NotStarted {
                program: self.name(),
                source,
            })?;
        runtime.block_on(self.run_async(interrupt.token()))
    }

    /// As [`Program::run`]. Dropping the future ends the program.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub async fn run_async(&self, cancel: &CancellationToken) -> Result<Ended, ProcessError> {
        let mut running = Running::start(self)?;
        let ended = tokio::select! {
            ended = running.finish(self) => ended,
            () = tokio::time::sleep(self.deadline) => Err(ProcessError::TooSlow {
                program: self.name(),
                seconds: self.deadline.as_secs(),
            }),
            () = cancel.cancelled() => Err(ProcessError::Interrupted { program: self.name() }),
        };
        if ended.is_err() {
            running.end().await;
        }
        ended
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .envs(self.set.iter().map(|(name, value)| (name, value)))
            .stdin(match self.stdin {
                Some(_) => Stdio::piped(),
                None => Stdio::null(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for name in &self.removed {
            command.env_remove(name);
        }
        if !self.shares_terminal {
            command.process_group(0);
        }
        command
    }
}

/// The path of a program on a `PATH`, as Go's `exec.LookPath`, which limactl uses: only absolute directories count.
pub fn on_path(
    path: Option<&OsStr>,
    name: &str,
    is_program: &dyn Fn(&Path) -> bool,
) -> Option<PathBuf> {
    path_dirs(path)
        .map(|dir| dir.join(name))
        .find(|path| is_program(path))
}

/// The absolute directories of a `PATH`.
pub fn path_dirs(path: Option<&OsStr>) -> impl Iterator<Item = PathBuf> {
    let dirs = path.map(std::env::split_paths);
    dirs.into_iter().flatten().filter(|dir| dir.is_absolute())
}

/// A program that runs.
struct Running {
    child: Child,
    /// Its process group, if it has one of its own.
    group: Option<rustix::process::Pid>,
}

impl Running {
    fn start(program: &Program) -> Result<Self, ProcessError> {
        let spawned = program.command().spawn();
        let child = spawned.map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ProcessError::NotFound {
                program: program.name(),
            },
            _ => ProcessError::NotStarted {
                program: program.name(),
                source,
            },
        })?;
        let group = child
            .id()
            .filter(|_| !program.shares_terminal)
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw);
        Ok(Running { child, group })
    }

    /// Feeds it and reads it until it has ended and its pipes are closed.
    async fn finish(&mut self, program: &Program) -> Result<Ended, ProcessError> {
        let mut input = self.child.stdin.take();
        let feed = async {
            if let (Some(pipe), Some(bytes)) = (&mut input, &program.stdin) {
                // A program need not read all of it.
                pipe.write_all(bytes).await.unwrap_or(());
            }
            drop(input);
        };
        tokio::pin!(feed);
        let mut fed = false;
        let mut out = Said::new(self.child.stdout.take());
        let mut err = Said::new(self.child.stderr.take());
        let mut status: Option<ExitStatus> = None;
        let mut drained_by = Instant::now();
        let pipe_failed = |source| ProcessError::Pipe {
            program: program.name(),
            source,
        };
        loop {
            if let Some(status) = status
                && out.pipe.is_none()
                && err.pipe.is_none()
            {
                return ended(program, status, out, err);
            }
            tokio::select! {
                () = &mut feed, if !fed => fed = true,
                read = out.more(), if out.pipe.is_some() => read.map_err(pipe_failed)?,
                read = err.more(), if err.pipe.is_some() => read.map_err(pipe_failed)?,
                waited = self.child.wait(), if status.is_none() => {
                    status = Some(waited.map_err(pipe_failed)?);
                    drained_by = Instant::now() + Duration::from_millis(DRAIN_MS);
                }
                () = tokio::time::sleep_until(drained_by), if status.is_some() => {
                    (out.pipe, err.pipe) = (None, None);
                }
            }
            if out.bytes.len().max(err.bytes.len()) > program.output_bytes_max {
                return Err(ProcessError::TooMuch {
                    program: program.name(),
                    bytes_max: program.output_bytes_max,
                });
            }
        }
    }

    /// Ends it, with everything that it started in its group, and waits until it is gone.
    async fn end(&mut self) {
        if let Some(group) = self.group
            && self.child.id().is_some()
        {
            // Nobody left in it is as good as ended.
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap_or(());
        }
        self.child.kill().await.unwrap_or(());
    }
}

fn ended(
    program: &Program,
    status: ExitStatus,
    out: Said<impl Sized>,
    err: Said<impl Sized>,
) -> Result<Ended, ProcessError> {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ok(Ended {
            code,
            stdout: out.bytes,
            stderr: err.bytes,
        }),
        (None, signal) => Err(ProcessError::Signal {
            program: program.name(),
            signal: signal.unwrap_or_default(),
        }),
    }
}

/// One of its pipes, `None` when it is at its end, and what came out of it.
struct Said<R> {
    pipe: Option<R>,
    bytes: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Said<R> {
    fn new(pipe: Option<R>) -> Self {
        Said {
            pipe,
            bytes: Vec::new(),
        }
    }

    /// Reads once. Nothing is lost when the future is dropped.
    async fn more(&mut self) -> std::io::Result<()> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        self.bytes.reserve(READ_BYTES);
        if pipe.read_buf(&mut self.bytes).await? == 0 {
            self.pipe = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::new("/bin/sh").arguments(["-c", script])
    }

    fn run(program: &Program) -> Result<Ended, ProcessError> {
        run_until(program, &CancellationToken::new())
    }

    fn run_until(program: &Program, cancel: &CancellationToken) -> Result<Ended, ProcessError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(program.run_async(cancel))
    }

    fn message(program: &Program) -> String {
        run(program).expect_err("it fails").to_string()
    }

    #[test]
    fn it_gets_what_it_is_given_and_its_words_come_back() {
        let program = shell("cat; echo \"$1 $GIVEN ${HOME-none}\" >&2; exit 7")
            .arguments(["sh", "a b"])
            .variable("GIVEN", "value")
            .without_variable("HOME")
            .stdin("text on stdin");
        let ended = run(&program).expect("it ends");
        assert_eq!(ended.code, 7);
        assert_eq!(ended.stdout_text(), "text on stdin");
        assert_eq!(ended.stderr_text(), "a b value none");
    }

    #[test]
    fn without_input_it_reads_nothing() {
        assert_eq!(run(&shell("cat")).expect("it ends").stdout_text(), "");
    }

    #[test]
    fn a_program_need_not_read_its_input() {
        let program = shell("exit 0").stdin(vec![b'x'; 4 * 1024 * 1024]);
        assert_eq!(run(&program).expect("it ends").code, 0);
    }

    #[test]
    fn more_than_a_pipe_holds_goes_through_in_both_directions() {
        let bytes: Vec<u8> = (0..3 * 1024 * 1024u32).map(|at| (at % 251) as u8).collect();
        let ended = run(&shell("cat").stdin(bytes.clone())).expect("it ends");
        assert!(ended.stdout == bytes);
    }

    #[test]
    fn what_goes_wrong_is_named() {
        assert_eq!(
            message(&Program::new("/no/such/program")),
            "there is no program `/no/such/program`"
        );
        assert_eq!(
            message(&Program::new("/etc")),
            "failed to run `/etc`: Permission denied (os error 13)"
        );
        assert_eq!(
            message(&shell("kill -TERM $$")),
            "`/bin/sh` was ended by signal 15"
        );
        assert_eq!(
            message(&shell("yes").output_bytes_max(1000)),
            "`/bin/sh` said more than 1000 bytes and was ended"
        );
        assert_eq!(
            message(&shell("yes >&2").output_bytes_max(1000)),
            "`/bin/sh` said more than 1000 bytes and was ended"
        );
        assert_eq!(
            message(&shell("while :; do :; done").deadline(Duration::from_millis(1))),
            "`/bin/sh` was still running after 0 s and was ended"
        );
    }

    #[test]
    fn an_interrupt_ends_it() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let error = run_until(&shell("while :; do :; done"), &cancel).expect_err("interrupted");
        assert_eq!(CommandError::from(error).kind, ExitCode::Interrupted);
    }

    #[test]
    fn what_it_started_is_ended_as_well() {
        // Whoever holds the other end of this pipe keeps us reading.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = shell("(while :; do :; done) & wait").command();
        command.stderr(writer);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let child = command.spawn().expect("it starts");
            let id = i32::try_from(child.id().expect("an id")).expect("an id");
            let group = rustix::process::Pid::from_raw(id);
            Running { child, group }.end().await;
        });
        drop(command);
        let mut reader = reader;
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut rest).expect("everybody is gone");
    }

    #[test]
    fn what_it_leaves_running_is_not_waited_for() {
        let ended = run(&shell("echo said; sleep 600 & echo $!")).expect("it ends");
        let text = ended.stdout_text();
        let (said, id) = text.trim().split_once('\n').expect("two lines");
        assert_eq!((ended.code, said), (0, "said"));
        let left = rustix::process::Pid::from_raw(id.parse().expect("an id")).expect("an id");
        rustix::process::kill_process(left, rustix::process::Signal::KILL).expect("it runs");
    }

    #[test]
    fn a_path_is_searched_in_order_and_only_where_it_is_absolute() {
        let is_program = |path: &Path| path == Path::new("/b/x") || path == Path::new("/c/x");
        let find = |path: &str| on_path(Some(OsStr::new(path)), "x", &is_program);
        assert_eq!(find("/a:/b:/c"), Some("/b/x".into()));
        assert_eq!(find("b:/c:"), Some("/c/x".into()));
        assert_eq!(find("/a"), None);
        assert_eq!(on_path(None, "x", &is_program), None);
    }
}
