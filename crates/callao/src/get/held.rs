//! What is here already: the entries of a file's locations, and the same bytes under another name. Opens no socket.
//!
//! An entry is trusted at once if the catalogue saw the same file (inode, size, mtime) when it verified it. One that
//! somebody else made is hashed once.

use std::path::{Path, PathBuf};

use callao_content::Cid;
use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_content::layout::Layout;
use callao_content::profile::Profile;
use callao_fetch::event::Proof;
use callao_store::catalogue::{Catalogue, Held, Kind};
use callao_store::disk::Stamp;
use callao_store::lima::{self, Entry};
use callao_store::{check, proof};

use super::plan::{Location, Place, Want};
use crate::app::App;
use crate::error::CommandError;
use crate::output::{human, progress};
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
enum Fit {
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
    for held in candidates {
        let Some(stamp) = trusted_stamp(app, &held)? else {
            continue;
        };
        if let Fit::Same(proof) = fit(want, &Known::of_held(&held)) {
            let is_users = held.file.kind == Kind::User;
            return Ok(Some(Found {
                path: held.file.path.clone(),
                stamp,
                known: Known::of_held(&held),
                proof,
                is_users,
            }));
        }
    }
    Ok(None)
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
            Fit::Unknown => {}
        }
    }
    if !want.is_pinned() {
        // Nothing says what the bytes should be; whether they are fresh is asked elsewhere.
        return Ok(None);
    }
    app.output.info(format!(
        "Checking `{}` ({}): another program put it there, so it is hashed once",
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

/// The catalogue's stamp, if the file is still the same.
fn trusted_stamp(app: &App, held: &Held) -> Result<Option<Stamp>, CommandError> {
    let path = &held.file.path;
    let stamp = app
        .disk
        .stat(path)
        .map_err(|error| CommandError::io("look at", path, &error))?;
    Ok(stamp.filter(|stamp| Catalogue::trusted(held, stamp)))
}

fn fit(want: &Want, known: &Known) -> Fit {
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

/// A file that was read whole.
struct Hashed {
    known: Known,
    stamp: Stamp,
    layout: Option<Layout>,
}

/// Hashes a file: its digest, and its CID in the way that gives the wanted one, if there is such a way.
fn hash(app: &App, want: &Want, path: &Path) -> Result<Hashed, CommandError> {
    let algorithms = [want
        .digest
        .as_ref()
        .map_or(Algorithm::Sha256, Digest::algorithm)];
    let size = app
        .disk
        .stat(path)
        .ok()
        .flatten()
        .map_or(0, |stamp| stamp.size);
    let bar = progress::reading_bar(&app.output, size);
    let wanted = possible_roots(want);
    let mut result = None;
    for profile in profiles_for(&wanted) {
        let adopted = check::adopt(
            &*app.disk,
            path,
            profile.shape(),
            &algorithms,
            &|position| bar.set_position(position),
        )?;
        let is_wanted = wanted
            .iter()
            .any(|root| cid::same_block(root, adopted.layout.root()));
        let known = Known::of(&adopted.layout, adopted.digests);
        let done = is_wanted || want.digest.is_some();
        result = Some(Hashed {
            known,
            stamp: adopted.stamp,
            layout: Some(adopted.layout),
        });
        if done {
            break;
        }
    }
    bar.finish_and_clear();
    result.ok_or_else(|| {
        CommandError::new(
            crate::exit_code::ExitCode::Unexpected,
            "no way to hash a file is known",
        )
    })
}

/// The ways to make a CID that can give one of these.
fn profiles_for(wanted: &[Cid]) -> Vec<Profile> {
    let fits = |profile: &Profile| {
        let shape = profile.shape();
        wanted.is_empty()
            || wanted
                .iter()
                .any(|root| root.version() == shape.cid_version || root.codec() == cid::RAW)
    };
    let mut profiles = vec![Profile::KuboCidV1];
    profiles.extend(
        Profile::ALL
            .iter()
            .copied()
            .filter(|profile| *profile != Profile::KuboCidV1),
    );
    profiles.retain(fits);
    if wanted.is_empty() {
        profiles.truncate(1);
    }
    profiles
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
