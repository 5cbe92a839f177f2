//! A `callao get` in a process of its own, so that it can be killed without mercy. Reads its `--json` lines.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How a run went.
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    /// Every line of stdout.
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

/// Runs `program get ARGUMENTS` with a home of its own in `home`. With `kill_at`, it is killed with SIGKILL as soon as
/// so many bytes are proven.
pub(crate) fn get(
    program: &Path,
    home: &Path,
    arguments: &[String],
    kill_at: Option<u64>,
) -> io::Result<Run> {
    let started = Instant::now();
    let mut child = Command::new(program)
        .env_clear()
        .env("HOME", home)
        .env("CALLAO_CACHE_DIR", home.join("cache"))
        .env("CALLAO_DISCOVERY", "none")
        .args(["get", "--json", "--no-progress"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.take();
    let messages =
        std::thread::Builder::new()
            .name("messages".into())
            .spawn(move || -> Vec<String> {
                stderr
                    .map(|stream| {
                        BufReader::new(stream)
                            .lines()
                            .map_while(Result::ok)
                            .collect()
                    })
                    .unwrap_or_default()
            })?;
    let mut lines = Vec::new();
    let mut killed_at = None;
    for line in child
        .stdout
        .take()
        .map(BufReader::new)
        .into_iter()
        .flat_map(BufRead::lines)
    {
        let value: Value = serde_json::from_str(&line?)?;
        let done = value["done"]
            .as_u64()
            .filter(|_| value["type"] == "progress");
        if let (Some(limit), Some(done), None) = (kill_at, done, killed_at)
            && done >= limit
        {
            child.kill()?;
            killed_at = Some(done);
        }
        lines.push(value);
    }
    let status = child.wait()?;
    let messages = messages.join().unwrap_or_default();
    Ok(Run {
        status,
        lines,
        messages,
        elapsed: started.elapsed(),
        killed_at,
    })
}
