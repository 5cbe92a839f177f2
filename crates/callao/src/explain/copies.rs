//! Which files on this computer hold, or may hold, what is wanted, as far as that is known without reading them: the
//! rules are those of `get`, but where `get` would hash a file, this says so.

use std::path::Path;

use callao_content::cid;
use callao_store::catalogue::{Catalogue, Held, Kind};
use callao_store::disk::Stamp;
use callao_store::lima::{self, Entry};
use serde::Serialize;

use crate::app::App;
use crate::error::CommandError;
use crate::get::held::{self, Fit};
use crate::get::plan::{Location, Place, Want};
use crate::host::{self, FileKind};
use crate::record::Known;

/// What a file is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// callao verified it, and it is unchanged since.
    Trusted,
    /// callao verified it, but it was touched since: it would be hashed once.
    Touched,
    /// Another program put it there, or what is known does not say what it is: it would be hashed once.
    Unverified,
    /// Nothing says what it should be: the server would be asked whether it is still the same.
    Unpinned,
    /// It is known to hold other bytes.
    OtherBytes,
    /// An entry without data.
    NoData,
}

/// One file.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Copy {
    pub(crate) path: String,
    /// The location that the entry is for.
    pub(crate) location: Option<String>,
    /// `lima` or `user`.
    pub(crate) owner: &'static str,
    /// One of the wanted locations leads to it; otherwise it holds the same bytes under another name.
    pub(crate) is_wanted_place: bool,
    pub(crate) state: State,
    pub(crate) size: Option<u64>,
    /// How its bytes were verified.
    pub(crate) verified: Option<&'static str>,
    /// As callao computed them.
    pub(crate) digests: Vec<String>,
    pub(crate) cids: Vec<String>,
    /// What limactl believes: the digest files of the entry.
    pub(crate) digest_files: Vec<String>,
}

/// The catalogue, unless there is none yet: explaining creates nothing.
pub(crate) fn catalogue(app: &App) -> Option<&Catalogue> {
    let path = app.places.catalogue();
    let is_there = app.disk.stat(&path).is_ok_and(|stamp| stamp.is_some());
    is_there.then(|| app.catalogue()).flatten()
}

/// Those that `get` would look at, in its order.
///
/// # Errors
/// The disk.
pub(crate) fn of(app: &App, want: &Want) -> Result<Vec<Copy>, CommandError> {
    let mut copies = local(app, want)?;
    for location in held::cached_locations(want) {
        if let Some(entry) = lima::read_entry(&*app.disk, &app.places, &location.text)? {
            copies.push(of_entry(app, want, location, &entry)?);
        }
    }
    for held in elsewhere(app, want)? {
        let path = held.file.path.display().to_string();
        if copies.iter().any(|copy| copy.path == path) {
            continue;
        }
        copies.extend(of_held(app, want, &held)?);
    }
    Ok(copies)
}

/// Files that the user names.
fn local(app: &App, want: &Want) -> Result<Vec<Copy>, CommandError> {
    let mut copies = Vec::new();
    for location in &want.locations {
        let Place::Local(text) = &location.place else {
            continue;
        };
        let path = host::real_path(&app.host.path(text));
        let Some(FileKind::File { size }) = host::kind_of(&path) else {
            continue;
        };
        let held = known(app, &path)?;
        let trusted = held
            .as_ref()
            .filter(|held| is_same(app, held) && is_wanted(want, held));
        copies.push(Copy {
            is_wanted_place: true,
            ..copy(
                &path,
                if trusted.is_some() {
                    State::Trusted
                } else {
                    State::Unverified
                },
                Some(size),
                trusted,
            )
        });
    }
    Ok(copies)
}

fn of_entry(
    app: &App,
    want: &Want,
    location: &Location,
    entry: &Entry,
) -> Result<Copy, CommandError> {
    let held = known(app, &entry.path)?;
    let state = match entry.stamp {
        None => State::NoData,
        Some(stamp) => state(want, location, held.as_ref(), &stamp),
    };
    let believed = held.filter(|_| matches!(state, State::Trusted | State::OtherBytes));
    Ok(Copy {
        location: Some(location.text.clone()),
        owner: "lima",
        is_wanted_place: true,
        digest_files: digest_files(entry),
        ..copy(
            &entry.path,
            state,
            entry.stamp.map(|stamp| stamp.size),
            believed.as_ref(),
        )
    })
}

fn state(want: &Want, location: &Location, held: Option<&Held>, stamp: &Stamp) -> State {
    let trusted = held.filter(|held| Catalogue::trusted(held, stamp));
    if let Some(held) = trusted {
        match held::fit(want, &Known::of_held(held)) {
            Fit::Same(_) => return State::Trusted,
            Fit::Other => return State::OtherBytes,
            Fit::Unknown if held::is_of_this_address(held, location) => return State::Trusted,
            Fit::Unknown => {}
        }
    }
    let says_nothing =
        want.digest.is_none() && want.cid.is_none() && held::possible_roots(want).is_empty();
    match held {
        _ if says_nothing => State::Unpinned,
        Some(_) if trusted.is_none() => State::Touched,
        _ => State::Unverified,
    }
}

/// Files with the same bytes, as the catalogue knows them.
fn elsewhere(app: &App, want: &Want) -> Result<Vec<Held>, CommandError> {
    let Some(catalogue) = catalogue(app) else {
        return Ok(Vec::new());
    };
    if let Some(digest) = &want.digest {
        return Ok(catalogue.find_digest(digest)?);
    }
    let mut found = Vec::new();
    for root in held::possible_roots(want) {
        found.extend(catalogue.find_root(&root)?);
    }
    Ok(found)
}

fn of_held(app: &App, want: &Want, held: &Held) -> Result<Option<Copy>, CommandError> {
    let path = &held.file.path;
    let stamp = app
        .disk
        .stat(path)
        .map_err(|error| CommandError::io("look at", path, &error))?;
    let state = match stamp {
        Some(stamp) if Catalogue::trusted(held, &stamp) && is_wanted(want, held) => State::Trusted,
        Some(stamp) if stamp.size == held.object.size => State::Touched,
        _ => return Ok(None),
    };
    let location = held.file.url.as_ref();
    let entry = location.filter(|_| held.file.kind == Kind::Lima);
    let entry = entry.map(|location| lima::read_entry(&*app.disk, &app.places, location));
    let believed = entry.transpose()?.flatten();
    Ok(Some(Copy {
        digest_files: believed.map_or_else(Vec::new, |entry| digest_files(&entry)),
        location: location.cloned(),
        owner: match held.file.kind {
            Kind::Lima => "lima",
            Kind::User => "user",
        },
        ..copy(path, state, Some(held.object.size), Some(held))
    }))
}

fn digest_files(entry: &Entry) -> Vec<String> {
    entry.digests.iter().map(ToString::to_string).collect()
}

fn copy(path: &Path, state: State, size: Option<u64>, held: Option<&Held>) -> Copy {
    let object = held.map(|held| &held.object);
    Copy {
        path: path.display().to_string(),
        location: None,
        owner: "user",
        is_wanted_place: false,
        state,
        size,
        verified: object.map(|object| object.verified.name()),
        digests: object.map_or_else(Vec::new, |object| {
            object.digests.iter().map(ToString::to_string).collect()
        }),
        cids: object.map_or_else(Vec::new, |object| {
            object.roots.iter().map(cid::text).collect()
        }),
        digest_files: Vec::new(),
    }
}

fn known(app: &App, path: &Path) -> Result<Option<Held>, CommandError> {
    match catalogue(app) {
        Some(catalogue) => Ok(catalogue.by_path(path)?),
        None => Ok(None),
    }
}

fn is_same(app: &App, held: &Held) -> bool {
    let now = app.disk.stat(&held.file.path).ok().flatten();
    now.is_some_and(|now| Catalogue::trusted(held, &now))
}

fn is_wanted(want: &Want, held: &Held) -> bool {
    matches!(held::fit(want, &Known::of_held(held)), Fit::Same(_))
}
