//! `callao get` as a child of the demo, killed when so many bytes are proven. Reads its `--json` lines.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::child::{self, Heard, Run};

/// Runs `program get ARGUMENTS` with a home of its own in `home`. With `kill_at`, it is killed with SIGKILL as soon as
/// so many bytes are proven.
///
/// # Errors
/// It cannot be started, or says something that is no JSON.
pub(crate) fn get(
    program: &Path,
    home: &Path,
    arguments: &[String],
    kill_at: Option<u64>,
) -> io::Result<Run> {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home)
        .env("CALLAO_CACHE_DIR", home.join("cache"))
        .env("CALLAO_DISCOVERY", "none")
        .args(["get", "--json", "--no-progress"])
        .args(arguments);
    let mut killed_at = None;
    let run = child::run(&mut command, &mut |heard| {
        let Heard::Result(line) = heard else {
            return ControlFlow::Continue(());
        };
        match (kill_at, proven(line)) {
            (Some(limit), Some(done)) if done >= limit && killed_at.is_none() => {
                killed_at = Some(done);
                ControlFlow::Break(Signal::KILL)
            }
            _ => ControlFlow::Continue(()),
        }
    })?;
    if run.lines.len() != run.text.len() {
        return Err(io::Error::other("a line of `--json` is no JSON"));
    }
    Ok(Run { killed_at, ..run })
}

/// The bytes that are proven, if a line says that.
fn proven(line: &str) -> Option<u64> {
    let value: Value = serde_json::from_str(line).ok()?;
    value["done"]
        .as_u64()
        .filter(|_| value["type"] == "progress")
}
