//! Processes that run: what one has used so far, from /proc (CPU seconds, resident memory, wake-ups), and the end of several.

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

/// Who started it.
pub(crate) fn parent(pid: u32) -> Outcome<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(number(&text, "PPid:")? as u32)
}

/// MiB that are resident now.
pub(crate) fn resident_mib(pid: u32) -> Outcome<f64> {
    of_status(pid, "VmRSS:")
}

/// The most MiB that were ever resident.
pub(crate) fn peak_mib(pid: u32) -> Outcome<f64> {
    of_status(pid, "VmHWM:")
}

/// MiB of it that count for this process, where each page is divided among those who have it; and those that are of no
/// file.
pub(crate) fn shares_mib(pid: u32) -> Outcome<(f64, f64)> {
    let proportional = number(
        &fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?,
        "Pss:",
    )?;
    Ok((proportional / 1024.0, of_status(pid, "RssAnon:")?))
}

/// How often its threads have gone to sleep, and so how often they have woken up. Threads that ended are not in it.
pub(crate) fn wake_ups(pid: u32) -> Outcome<u64> {
    let mut all = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("status"))?;
        all += number(&text, "voluntary_ctxt_switches:")? as u64;
    }
    Ok(all)
}

fn of_status(pid: u32, field: &str) -> Outcome<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(number(&text, field)? / 1024.0)
}

/// The number behind a field.
fn number(text: &str, field: &str) -> Outcome<f64> {
    let number = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.split_whitespace().next())
        .ok_or("the process has ended")?;
    Ok(number.parse()?)
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
