//! Entries of Lima's download cache, read and published exactly as limactl does it (`pkg/downloader`).
//! Must not know where bytes come from; keeps nothing of callao's own in an entry.
//!
//! ```text
//! <cache>/lima/download/by-url-sha256/<sha256 of the location>/     0700
//!     url  data  time  type  sha256.digest | sha384.digest | sha512.digest     0644, no newline at the end
//! ```
//! `<algo>.digest` is the commit mark: limactl never hashes `data` if the file equals the template's digest. So it is
//! written last, when `data` is durable, and only for a digest that callao computed from these very bytes.
//! The lock is `flock` on the directory itself.

use std::path::{Path, PathBuf};

use callao_content::digest::{Algorithm, Digest};

use crate::disk::{Disk, Stamp};
use crate::error::{At, Error};
use crate::places::Places;
use crate::text_file;

mod publish;

pub use crate::links::How;
pub use crate::lock::{WaitChoice, Waited};
pub use publish::{From, Meta, Published, publish};

/// The algorithms that Lima accepts, and so the digest files that may exist.
pub const ALGORITHMS: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

/// What is in an entry. Read without the lock: between two files somebody may have published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The `data` file, whether or not it exists.
    pub path: PathBuf,
    /// Its state; `None` if there is no `data` (an interrupted download leaves only `url`).
    pub stamp: Option<Stamp>,
    /// What the digest files *say*. Anybody may have changed `data` since: believe it only if the catalogue knows
    /// this stamp, else hash.
    pub digests: Vec<Digest>,
    /// Algorithms whose digest file says no digest of theirs: limactl refuses the entry for good.
    pub unusable: Vec<Algorithm>,
    /// Raw `Last-Modified` text.
    pub time: Option<String>,
    /// Raw `Content-Type` text.
    pub content_type: Option<String>,
    /// The location that the entry is for.
    pub url: Option<String>,
}

/// Reads the entry of a location; `None` if its directory does not exist.
pub fn read_entry(
    disk: &dyn Disk,
    places: &Places,
    location: &str,
) -> Result<Option<Entry>, Error> {
    read_dir(disk, &places.entry(location))
}

/// Reads all entries, also those that limactl made; names that are no entries are skipped.
pub fn list_entries(disk: &dyn Disk, places: &Places) -> Result<Vec<Entry>, Error> {
    let dir = places.lima_download();
    let mut entries = Vec::new();
    for name in disk.list(&dir).at("list", &dir)? {
        if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            entries.extend(read_dir(disk, &dir.join(name))?);
        }
    }
    Ok(entries)
}

fn read_dir(disk: &dyn Disk, dir: &Path) -> Result<Option<Entry>, Error> {
    if disk.stat(dir).at("examine", dir)?.is_none() {
        return Ok(None);
    }
    let (mut digests, mut unusable) = (Vec::new(), Vec::new());
    for algorithm in ALGORITHMS {
        match read_digest(disk, dir, algorithm)? {
            DigestFile::Missing => {}
            DigestFile::Says(digest) => digests.push(digest),
            DigestFile::Unusable => unusable.push(algorithm),
        }
    }
    let path = dir.join("data");
    let text = |name| text_file::read(disk, &dir.join(name));
    Ok(Some(Entry {
        stamp: disk.stat(&path).at("examine", &path)?,
        digests,
        unusable,
        time: text("time")?,
        content_type: text("type")?,
        url: text("url")?,
        path,
    }))
}

/// One digest file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DigestFile {
    Missing,
    Says(Digest),
    /// Empty, no digest, or one of another algorithm: limactl refuses the entry for good.
    Unusable,
}

pub(crate) fn digest_path(dir: &Path, algorithm: Algorithm) -> PathBuf {
    dir.join(format!("{}.digest", algorithm.name()))
}

fn read_digest(disk: &dyn Disk, dir: &Path, algorithm: Algorithm) -> Result<DigestFile, Error> {
    let path = digest_path(dir, algorithm);
    if disk.stat(&path).at("examine", &path)?.is_none() {
        return Ok(DigestFile::Missing);
    }
    let said = text_file::read(disk, &path)?.and_then(|text| text.parse::<Digest>().ok());
    Ok(match said {
        Some(digest) if digest.algorithm() == algorithm => DigestFile::Says(digest),
        _ => DigestFile::Unusable,
    })
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;
