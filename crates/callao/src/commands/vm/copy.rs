//! `callao copy`: files into a machine, out of one, or from one into another, by scp.

use std::collections::BTreeMap;
use std::time::Duration;

use callao_vm::ssh::command::{self, Guest, Place, Side};

use super::{find, inside};
use crate::app::App;
use crate::cli::CopyArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::process::Program;

/// Longer than anybody waits for one file; a signal ends it before.
const COPY_MAX: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn run(app: &App, args: &CopyArgs) -> Result<(), CommandError> {
    let Some((to, from)) = args.paths.split_last() else {
        return Err(CommandError::usage("copy takes what to copy, and where to"));
    };
    let sides: Vec<Side> = args.paths.iter().map(|path| Side::parse(path)).collect();
    let mut guests: BTreeMap<String, Guest> = BTreeMap::new();
    for side in &sides {
        if let Side::Remote { name, .. } = side
            && !guests.contains_key(name)
        {
            let guest = inside::guest(app, &find(app, name)?)?;
            guests.insert(name.clone(), guest);
        }
    }
    let target = Side::parse(to);
    for source in from {
        let source = Side::parse(source);
        let argv = command::copy(
            args.recursive,
            place(&guests, &source)?,
            place(&guests, &target)?,
        )
        .map_err(|error| CommandError::usage(error.to_string()))?;
        copy(app, &argv)?;
    }
    Ok(())
}

fn place<'a>(
    guests: &'a BTreeMap<String, Guest>,
    side: &'a Side,
) -> Result<Place<'a>, CommandError> {
    match side {
        Side::Local(path) => Ok(Place::Local(path)),
        Side::Remote { name, path } => match guests.get(name) {
            Some(guest) => Ok(Place::Remote { guest, path }),
            None => Err(callao_vm::Error::NotFound { name: name.clone() }.into()),
        },
    }
}

fn copy(app: &App, argv: &[std::ffi::OsString]) -> Result<(), CommandError> {
    let Some((program, arguments)) = argv.split_first() else {
        return Ok(());
    };
    let ended = Program::new(program)
        .arguments(arguments)
        .deadline(COPY_MAX)
        .run(&app.interrupt)?;
    if ended.code == 0 {
        return Ok(());
    }
    let mut failed = CommandError::new(ExitCode::Machine, "copy failed");
    failed
        .details
        .extend(ended.stderr_text().lines().map(str::to_string));
    Err(failed)
}
