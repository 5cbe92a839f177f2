//! A file that is to be published, with everything that names it. Must not know where it goes.

use std::path::{Path, PathBuf};

use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_content::layout::Layout;
use callao_content::profile::Shape;
use callao_store::check;

use crate::app::App;
use crate::commands::add;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host;
use crate::output::{json, progress};

/// A file that has been read.
pub(super) struct Measured {
    /// Absolute and without links.
    pub(super) path: PathBuf,
    /// As it was given.
    pub(super) name: String,
    pub(super) layout: Layout,
    pub(super) digest: Digest,
}

/// Digest and layout of a file.
pub(super) fn measure(app: &App, given: &Path, shape: Shape) -> Result<Measured, CommandError> {
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
    let adopted = adopted?;
    let digest = adopted.digests.first().copied();
    let digest =
        digest.ok_or_else(|| CommandError::new(ExitCode::Unexpected, "no digest was computed"))?;
    Ok(Measured {
        path,
        name,
        layout: adopted.layout,
        digest,
    })
}

/// Prints the address of a published file and its entry for a template; `to` says in JSON where it is.
pub(super) fn show(app: &App, file: &Measured, to: json::PublishedTo) {
    let root = file.layout.root();
    let url = add::address(root, &file.name);
    app.output.json(&json::PublishedFile {
        kind: "result",
        location: url.clone(),
        path: file.path.display().to_string(),
        digest: file.digest.to_string(),
        cid: cid::text(root),
        size: file.layout.size(),
        to,
    });
    app.output.result(&url);
    app.output
        .result(add::entry(&url, &file.name, &file.digest, root));
}
