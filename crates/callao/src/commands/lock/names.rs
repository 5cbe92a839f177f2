//! What the bytes of a file that is here are called: its digests, and its CID in a given way of making one. What the
//! catalogue knows is not computed again; everything else is computed in one pass over the file.

use std::path::Path;

use callao_content::Cid;
use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_content::profile::{self, Profile};
use callao_fetch::event::Proof;
use callao_store::catalogue::{Catalogue, Held, Kind};
use callao_store::{check, lima, proof};

use crate::app::App;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::hashing;
use crate::get::plan::Want;
use crate::output::{json, progress};
use crate::record::{self, Known, Where};

/// What is asked about a file.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) profile: Profile,
    /// CIDs that somebody says the file has.
    pub(super) claims: Vec<Cid>,
}

/// What the bytes are called.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) digests: Vec<Digest>,
    /// In the wanted way.
    pub(super) cid: Cid,
    /// Of the claims those that are true.
    pub(super) confirmed: Vec<Cid>,
    /// All CIDs that are known for the bytes.
    pub(super) roots: Vec<Cid>,
}

/// Answers for a file that `get` has just vouched for.
///
/// # Errors
/// The disk; integrity, if somebody writes to the file meanwhile.
pub(super) fn of(
    app: &App,
    want: &Want,
    got: &json::Got,
    question: &Question,
) -> Result<Names, CommandError> {
    let path = Path::new(&got.path);
    let held = held(app, path)?;
    let mut known = held.as_ref().map_or_else(
        || Known {
            digests: Vec::new(),
            roots: Vec::new(),
            size: got.size,
        },
        Known::of_held,
    );
    let missing: Vec<Algorithm> = question
        .algorithms
        .iter()
        .copied()
        .filter(|algorithm| {
            known
                .digests
                .iter()
                .all(|digest| digest.algorithm() != *algorithm)
        })
        .collect();
    let known_cid = known
        .roots
        .iter()
        .find(|root| is_made_by(app, root, question.profile))
        .copied();
    let cid = match known_cid.filter(|_| missing.is_empty()) {
        Some(cid) => cid,
        None => read(app, got, &mut known, &missing, question.profile)?,
    };
    let mut confirmed = Vec::new();
    for claim in &question.claims {
        let is = |root: &Cid| cid::same_block(root, claim);
        if known.roots.iter().any(is) || made_in_any_way(app, want, path, claim)? {
            confirmed.push(*claim);
        }
    }
    Ok(Names {
        digests: known.digests,
        cid,
        confirmed,
        roots: known.roots,
    })
}

/// What the cache holds under one of the locations, whatever it is.
///
/// # Errors
/// The disk.
pub(super) fn under_location(app: &App, want: &Want) -> Result<Option<json::Got>, CommandError> {
    for location in &want.locations {
        let Some(entry) = lima::read_entry(&*app.disk, &app.places, &location.text)? else {
            continue;
        };
        let Some(stamp) = entry.stamp else { continue };
        return Ok(Some(json::Got {
            kind: "result",
            what: want.noun.bare(),
            path: entry.path.display().to_string(),
            location: location.text.clone(),
            from: json::From::Cache,
            digest: None,
            cid: None,
            size: stamp.size,
            sources: Vec::new(),
            resumed: 0,
            proof: Proof::Nothing,
            elapsed_ms: 0,
        }));
    }
    Ok(None)
}

/// What the catalogue knows of a file that is as it was when it was verified.
fn held(app: &App, path: &Path) -> Result<Option<Held>, CommandError> {
    let Some(catalogue) = app.catalogue() else {
        return Ok(None);
    };
    let stamp = app
        .disk
        .stat(path)
        .map_err(|error| CommandError::io("look at", path, &error))?;
    let held = catalogue.by_path(path)?;
    Ok(held.filter(|held| stamp.is_some_and(|stamp| Catalogue::trusted(held, &stamp))))
}

/// Whether the tree below a root, as far as it is here, is what a profile makes.
fn is_made_by(app: &App, root: &Cid, wanted: Profile) -> bool {
    proof::load(&*app.disk, &app.places, root)
        .is_some_and(|layout| profile::detect(&layout) == Some(wanted))
}

/// Reads the file once, and writes down what it is called.
fn read(
    app: &App,
    got: &json::Got,
    known: &mut Known,
    algorithms: &[Algorithm],
    profile: Profile,
) -> Result<Cid, CommandError> {
    let path = Path::new(&got.path);
    let bar = progress::reading_bar(&app.output, got.size);
    let adopted = check::adopt(&*app.disk, path, profile.shape(), algorithms, &|position| {
        bar.set_position(position);
    });
    bar.finish_and_clear();
    let adopted = adopted?;
    proof::save(&*app.disk, &app.places, &adopted.layout)?;
    let root = *adopted.layout.root();
    known.digests.extend(adopted.digests);
    known.size = adopted.layout.size();
    if known.digests.is_empty() {
        return Err(CommandError::new(
            ExitCode::Unexpected,
            "no digest was computed",
        ));
    }
    if known
        .roots
        .iter()
        .all(|other| !cid::same_block(other, &root))
    {
        known.roots.push(root);
    }
    let held = app
        .catalogue()
        .and_then(|catalogue| catalogue.by_path(path).ok().flatten());
    let is_users = match &held {
        Some(held) => held.file.kind == Kind::User,
        None => got.from == json::From::Local,
    };
    if is_users {
        record::user_file(app, path, &adopted.stamp, known, got.proof)?;
    } else {
        let url = held.and_then(|held| held.file.url);
        let place = Where {
            path,
            stamp: &adopted.stamp,
            url: Some(url.as_deref().unwrap_or(&got.location)),
        };
        record::entry(app, &place, known, got.proof)?;
    }
    Ok(root)
}

/// Whether some known way of making a CID gives this one.
fn made_in_any_way(app: &App, want: &Want, path: &Path, claim: &Cid) -> Result<bool, CommandError> {
    let only = Want {
        digest: None,
        cid: Some(*claim),
        locations: Vec::new(),
        ..want.clone()
    };
    let hashed = hashing::hash(app, &only, path)?;
    Ok(hashed
        .known
        .roots
        .iter()
        .any(|root| cid::same_block(root, claim)))
}
