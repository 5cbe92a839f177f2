//! From the guest's first instruction to the moment when it is ready: ssh answers, its mounts are there, its scripts have
//! run, its probes succeed. Must not know QEMU.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use callao_template::machine::Machine;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Job;
use super::board::Board;
use super::shares::Shares;
use crate::qemu::process::last_words;
use crate::ssh::master::{Master, Output};
use crate::ssh::ready;
use crate::ssh::said::said;
use crate::state::Failure;
use crate::{files, limits};

/// Where the guest says that all of its set-up is done, and with which result.
const DONE: &str = "/run/callao/boot-done";
/// Where it says what came of its mounts.
const MOUNTS: &str = "/run/callao/mounts";
/// Where it writes what its set-up does.
const LOG: &str = "/var/log/callao-boot.log";

/// A guest that boots.
pub(super) struct Guest {
    /// Where its ssh is, once it answers.
    pub(super) address: SocketAddr,
    /// Where it refuses connections, once its network is up.
    pub(super) closed: Option<SocketAddr>,
    /// The connection to it.
    pub(super) master: Master,
    /// What it says on its serial port.
    pub(super) serial_log: PathBuf,
    /// Where this boot begins in it.
    pub(super) serial_from: u64,
    /// Cancelled once its ssh answers. A connection that is made before may hang: QEMU accepts it, and what it sent into
    /// a guest without a network is not repeated for seconds.
    pub(super) has_answered: CancellationToken,
}

/// Waits until the guest is ready. What fails in a guest that can be used is written down and no error.
///
/// # Errors
/// It cannot be reached, or does not say in time that it is set up.
pub(super) async fn ready(
    job: &Job<'_>,
    board: &Board,
    guest: &Guest,
    shares: &mut Shares,
) -> Result<(), Failure> {
    let end = Instant::now() + job.launch.ready_within;
    let left = || end.saturating_duration_since(Instant::now());
    board.doing("waiting for the guest's ssh");
    ready::answers(guest.address, guest.closed, left(), job.stop)
        .await
        .map_err(|error| no_answer(job, guest, &error))?;
    guest.has_answered.cancel();
    board.doing("logging in");
    guest
        .master
        .lets_in(left(), job.stop)
        .await
        .map_err(|error| no_login(guest, &error))?;
    if asks_for_nothing(&job.spec.machine, &job.launch.proxies) {
        return Ok(());
    }
    board.doing("waiting for the guest's mounts");
    let mounts = when_there(guest, MOUNTS, left()).await?;
    shares.complete(board, guest, &mounts).await;
    board.doing("waiting for the guest's set-up");
    let done = when_there(guest, DONE, left()).await?;
    judge_set_up(board, guest, &done).await;
    probe(job, board, guest, left()).await?;
    copy_to_host(job, board, guest).await;
    Ok(())
}

/// A plain guest that nothing is to be done in is ready once it lets in: nobody waits for the end of its set-up, which
/// takes seconds more.
fn asks_for_nothing(machine: &Machine, proxies: &BTreeMap<String, String>) -> bool {
    machine.plain
        && machine.provision.is_empty()
        && machine.probes.is_empty()
        && machine.copy_to_host.is_empty()
        && machine.env.is_empty()
        && (!machine.propagate_proxy || proxies.is_empty())
        && !machine.upgrade_packages
}

fn no_answer(job: &Job<'_>, guest: &Guest, error: &ready::Error) -> Failure {
    let words = last_words(&guest.serial_log, guest.serial_from);
    let failure = match error {
        ready::Error::Late { seen, .. } => Failure::new(format!(
            "the guest did not answer by ssh within {} s; last seen: {seen}",
            job.launch.ready_within.as_secs()
        )),
        other => Failure::of(other),
    };
    if words.is_empty() {
        return failure.with_hint(
            "the guest said nothing on its serial port: the image may not be bootable, be for another architecture, or \
             need firmware.legacyBIOS",
        );
    }
    let hint = match words.contains("No bootable device")
        || words.contains("BdsDxe: No bootable option")
        || words.contains("UEFI Interactive Shell")
        || words.contains("Shell>")
    {
        true => {
            "the firmware found nothing to boot: firmware.legacyBIOS may be needed, or not be wanted"
        }
        false => "callao logs NAME shows all that the guest said",
    };
    failure
        .with_lines("the guest said last:")
        .with_lines(&words)
        .with_hint(hint.replace("NAME", "with the instance's name"))
}

fn no_login(guest: &Guest, error: &crate::ssh::master::Error) -> Failure {
    Failure::of(error)
        .with_lines("the guest said last:")
        .with_lines(&last_words(&guest.serial_log, guest.serial_from))
        .with_hint("the image needs cloud-init, which makes the user and its key")
}

/// What is in a file of the guest, as soon as it is there.
async fn when_there(guest: &Guest, path: &str, within: Duration) -> Result<String, Failure> {
    // Waited for in the guest: nothing here wakes up meanwhile.
    let script =
        format!("while [ ! -e {path} ]; do sleep 0.1 2>/dev/null || sleep 1; done; cat {path}\n");
    let end = Instant::now() + within;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let output = guest.master.run(&script, left).await;
        match output {
            Ok(Output {
                code: Some(0),
                stdout,
                ..
            }) => return Ok(stdout),
            // The connection ended, as when a guest restarts its network or itself.
            Ok(_) if Instant::now() < end => sleep(limits::SCRIPT_PAUSE).await,
            Ok(_) | Err(_) => {
                return Err(Failure::new(format!(
                    "the guest did not say in {path} that it is set up"
                ))
                .with_lines("it said last:")
                .with_lines(&last_words(&guest.serial_log, guest.serial_from))
                .with_hint(
                    "the image needs cloud-init, which runs callao's boot.sh at every boot",
                ));
            }
        }
    }
}

/// Reads `0`, or the exit code of the first script that failed and its name below.
async fn judge_set_up(board: &Board, guest: &Guest, done: &str) {
    let mut lines = done.lines();
    let code = lines.next().unwrap_or_default().trim();
    if code == "0" {
        return;
    }
    let script = lines.next().unwrap_or("a script").trim().to_string();
    let tail = format!("sudo -n tail -n 40 {LOG} 2>/dev/null || tail -n 40 {LOG}\n");
    let log = guest.master.run(&tail, limits::SCRIPT_WAIT).await;
    let log = log.map(|output| output.stdout).unwrap_or_default();
    let failure = Failure::new(format!(
        "{script} failed in the guest with exit code {code}"
    ))
    .with_lines(&format!("the end of {LOG} in the guest:"))
    .with_lines(&log);
    board.change(|state| state.error = Some(failure));
}

/// Runs each probe until it succeeds.
async fn probe(
    job: &Job<'_>,
    board: &Board,
    guest: &Guest,
    within: Duration,
) -> Result<(), Failure> {
    let end = Instant::now() + within;
    for probe in &job.spec.machine.probes {
        board.doing(&format!("waiting for: {}", probe.description));
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let output = guest
                .master
                .run(&probe.script, left.min(limits::PROBE_MAX))
                .await;
            let said = match output {
                Ok(output) if output.code == Some(0) => break,
                Ok(output) => output.stderr,
                Err(error) => error.to_string(),
            };
            if Instant::now() + limits::SCRIPT_PAUSE >= end {
                let mut failure = Failure::new(format!(
                    "the probe `{}` does not succeed",
                    probe.description
                ))
                .with_lines(said.trim());
                failure.hint = Some(probe.hint.clone()).filter(|hint| !hint.is_empty());
                board.change(|state| state.error = Some(failure));
                return Ok(());
            }
            sleep(limits::SCRIPT_PAUSE).await;
        }
    }
    Ok(())
}

/// `copyToHost:`.
async fn copy_to_host(job: &Job<'_>, board: &Board, guest: &Guest) {
    for copy in &job.spec.machine.copy_to_host {
        let quoted = crate::ssh::quote::quote(&copy.guest);
        let script = format!("sudo -n cat {quoted} 2>/dev/null || cat {quoted}\n");
        let copied =
            guest
                .master
                .run_raw(&script, limits::COPY_TO_HOST_BYTES_MAX, limits::SCRIPT_WAIT);
        let said = match copied.await {
            Ok(output) if output.status.success() && !output.is_cut => {
                match write_copy(Path::new(&copy.host), &output.stdout) {
                    Ok(()) => continue,
                    Err(error) => error.to_string(),
                }
            }
            Ok(output) if output.is_cut => {
                format!("it has more than {} bytes", limits::COPY_TO_HOST_BYTES_MAX)
            }
            Ok(_) if copy.skip_if_missing => continue,
            Ok(output) => said(&output.stderr),
            Err(error) => error.to_string(),
        };
        board.notice(format!(
            "`{}` of the guest could not be copied to `{}`: {said}",
            copy.guest, copy.host
        ));
    }
}

fn write_copy(to: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(dir) = to.parent() {
        files::make_dirs(dir)?;
    }
    files::replace(to, bytes, files::PRIVATE_FILE)
}

/// Removes the copies that are of no use without the guest.
pub(super) fn forget_copies(machine: &Machine) {
    for copy in machine
        .copy_to_host
        .iter()
        .filter(|copy| copy.delete_on_stop)
    {
        // One that somebody else removed is gone as well.
        let _ = files::remove(Path::new(&copy.host));
    }
}
