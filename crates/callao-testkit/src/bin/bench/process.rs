//! Processes that run: what one has used so far, from /proc (CPU seconds and resident memory), and the end of several.

use std::fs;
use std::process::Child;

use crate::Outcome;

/// Ticks of /proc/PID/stat: 100 on every Linux that this runs on (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of CPU, user and system, since it started.
pub(crate) fn cpu_seconds(pid: u32) -> Outcome<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may have spaces in it; fields 14 and 15 of the whole line are the 12th and 13th behind it.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// MiB that are resident now.
pub(crate) fn resident_mib(pid: u32) -> Outcome<f64> {
    of_status(pid, "VmRSS:")
}

/// The most MiB that were ever resident.
pub(crate) fn peak_mib(pid: u32) -> Outcome<f64> {
    of_status(pid, "VmHWM:")
}

fn of_status(pid: u32, field: &str) -> Outcome<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.split_whitespace().next())
        .ok_or("the process has ended")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}

/// Waits for all of them; `what` are those that must not fail, as in "3 of 16 clients failed".
pub(crate) fn all_succeed(children: Vec<Child>, what: &str) -> Outcome<()> {
    let all = children.len();
    let mut failed = 0;
    for mut child in children {
        failed += usize::from(!child.wait()?.success());
    }
    match failed {
        0 => Ok(()),
        _ => Err(format!("{failed} of {all} {what} failed").into()),
    }
}
