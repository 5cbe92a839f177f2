//! Hashes a file that callao did not fetch itself, and notes what it is. Must not decide whether it may be served.

use std::time::{SystemTime, UNIX_EPOCH};

use callao_content::digest::{Algorithm, Digest};
use callao_content::profile::Profile;

use super::Owner;
use super::file::About;
use crate::catalogue::{Catalogue, FileRecord, Kind, Object, Verified};
use crate::disk::Disk;
use crate::error::Error;
use crate::places::Places;
use crate::{check, proof};

/// Notes layout and digests of a file; `Err` says why it cannot be served.
pub(super) fn adopt(
    disk: &dyn Disk,
    places: &Places,
    catalogue: &Catalogue,
    about: &About,
) -> Result<(), String> {
    let mut algorithms: Vec<Algorithm> = about.digests.iter().map(Digest::algorithm).collect();
    if !algorithms.contains(&Algorithm::Sha256) {
        algorithms.push(Algorithm::Sha256);
    }
    let failed = |error: Error| error.to_string();
    let shape = Profile::KuboCidV1.shape();
    let adopted = check::adopt(disk, &about.path, shape, &algorithms, &|_| {}).map_err(failed)?;
    if let Some(digest) = about
        .digests
        .iter()
        .find(|said| !adopted.digests.contains(said))
    {
        return Err(format!(
            "it does not have the digest {digest} that is noted for it"
        ));
    }
    proof::save(disk, places, &adopted.layout).map_err(failed)?;
    let object = Object {
        roots: vec![*adopted.layout.root()],
        size: adopted.layout.size(),
        verified: if about.digests.is_empty() {
            Verified::ContentOnly
        } else {
            Verified::Digest
        },
        digests: adopted.digests,
        verified_at_unix: unix_now(),
    };
    let file = FileRecord {
        path: about.path.clone(),
        stamp: adopted.stamp,
        url: about.url.clone(),
        kind: match about.owner {
            Owner::User => Kind::User,
            Owner::Lima | Owner::Car | Owner::Fetch => Kind::Lima,
        },
    };
    catalogue.record(&object, &file).map_err(failed)
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}
