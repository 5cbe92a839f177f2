//! Staging files: what a fetch of another process has proven so far. Must not believe its map: leaves are hashed when
//! they are read.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use callao_content::Cid;

use super::file::About;
use super::look::{Looker, Seen, is_same, listed, name_of};
use super::{Owner, Shelved};
use crate::disk::Disk;
use crate::error::{At, Error};
use crate::proof;
use crate::proven::Proven;
use crate::staging::{have, load_about};

const MAP: &str = ".have";

/// Adds the staging files that may be served.
pub(super) fn look(looker: &Looker, before: &[Arc<Shelved>], seen: &mut Seen) -> Result<(), Error> {
    let dir = looker.places.staging();
    for name in looker.disk.list(&dir).at("list", &dir)? {
        let Some(key) = name.strip_suffix(MAP) else {
            continue;
        };
        let Some((root, words)) = have::load(&*looker.disk, &dir.join(&name)) else {
            continue;
        };
        let Some(about) = about(looker, key)? else {
            continue;
        };
        let why_not = looker.may_serve(about.url.as_deref(), Owner::Fetch).err();
        let mut listed = listed(&about, vec![root], about.stamp.size);
        listed.have_bytes = 0;
        if why_not.is_none()
            && let Some(file) = shelved(looker, &root, &about, before)?
        {
            set(&file, &words);
            seen.files.push(file);
        }
        listed.why_not = why_not;
        seen.listed.push(listed);
    }
    Ok(())
}

/// Reads the maps again.
pub(super) fn update(disk: &dyn Disk, files: &[Arc<Shelved>]) {
    for file in files.iter().filter(|file| file.owner() == Owner::Fetch) {
        let map = file.path().with_extension(&MAP[1..]);
        if let Some((root, words)) = have::load(disk, &map)
            && root == *file.layout.root()
        {
            set(file, &words);
        }
    }
}

fn set(file: &Shelved, words: &[u64]) {
    if let Some(have) = &file.have {
        for (word, bits) in words.iter().enumerate().filter(|(_, bits)| **bits != 0) {
            have.set_word(word, *bits);
        }
    }
}

/// What a staging file is about; `None` if it is gone by now.
fn about(looker: &Looker, key: &str) -> Result<Option<About>, Error> {
    let path = looker.places.staging_part(key);
    let said = load_about(&*looker.disk, &looker.places.staging_json(key))?;
    let (Some(stamp), Some(said)) = (looker.stat(&path)?, said) else {
        return Ok(None);
    };
    let name = said
        .url
        .as_deref()
        .map(name_of)
        .filter(|name| !name.is_empty());
    Ok(Some(About {
        path,
        name: name.unwrap_or(said.name),
        owner: Owner::Fetch,
        url: said.url,
        digests: said
            .digest
            .and_then(|text| text.parse().ok())
            .into_iter()
            .collect(),
        stamp,
    }))
}

/// As it was before, if it is the same file; `None` if its layout or the file is not there any more.
fn shelved(
    looker: &Looker,
    root: &Cid,
    about: &About,
    before: &[Arc<Shelved>],
) -> Result<Option<Arc<Shelved>>, Error> {
    let same = |file: &&Arc<Shelved>| {
        is_same(file, &about.path, root) && file.about.stamp.same_file(&about.stamp)
    };
    if let Some(file) = before.iter().find(same) {
        return Ok(Some(Arc::clone(file)));
    }
    let Some(layout) = proof::load(&*looker.disk, &looker.places, root) else {
        return Ok(None);
    };
    let Some(file) = open(&*looker.disk, &about.path)? else {
        return Ok(None);
    };
    Ok(Some(Arc::new(Shelved {
        have: Some(Proven::new(layout.leaves().len())),
        layout: Arc::new(layout),
        about: about.clone(),
        file,
        retired: AtomicBool::new(false),
    })))
}

/// `None` if it was published or discarded since it was seen.
fn open(disk: &dyn Disk, path: &Path) -> Result<Option<Arc<dyn crate::disk::DiskFile>>, Error> {
    match disk.open_read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.at("open", path).map(Some),
    }
}
