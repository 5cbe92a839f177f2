//! Ends a machine that nobody looks after: its supervisor was killed. Whoever calls this holds the instance's lock.

use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::instance::Instance;
use crate::limits;
use crate::machine::Running;
use crate::state::{Phase, State};

/// Has the guest switch itself off, if QEMU runs, and ends it when it does not in time.
///
/// # Errors
/// [`Error::Io`]: it cannot be written down.
pub async fn orphan(instance: &Instance, cancel: &CancellationToken) -> Result<(), Error> {
    let places = instance.places();
    if let Some(qemu) = instance.known().state.qemu.filter(|id| id.is_alive()) {
        let mut running = Running::adopted(qemu);
        let log = places.qemu_log();
        // A monitor that does not answer leaves nothing but to end QEMU.
        let within = match running.connect(&places.qmp_socket()).await {
            Ok(()) => limits::POWER_OFF_MAX,
            Err(_) => limits::KILL_WAIT,
        };
        tokio::select! {
            _ = running.power_off(&log, within) => {}
            () = cancel.cancelled() => return Ok(()),
        }
    }
    forget(instance)
}

/// Writes down that the instance does not run.
///
/// # Errors
/// [`Error::Io`].
pub fn forget(instance: &Instance) -> Result<(), Error> {
    let path = instance.places().state();
    if let Ok(None) = State::read(&path) {
        return Ok(());
    }
    State {
        phase: Phase::Stopped,
        ..State::default()
    }
    .write(&path)
}
