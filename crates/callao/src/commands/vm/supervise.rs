//! `callao supervise`: the process that looks after one machine. `callao start` runs it; nobody else needs to.

use std::time::Duration;

use callao_vm::instance::Instances;
use callao_vm::machine;

use super::tools;
use crate::app::App;
use crate::cli::SuperviseArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host;

pub(crate) fn run(app: &App, args: &SuperviseArgs) -> Result<(), CommandError> {
    // Whatever happens to the terminal is none of our business.
    host::leave_terminal();
    let (Some(root), Some(name)) = (args.dir.parent(), args.dir.file_name()) else {
        return Err(CommandError::usage("DIR is the directory of an instance"));
    };
    let instance = Instances::new(root).find(&name.to_string_lossy())?;
    let launch = tools::launch(app, &instance.spec()?, Duration::from_secs(args.timeout))?;
    let _guard = app.interrupt.guard();
    tools::wait(machine::supervise(
        &instance,
        &launch,
        app.interrupt.token(),
    ))?
    .map_err(|error| match error {
        callao_vm::Error::Busy { .. } => CommandError::new(ExitCode::Locked, error.to_string()),
        other => other.into(),
    })
}
