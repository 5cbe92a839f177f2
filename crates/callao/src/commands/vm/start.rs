//! `callao start`: makes an instance if there is none, starts its supervisor, and waits until the guest is ready.

use std::ffi::OsString;

use callao_vm::instance::Instance;
use callao_vm::requests::{Answer, Request};
use callao_vm::state::State;

use super::{ask, create, find, follow, instances, list, tools, warn_root};
use crate::app::App;
use crate::cli::StartArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host;

pub(crate) fn run(app: &App, args: &StartArgs) -> Result<(), CommandError> {
    let instance = match instances(app)?.find(&args.what) {
        Ok(instance) => {
            if let Some(flag) = args.new.any() {
                return Err(CommandError::usage(format!(
                    "{flag} is for a new instance, and there is an instance `{}` already",
                    args.what
                ))
                .hint("callao edit changes one that does not run"));
            }
            instance
        }
        Err(_) => {
            // Before a long download, not after it.
            let what = create::what(app, &args.what)?;
            create::make(app, what, &args.new, &args.sources, create::Then::Start)?
        }
    };
    start(app, &instance, args.timeout)
}

/// Starts an instance and tells how to get in.
///
/// # Errors
/// Virtual machine: it does not run now, or what its template asks for failed in it.
pub(super) fn start(app: &App, instance: &Instance, timeout: u64) -> Result<(), CommandError> {
    let name = instance.name();
    let child = match ask(instance, Request::Start)? {
        Answer::Already => {
            app.output.info(format!("Instance `{name}` runs already"));
            return tell(app, instance, &instance.known().state);
        }
        Answer::Wait => {
            app.output.info(format!(
                "Instance `{name}` is being started by another callao: waiting for it"
            ));
            None
        }
        Answer::Go | Answer::Refuse { .. } => {
            let chosen = tools::check(app, &instance.spec()?.machine)?;
            if let Some(why) = chosen.why {
                app.output.info(format!(
                    "The guest is run by QEMU's own translator, which is slower: {why}"
                ));
            }
            warn_root(app);
            app.output.info(format!("Starting instance `{name}`"));
            Some(spawn(app, instance, timeout)?)
        }
    };
    let state = follow::until_running(app, instance, child)?;
    tell(app, instance, &state)
}

/// Starts it again after `restart` has stopped it.
pub(super) fn by_name(app: &App, name: &str, timeout: u64) -> Result<(), CommandError> {
    start(app, &find(app, name)?, timeout)
}

/// This program once more, as the supervisor.
fn spawn(
    app: &App,
    instance: &Instance,
    timeout: u64,
) -> Result<std::process::Child, CommandError> {
    let places = instance.places();
    let mut arguments: Vec<OsString> = Vec::new();
    if let Some(file) = &app.settings.file {
        arguments.extend(["--config".into(), file.clone().into()]);
    }
    arguments.extend([
        "supervise".into(),
        places.dir().into(),
        "--timeout".into(),
        timeout.to_string().into(),
    ]);
    host::start_detached(&app.host.program, &arguments, &places.supervisor_log()).map_err(|error| {
        CommandError::new(
            ExitCode::Machine,
            format!("failed to start a supervisor: {error}"),
        )
    })
}

/// That it runs, how to get in, and what is not as it should be.
fn tell(app: &App, instance: &Instance, state: &State) -> Result<(), CommandError> {
    let name = instance.name();
    for notice in &state.notices {
        app.output.warning(notice);
    }
    app.output.json(&list::of(instance));
    if let Some(failure) = &state.error {
        return Err(follow::of_failure(failure.clone())
            .context(format!("instance `{name}` runs, but"))
            .hint(format!("callao shell {name} gets you in")));
    }
    app.output.info(format!(
        "Instance `{name}` runs. To get in: callao shell {name}"
    ));
    if let Some(message) = instance.spec()?.machine.message {
        app.output.info(message.trim_end());
    }
    Ok(())
}
