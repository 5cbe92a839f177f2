//! Runs one command and says what it cost: wall time, CPU time, peak memory, of itself and everything it waited for.
//!
//! `wait4` gives all of it for exactly this child; nothing else in std or in a safe crate does.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

/// What a command cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Seconds from its start to its end.
    pub(crate) wall: f64,
    /// Seconds of CPU, user and system.
    pub(crate) cpu: f64,
    /// Largest resident set of one process, in MiB.
    pub(crate) peak_mib: f64,
}

/// Runs `command` to its end; its stdout and stderr go to files in `notes`. An exit status other than 0 is an error that
/// carries the end of stderr.
pub(crate) fn run(command: &mut Command, notes: &Path) -> Outcome<Cost> {
    let started = Instant::now();
    let child = start(command, notes)?;
    let (status, mut cost) = wait(&child)?;
    cost.wall = started.elapsed().as_secs_f64();
    if status == 0 {
        return Ok(cost);
    }
    let stderr = std::fs::read_to_string(notes.join("stderr")).unwrap_or_default();
    let tail: Vec<_> = stderr.lines().rev().take(8).collect();
    let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
    Err(format!("{command:?} ended with wait status {status}:\n{tail}").into())
}

/// Starts `command`, kills it with SIGKILL after `delay`; `false` when it had ended before.
pub(crate) fn run_and_kill(command: &mut Command, notes: &Path, delay: Duration) -> Outcome<bool> {
    let mut child = start(command, notes)?;
    std::thread::sleep(delay);
    let running = child.try_wait()?.is_none();
    child.kill()?;
    child.wait()?;
    Ok(running)
}

/// What the last command wrote to stdout.
pub(crate) fn stdout(notes: &Path) -> Outcome<String> {
    Ok(std::fs::read_to_string(notes.join("stdout"))?
        .trim_end()
        .to_owned())
}

fn start(command: &mut Command, notes: &Path) -> Outcome<Child> {
    let (out, err) = (
        File::create(notes.join("stdout"))?,
        File::create(notes.join("stderr"))?,
    );
    let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
    child.map_err(|error| format!("cannot start {command:?}: {error}").into())
}

/// The wait status of a child and what it cost, but for the wall time.
#[expect(
    unsafe_code,
    reason = "wait4 has no safe binding; without it there is no peak memory of a single child"
)]
fn wait(child: &Child) -> io::Result<(i32, Cost)> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: rusage is plain data for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live locals of the types that wait4 fills; the child is ours and, as `Child` is
        // never waited for otherwise on this path, not reaped yet.
        let ended = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        if ended == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    // Linux counts in KiB.
    Ok((
        status,
        Cost {
            wall: 0.0,
            cpu,
            peak_mib: usage.ru_maxrss as f64 / 1024.0,
        },
    ))
}
