//! What may go without a condition: rests of fetches that nobody goes on with, and rows of files that are gone.

use std::time::Duration;

use callao_store::staging::Staging;
use callao_store::{gc, lima};

use super::super::items;
use crate::app::App;
use crate::error::CommandError;
use crate::host;

/// An interrupted fetch is kept this long where nobody says another age: the next one goes on with it.
const LEFTOVER_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What was removed, or would be.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// Rests of fetches.
    pub(super) fetches: usize,
    pub(super) bytes: u64,
    /// Files that are gone.
    pub(super) forgotten: usize,
}

/// Removes the rests of fetches that are older than `age`, unless somebody works on them, and forgets files that are
/// gone.
pub(super) fn sweep(
    app: &App,
    age: Option<Duration>,
    dry_run: bool,
) -> Result<Swept, CommandError> {
    let age = i64::try_from(age.unwrap_or(LEFTOVER_AGE).as_secs()).unwrap_or(i64::MAX);
    let before_ns = host::unix_now()
        .saturating_sub(age)
        .saturating_mul(1_000_000_000);
    let mut swept = Swept::default();
    for leftover in gc::leftovers(&*app.disk, &app.places)? {
        if leftover.changed_ns >= before_ns {
            continue;
        }
        if !dry_run && !Staging::remove_leftover(&*app.disk, &app.places, &leftover.key)? {
            app.output.info(format!(
                "Kept the unfinished fetch `{}`: another process works on it",
                leftover.key
            ));
            continue;
        }
        swept.fetches += 1;
        swept.bytes += leftover.bytes;
    }
    if !dry_run {
        for entry in lima::list_entries(&*app.disk, &app.places)? {
            if let Some(dir) = entry.path.parent() {
                swept.bytes += gc::sweep_entry(&*app.disk, dir, before_ns)?;
            }
        }
    }
    swept.forgotten = forget_what_is_gone(app, dry_run)?;
    Ok(swept)
}

/// A file that cannot be looked at is not gone.
fn forget_what_is_gone(app: &App, dry_run: bool) -> Result<usize, CommandError> {
    let Some(catalogue) = app.catalogue() else {
        return Ok(0);
    };
    let mut count = 0;
    for held in items::listed(app)? {
        if matches!(app.disk.stat(&held.file.path), Ok(None)) {
            count += 1;
            if !dry_run {
                catalogue.forget(&held.file.path)?;
            }
        }
    }
    Ok(count)
}
