//! What callao knows of bytes that it has verified, and how it is written into the catalogue. The catalogue only makes
//! things quick: where it cannot be used, nothing fails.

use std::path::Path;

use callao_content::Cid;
use callao_content::digest::Digest;
use callao_content::layout::Layout;
use callao_fetch::event::Proof;
use callao_store::catalogue::{FileRecord, Held, Kind, Object, Verified};
use callao_store::disk::Stamp;

use crate::app::App;
use crate::error::CommandError;
use crate::host;

/// Names of some bytes, all verified by hashing them.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) digests: Vec<Digest>,
    pub(crate) roots: Vec<Cid>,
    pub(crate) size: u64,
}

impl Known {
    /// From a layout and the digests of the same bytes.
    pub(crate) fn of(layout: &Layout, digests: Vec<Digest>) -> Self {
        Known {
            digests,
            roots: vec![*layout.root()],
            size: layout.size(),
        }
    }

    /// From the catalogue.
    pub(crate) fn of_held(held: &Held) -> Self {
        let object = &held.object;
        Known {
            digests: object.digests.clone(),
            roots: object.roots.clone(),
            size: object.size,
        }
    }
}

/// Where a file is and whose it is.
pub(crate) struct Where<'a> {
    pub(crate) path: &'a Path,
    pub(crate) stamp: &'a Stamp,
    /// Its location, if it is an entry of Lima's cache.
    pub(crate) url: Option<&'a str>,
}

/// Writes a file of Lima's cache into the catalogue.
pub(crate) fn entry(
    app: &App,
    place: &Where<'_>,
    known: &Known,
    proof: Proof,
) -> Result<(), CommandError> {
    write(app, place, known, proof, Kind::Lima)
}

/// Writes a file of the user's into the catalogue.
pub(crate) fn user_file(
    app: &App,
    path: &Path,
    stamp: &Stamp,
    known: &Known,
    proof: Proof,
) -> Result<(), CommandError> {
    write(
        app,
        &Where {
            path,
            stamp,
            url: None,
        },
        known,
        proof,
        Kind::User,
    )
}

/// A file that was found not to hold what the catalogue says: it is hashed before it is believed again, also where
/// nothing but its bytes has changed.
pub(crate) fn distrust(app: &App, held: &Held) -> Result<(), CommandError> {
    let Some(catalogue) = app.catalogue() else {
        return Ok(());
    };
    catalogue.record(&held.object, &distrusted(held).file)?;
    Ok(())
}

/// The same, with a stamp that no file has.
pub(crate) fn distrusted(held: &Held) -> Held {
    let mut held = held.clone();
    held.file.stamp.ctime_ns = 0;
    held
}

/// How an object was verified, in the words of a fetch.
pub(crate) fn proof_of(verified: Verified) -> Proof {
    match verified {
        Verified::Both => Proof::DigestAndCid,
        Verified::Digest => Proof::Digest,
        Verified::Cid => Proof::Cid,
        Verified::ContentOnly => Proof::Nothing,
    }
}

fn write(
    app: &App,
    place: &Where<'_>,
    known: &Known,
    proof: Proof,
    kind: Kind,
) -> Result<(), CommandError> {
    let Some(catalogue) = app.catalogue() else {
        return Ok(());
    };
    let object = Object {
        digests: known.digests.clone(),
        roots: known.roots.clone(),
        size: known.size,
        verified: match proof {
            Proof::DigestAndCid => Verified::Both,
            Proof::Digest => Verified::Digest,
            Proof::Cid => Verified::Cid,
            Proof::Nothing => Verified::ContentOnly,
        },
        verified_at_unix: host::unix_now(),
    };
    let file = FileRecord {
        path: place.path.to_owned(),
        stamp: *place.stamp,
        url: place.url.map(str::to_string),
        kind,
    };
    catalogue.record(&object, &file)?;
    Ok(())
}
