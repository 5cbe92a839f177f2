//! How a machine is reached by ssh: the programs, the configuration of the instance, and its key.

use std::ffi::OsString;
use std::path::Path;

use callao_vm::instance::Instance;
use callao_vm::requests::{Answer, Request};
use callao_vm::ssh::command::{Access, Guest};
use callao_vm::ssh::{client, config};

use super::{ask, follow, path_dirs, tools};
use crate::app::App;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::{env_vars, host};

/// How to get into an instance that runs; one that is starting is waited for.
///
/// # Errors
/// Virtual machine: it does not run, or there is no ssh.
pub(super) fn guest(app: &App, instance: &Instance) -> Result<Guest, CommandError> {
    let mut state = instance.known().state;
    if ask(instance, Request::Enter)? == Answer::Wait {
        app.output.info(format!(
            "Instance `{}` is being started: waiting for it",
            instance.name()
        ));
        state = follow::until_running(app, instance, None)?;
    }
    let client = client::find(
        &path_dirs(app),
        app.host.text_variable(env_vars::SSH).as_deref(),
    )?;
    let port = state.ssh_port.ok_or_else(|| {
        CommandError::new(
            ExitCode::Machine,
            format!("instance `{}` has no port for ssh", instance.name()),
        )
    })?;
    Ok(Guest {
        access: Access {
            client,
            config: instance.places().ssh_config(),
            host: config::host_of(instance.name()),
        },
        key: tools::key_dir(app)?.join("user"),
        user: instance.spec()?.machine.user.name,
        port,
    })
}

/// Becomes a program. Comes back only if that fails.
pub(super) fn become_program(argv: &[OsString]) -> CommandError {
    let Some((program, arguments)) = argv.split_first() else {
        return CommandError::new(ExitCode::Unexpected, "there is nothing to run");
    };
    let error = host::become_program(Path::new(program), arguments, &[], None);
    CommandError::new(
        ExitCode::Machine,
        format!("failed to run `{}`: {error}", Path::new(program).display()),
    )
}
