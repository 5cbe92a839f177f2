//! Which layout a file has, or had before it was damaged: by the proofs on disk.

use std::path::Path;

use callao_content::Cid;
use callao_content::layout::Layout;
use callao_store::catalogue::Held;
use callao_store::{check, proof};

use crate::app::App;
use crate::error::CommandError;

/// The layout of what the catalogue knows, if its proof is on disk and holds.
pub(super) fn of_held(app: &App, held: Option<&Held>) -> Option<Layout> {
    held?
        .object
        .roots
        .iter()
        .find_map(|root| proof::load(&*app.disk, &app.places, root))
}

/// Of all proofs the one that most of the file's bytes fit, if there is any: what a damaged file was, where the catalogue
/// does not say. Only a guess; the digest of the whole has the last word.
pub(super) fn resembling(app: &App, path: &Path) -> Result<Option<Layout>, CommandError> {
    let mut best: Option<(u64, Layout)> = None;
    for root in proof::list(&*app.disk, &app.places)? {
        let Some(layout) = proof::load(&*app.disk, &app.places, &root) else {
            continue;
        };
        if !check::resembles(&*app.disk, path, &layout)? {
            continue;
        }
        let wrong = wrong_bytes(app, path, &layout)?;
        // Without a fault it is the layout of the damaged bytes, by whomever it was made.
        if wrong > 0 && best.as_ref().is_none_or(|(least, _)| wrong < *least) {
            best = Some((wrong, layout));
        }
    }
    Ok(best.map(|(_, layout)| layout))
}

/// Whether a proof may be that of one of these damaged files.
pub(super) fn is_of_any(app: &App, root: &Cid, damaged: &[&Path]) -> Result<bool, CommandError> {
    let Some(layout) = proof::load(&*app.disk, &app.places, root) else {
        return Ok(false);
    };
    for path in damaged {
        if check::resembles(&*app.disk, path, &layout)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether every byte of a file is where the layout has it. A few are looked at first: most layouts are of other files.
pub(super) fn fits(app: &App, path: &Path, layout: &Layout) -> Result<bool, CommandError> {
    Ok(check::resembles(&*app.disk, path, layout)? && wrong_bytes(app, path, layout)? == 0)
}

/// Bytes that are not where the layout has them.
pub(super) fn wrong_bytes(app: &App, path: &Path, layout: &Layout) -> Result<u64, CommandError> {
    let ranges = check::bad_ranges(&*app.disk, path, layout)?;
    Ok(ranges.iter().map(|range| range.end - range.start).sum())
}
