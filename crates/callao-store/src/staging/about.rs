//! What a staging file is about, and when it may be continued. Must not know the bytes.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::error::Error;
use crate::text_file::{self, Durability};

/// The contents of `<key>.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// A name for people.
    pub name: String,
    /// Exact size in bytes.
    pub size: Option<u64>,
    /// Digest that the whole file must have, `sha256:<hex>`.
    pub digest: Option<String>,
    /// Root CID, as `cid::text` writes it.
    pub cid: Option<String>,
    /// Where the bytes come from, when neither digest nor CID says what they are.
    pub url: Option<String>,
    /// The origin's `ETag`, verbatim.
    pub etag: Option<String>,
    /// The origin's `Last-Modified`, verbatim.
    pub last_modified: Option<String>,
    /// The origin's length of the body.
    pub length: Option<u64>,
}

impl About {
    /// May a fetch that wants `self` go on with what an earlier one, about `old`, left?
    ///
    /// With a digest or a CID in common: yes, unless something known to both differs. With neither: only if the URL
    /// is the same, and `old` has a strong `ETag`, or `Last-Modified` and length, which `self` does not contradict
    /// (they are usually not known yet; the request for the rest carries them in `If-Range`).
    pub fn fits(&self, old: &Self) -> bool {
        if differ(&self.digest, &old.digest)
            || differ(&self.cid, &old.cid)
            || differ(&self.size, &old.size)
        {
            return false;
        }
        let shared =
            |mine: &Option<String>, theirs: &Option<String>| mine.is_some() && mine == theirs;
        if shared(&self.digest, &old.digest) || shared(&self.cid, &old.cid) {
            return true;
        }
        let anonymous = [&self.digest, &self.cid, &old.digest, &old.cid]
            .iter()
            .all(|identity| identity.is_none());
        anonymous
            && shared(&self.url, &old.url)
            && old.is_revisable()
            && !differ(&self.etag, &old.etag)
            && !differ(&self.last_modified, &old.last_modified)
            && !differ(&self.length, &old.length)
    }

    /// Are there validators with which a server can say whether the rest belongs to the beginning?
    fn is_revisable(&self) -> bool {
        let strong = self
            .etag
            .as_ref()
            .is_some_and(|etag| !etag.is_empty() && !etag.starts_with("W/"));
        let dated = self
            .last_modified
            .as_ref()
            .is_some_and(|text| !text.is_empty());
        strong || (dated && self.length.is_some())
    }

    /// `self`, with what only `old` knows.
    pub(super) fn or(&self, old: &Self) -> Self {
        let mut merged = self.clone();
        merged.size = merged.size.or(old.size);
        for (mine, theirs) in [
            (&mut merged.digest, &old.digest),
            (&mut merged.cid, &old.cid),
            (&mut merged.url, &old.url),
            (&mut merged.etag, &old.etag),
            (&mut merged.last_modified, &old.last_modified),
        ] {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        }
        merged.length = merged.length.or(old.length);
        merged
    }
}

/// Both known, and not the same.
fn differ<T: PartialEq>(mine: &Option<T>, theirs: &Option<T>) -> bool {
    mine.is_some() && theirs.is_some() && mine != theirs
}

/// `None` if it is missing or damaged: then the bytes beside it are nobody's.
pub(crate) fn load(disk: &dyn Disk, path: &Path) -> Result<Option<About>, Error> {
    Ok(text_file::read(disk, path)?.and_then(|text| serde_json::from_str(&text).ok()))
}

/// The name under which the file is written.
pub(super) fn temporary(path: &Path) -> PathBuf {
    path.with_added_extension("tmp")
}

pub(super) fn save(disk: &dyn Disk, path: &Path, about: &About) -> Result<(), Error> {
    // A struct of strings and numbers always has a JSON form.
    let text = serde_json::to_vec_pretty(about).unwrap_or_default();
    text_file::replace(disk, &temporary(path), path, &text, Durability::Lax)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digest, CID, URL, ETag, Last-Modified, length; `-` where there is none.
    fn about(words: &str) -> About {
        let mut words = words
            .split(' ')
            .map(|word| (word != "-").then(|| word.to_owned()));
        let mut next = || words.next().flatten();
        About {
            name: "a file".to_owned(),
            size: None,
            digest: next(),
            cid: next(),
            url: next(),
            etag: next(),
            last_modified: next(),
            length: next().and_then(|word| word.parse().ok()),
        }
    }

    #[test]
    fn what_may_be_continued() {
        let table = [
            ("same digest", "D - u - - -", "D - v E - -", true),
            ("same cid", "- C - - - -", "- C - - - -", true),
            ("cid learned later", "D C - - - -", "D - - - - -", true),
            ("other digest", "D - - - - -", "E - - - - -", false),
            (
                "same digest, other cid",
                "D C - - - -",
                "D B - - - -",
                false,
            ),
            ("nothing in common", "D - u - - -", "- C u - - -", false),
            ("pinned since", "D - u - - -", "- - u E - -", false),
            ("strong etag", "- - u - - -", "- - u E - -", true),
            ("other etag", "- - u F - -", "- - u E - -", false),
            ("weak etag", "- - u - - -", "- - u W/E - -", false),
            ("date and length", "- - u - - -", "- - u - Mon 5", true),
            ("date alone", "- - u - - -", "- - u - Mon -", false),
            ("other length", "- - u - - 6", "- - u - Mon 5", false),
            ("other url", "- - u - - -", "- - v E - -", false),
            ("no url", "- - - - - -", "- - - E - -", false),
        ];
        for (case, new, old, expected) in table {
            assert_eq!(about(new).fits(&about(old)), expected, "{case}");
        }
        let (mut new, mut old) = (about("D - - - - -"), about("D - - - - -"));
        (new.size, old.size) = (Some(1), Some(2));
        assert!(!new.fits(&old), "other size");
    }

    #[test]
    fn what_only_the_older_one_knows_is_kept() {
        let merged = about("D - u - - -").or(&about("D C v E Mon 5"));
        assert_eq!(merged, about("D C u E Mon 5"));
    }
}
