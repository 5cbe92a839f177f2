//! Puts repaired bytes under all names that the damaged file had, with the digest files that each of them had. The order
//! of writes is that of every publication: a crash leaves the old entry, the new one, or one that limactl would not
//! believe.

use std::path::Path;

use callao_content::digest::{Algorithm, Digest};
use callao_content::layout::Layout;
use callao_fetch::event::Proof;
use callao_store::disk::Stamp;
use callao_store::lima::{self, From, Meta, Published};
use callao_store::staging::Staging;
use callao_store::{check, gc, proof};

use super::Names;
use crate::app::App;
use crate::commands::cache::items::Item;
use crate::error::CommandError;
use crate::record::{self, Known, Where};

/// What is known of bytes that were fetched.
pub(super) struct New<'a> {
    pub(super) digests: Vec<Digest>,
    pub(super) layout: Option<&'a Layout>,
    pub(super) proof: Proof,
    /// As the origin sent it now.
    pub(super) last_modified: Option<String>,
    pub(super) content_type: Option<String>,
}

/// Digest files that disagree with the bytes are put right. `false`: none did.
pub(super) fn marks(
    app: &App,
    file: &Names,
    actual: &[Digest],
    stamp: &Stamp,
) -> Result<bool, CommandError> {
    let mut changed = false;
    for item in &file.0 {
        let lies = item.said.iter().any(|said| !actual.contains(said));
        if !lies && item.unusable.is_empty() {
            continue;
        }
        changed = true;
        let Some(url) = &item.url else {
            remove_marks(app, item)?;
            continue;
        };
        let now = app.disk.stat(&item.path).ok().flatten();
        let from = From::File(&item.path, now.unwrap_or(*stamp));
        publish(app, url, from, &of_item(item, actual), &Meta::default())?;
    }
    Ok(changed)
}

/// Without its location an entry cannot be published; limactl asks the server then.
fn remove_marks(app: &App, item: &Item) -> Result<(), CommandError> {
    if let Some(dir) = item.path.parent() {
        gc::remove_digests(&*app.disk, dir, &lima::ALGORITHMS)?;
    }
    Ok(())
}

/// A complete staging file becomes the file.
pub(super) fn fetched(
    app: &App,
    file: &Names,
    staging: Staging,
    new: New<'_>,
) -> Result<(), CommandError> {
    let path = staging.path().to_owned();
    let digests = with_missing(app, file, &path, new.digests)?;
    if let Some(layout) = new.layout {
        proof::save(&*app.disk, &app.places, layout)?;
    }
    let stamp = staging.stamp()?;
    let known = Known {
        digests,
        roots: new
            .layout
            .map(|layout| *layout.root())
            .into_iter()
            .collect(),
        size: stamp.size,
    };
    let meta = Meta {
        content_type: new.content_type,
        last_modified: new.last_modified,
    };
    everywhere(app, file, From::Staging(staging), &known, &meta, new.proof)
}

/// Another file that is here and has the bytes becomes the file.
pub(super) fn copy(
    app: &App,
    file: &Names,
    from: From<'_>,
    path: &Path,
    target: Digest,
) -> Result<(), CommandError> {
    let held = app
        .catalogue()
        .and_then(|catalogue| catalogue.by_path(path).ok().flatten())
        .filter(|held| held.object.digests.contains(&target));
    let mut known = match &held {
        Some(held) => Known::of_held(held),
        None => Known {
            digests: vec![target],
            roots: Vec::new(),
            size: 0,
        },
    };
    known.digests = with_missing(app, file, path, known.digests)?;
    let before = app.disk.stat(path).ok().flatten();
    known.size = before.map_or(known.size, |stamp| stamp.size);
    let proof = held.map_or(Proof::Digest, |held| record::proof_of(held.object.verified));
    everywhere(app, file, from, &known, &Meta::default(), proof)?;
    if let (Some(catalogue), Some(before), Some(after)) =
        (app.catalogue(), before, app.disk.stat(path).ok().flatten())
    {
        // A link of our own changes the ctime of all names of the file.
        catalogue.restamp(&before, &after)?;
    }
    Ok(())
}

/// Publishes under the first name that has a location, and the others as links to it; then all of them are recorded.
fn everywhere(
    app: &App,
    file: &Names,
    from: From<'_>,
    known: &Known,
    meta: &Meta,
    proof: Proof,
) -> Result<(), CommandError> {
    let _guard = app.interrupt.guard();
    let mut items = file
        .0
        .iter()
        .filter_map(|item| Some((item, item.url.as_deref()?)));
    let Some((first, url)) = items.next() else {
        return Ok(());
    };
    let described = |item: &Item| Meta {
        // The bytes are those that the entry had: what was said about them stays true.
        content_type: item.content_type.clone().or(meta.content_type.clone()),
        last_modified: item.time.clone().or(meta.last_modified.clone()),
    };
    let marks = |item: &Item| of_item(item, &known.digests);
    let published = publish(app, url, from, &marks(first), &described(first))?;
    let mut stamp = published.stamp;
    for (item, url) in items {
        let from = From::File(&published.path, stamp);
        publish(app, url, from, &marks(item), &described(item))?;
        stamp = app
            .disk
            .stat(&published.path)
            .ok()
            .flatten()
            .unwrap_or(stamp);
    }
    for item in &file.0 {
        let (Some(url), Ok(Some(stamp))) = (&item.url, app.disk.stat(&item.path)) else {
            continue;
        };
        let place = Where {
            path: &item.path,
            stamp: &stamp,
            url: Some(url),
        };
        record::entry(app, &place, known, proof)?;
    }
    Ok(())
}

fn publish(
    app: &App,
    url: &str,
    from: From<'_>,
    digests: &[Digest],
    meta: &Meta,
) -> Result<Published, CommandError> {
    let published = lima::publish(
        &*app.disk,
        &app.places,
        url,
        from,
        digests,
        meta,
        &mut app.lock_waiter(),
    );
    published.map_err(|error| match error {
        callao_store::Error::Locked { .. } if app.interrupt.is_set() => CommandError::interrupted(),
        other => other.into(),
    })
}

/// Digest files that the entry had, in whatever state: it gets these again, and no others.
fn algorithms(item: &Item) -> impl Iterator<Item = Algorithm> {
    let said = item.said.iter().map(Digest::algorithm);
    said.chain(item.unusable.iter().copied())
}

fn of_item(item: &Item, digests: &[Digest]) -> Vec<Digest> {
    digests
        .iter()
        .copied()
        .filter(|digest| algorithms(item).any(|algorithm| algorithm == digest.algorithm()))
        .collect()
}

/// The digests that the entries' digest files need, computed where they are not known yet.
fn with_missing(
    app: &App,
    file: &Names,
    path: &Path,
    mut digests: Vec<Digest>,
) -> Result<Vec<Digest>, CommandError> {
    let mut missing: Vec<Algorithm> = Vec::new();
    for algorithm in file.0.iter().flat_map(algorithms) {
        let known = digests.iter().any(|digest| digest.algorithm() == algorithm);
        if !known && !missing.contains(&algorithm) {
            missing.push(algorithm);
        }
    }
    if missing.is_empty() {
        return Ok(digests);
    }
    let (computed, _) = check::hash_file(&*app.disk, path, &missing, &|_| {})?;
    digests.extend(computed);
    Ok(digests)
}
