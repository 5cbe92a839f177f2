//! A file that has been read once, with everything that names it, and how it becomes known without a copy. Must not know
//! what it was read for.

use std::path::{Path, PathBuf};

use callao_content::digest::{Algorithm, Digest};
use callao_content::layout::Layout;
use callao_content::profile::Shape;
use callao_fetch::event::Proof;
use callao_store::disk::Stamp;
use callao_store::{Error as StoreError, check, proof};

use crate::app::App;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host;
use crate::output::progress;
use crate::record::{self, Known};

/// A file that has been read.
pub(crate) struct Measured {
    /// Absolute and without links.
    pub(crate) path: PathBuf,
    /// As it was given.
    pub(crate) name: String,
    pub(crate) layout: Layout,
    pub(crate) digest: Digest,
    stamp: Stamp,
}

/// Digest and layout of a file.
pub(crate) fn measure(app: &App, given: &Path, shape: Shape) -> Result<Measured, CommandError> {
    let (path, size) = app.named_file(given)?;
    let path = host::real_path(&path);
    let name = given
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let name =
        name.ok_or_else(|| CommandError::usage(format!("`{}` has no file name", given.display())))?;
    let bar = progress::reading_bar(&app.output, size);
    let adopted = check::adopt(&*app.disk, &path, shape, &[Algorithm::Sha256], &|at| {
        bar.set_position(at);
    });
    bar.finish_and_clear();
    let adopted = adopted.map_err(|error| match error {
        StoreError::Changed { .. } => {
            CommandError::from(error).hint("run this again when nobody writes to it")
        }
        other => other.into(),
    })?;
    let digest = adopted.digests.first().copied();
    let digest =
        digest.ok_or_else(|| CommandError::new(ExitCode::Unexpected, "no digest was computed"))?;
    Ok(Measured {
        path,
        name,
        layout: adopted.layout,
        digest,
        stamp: adopted.stamp,
    })
}

impl Measured {
    /// Makes it known: `callao get` of its digest or CID takes it from where it lies, and `callao serve` serves it.
    pub(crate) fn make_known(&self, app: &App) -> Result<(), CommandError> {
        proof::save(&*app.disk, &app.places, &self.layout)?;
        let known = Known::of(&self.layout, vec![self.digest]);
        record::user_file(app, &self.path, &self.stamp, &known, Proof::Nothing)
    }
}
