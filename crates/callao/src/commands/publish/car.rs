//! `callao publish --to car:PATH`: one CAR with a root for each file.

use std::path::Path;

use super::{Publishing, show};
use crate::app::App;
use crate::cli::PublishArgs;
use crate::commands::add::car;
use crate::commands::add::measured::{self, Measured};
use crate::error::CommandError;
use crate::host;
use crate::output::{human, json};

/// Writes the CAR; it appears complete or not at all.
pub(super) fn run(app: &App, args: &PublishArgs, out: &Path) -> Result<(), CommandError> {
    let publishing = Publishing::of(args)?;
    let out = app.host.working_dir.join(out);
    let mut files: Vec<Measured> = Vec::new();
    for given in &args.files {
        let file = measured::measure(app, given, publishing.shape)?;
        if file.path == host::real_path(&out) {
            return Err(CommandError::usage(format!(
                "`{}` is both a file to publish and the CAR to write",
                given.display()
            )));
        }
        files.push(file);
    }
    let parts: Vec<_> = files
        .iter()
        .map(|file| (&file.layout, file.path.as_path()))
        .collect();
    car::write(app, &parts, &out)?;
    let total = files.iter().map(|file| file.layout.size()).sum();
    app.output.info(format!(
        "Wrote {} to `{}`, profile {}",
        human::bytes(total),
        out.display(),
        publishing.profile.name()
    ));
    for one in &files {
        let to = json::PublishedTo::Car {
            car: out.display().to_string(),
        };
        show(app, one, to);
    }
    Ok(())
}
