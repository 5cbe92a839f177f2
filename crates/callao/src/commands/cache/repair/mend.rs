//! One file: what it should be, whether it is, and where its bytes come from if not. Never writes to a file in place,
//! nor to one of the user's.

use std::path::{Path, PathBuf};

use callao_content::Cid;
use callao_content::digest::{Algorithm, Digest};
use callao_store::catalogue::{Catalogue, Kind};
use callao_store::disk::Stamp;
use callao_store::gc;
use callao_store::lima::From;

use super::republish::{self, New};
use super::{Names, Outcome};
use crate::app::App;
use crate::commands::cache::items::Item;
use crate::commands::cache::{layouts, verify};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::again;
use crate::get::plan::{Location, Noun, Want};
use crate::get::run::Job;
use crate::output::human;
use crate::record;

/// Looks at one file and repairs it if need be.
///
/// # Errors
/// What would meet the next file as well: the disk, an interrupt.
pub(super) fn file(job: &Job<'_>, file: &Names) -> Result<Outcome, CommandError> {
    let (app, first) = (job.app, file.first());
    if first.stamp.is_none() {
        return fetched_or_failed(missing(job, file));
    }
    let expected = expected(file);
    let mut algorithms = verify::algorithms_of(&expected);
    algorithms.extend(file.0.iter().flat_map(|item| item.unusable.clone()));
    algorithms.push(Algorithm::Sha256);
    algorithms.sort_unstable_by_key(|algorithm| algorithm.name());
    algorithms.dedup();
    let (actual, stamp) = verify::hash(app, &first.path, &algorithms)?;
    if expected.is_empty() {
        return unknown(app, file);
    }
    if !expected.iter().any(|digest| actual.contains(digest)) {
        for held in file.0.iter().filter_map(Item::trusted) {
            record::distrust(app, held)?;
        }
        return match first.owner {
            Kind::User => Ok(Outcome::Failed(
                "it is a file of your own, and not what it was when it was added; callao does not write to it"
                    .into(),
            )),
            Kind::Lima => fetched_or_failed(damaged(job, file, &stamp)),
        };
    }
    // One name that is true of the bytes is enough: whoever disagrees with it is wrong.
    let outcome = match republish::marks(app, file, &actual, &stamp)? {
        true => Outcome::Marked,
        false => Outcome::Good,
    };
    let is_of_these = |item: &&Item| {
        item.known().is_some_and(|held| {
            held.object
                .digests
                .iter()
                .any(|digest| actual.contains(digest))
        })
    };
    for item in file.0.iter().filter(is_of_these) {
        let now = app.disk.stat(&item.path).ok().flatten();
        verify::remember(app, item, &now.unwrap_or(stamp))?;
    }
    Ok(outcome)
}

/// Everything that says what the file should be.
fn expected(file: &Names) -> Vec<Digest> {
    let mut all: Vec<Digest> = Vec::new();
    for digest in file.0.iter().flat_map(Item::expected) {
        if !all.contains(&digest) {
            all.push(digest);
        }
    }
    all
}

/// A digest file that says nothing stops limactl for good; without it limactl asks the server.
fn unknown(app: &App, file: &Names) -> Result<Outcome, CommandError> {
    let mut outcome = Outcome::Unknown;
    for item in file.0.iter().filter(|item| !item.unusable.is_empty()) {
        if let Some(dir) = item.path.parent() {
            outcome = match gc::remove_digests(&*app.disk, dir, &item.unusable)? {
                true => Outcome::Marked,
                false => Outcome::Failed("another process works on it".into()),
            };
        }
    }
    Ok(outcome)
}

fn missing(job: &Job<'_>, file: &Names) -> Result<Outcome, CommandError> {
    let Some(target) = target(file) else {
        return Ok(Outcome::Failed(
            "its data is gone, and its digest file says no digest".into(),
        ));
    };
    let root = root(file, &target);
    mend(job, file, target, root, None)
}

/// The bytes are wrong: which bytes are right, and which of them are here.
fn damaged(job: &Job<'_>, file: &Names, stamp: &Stamp) -> Result<Outcome, CommandError> {
    let (app, first) = (job.app, file.first());
    let Some(target) = target(file) else {
        return Ok(Outcome::Unknown);
    };
    let known = file.0.iter().find_map(Item::known);
    let layout = match layouts::of_held(app, known) {
        Some(layout) => Some(layout),
        None => layouts::resembling(app, &first.path)?,
    };
    let elsewhere = stamp.nlink.saturating_sub(file.0.len() as u64);
    if elsewhere > 0 {
        app.output.warning(format!(
            "`{}` has {elsewhere} more hard links outside of the cache: they keep the damaged bytes",
            first.path.display()
        ));
    }
    let root = match &layout {
        Some(layout) => {
            let wrong = layouts::wrong_bytes(app, &first.path, layout)?;
            app.output.info(format!(
                "`{}`: {} of {} are damaged",
                first.path.display(),
                human::bytes(wrong),
                human::bytes(layout.size())
            ));
            Some(*layout.root())
        }
        None => {
            app.output.info(format!(
                "`{}` is damaged, and nothing tells which of its bytes are good: the whole file is fetched",
                first.path.display()
            ));
            root(file, &target)
        }
    };
    mend(job, file, target, root, Some(&first.path))
}

fn mend(
    job: &Job<'_>,
    file: &Names,
    target: Digest,
    root: Option<Cid>,
    damaged: Option<&Path>,
) -> Result<Outcome, CommandError> {
    let app = job.app;
    let locations: Vec<Location> = file
        .0
        .iter()
        .filter_map(|item| item.url.as_deref().map(Location::read))
        .collect();
    let Some(first) = locations.first() else {
        return Ok(Outcome::Failed(
            "nothing says which location it is for".into(),
        ));
    };
    if let Some((path, stamp, owner)) = good_copy(app, &target, file)? {
        let from = match owner {
            Kind::Lima => From::File(&path, stamp),
            Kind::User => From::UserFile(&path, stamp),
        };
        republish::copy(app, file, from, &path, target)?;
        return Ok(Outcome::Copied { from: path });
    }
    let want = Want {
        noun: Noun::of_location(&first.text),
        arch: None,
        digest: Some(target),
        cid: root,
        locations,
    };
    let (finished, staging) = again::complete(job, &want, damaged)?;
    let report = &finished.report;
    let fetched = report.shares.iter().map(|share| share.bytes).sum();
    let new = New {
        digests: report.digests.clone(),
        layout: Some(finished.layout.as_ref()),
        proof: report.proof,
        last_modified: report.last_modified.clone(),
        content_type: report.content_type.clone(),
    };
    republish::fetched(app, file, staging, new)?;
    Ok(Outcome::Fetched {
        fetched,
        kept: report.size.saturating_sub(fetched),
    })
}

/// Failures of the sources are about this file alone; the others would meet the next one, too.
fn fetched_or_failed(ended: Result<Outcome, CommandError>) -> Result<Outcome, CommandError> {
    match ended {
        Err(error)
            if !matches!(
                error.kind,
                ExitCode::Disk | ExitCode::Interrupted | ExitCode::Unexpected | ExitCode::Usage
            ) =>
        {
            Ok(Outcome::Failed(error.to_string().replace('\n', " ")))
        }
        other => other,
    }
}

/// The digest that the file must have: what callao verified and a digest file says, before what only one of them says.
fn target(file: &Names) -> Option<Digest> {
    let known: Vec<Digest> = file
        .0
        .iter()
        .filter_map(Item::known)
        .flat_map(|held| held.object.digests.clone())
        .collect();
    let said: Vec<Digest> = file.0.iter().flat_map(|item| item.said.clone()).collect();
    let mut all = expected(file);
    all.sort_by_key(|digest| {
        let votes = usize::from(known.contains(digest)) * 2 + usize::from(said.contains(digest));
        (
            std::cmp::Reverse(votes),
            digest.algorithm() != Algorithm::Sha256,
        )
    });
    all.into_iter().next()
}

/// A CID of the bytes that have this digest, as the catalogue knows.
fn root(file: &Names, target: &Digest) -> Option<Cid> {
    file.0
        .iter()
        .filter_map(Item::known)
        .filter(|held| held.object.digests.contains(target))
        .find_map(|held| held.object.roots.first().copied())
}

/// Another file on this computer that has these bytes; one that was touched is hashed first.
fn good_copy(
    app: &App,
    target: &Digest,
    file: &Names,
) -> Result<Option<(PathBuf, Stamp, Kind)>, CommandError> {
    let Some(catalogue) = app.catalogue() else {
        return Ok(None);
    };
    for held in catalogue.find_digest(target)? {
        let path = held.file.path.clone();
        if file.0.iter().any(|item| item.path == path) {
            continue;
        }
        let Some(stamp) = app.disk.stat(&path).ok().flatten() else {
            continue;
        };
        if stamp.size != held.object.size {
            continue;
        }
        // Trusted or not, it is about to replace something: it is read once more.
        let (actual, stamp) = verify::hash(app, &path, &[target.algorithm()])?;
        if actual.contains(target) {
            return Ok(Some((path, stamp, held.file.kind)));
        }
        if Catalogue::trusted(&held, &stamp) {
            record::distrust(app, &held)?;
        }
    }
    Ok(None)
}
