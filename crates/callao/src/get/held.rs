//! What is here already: the entries of a file's locations, and the same bytes under another name. Opens no socket.
//!
//! An entry is trusted at once if the catalogue saw the same file (inode, size, mtime) when it verified it. One that
//! somebody else made is hashed once.

use std::path::{Path, PathBuf};

use callao_content::Cid;
use callao_content::cid;
use callao_fetch::event::Proof;
use callao_store::catalogue::{Catalogue, Held, Kind, Verified};
use callao_store::disk::Stamp;
use callao_store::lima::{self, Entry};
use callao_store::proof;

use super::hashing::hash;
use super::plan::{Location, Place, Want};
use crate::app::App;
use crate::error::CommandError;
use crate::output::human;
use crate::record::{self, Known, Where};

/// A file that is here and is what is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) stamp: Stamp,
    pub(crate) known: Known,
    pub(crate) proof: Proof,
    /// It belongs to the user, who may write to it.
    pub(crate) is_users: bool,
}

/// How wanted and known bytes relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    Same(Proof),
    Other,
    /// What is known does not say: it has to be hashed.
    Unknown,
}

/// The entry of one of the file's locations, if it holds the wanted bytes.
///
/// # Errors
/// The disk.
pub(crate) fn in_entry(app: &App, want: &Want) -> Result<Option<Found>, CommandError> {
    for location in cached_locations(want) {
        let Some(entry) = lima::read_entry(&*app.disk, &app.places, &location.text)? else {
            continue;
        };
        let Some(stamp) = entry.stamp else { continue };
        if let Some(found) = judge(app, want, location, &entry, &stamp)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The same bytes under another name, as the catalogue knows them.
pub(crate) fn elsewhere(app: &App, want: &Want) -> Result<Option<Found>, CommandError> {
    let Some(catalogue) = app.catalogue() else {
        return Ok(None);
    };
    let mut candidates = match &want.digest {
        Some(digest) => catalogue.find_digest(digest)?,
        None => Vec::new(),
    };
    if want.digest.is_none() {
        for root in possible_roots(want) {
            candidates.extend(catalogue.find_root(&root)?);
        }
    }
    for held in &candidates {
        if let Some(stamp) = trusted_stamp(app, held)?
            && let Fit::Same(proof) = fit(want, &Known::of_held(held))
        {
            return Ok(Some(Found {
                path: held.file.path.clone(),
                stamp,
                known: Known::of_held(held),
                proof,
                is_users: held.file.kind == Kind::User,
            }));
        }
    }
    for held in &candidates {
        if let Some(found) = touched(app, want, held)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A file that was touched since it was verified (a chmod, a restored backup): hashing it is quicker than fetching.
fn touched(app: &App, want: &Want, held: &Held) -> Result<Option<Found>, CommandError> {
    let path = &held.file.path;
    let stamp = app.disk.stat(path).ok().flatten();
    if stamp.is_none_or(|stamp| stamp.size != held.object.size) {
        return Ok(None);
    }
    app.output.info(format!(
        "Checking `{}` ({}): it was touched since it was verified, so it is hashed once",
        path.display(),
        human::bytes(held.object.size)
    ));
    let hashed = hash(app, want, path)?;
    let Fit::Same(proof) = fit(want, &hashed.known) else {
        app.output
            .detail(format!("`{}` has changed: it is not used", path.display()));
        return Ok(None);
    };
    let is_users = held.file.kind == Kind::User;
    if is_users {
        record::user_file(app, path, &hashed.stamp, &hashed.known, proof)?;
    } else {
        let url = held.file.url.as_deref();
        let place = Where {
            path,
            stamp: &hashed.stamp,
            url,
        };
        record::entry(app, &place, &hashed.known, proof)?;
    }
    Ok(Some(Found {
        path: path.clone(),
        stamp: hashed.stamp,
        known: hashed.known,
        proof,
        is_users,
    }))
}

/// A local file of the user's, verified in place.
///
/// # Errors
/// The disk; [`crate::exit_code::ExitCode::Integrity`] if it is not what is wanted.
pub(crate) fn local(app: &App, want: &Want, path: &Path) -> Result<Found, CommandError> {
    let path = crate::host::real_path(path);
    let known = app
        .catalogue()
        .and_then(|catalogue| catalogue.by_path(&path).ok().flatten());
    if let Some(held) = known
        && let Some(stamp) = trusted_stamp(app, &held)?
        && let Fit::Same(proof) = fit(want, &Known::of_held(&held))
    {
        return Ok(Found {
            path,
            stamp,
            known: Known::of_held(&held),
            proof,
            is_users: true,
        });
    }
    let hashed = hash(app, want, &path)?;
    match fit(want, &hashed.known) {
        Fit::Same(proof) => {
            if let Some(layout) = &hashed.layout {
                proof::save(&*app.disk, &app.places, layout)?;
            }
            record::user_file(app, &path, &hashed.stamp, &hashed.known, proof)?;
            Ok(Found {
                path,
                stamp: hashed.stamp,
                known: hashed.known,
                proof,
                is_users: true,
            })
        }
        _ => Err(wrong_bytes(want, &path, &hashed.known)),
    }
}

/// Locations whose bytes Lima keeps in its cache.
pub(crate) fn cached_locations(want: &Want) -> impl Iterator<Item = &Location> {
    want.locations
        .iter()
        .filter(|location| !matches!(location.place, Place::Local(_)))
}

fn judge(
    app: &App,
    want: &Want,
    location: &Location,
    entry: &Entry,
    stamp: &Stamp,
) -> Result<Option<Found>, CommandError> {
    let held = match app.catalogue() {
        Some(catalogue) => catalogue
            .by_path(&entry.path)?
            .filter(|held| Catalogue::trusted(held, stamp)),
        None => None,
    };
    let found = |known: Known, proof| Found {
        path: entry.path.clone(),
        stamp: *stamp,
        known,
        proof,
        is_users: false,
    };
    if let Some(held) = held {
        match fit(want, &Known::of_held(&held)) {
            Fit::Same(proof) => return Ok(Some(found(Known::of_held(&held), proof))),
            Fit::Other => {
                app.output.info(format!(
                    "`{}` holds other bytes: it is replaced",
                    entry.path.display()
                ));
                return Ok(None);
            }
            Fit::Unknown if is_of_this_address(&held, location) => {
                return Ok(Some(found(Known::of_held(&held), Proof::Cid)));
            }
            Fit::Unknown => {}
        }
    }
    let is_certain = want.digest.is_some() || want.cid.is_some();
    if !is_certain && possible_roots(want).is_empty() {
        // Nothing says yet what the bytes should be: an address has to be followed first, or the server asked.
        return Ok(None);
    }
    app.output.info(format!(
        "Checking `{}` ({}): it is not in the catalogue, so it is hashed once",
        entry.path.display(),
        human::bytes(stamp.size)
    ));
    let hashed = hash(app, want, &entry.path)?;
    match fit(want, &hashed.known) {
        Fit::Same(proof) => {
            if let Some(layout) = &hashed.layout {
                proof::save(&*app.disk, &app.places, layout)?;
            }
            let place = Where {
                path: &entry.path,
                stamp: &hashed.stamp,
                url: Some(&location.text),
            };
            record::entry(app, &place, &hashed.known, proof)?;
            Ok(Some(Found {
                stamp: hashed.stamp,
                ..found(hashed.known, proof)
            }))
        }
        // `ipfs://CID/name`, where the CID may be that of a directory: the address has to be followed first.
        Fit::Unknown if !is_certain => Ok(None),
        Fit::Other | Fit::Unknown => {
            let got = hashed
                .known
                .digests
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            app.output.warning(format!(
                "`{}` does not hold the wanted bytes (it has `{got}`): it is fetched again",
                entry.path.display()
            ));
            Ok(None)
        }
    }
}

/// What an IPFS address leads to never changes, and these bytes were proven when it was followed.
pub(crate) fn is_of_this_address(held: &Held, location: &Location) -> bool {
    location.address().is_some()
        && held.file.url.as_deref() == Some(&location.text)
        && matches!(held.object.verified, Verified::Cid | Verified::Both)
}

/// The catalogue's stamp, if the file is still the same.
fn trusted_stamp(app: &App, held: &Held) -> Result<Option<Stamp>, CommandError> {
    let path = &held.file.path;
    let stamp = app
        .disk
        .stat(path)
        .map_err(|error| CommandError::io("look at", path, &error))?;
    Ok(stamp.filter(|stamp| Catalogue::trusted(held, stamp)))
}

pub(crate) fn fit(want: &Want, known: &Known) -> Fit {
    let has_cid = want_roots(want)
        .iter()
        .any(|wanted| known.roots.iter().any(|root| cid::same_block(root, wanted)));
    if let Some(digest) = &want.digest {
        if known.digests.contains(digest) {
            return Fit::Same(if has_cid {
                Proof::DigestAndCid
            } else {
                Proof::Digest
            });
        }
        let same_kind = known
            .digests
            .iter()
            .any(|other| other.algorithm() == digest.algorithm());
        return if same_kind { Fit::Other } else { Fit::Unknown };
    }
    if has_cid
        || possible_roots(want)
            .iter()
            .any(|wanted| known.roots.iter().any(|root| cid::same_block(root, wanted)))
    {
        return Fit::Same(Proof::Cid);
    }
    match &want.locations[..] {
        [
            Location {
                place: Place::Local(_),
                ..
            },
        ] if !want.is_pinned() => Fit::Same(Proof::Nothing),
        _ => Fit::Unknown,
    }
}

/// CIDs that certainly name the file.
fn want_roots(want: &Want) -> Vec<Cid> {
    want.cid.into_iter().collect()
}

/// CIDs that name the file if they name a file at all: `ipfs://CID/name`.
pub(crate) fn possible_roots(want: &Want) -> Vec<Cid> {
    let addresses = want.locations.iter().filter_map(Location::address);
    want.cid
        .into_iter()
        .chain(
            addresses
                .filter(|address| address.path.len() <= 1)
                .map(|address| address.cid),
        )
        .collect()
}

/// A file in place that is not what is wanted.
fn wrong_bytes(want: &Want, path: &Path, known: &Known) -> CommandError {
    let got = known
        .digests
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    let message = match (&want.digest, &want.cid) {
        (Some(expected), _) => format!(
            "`{}`: expected digest `{expected}`, got `{got}`",
            path.display()
        ),
        (None, Some(expected)) => format!(
            "`{}` does not have CID {}",
            path.display(),
            cid::text(expected)
        ),
        (None, None) => format!("`{}` is not what is wanted", path.display()),
    };
    CommandError::new(crate::exit_code::ExitCode::Integrity, message)
}
