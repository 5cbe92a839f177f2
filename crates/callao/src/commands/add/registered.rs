//! A CAR file, registered where it lies: every block in it is checked once, then it is served and read from.

use std::path::Path;

use callao_content::unixfs::{self, Kind};
use callao_content::{Cid, cid, dag_pb};
use callao_store::catalogue::CarRecord;
use callao_store::foreign::BlockReader;
use callao_store::foreign::car::CarFile;

use crate::app::App;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host;
use crate::output::{human, json};

/// By its name: what is in it is checked when it is added.
pub(crate) fn is_car(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("car"))
}

/// Checks the CAR and, unless it is only to be looked at, registers it. Says what is in it, and gives back its roots.
pub(crate) fn add(app: &App, file: &Path, only_hash: bool) -> Result<Vec<Cid>, CommandError> {
    let (car, added) = read(app, file, only_hash)?;
    show(app, file, &car, &added);
    Ok(car.roots().to_vec())
}

/// A CAR that came by the dashboard: as `add FILE.car` does, without a word.
pub(super) fn register(app: &App, file: &Path) -> Result<json::AddedCar, CommandError> {
    read(app, file, false).map(|(_, added)| added)
}

/// Checks every block, and registers the CAR unless it is only to be looked at.
fn read(
    app: &App,
    file: &Path,
    only_hash: bool,
) -> Result<(CarFile, json::AddedCar), CommandError> {
    let (path, size) = app.named_file(file)?;
    let car = CarFile::open(&path).map_err(|error| {
        CommandError::from(error).hint("to add it as a file of any kind, give it another name")
    })?;
    let wrong = car.check()?;
    if wrong > 0 {
        return Err(CommandError::new(
            ExitCode::Integrity,
            format!(
                "`{}`: {wrong} of its {} blocks are not what their CIDs say",
                file.display(),
                car.block_count()
            ),
        )
        .hint("make the CAR again, or fetch it again: nothing of it was registered"));
    }
    if car.is_truncated() {
        app.output.warning(format!(
            "`{}` ends in the middle of a block; what is before it is registered",
            file.display()
        ));
    }
    if !only_hash {
        record(app, &host::real_path(&path), &car)?;
    }
    let roots = car.roots().iter().map(|root| root_of(&car, root)).collect();
    let added = json::AddedCar {
        kind: "result",
        path: file.display().to_string(),
        size,
        blocks: car.block_count(),
        roots,
        truncated: car.is_truncated(),
    };
    Ok((car, added))
}

fn record(app: &App, path: &Path, car: &CarFile) -> Result<(), CommandError> {
    let Some(catalogue) = app.catalogue() else {
        return Err(CommandError::new(
            ExitCode::Disk,
            "the CAR cannot be registered without a catalogue",
        ));
    };
    Ok(catalogue.record_car(&CarRecord {
        path: path.to_owned(),
        roots: car.roots().to_vec(),
        added_at_unix: host::unix_now(),
    })?)
}

fn show(app: &App, file: &Path, car: &CarFile, added: &json::AddedCar) {
    let roots = &added.roots;
    app.output.info(format!(
        "{}: {}, {} blocks, {} {}",
        file.display(),
        human::bytes(added.size),
        added.blocks,
        roots.len(),
        if roots.len() == 1 { "root" } else { "roots" }
    ));
    for (root, cid) in roots.iter().zip(car.roots()) {
        let size = root.size.map(|size| format!(", {}", human::bytes(size)));
        app.output.info(format!(
            "  {} is a {}{}",
            root.cid,
            root.is,
            size.unwrap_or_default()
        ));
        // In a URL the CID is always version 1: parsers fold the host to lower case.
        let in_url = Cid::new_v1(cid.codec(), *cid.hash());
        app.output.result(format!("ipfs://{}", cid::text(&in_url)));
    }
    app.output.json(added);
}

fn root_of(car: &CarFile, root: &Cid) -> json::CarRoot {
    let block = car.get(root).ok().flatten();
    let (is, size) = match block.as_deref() {
        None => ("missing block", None),
        Some(block) if root.codec() == cid::RAW => ("file", Some(block.len() as u64)),
        Some(block) => unixfs_of(block),
    };
    json::CarRoot {
        cid: cid::text(root),
        is,
        size,
    }
}

fn unixfs_of(block: &[u8]) -> (&'static str, Option<u64>) {
    let node = dag_pb::decode(block).ok();
    let data = node
        .and_then(|node| node.data)
        .and_then(|data| unixfs::decode(data).ok());
    match data.map(|data| (data.kind, data.filesize)) {
        Some((Kind::File | Kind::Raw, size)) => ("file", size),
        Some((Kind::Directory | Kind::HamtShard, _)) => ("directory", None),
        Some((Kind::Symlink, _)) => ("symlink", None),
        _ => ("block of another kind", None),
    }
}
