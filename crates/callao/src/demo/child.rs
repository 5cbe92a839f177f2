//! A callao in a process of its own, so that it can be ended at any moment, without mercy too. Whoever runs it hears each
//! line as it comes. Knows no command, and nothing of what the lines mean.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How often somebody who hears nothing is asked whether it should go on.
const LOOK: Duration = Duration::from_millis(100);
/// How long a process may take that was asked to end. Whoever is in the middle of something puts it in order first.
const END_MAX: Duration = Duration::from_secs(20);
const END_LOOK: Duration = Duration::from_millis(20);
/// Lines that nobody has looked at yet.
const LINES_COUNT_MAX: usize = 256;

/// How a run went.
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    /// Every line of stdout.
    pub(crate) text: Vec<String>,
    /// Those that are JSON.
    pub(crate) lines: Vec<Value>,
    /// Every line of stderr.
    pub(crate) messages: Vec<String>,
    pub(crate) elapsed: Duration,
    /// Bytes that were proven when it was killed.
    pub(crate) killed_at: Option<u64>,
}

impl Run {
    /// The first object of this `type`.
    pub(crate) fn first(&self, kind: &str) -> Option<&Value> {
        self.lines.iter().find(|line| line["type"] == kind)
    }
}

/// What is heard of a process.
pub(crate) enum Heard<'a> {
    /// A line of stdout.
    Result(&'a str),
    /// A line of stderr.
    Message(&'a str),
    /// Nothing, for a while.
    Nothing,
}

/// Runs a command to its end, or until `hear` wants it ended by a signal.
///
/// # Errors
/// It cannot be started.
pub(crate) fn run(
    command: &mut Command,
    hear: &mut dyn FnMut(Heard<'_>) -> ControlFlow<Signal>,
) -> io::Result<Run> {
    let started = Instant::now();
    let mut running = Running::start(command)?;
    let (mut text, mut messages) = (Vec::new(), Vec::new());
    let mut ending: Option<Instant> = None;
    loop {
        let line = running.next(LOOK);
        let wish = match &line {
            Next::Line(Line::Result(line)) => hear(Heard::Result(line)),
            Next::Line(Line::Message(line)) => hear(Heard::Message(line)),
            Next::Nothing | Next::End => hear(Heard::Nothing),
        };
        match line {
            Next::Line(Line::Result(line)) => text.push(line),
            Next::Line(Line::Message(line)) => messages.push(line),
            // What it started may hold its pipes for longer than it lives.
            Next::Nothing | Next::End if running.ended()?.is_some() => break,
            Next::Nothing => {}
            Next::End => std::thread::sleep(END_LOOK),
        }
        match (ending, wish) {
            (None, ControlFlow::Break(signal)) => {
                running.send(signal);
                ending = Some(Instant::now());
            }
            (Some(asked), _) if asked.elapsed() > END_MAX => running.send(Signal::KILL),
            _ => {}
        }
    }
    let status = running.wait()?;
    let lines = text
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    Ok(Run {
        status,
        lines: lines.collect(),
        text,
        messages,
        elapsed: started.elapsed(),
        killed_at: None,
    })
}

/// A process that goes on by itself. Dropping it ends it.
pub(crate) struct Running {
    child: Child,
    heard: Option<Receiver<Line>>,
    status: Option<ExitStatus>,
}

/// A line that it said.
pub(crate) enum Line {
    /// On stdout.
    Result(String),
    /// On stderr.
    Message(String),
}

/// What comes next.
pub(crate) enum Next {
    Line(Line),
    /// Not in this time.
    Nothing,
    /// It says nothing any more.
    End,
}

impl Running {
    /// Starts a command, which reads nothing.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (sender, heard) = mpsc::sync_channel(LINES_COUNT_MAX);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let running = Running {
            child,
            heard: Some(heard),
            status: None,
        };
        if let Some(stdout) = stdout {
            listen("results", stdout, sender.clone(), Line::Result)?;
        }
        if let Some(stderr) = stderr {
            listen("messages", stderr, sender, Line::Message)?;
        }
        Ok(running)
    }

    /// The next line, if there is one in this time.
    pub(crate) fn next(&self, within: Duration) -> Next {
        let Some(heard) = &self.heard else {
            return Next::End;
        };
        match heard.recv_timeout(within) {
            Ok(line) => Next::Line(line),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    /// Nobody wants to hear what it says from now on.
    pub(crate) fn ignore(&mut self) {
        self.heard = None;
    }

    /// How it ended, if it has.
    fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    fn send(&mut self, signal: Signal) {
        // Not to somebody else who got its number.
        if self.status.is_none() {
            // If it ended just now, there is nothing to do.
            kill_process(Pid::from_child(&self.child), signal).unwrap_or(());
        }
    }

    /// Asks it to end, and waits until it has; if it does not, it is killed.
    ///
    /// # Errors
    /// The system does not tell how it ended.
    pub(crate) fn end(&mut self) -> io::Result<ExitStatus> {
        self.send(Signal::TERM);
        self.ignore();
        self.wait()
    }

    /// Waits until it has ended; it is killed if that takes too long.
    fn wait(&mut self) -> io::Result<ExitStatus> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if since.elapsed() > END_MAX {
                self.send(Signal::KILL);
            }
            std::thread::sleep(END_LOOK);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_none() {
            // Its status is of no interest to whoever has not asked for it.
            drop(self.end());
        }
    }
}

/// Reads lines until there are no more, also when nobody wants them: a full pipe would stop whoever says them.
fn listen(
    name: &str,
    stream: impl Read + Send + 'static,
    sender: SyncSender<Line>,
    as_line: fn(String) -> Line,
) -> io::Result<()> {
    let read = move || {
        let lines = BufReader::new(stream).split(b'\n');
        for line in lines.map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            sender.send(as_line(line)).unwrap_or(());
        }
    };
    let named = std::thread::Builder::new().name(name.into());
    named.spawn(read).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_it_says_is_heard_as_it_comes_and_kept() {
        let mut heard = Vec::new();
        let run = run(
            &mut shell("echo '{\"type\":\"a\"}'; echo plain; echo no >&2; exit 3"),
            &mut |line| {
                match line {
                    Heard::Result(line) => heard.push(format!("out {line}")),
                    Heard::Message(line) => heard.push(format!("err {line}")),
                    Heard::Nothing => {}
                }
                ControlFlow::Continue(())
            },
        )
        .expect("it runs");
        assert_eq!(run.status.code(), Some(3));
        assert_eq!(run.text, ["{\"type\":\"a\"}", "plain"]);
        assert_eq!(
            (run.lines.len(), run.messages.as_slice()),
            (1, ["no".to_string()].as_slice())
        );
        assert!(run.first("a").is_some() && run.first("b").is_none());
        heard.sort();
        assert_eq!(heard, ["err no", "out plain", "out {\"type\":\"a\"}"]);
    }

    #[test]
    fn it_is_ended_when_somebody_wants_that() {
        for signal in [Signal::TERM, Signal::KILL] {
            let mut script = shell("echo here; exec sleep 600");
            let run = run(&mut script, &mut |line| match line {
                Heard::Result("here") => ControlFlow::Break(signal),
                _ => ControlFlow::Continue(()),
            });
            let run = run.expect("it runs");
            assert!(!run.status.success(), "{}", run.status);
            assert_eq!(run.text, ["here"]);
        }
    }

    #[test]
    fn what_nobody_hears_does_not_stop_it_and_dropping_ends_it() {
        let mut running =
            Running::start(&mut shell("yes | head -c 3000000; exit 7")).expect("it starts");
        running.ignore();
        assert!(matches!(running.next(LOOK), Next::End));
        assert_eq!(running.wait().expect("it ends").code(), Some(7));
        let running = Running::start(&mut shell("exec sleep 600")).expect("it starts");
        let id = Pid::from_child(&running.child);
        drop(running);
        assert!(rustix::process::test_kill_process(id).is_err());
    }
}
