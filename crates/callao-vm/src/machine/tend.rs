//! What goes on while QEMU runs: the connection to the guest, its set-up, its ports and its clock, until one of the two
//! ends or somebody stops it. Must not know how QEMU was started.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::boot::Begun;
use super::clock::{Moment, jumped};
use super::guest::{self, Guest};
use super::running::{Ended, Running};
use super::{End, Job};
use crate::forward::keeper::{Keeper, Note};
use crate::forward::rules::Rules;
use crate::qemu::process::{self, last_words};
use crate::ssh::master;
use crate::state::{Failure, Phase};
use crate::{files, limits};

/// Why the tending is over.
pub(super) enum Over {
    /// QEMU has ended.
    Ended(Ended),
    /// Somebody wants it to stop.
    Stop,
    /// The guest did not become ready.
    Failed(Failure),
}

/// Brings the guest to where it is ready, and keeps it so.
pub(super) async fn tend(job: &Job<'_>, board: &Board, begun: &mut Begun) -> Over {
    let places = job.instance.places();
    let log = places.qemu_log();
    let (master, keeping) = master::new(begun.access.clone(), places.ssh_socket());
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let guest = Guest {
        address: address(begun.ports.ssh),
        closed: begun.ports.closed.map(address),
        master,
        serial_log: places.serial_log(),
        serial_from: begun.serial_from,
        has_answered: CancellationToken::new(),
    };
    if let Some(port) = begun.ports.closed {
        begun.running.give_up(port, guest.has_answered.clone());
    }
    let no_space = begun.running.no_space();
    let cancel = CancellationToken::new();
    let mut keep = std::pin::pin!(async {
        tokio::select! {
            () = guest.has_answered.cancelled() => {}
            () = cancel.cancelled() => {}
        }
        keeping.run(cancel.clone()).await;
    });
    let over = tokio::select! {
        ended = begun.running.ended(&log) => Over::Ended(ended),
        () = job.stop.cancelled() => Over::Stop,
        failure = life(job, board, &guest, &mut begun.shares, no_space, cancel.clone()) => Over::Failed(failure),
        // It ends only when it is told to.
        () = &mut keep => return Over::Stop,
    };
    // Whatever goes through the connection has ended with `life`.
    cancel.cancel();
    keep.await;
    over
}

/// From the first instruction to the last. Returns only if the guest does not become ready.
async fn life(
    job: &Job<'_>,
    board: &Board,
    guest: &Guest,
    shares: &mut super::shares::Shares,
    mut no_space: watch::Receiver<bool>,
    cancel: CancellationToken,
) -> Failure {
    let machine = &job.spec.machine;
    let rules = Rules::new(&machine.port_forwards, guest.address.port(), !machine.plain);
    let mut asked = {
        let wanted = rules.wanted(&BTreeSet::new());
        wanted.to_guest.len() + wanted.to_host.len()
    };
    let (sender, mut notes) = mpsc::channel(limits::NOTICES_COUNT_MAX);
    let ports = Keeper::new(guest.master.clone(), rules, sender).run(cancel);
    let space = watch_space(board, no_space.clone());
    let main = async {
        if let Err(failure) = guest::ready(job, board, guest, shares).await {
            return failure;
        }
        // Whoever is told that the machine runs may use its ports at once.
        let soon = Instant::now() + limits::FORWARDS_WAIT;
        while asked > 0
            && let Ok(Some(note)) = timeout_at(soon, notes.recv()).await
        {
            asked -= usize::from(tell(board, &note));
        }
        // One that stands still does not run yet, and whoever started it has been told why.
        let going_on = no_space.wait_for(|is_full| !is_full);
        let _ = timeout(job.launch.ready_within, going_on).await;
        board.change(|state| {
            state.phase = Phase::Running;
            state.doing.clear();
        });
        while let Some(note) = notes.recv().await {
            tell(board, &note);
        }
        std::future::pending().await
    };
    let rest = async {
        tokio::join!(ports, watch_clock_and_log(guest), space);
        std::future::pending().await
    };
    tokio::select! {
        // What is written down of the disk comes before what is written down because of it.
        biased;
        failure = rest => failure,
        failure = main => failure,
    }
}

/// Writes down when the guest stands still, and when it goes on.
async fn watch_space(board: &Board, mut no_space: watch::Receiver<bool>) {
    let full = Failure::new(
        "the disk of this computer is full: the guest stands still until there is room",
    )
    .with_hint("make room; the guest goes on by itself");
    // What was wrong before still is afterwards.
    let mut before = None;
    loop {
        if no_space.wait_for(|is_full| *is_full).await.is_err() {
            return;
        }
        board.change(|state| before = state.error.replace(full.clone()));
        if no_space.wait_for(|is_full| !is_full).await.is_err() {
            return;
        }
        board.change(|state| {
            if state.error.as_ref() == Some(&full) {
                state.error = before.take();
            }
        });
    }
}

/// Writes down what became of a forward. Whether it is one that the template names.
fn tell(board: &Board, note: &Note) -> bool {
    board.log(&note.to_string());
    match note {
        Note::Opened(entry) => entry.is_asked,
        Note::Refused { entry, .. } if entry.is_asked => {
            board.notice(note.to_string());
            true
        }
        _ => false,
    }
}

/// Sets the guest's clock when this computer has slept: the guest did not notice. And keeps the guest from filling the disk
/// with what it says.
async fn watch_clock_and_log(guest: &Guest) {
    let mut before = Moment::now();
    loop {
        tokio::time::sleep(limits::CLOCK_LOOK_PAUSE).await;
        // One that cannot be copied, on a disk that is full, is tried again.
        let _ = process::keep_bounded(&guest.serial_log);
        let now = Moment::now();
        if jumped(before, now, limits::CLOCK_TOLERATED) {
            let script = format!("sudo -n date -u -s @{}\n", now.clock.as_secs());
            // A guest without sudo keeps its own clock.
            let _ = guest.master.run(&script, limits::SCRIPT_WAIT).await;
        }
        before = now;
    }
}

/// Brings QEMU to its end, if it has not come to one, and judges it.
pub(super) async fn finish(job: &Job<'_>, board: &Board, mut running: Running, over: Over) -> End {
    let places = job.instance.places();
    let log = places.qemu_log();
    let was_ready = board.state().phase == Phase::Running;
    let end = match over {
        Over::Ended(Ended::Died { status, words }) => {
            let how = status.map_or_else(String::new, |status| format!(" ({status})"));
            End::Broken(
                Failure::new(format!("QEMU ended without being asked{how}")).with_lines(&words),
            )
        }
        Over::Ended(Ended::ByGuest) if !was_ready => End::Stopped(Some(
            Failure::new("the guest switched itself off before it was ready")
                .with_lines(&last_words(&places.serial_log(), 0)),
        )),
        Over::Ended(_) => End::Stopped(None),
        Over::Stop => {
            board.change(|state| {
                state.phase = Phase::Stopping;
                state.doing = "waiting for the guest to switch itself off".into();
            });
            let was_killed = running.power_off(&log, limits::POWER_OFF_MAX).await;
            End::Stopped(was_killed.then(|| {
                Failure::new(format!(
                    "the guest did not switch itself off within {} s, and was ended",
                    limits::POWER_OFF_MAX.as_secs()
                ))
            }))
        }
        Over::Failed(failure) => {
            board.doing("ending the guest");
            running.power_off(&log, limits::POWER_OFF_FAILED_MAX).await;
            End::Broken(failure)
        }
    };
    guest::forget_copies(&job.spec.machine);
    for left in [places.ssh_socket(), places.qmp_socket(), places.qemu_pid()] {
        let _ = files::remove(&left);
    }
    end
}
