//! Virtual machines: what every one of their commands needs. What a state means and how a machine is run is
//! `callao-vm`'s business; which files it is made of is `get`'s.

use std::path::PathBuf;

use callao_vm::instance::{Instance, Instances};
use callao_vm::requests::{self, Answer, Request};

use crate::app::App;
use crate::cli::MachineCommand;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::settings::Overrides;
use crate::{env_vars, host};

mod copy;
mod create;
mod delete;
mod edit;
mod follow;
mod inside;
mod list;
mod logs;
mod recipe;
mod shell;
mod ssh_config;
mod start;
mod stop;
mod supervise;
mod surroundings;
mod tools;
mod trust;

pub(crate) use tools::firmware_dirs;

/// Below callao's own data.
const INSTANCES: &str = "instances";

/// What the flags of a command override.
pub(super) fn overrides(command: &MachineCommand) -> Overrides {
    match command {
        MachineCommand::Start(args) => Overrides::of(&args.sources),
        MachineCommand::Create(args) => Overrides::of(&args.sources),
        _ => Overrides::default(),
    }
}

pub(super) fn run(app: &App, command: &MachineCommand) -> Result<(), CommandError> {
    match command {
        MachineCommand::Start(args) => start::run(app, args),
        MachineCommand::Create(args) => create::run(app, args),
        MachineCommand::Stop(args) => stop::run(app, args),
        MachineCommand::Restart(args) => stop::restart(app, args),
        MachineCommand::Shell(args) => shell::run(app, args),
        MachineCommand::Copy(args) => copy::run(app, args),
        MachineCommand::List(args) => list::run(app, args),
        MachineCommand::Delete(args) => delete::run(app, args),
        MachineCommand::Logs(args) => logs::run(app, args),
        MachineCommand::SshConfig(args) => ssh_config::run(app, args),
        MachineCommand::Edit(args) => edit::run(app, args),
        MachineCommand::Supervise(args) => supervise::run(app, args),
    }
}

/// All instances of this user.
///
/// # Errors
/// Usage: no data directory is known, or this is no Linux.
pub(super) fn instances(app: &App) -> Result<Instances, CommandError> {
    if !cfg!(target_os = "linux") {
        return Err(CommandError::new(
            ExitCode::Machine,
            "callao runs virtual machines on Linux only",
        )
        .hint("callao lima runs limactl with its files fetched and verified"));
    }
    let dir = app.host.data_dir().map_err(CommandError::usage)?;
    Ok(Instances::new(dir.join(INSTANCES)))
}

/// The instance of this name.
///
/// # Errors
/// Not found.
pub(super) fn find(app: &App, name: &str) -> Result<Instance, CommandError> {
    Ok(instances(app)?.find(name)?)
}

/// What is to be done about a request; what cannot be done now is an error.
///
/// # Errors
/// Virtual machine: it is not in a state for this.
pub(super) fn ask(instance: &Instance, request: Request) -> Result<Answer, CommandError> {
    let known = instance.known();
    match requests::answer(request, known.status) {
        Answer::Refuse { why, hint } => {
            let name = instance.name();
            let mut refused =
                CommandError::new(ExitCode::Machine, format!("instance `{name}` {why}"));
            if let Some(reason) = known.reason {
                refused = refused.detail(reason);
            }
            Err(refused.hint(hint.replace("NAME", name)))
        }
        other => Ok(other),
    }
}

/// Whoever is root gets told that this is more than is needed.
fn warn_root(app: &App) {
    if host::user_id() == 0 {
        app.output.warning(
            "callao runs as root: QEMU does not need that, and a guest that breaks out of it would have this computer",
        );
    }
}

/// The directories of `PATH`.
fn path_dirs(app: &App) -> Vec<PathBuf> {
    crate::process::path_dirs(app.host.variable(env_vars::PATH)).collect()
}
