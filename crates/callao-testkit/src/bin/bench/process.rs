//! What a running process has used so far, from /proc: CPU seconds and resident memory.

use std::fs;

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
