//! Where each thing lives below the cache directory: pure path arithmetic.
//! Must not know whether anything exists, nor where the cache directory of this computer is.
//!
//! ```text
//! <cache>/lima/download/by-url-sha256/<key>/   Lima's entries; key = sha256 of the literal location
//! <cache>/callao/v1/staging/<key>.part         one file per fetch      (+ .json, .leaves, .have)
//! <cache>/callao/v1/proofs/<root cid>.car      inner nodes of one layout
//! <cache>/callao/v1/documents/<digest>         manifests of registries  (<digest>.unpacked: what came out of a blob)
//! <cache>/callao/v1/names/<name>.ipns-record   the newest record of a name that was seen
//! <cache>/callao/v1/catalogue.sqlite           what is held where
//! <cache>/callao/v1/templates/<root cid>/      templates that limactl was given by their `ipfs:` locator
//! <cache>/callao/v1/containerd-archives.yaml   what limactl adds to templates without archives
//! ```
//! The folder carries the format's version: another format is another folder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use callao_content::digest::Digest;
use callao_content::{Cid, cid, hash};

/// The paths below one cache directory (Go's `UserCacheDir`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    cache: PathBuf,
}

impl Places {
    /// `cache` is what Go's `os.UserCacheDir` gives: `~/.cache`, `~/Library/Caches`.
    pub fn new(cache: &Path) -> Self {
        Self {
            cache: cache.to_owned(),
        }
    }

    /// The cache directory itself.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The directory that holds Lima's entries: `<cache>/lima/download/by-url-sha256`.
    pub fn lima_download(&self) -> PathBuf {
        self.cache
            .join("lima")
            .join("download")
            .join("by-url-sha256")
    }

    /// Lima's entry for a location, as the template spells it (`CacheKey` in Lima's downloader).
    pub fn entry(&self, location: &str) -> PathBuf {
        self.lima_download().join(lima_key(location))
    }

    /// Where callao keeps what is its own: `<cache>/callao/v1`. Outside `lima/`, which `limactl prune` deletes.
    pub fn own(&self) -> PathBuf {
        self.cache.join("callao").join("v1")
    }

    /// The directory of the staging files.
    pub fn staging(&self) -> PathBuf {
        self.own().join("staging")
    }

    /// The staging file of a fetch.
    pub fn staging_part(&self, key: &str) -> PathBuf {
        self.staging().join(format!("{key}.part"))
    }

    /// What a staging file is about.
    pub fn staging_json(&self, key: &str) -> PathBuf {
        self.staging().join(format!("{key}.json"))
    }

    /// Leaf hashes of a staging file that has no layout.
    pub fn staging_leaves(&self, key: &str) -> PathBuf {
        self.staging().join(format!("{key}.leaves"))
    }

    /// Which leaves of a staging file are proven.
    pub fn staging_have(&self, key: &str) -> PathBuf {
        self.staging().join(format!("{key}.have"))
    }

    /// The directory of the proofs.
    pub fn proofs(&self) -> PathBuf {
        self.own().join("proofs")
    }

    /// The proof of a layout. Both spellings of a CID are one file only if the caller says so: the text is as
    /// [`cid::text`] gives it.
    pub fn proof(&self, root: &Cid) -> PathBuf {
        self.proofs().join(format!("{}.car", cid::text(root)))
    }

    /// The directory of the records of names.
    pub fn names(&self) -> PathBuf {
        self.own().join("names")
    }

    /// The record of a name (the CID of its key).
    pub fn name(&self, name: &Cid) -> PathBuf {
        self.names()
            .join(format!("{}.ipns-record", cid::text(name)))
    }

    /// The directory of the templates that came by an `ipfs:` locator.
    pub fn templates(&self) -> PathBuf {
        self.own().join("templates")
    }

    /// The directory of the documents.
    pub fn documents(&self) -> PathBuf {
        self.own().join("documents")
    }

    /// A document by its digest.
    pub fn document(&self, digest: &Digest) -> PathBuf {
        self.documents()
            .join(format!("{}-{}.json", digest.algorithm(), digest.hex()))
    }

    /// The note of where the upload of a blob to a repository goes on.
    pub fn upload(&self, blob: &Digest, target: &str) -> PathBuf {
        self.documents().join(format!(
            "{}-{}-{}.upload",
            blob.algorithm(),
            blob.hex(),
            &lima_key(target)[..16]
        ))
    }

    /// The note of what came out of a blob, or out of one place in it.
    pub fn unpacked(&self, blob: &Digest, member: Option<&str>) -> PathBuf {
        let place = member.map(|member| format!("-{}", &lima_key(member)[..16]));
        self.documents().join(format!(
            "{}-{}{}.unpacked",
            blob.algorithm(),
            blob.hex(),
            place.unwrap_or_default()
        ))
    }

    /// The catalogue's database.
    pub fn catalogue(&self) -> PathBuf {
        self.own().join("catalogue.sqlite")
    }

    /// The containerd archives of the limactl that was asked last.
    pub fn containerd_archives(&self) -> PathBuf {
        self.own().join("containerd-archives.yaml")
    }
}

/// Lima's `CacheKey`: lower-case hex SHA-256 of the location, byte for byte as in the template.
pub fn lima_key(location: &str) -> String {
    hash::sha256(location.as_bytes())
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_limas_golden_vector() {
        assert_eq!(
            lima_key("https://example.com/a.img"),
            "38677a2c1ea942a56231187d34e849e8b167a99eb33bafae636c0afd53559488"
        );
    }

    #[test]
    fn places_are_the_documented_ones() {
        let places = Places::new(Path::new("/c"));
        let root = cid::raw_sha256(hash::sha256(b""));
        let table = [
            (
                places.entry("https://example.com/a.img"),
                "/c/lima/download/by-url-sha256/38677a2c1ea942a56231187d34e849e8b167a99eb33bafae636c0afd53559488",
            ),
            (places.staging_part("k"), "/c/callao/v1/staging/k.part"),
            (places.staging_json("k"), "/c/callao/v1/staging/k.json"),
            (places.staging_leaves("k"), "/c/callao/v1/staging/k.leaves"),
            (
                places.proof(&root),
                "/c/callao/v1/proofs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku.car",
            ),
            (places.templates(), "/c/callao/v1/templates"),
            (places.catalogue(), "/c/callao/v1/catalogue.sqlite"),
            (
                places.containerd_archives(),
                "/c/callao/v1/containerd-archives.yaml",
            ),
        ];
        for (path, expected) in table {
            assert_eq!(path, Path::new(expected));
        }
    }
}
