//! Puts verified bytes where they are wanted: under every location in Lima's cache, or into the user's file; and
//! writes down what is known of them. Everything here is done to the end once it has begun.

use std::path::{Path, PathBuf};

use callao_content::cid;
use callao_content::digest::Digest;
use callao_content::layout::Layout;
use callao_fetch::event::{Proof, Report};
use callao_store::catalogue::Catalogue;
use callao_store::disk::Stamp;
use callao_store::lima::{self, From, Meta, Published};
use callao_store::places::Places;
use callao_store::staging::Staging;
use callao_store::{check, links, proof};

use super::held::{Found, cached_locations};
use super::plan::{Location, Place, Want};
use super::report;
use super::run::Job;
use crate::app::App;
use crate::commands::beside;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host;
use crate::output::json;
use crate::record::{self, Known, Where};

/// Below the directory of `-o FILE`, when that is on another file system than the cache.
const STAGING_BESIDE: &str = ".callao-staging";
/// For an `ipfs://` or `oci://` location without a digest: limactl uses such an entry only if it has some date.
const TIME_OF_FOREIGN: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

/// A local file stays where it is.
pub(crate) fn local(job: &Job<'_>, want: &Want, found: Found) -> Result<json::Got, CommandError> {
    if let Some(out) = &job.output {
        return copy_out(job, want, &found, out, json::From::Local);
    }
    report::local(job, want, &found);
    Ok(report::held(want, &found, json::From::Local))
}

/// The entry of one location is there: the others get it as well.
pub(crate) fn cached(job: &Job<'_>, want: &Want, found: Found) -> Result<json::Got, CommandError> {
    if let Some(out) = &job.output {
        return copy_out(job, want, &found, out, json::From::Cache);
    }
    let app = job.app;
    for location in cached_locations(want) {
        if !is_published(app, want, location, &found)? {
            publish(app, want, location, &found, &Meta::default())?;
        }
    }
    touch(app, want);
    report::cached(app, &found.path);
    Ok(report::held(want, &found, json::From::Cache))
}

/// Notes that the entries were used, for `cache prune`; nothing depends on it.
fn touch(app: &App, want: &Want) {
    if let Some(catalogue) = app.catalogue() {
        for location in cached_locations(want) {
            let path = app.places.entry(&location.text).join("data");
            catalogue.touch(&path, host::unix_now()).unwrap_or(());
        }
    }
}

/// The same bytes are here under another name.
pub(crate) fn linked(job: &Job<'_>, want: &Want, found: Found) -> Result<json::Got, CommandError> {
    if let Some(out) = &job.output {
        return copy_out(job, want, &found, out, json::From::Link);
    }
    let mut first: Option<Published> = None;
    for location in cached_locations(want) {
        let published = publish(job.app, want, location, &found, &Meta::default())?;
        first.get_or_insert(published);
    }
    let Some(first) = first else {
        return local(job, want, found);
    };
    report::linked(job.app, &found.path, &first);
    let here = Found {
        path: first.path,
        stamp: first.stamp,
        ..found
    };
    Ok(report::held(want, &here, json::From::Link))
}

/// A staging file that is complete and proven.
pub(crate) fn fetched(
    job: &Job<'_>,
    want: &Want,
    report: &Report,
    layout: &Layout,
    staging: Staging,
) -> Result<json::Got, CommandError> {
    let app = job.app;
    proof::save(&*app.disk, &app.places, layout)?;
    let known = Known::of(layout, report.digests.clone());
    if let Some(out) = &job.output {
        move_out(app, staging.path(), out, &known)?;
        staging.discard()?;
        remove_staging_beside(job);
        let path = host::real_path(out);
        record::user_file(app, &path, &stamp_of(app, &path)?, &known, report.proof)?;
        return Ok(report::got(want, report, &path));
    }
    let meta = Meta {
        content_type: report.content_type.clone(),
        last_modified: report.last_modified.clone(),
    };
    let mut rest = cached_locations(want);
    let Some(first) = rest.next() else {
        return Err(CommandError::new(
            ExitCode::Unexpected,
            "a file without a location was fetched",
        ));
    };
    let from = From::Staging(staging);
    let published = lima_publish(app, want, first, from, &known.digests, &meta)?;
    let (path, mut stamp) = (published.path.clone(), published.stamp);
    record_entry(app, first, &path, &stamp, &known, report.proof)?;
    for location in rest {
        let found = Found {
            path: path.clone(),
            stamp,
            known: known.clone(),
            proof: report.proof,
            is_users: false,
        };
        stamp = publish(app, want, location, &found, &meta)?.stamp;
        if let Some(now) = app.disk.stat(&path).ok().flatten() {
            stamp = now;
        }
    }
    Ok(report::got(want, report, &path))
}

/// The places of the staging file: in the cache, unless `-o` goes to another file system.
pub(crate) fn staging_places(job: &Job<'_>) -> Result<Places, CommandError> {
    let app = job.app;
    let Some(out) = &job.output else {
        return Ok(app.places.clone());
    };
    let dir = parent(out);
    let own = app.places.own();
    let device = |path: &Path| {
        path.ancestors()
            .find_map(|path| app.disk.stat(path).ok().flatten())
            .map(|stamp| stamp.dev)
    };
    if device(dir) == device(&own) {
        Ok(app.places.clone())
    } else {
        Ok(Places::new(&dir.join(STAGING_BESIDE)))
    }
}

fn remove_staging_beside(job: &Job<'_>) {
    if let Some(out) = &job.output {
        host::remove_empty_dirs(&parent(out).join(STAGING_BESIDE));
    }
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Publishes bytes that are here under one more location.
fn publish(
    app: &App,
    want: &Want,
    location: &Location,
    found: &Found,
    meta: &Meta,
) -> Result<Published, CommandError> {
    let from = match found.is_users {
        true => From::UserFile(&found.path, found.stamp),
        false => From::File(&found.path, found.stamp),
    };
    let published = lima_publish(app, want, location, from, &found.known.digests, meta)?;
    if let (Some(catalogue), Some(now)) =
        (app.catalogue(), app.disk.stat(&found.path).ok().flatten())
    {
        // A link of our own changes the ctime of all names of the file.
        catalogue.restamp(&found.stamp, &now)?;
    }
    record_entry(
        app,
        location,
        &published.path,
        &published.stamp,
        &found.known,
        found.proof,
    )?;
    Ok(published)
}

fn lima_publish(
    app: &App,
    want: &Want,
    location: &Location,
    from: From<'_>,
    digests: &[Digest],
    meta: &Meta,
) -> Result<Published, CommandError> {
    let _guard = app.interrupt.guard();
    let is_ipfs = matches!(location.place, Place::Ipfs(_));
    let is_oci = matches!(location.place, Place::Oci(_));
    // limactl renews an http entry without a digest in the template, and does not remove digest files then. What it
    // cannot fetch, it cannot renew.
    let digests = if want.digest.is_some() || is_ipfs || is_oci {
        digests
    } else {
        &[]
    };
    let mut meta = meta.clone();
    if (is_ipfs && want.digest.is_none() || is_oci) && meta.last_modified.is_none() {
        meta.last_modified = Some(TIME_OF_FOREIGN.into());
    }
    let result = lima::publish(
        &*app.disk,
        &app.places,
        &location.text,
        from,
        digests,
        &meta,
        &mut app.lock_waiter(),
    );
    result.map_err(|error| match error {
        callao_store::Error::Locked { .. } if app.interrupt.is_set() => CommandError::interrupted(),
        other => other.into(),
    })
}

fn record_entry(
    app: &App,
    location: &Location,
    path: &Path,
    stamp: &Stamp,
    known: &Known,
    proof: Proof,
) -> Result<(), CommandError> {
    record::entry(
        app,
        &Where {
            path,
            stamp,
            url: Some(&location.text),
        },
        known,
        proof,
    )
}

/// Whether a location has these bytes already, with the marks that limactl wants.
fn is_published(
    app: &App,
    want: &Want,
    location: &Location,
    found: &Found,
) -> Result<bool, CommandError> {
    let Some(entry) = lima::read_entry(&*app.disk, &app.places, &location.text)? else {
        return Ok(false);
    };
    let marked = want
        .digest
        .as_ref()
        .is_none_or(|digest| entry.digests.contains(digest));
    let same = |stamp: &Stamp| {
        stamp.same_file(&found.stamp) || is_known_copy(app, &entry.path, stamp, found)
    };
    Ok(marked && entry.stamp.as_ref().is_some_and(same))
}

/// Another file with the same bytes, as the catalogue knows.
fn is_known_copy(app: &App, path: &Path, stamp: &Stamp, found: &Found) -> bool {
    let held = app
        .catalogue()
        .and_then(|catalogue| catalogue.by_path(path).ok().flatten());
    held.is_some_and(|held| {
        Catalogue::trusted(&held, stamp)
            && held
                .object
                .digests
                .iter()
                .any(|digest| found.known.digests.contains(digest))
    })
}

/// A held file becomes the user's file `out`: never a hard link, since the user may write to it.
fn copy_out(
    job: &Job<'_>,
    want: &Want,
    found: &Found,
    out: &Path,
    from: json::From,
) -> Result<json::Got, CommandError> {
    let app = job.app;
    let _guard = app.interrupt.guard();
    let target = host::real_path(out);
    if target != found.path {
        copy_to(app, &found.path, out, &found.known)?;
        let path = host::real_path(out);
        let stamp = stamp_of(app, &path)?;
        record::user_file(app, &path, &stamp, &found.known, found.proof)?;
        report::copied(app, &found.path, out);
    }
    let there = Found {
        path: host::real_path(out),
        ..found.clone()
    };
    Ok(report::held(want, &there, from))
}

/// The staging file becomes `out`: one rename, since it was put on the same file system.
fn move_out(app: &App, staging: &Path, out: &Path, known: &Known) -> Result<(), CommandError> {
    match app.disk.rename(staging, out) {
        Ok(()) => sync_parent(app, out),
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
            copy_to(app, staging, out, known)
        }
        Err(error) => Err(CommandError::io("rename a file to", out, &error)),
    }
}

/// `out` becomes a copy of `from`, complete or not at all; never another name of the same file.
fn copy_to(app: &App, from: &Path, out: &Path, known: &Known) -> Result<(), CommandError> {
    let disk = &*app.disk;
    let temporary = beside(out);
    let placed = links::place_own(disk, from, &temporary);
    let done = placed.map_err(CommandError::from).and_then(|how| {
        if how == links::How::Copied {
            verify_copy(app, &temporary, known)?;
        }
        disk.rename(&temporary, out)
            .map_err(|error| CommandError::io("rename a file to", out, &error))?;
        sync_parent(app, out)
    });
    if done.is_err() {
        // The first error is the one to tell.
        disk.remove(&temporary).unwrap_or(false);
    }
    done
}

fn sync_parent(app: &App, path: &Path) -> Result<(), CommandError> {
    let dir = parent(path);
    app.disk
        .sync_dir(dir)
        .map_err(|error| CommandError::io("write to", dir, &error))
}

fn stamp_of(app: &App, path: &Path) -> Result<Stamp, CommandError> {
    let stamp = app
        .disk
        .stat(path)
        .map_err(|error| CommandError::io("look at", path, &error))?;
    stamp.ok_or_else(|| CommandError::new(ExitCode::Disk, format!("`{}` has gone", path.display())))
}

fn verify_copy(app: &App, path: &Path, known: &Known) -> Result<(), CommandError> {
    let Some(expected) = known.digests.first() else {
        return Ok(());
    };
    let (digests, _) = check::hash_file(&*app.disk, path, &[expected.algorithm()], &|_| {})?;
    if digests.contains(expected) {
        return Ok(());
    }
    Err(CommandError::new(
        ExitCode::Disk,
        format!(
            "the copy `{}` is not what was written: the disk fails",
            path.display()
        ),
    ))
}

/// The user's file as an absolute path.
pub(crate) fn out_path(app: &App, out: &Path) -> Result<PathBuf, CommandError> {
    let path = app.host.working_dir.join(out);
    match host::kind_of(&path) {
        Some(host::FileKind::Directory) => Err(CommandError::usage(format!(
            "-o `{}` is a directory: name the file",
            out.display()
        ))),
        _ if host::kind_of(parent(&path)) != Some(host::FileKind::Directory) => {
            Err(CommandError::new(
                ExitCode::Disk,
                format!("there is no directory `{}`", parent(&path).display()),
            ))
        }
        _ => Ok(path),
    }
}

/// The CID under which bytes are known, as text.
pub(crate) fn root_text(known: &Known) -> Option<String> {
    known.roots.first().map(cid::text)
}
