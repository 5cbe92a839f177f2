//! `callao edit`: changes the size of an instance that does not run.

use callao_vm::disk;
use callao_vm::requests::Request;

use super::{ask, find, recipe, tools};
use crate::app::App;
use crate::cli::EditArgs;
use crate::error::CommandError;
use crate::output::human;

pub(crate) fn run(app: &App, args: &EditArgs) -> Result<(), CommandError> {
    let instance = find(app, &args.name)?;
    ask(&instance, Request::Edit)?;
    let _lock = instance.lock()?;
    let mut spec = instance.spec()?;
    let machine = &mut spec.machine;
    if let Some(cpus) = args.cpus {
        if cpus == 0 {
            return Err(CommandError::usage("--cpus must be at least 1"));
        }
        machine.cpus = cpus;
    }
    if let Some(bytes) = recipe::size("--memory", args.memory.as_deref())? {
        machine.memory_bytes = bytes;
    }
    if let Some(bytes) = recipe::size("--disk", args.disk.as_deref())? {
        if bytes < machine.disk_bytes {
            return Err(CommandError::usage(format!(
                "--disk is {}, and the disk has {} already: it can only grow",
                human::short_bytes(bytes),
                human::short_bytes(machine.disk_bytes)
            )));
        }
        let qemu_img = tools::qemu_img(app)?;
        tools::wait(disk::resize(&qemu_img, &instance.places().disk(), bytes))??;
        machine.disk_bytes = bytes;
    }
    spec.write(&instance.places().spec())?;
    app.output
        .info(format!("Instance `{}` is changed", instance.name()));
    Ok(())
}
