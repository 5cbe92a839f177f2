//! What Lima's defaults for a machine depend on, read from this computer. Decides nothing.

use std::path::Path;

use callao_template::Arch;
use callao_template::machine::Surroundings;
use callao_vm::places::Places;

use crate::app::App;
use crate::error::CommandError;
use crate::host::{self, machine};

/// The surroundings of an instance that is going to be there.
///
/// # Errors
/// Usage: no home directory is known.
pub(super) fn of(
    app: &App,
    name: &str,
    places: &Places,
    arch: Arch,
) -> Result<Surroundings, CommandError> {
    let home = app
        .host
        .home()
        .ok_or_else(|| CommandError::usage("$HOME is not set"))?;
    let uid = host::user_id();
    let user = machine::user(uid);
    Ok(Surroundings {
        name: name.into(),
        dir: text(places.dir()),
        arch,
        host_cpus: machine::cpus(),
        host_memory_bytes: machine::memory_bytes(),
        user: user.name,
        user_comment: user.comment,
        uid,
        home: text(&home),
        temporary_dir: text(&machine::temporary_dir()),
        timezone: machine::timezone(),
    })
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
