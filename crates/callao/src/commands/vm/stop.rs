//! `callao stop` and `callao restart`: ends a machine in good order, or at once.

use std::time::Duration;

use callao_vm::instance::Instance;
use callao_vm::process_id::{Ask, ProcessId};
use callao_vm::requests::{Answer, Request};
use callao_vm::{ending, limits};

use super::{ask, find, follow, start, tools};
use crate::app::App;
use crate::cli::{RestartArgs, StopArgs};
use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// How long a supervisor may take to see that QEMU has ended, and to tidy up.
const TIDY_MAX: Duration = Duration::from_secs(10);

pub(crate) fn run(app: &App, args: &StopArgs) -> Result<(), CommandError> {
    stop(app, &find(app, &args.name)?, args.force)
}

pub(crate) fn restart(app: &App, args: &RestartArgs) -> Result<(), CommandError> {
    stop(app, &find(app, &args.name)?, args.force)?;
    start::by_name(app, &args.name, args.timeout)
}

fn stop(app: &App, instance: &Instance, force: bool) -> Result<(), CommandError> {
    let name = instance.name();
    let request = match force {
        true => Request::StopForced,
        false => Request::Stop,
    };
    match ask(instance, request)? {
        Answer::Already => {
            app.output.info(format!("Instance `{name}` does not run"));
            return Ok(());
        }
        Answer::Wait => app.output.info(format!(
            "Instance `{name}` is being stopped: waiting for it"
        )),
        Answer::Go | Answer::Refuse { .. } if force => {
            app.output.info(format!("Ending instance `{name}`"));
            return end_at_once(app, instance);
        }
        Answer::Go | Answer::Refuse { .. } => {
            app.output.info(format!("Stopping instance `{name}`"));
            ask_to_end(app, instance)?;
        }
    }
    let limit = limits::POWER_OFF_MAX + TIDY_MAX;
    let known = follow::until_ended(app, instance, limit)?;
    if known.state.qemu.is_some_and(ProcessId::is_alive) {
        let reason = known.reason.unwrap_or_default();
        return Err(CommandError::new(
            ExitCode::Machine,
            format!("instance `{name}` was not stopped: {reason}"),
        )
        .hint(format!("callao stop {name} once more ends it")));
    }
    app.output.info(format!("Instance `{name}` has stopped"));
    Ok(())
}

/// Asks the supervisor to end the machine; where there is none any more, the guest itself.
fn ask_to_end(app: &App, instance: &Instance) -> Result<(), CommandError> {
    let state = instance.known().state;
    if state
        .supervisor
        .is_some_and(|supervisor| supervisor.signal(Ask::Terminate).unwrap_or(false))
    {
        return Ok(());
    }
    let _guard = app.interrupt.guard();
    let lock = instance.lock()?;
    tools::wait(ending::orphan(instance, app.interrupt.token()))??;
    drop(lock);
    Ok(())
}

/// Ends QEMU and its supervisor, if there are any.
///
/// # Errors
/// Virtual machine: they do not end.
pub(super) fn end_at_once(app: &App, instance: &Instance) -> Result<(), CommandError> {
    let state = instance.known().state;
    let kill = |id: Option<ProcessId>| {
        // Whether it is gone is looked at below.
        id.map(|id| id.signal(Ask::Kill));
    };
    kill(state.qemu);
    // With QEMU gone it tidies up and ends by itself; if it hangs, it is killed too.
    if follow::until_ended(app, instance, TIDY_MAX).is_err() {
        app.interrupt.check()?;
        kill(instance.known().state.qemu);
        kill(state.supervisor);
        follow::until_ended(app, instance, TIDY_MAX)?;
    }
    Ok(ending::forget(instance)?)
}
