//! `callao cache rebuild`: the catalogue from the files, each read once. What it replaces stays until the new one is
//! complete; a file that is not what it should be keeps what was known of it, so that it can be repaired.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use callao_content::address::IpfsAddress;
use callao_content::digest::{Algorithm, Digest};
use callao_content::layout::Layout;
use callao_content::profile::Profile;
use callao_content::{Cid, cid};
use callao_store::catalogue::{FileRecord, Held, Kind, Object, Verified};
use callao_store::check::{self, Adopted};
use callao_store::disk::Stamp;
use callao_store::proof;
use serde::Serialize;

use super::items::{self, Item};
use super::{layouts, verify};
use crate::app::App;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host;
use crate::output::{human, progress};
use crate::record;

/// What was found, as `--json` has it.
#[derive(Debug, Default, Serialize)]
struct Summary {
    #[serde(rename = "type")]
    event: &'static str,
    entries: usize,
    /// Files of the user's.
    users: usize,
    /// Not what they should be.
    damaged: usize,
    bytes: u64,
    /// Proofs that belong to nothing.
    dropped_proofs: usize,
}

/// What a file holds, by reading it.
struct Contents {
    digests: Vec<Digest>,
    roots: Vec<Cid>,
    stamp: Stamp,
    layout: Layout,
}

pub(super) fn run(app: &App) -> Result<(), CommandError> {
    let Some(catalogue) = app.catalogue() else {
        return Err(CommandError::new(
            ExitCode::Disk,
            format!(
                "the catalogue `{}` cannot be written",
                app.places.catalogue().display()
            ),
        ));
    };
    // First what the old one knows, then whether it can be relied on: it may be moved aside.
    let items = items::all(app)?;
    catalogue.check()?;
    let mut summary = Summary {
        event: "summary",
        ..Summary::default()
    };
    let (mut rows, mut damaged) = (Vec::new(), Vec::new());
    let proofs: Vec<Layout> = proof::list(&*app.disk, &app.places)?
        .iter()
        .filter_map(|root| proof::load(&*app.disk, &app.places, root))
        .collect();
    let mut read: BTreeMap<(u64, u64), Contents> = BTreeMap::new();
    for item in &items {
        app.interrupt.check()?;
        let Some(stamp) = item.stamp else { continue };
        // Before it is read: reading counts as a use.
        let used = host::last_use(&item.path);
        let key = (stamp.dev, stamp.inode);
        let contents = match read.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                summary.bytes += stamp.size;
                new.insert(contents(app, item, &proofs)?)
            }
        };
        let expected = item.expected();
        let is_right = expected.is_empty()
            || expected
                .iter()
                .any(|digest| contents.digests.contains(digest));
        if is_right {
            // As when a file is added: with its inner nodes it can be repaired, and proven in pieces.
            proof::save(&*app.disk, &app.places, &contents.layout)?;
            rows.push(row(item, contents, used));
        } else {
            summary.damaged += 1;
            tell_damaged(app, item, &expected, &contents.digests);
            rows.extend(item.held.as_ref().map(record::distrusted));
            damaged.push(&*item.path);
        }
        match item.owner {
            Kind::Lima => summary.entries += 1,
            Kind::User => summary.users += 1,
        }
    }
    catalogue.replace_files(&rows)?;
    summary.dropped_proofs = drop_proofs(app, &rows, &damaged)?;
    tell(app, &summary);
    Ok(())
}

/// Digests, and the root in the usual way of making one; also those of proofs on disk that the bytes fit.
fn contents(app: &App, item: &Item, proofs: &[Layout]) -> Result<Contents, CommandError> {
    let mut algorithms = verify::algorithms_of(&item.expected());
    if !algorithms.contains(&Algorithm::Sha256) {
        algorithms.push(Algorithm::Sha256);
    }
    let bar = progress::reading_bar(&app.output, item.stamp.map_or(0, |stamp| stamp.size));
    let adopted = check::adopt(
        &*app.disk,
        &item.path,
        Profile::KuboCidV1.shape(),
        &algorithms,
        &|position| bar.set_position(position),
    );
    bar.finish_and_clear();
    let Adopted {
        layout,
        digests,
        stamp,
    } = adopted?;
    let mut roots = vec![*layout.root()];
    for proven in proofs {
        let may_be = proven.size() == stamp.size && proven.root() != layout.root();
        if may_be && layouts::fits(app, &item.path, proven)? {
            roots.push(*proven.root());
        }
    }
    Ok(Contents {
        digests,
        roots,
        stamp,
        layout,
    })
}

fn row(item: &Item, contents: &Contents, used: Option<i64>) -> Held {
    let old = same_bytes(item, contents);
    let mut object = Object {
        digests: contents.digests.clone(),
        roots: contents.roots.clone(),
        size: contents.stamp.size,
        verified: verified(item, contents),
        verified_at_unix: host::unix_now(),
    };
    if let Some(old) = old {
        // Of the same bytes, in other algorithms or other shapes.
        for digest in &old.object.digests {
            if !object.digests.contains(digest) {
                object.digests.push(*digest);
            }
        }
        for root in &old.object.roots {
            if !object.roots.contains(root) {
                object.roots.push(*root);
            }
        }
    }
    Held {
        object,
        file: FileRecord {
            path: item.path.clone(),
            stamp: contents.stamp,
            url: item.url.clone(),
            kind: item.owner,
        },
        used_at_unix: old
            .map(|held| held.used_at_unix)
            .max(used)
            .unwrap_or_default(),
    }
}

/// What was known, if that was of the bytes that are there.
fn same_bytes<'a>(item: &'a Item, contents: &Contents) -> Option<&'a Held> {
    item.known().filter(|held| {
        let digests = &held.object.digests;
        digests
            .iter()
            .any(|digest| contents.digests.contains(digest))
    })
}

/// What speaks for the bytes: what was asked for when they came, as far as it can still be seen.
fn verified(item: &Item, contents: &Contents) -> Verified {
    if let Some(old) = same_bytes(item, contents) {
        return old.object.verified;
    }
    let by_digest = item
        .said
        .iter()
        .any(|digest| contents.digests.contains(digest));
    let address = item
        .url
        .as_deref()
        .and_then(IpfsAddress::parse)
        .and_then(Result::ok);
    let by_cid = address.is_some_and(|address| {
        contents
            .roots
            .iter()
            .any(|root| cid::same_block(root, &address.cid))
    });
    match (by_digest, by_cid) {
        (true, true) => Verified::Both,
        (true, false) => Verified::Digest,
        (false, true) => Verified::Cid,
        (false, false) => Verified::ContentOnly,
    }
}

fn tell_damaged(app: &App, item: &Item, expected: &[Digest], actual: &[Digest]) {
    let expected = expected.first();
    let got = actual
        .iter()
        .find(|digest| expected.is_some_and(|wanted| wanted.algorithm() == digest.algorithm()));
    app.output.warning(format!(
        "`{}`: expected digest `{}`, got `{}`",
        item.path.display(),
        expected.map(ToString::to_string).unwrap_or_default(),
        got.map(ToString::to_string).unwrap_or_default()
    ));
}

/// Proofs of nothing that is here; those of a damaged file are what repairs it.
fn drop_proofs(app: &App, rows: &[Held], damaged: &[&Path]) -> Result<usize, CommandError> {
    let mut dropped = 0;
    for root in proof::list(&*app.disk, &app.places)? {
        let is_of_row = rows.iter().any(|row| row.object.roots.contains(&root));
        if is_of_row || layouts::is_of_any(app, &root, damaged)? {
            continue;
        }
        dropped += usize::from(proof::remove(&*app.disk, &app.places, &root)?);
    }
    Ok(dropped)
}

fn tell(app: &App, summary: &Summary) {
    app.output.json(summary);
    app.output.info(format!(
        "The catalogue knows {} entries of Lima's cache and {} files of yours ({} read); {} proofs that belong to no file dropped",
        summary.entries,
        summary.users,
        human::bytes(summary.bytes),
        summary.dropped_proofs
    ));
    if summary.damaged > 0 {
        app.output.warning(format!(
            "{} of them are not what they should be: `callao cache repair` fetches the damaged pieces again",
            summary.damaged
        ));
    }
}
