//! Waits for what a supervisor does, by what it writes down, and tells it. Changes nothing.

use std::process::Child;
use std::time::{Duration, Instant};

use callao_vm::instance::{Instance, Known};
use callao_vm::state::{Failure, State};
use callao_vm::status::Status;

use crate::app::App;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::output::human;

/// How often what is written down is read.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// A supervisor writes down at once that it is there.
const SUPERVISOR_MAX: Duration = Duration::from_secs(10);

/// Waits until the supervisor that is `ours`, or somebody else's, has the machine running.
///
/// # Errors
/// Virtual machine: it does not run, for the reason that the supervisor gives. Interrupted: it goes on without us.
pub(super) fn until_running(
    app: &App,
    instance: &Instance,
    mut ours: Option<Child>,
) -> Result<State, CommandError> {
    let _guard = app.interrupt.guard();
    let begun = Instant::now();
    let mut told = String::new();
    let mut warned = None;
    // Whoever ends takes its name away again.
    let mut has_begun = false;
    loop {
        if app.interrupt.is_set() {
            let name = instance.name();
            app.output.info(format!(
                "Instance `{name}` goes on starting; callao stop {name} ends it"
            ));
            return Err(CommandError::interrupted());
        }
        let known = instance.known();
        let runs = matches!(known.status, Status::Starting | Status::Running);
        has_begun |= match &ours {
            Some(child) => known
                .state
                .supervisor
                .is_some_and(|supervisor| supervisor.pid == child.id()),
            // One that has its place has not yet written down that it is there.
            None => runs || instance.lock().is_ok(),
        };
        if has_begun {
            if known.state.doing != told && known.status == Status::Starting {
                told.clone_from(&known.state.doing);
                app.output.info(format!("  {told}"));
            }
            if known.reason != warned && known.status == Status::Starting {
                warned.clone_from(&known.reason);
                if let Some(reason) = &warned {
                    app.output.warning(reason);
                }
            }
            if let Some(ended) = judge(instance, known) {
                return ended;
            }
        }
        if let Some(child) = &mut ours
            && let Ok(Some(status)) = child.try_wait()
        {
            if status.code() == Some(ExitCode::Locked.number().into()) {
                app.output.info(format!(
                    "Another callao is starting instance `{}`: waiting for it",
                    instance.name()
                ));
                ours = None;
                has_begun = false;
                continue;
            }
            // It has written down why, or could not.
            let known = instance.known();
            return judge(instance, known).unwrap_or_else(|| Err(no_word(instance)));
        }
        if !has_begun && begun.elapsed() > SUPERVISOR_MAX {
            return Err(no_word(instance));
        }
        std::thread::sleep(LOOK_PAUSE);
    }
}

/// How it ended, if it has.
fn judge(instance: &Instance, known: Known) -> Option<Result<State, CommandError>> {
    let name = instance.name();
    match known.status {
        Status::Running => Some(Ok(known.state)),
        Status::Created | Status::Starting | Status::Stopping => None,
        Status::Stopped | Status::Broken => {
            let failure = known.state.error.unwrap_or(Failure {
                message: known.reason.unwrap_or_else(|| "it was stopped".into()),
                details: Vec::new(),
                hint: None,
            });
            Some(Err(
                of_failure(failure).context(format!("instance `{name}` did not start"))
            ))
        }
    }
}

/// A supervisor that ended without a word.
fn no_word(instance: &Instance) -> CommandError {
    let log = instance.places().supervisor_log();
    CommandError::new(
        ExitCode::Machine,
        format!(
            "instance `{}` did not start: its supervisor ended without saying why",
            instance.name()
        ),
    )
    .hint(format!("its log is `{}`", log.display()))
}

/// What a supervisor wrote down, as an error.
pub(super) fn of_failure(failure: Failure) -> CommandError {
    let mut error = CommandError::new(ExitCode::Machine, failure.message);
    error.details = failure.details;
    error.hints.extend(failure.hint);
    error
}

/// Waits until an instance does not run any more.
///
/// # Errors
/// Virtual machine: it still runs after this time. Interrupted.
pub(super) fn until_ended(
    app: &App,
    instance: &Instance,
    limit: Duration,
) -> Result<Known, CommandError> {
    let _guard = app.interrupt.guard();
    let begun = Instant::now();
    loop {
        app.interrupt.check()?;
        let known = instance.known();
        let is_over = !matches!(
            known.status,
            Status::Starting | Status::Running | Status::Stopping
        );
        // A lock that can be had is the last thing that a supervisor leaves.
        if is_over && instance.lock().is_ok() {
            return Ok(known);
        }
        if begun.elapsed() > limit {
            return Err(CommandError::new(
                ExitCode::Machine,
                format!(
                    "instance `{}` still runs after {}",
                    instance.name(),
                    human::duration(limit)
                ),
            )
            .hint("callao stop --force ends it at once"));
        }
        std::thread::sleep(LOOK_PAUSE);
    }
}
