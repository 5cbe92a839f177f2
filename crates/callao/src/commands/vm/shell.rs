//! `callao shell`: a login shell in a machine, or a command in one. callao becomes ssh, so that its input, its output and
//! its exit code are those of the command.

use callao_vm::ssh::command::{Shell, Workdir, dir_in_guest};

use super::{find, inside};
use crate::app::App;
use crate::cli::ShellArgs;
use crate::error::CommandError;
use crate::host;

pub(crate) fn run(app: &App, args: &ShellArgs) -> Result<(), CommandError> {
    let instance = find(app, &args.name)?;
    let guest = inside::guest(app, &instance)?;
    let here = dir_in_guest(&app.host.working_dir, &instance.spec()?.machine.mounts);
    let workdir = match (&args.workdir, &here) {
        (Some(dir), _) => Workdir::Must(dir),
        (None, Some(dir)) => Workdir::Try(dir),
        (None, None) => Workdir::Home,
    };
    let argv = guest.access.shell(&Shell {
        workdir,
        shell: args.shell.as_deref(),
        command: &args.command,
        terminal: host::stdin_and_stdout_are_terminals(),
    });
    app.interrupt.check()?;
    Err(inside::become_program(&argv))
}
