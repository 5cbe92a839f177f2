//! Takes entries of Lima's cache away, and what fetches that nobody goes on with have left.
//! Must not know why something has to go; nor touch what somebody works on, nor what has a foreign name.
//!
//! ```text
//! flock (not waited for) -> look again -> digest files, `time` -> directory synced
//!   -> converted images, temporary files, `data`, `type`, `url` -> the directory, if it is empty now
//! ```
//! First what speaks for the bytes, then the bytes: a digest file without its `data` would be believed of the next one.

use std::path::Path;

use callao_content::digest::Algorithm;

use crate::disk::{Disk, Stamp};
use crate::error::{At, Error};
use crate::lima::{ALGORITHMS, digest_path};
use crate::places::Places;

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Gone,
    /// Everything of Lima's is gone; the directory stays, since these names in it are none of Lima's.
    Emptied(Vec<String>),
    /// Somebody holds its lock, to write to it or to read from it.
    Busy,
    /// Its `data` is not the one that was looked at.
    Changed,
}

/// Takes the entry in `dir` away, if nobody works on it and `data` is still the file that was seen (`None`: there was
/// no `data`). Interrupted anywhere, it leaves nothing that limactl would believe, and can be done again.
pub fn remove_entry(disk: &dyn Disk, dir: &Path, seen: Option<&Stamp>) -> Result<Removal, Error> {
    if disk.stat(dir).at("examine", dir)?.is_none() {
        return Ok(Removal::Gone);
    }
    let Some(lock) = disk.try_lock_dir(dir).at("lock", dir)? else {
        return Ok(Removal::Busy);
    };
    let data = dir.join("data");
    let now = disk.stat(&data).at("examine", &data)?;
    let same = match (seen, &now) {
        (Some(seen), Some(now)) => now.same_bytes(seen),
        (None, None) => true,
        _ => false,
    };
    if !same {
        return Ok(Removal::Changed);
    }
    let remove = |path: &Path| disk.remove(path).at("remove", path);
    for algorithm in ALGORITHMS {
        remove(&digest_path(dir, algorithm))?;
    }
    // Without a digest in the template, `time` is what speaks for the bytes.
    remove(&dir.join("time"))?;
    disk.sync_dir(dir).at("sync", dir)?;
    let converted = dir.join("imgconv");
    remove(&converted.join("raw.digest"))?;
    remove(&converted.join("raw"))?;
    disk.remove_dir(&converted).at("remove", &converted)?;
    for name in disk.list(dir).at("list", dir)? {
        if is_temporary(&name) {
            remove(&dir.join(name))?;
        }
    }
    for name in ["data", "type", "url"] {
        remove(&dir.join(name))?;
    }
    let gone = disk.remove_dir(dir).at("remove", dir)?;
    drop(lock);
    if gone {
        return Ok(Removal::Gone);
    }
    Ok(Removal::Emptied(disk.list(dir).at("list", dir)?))
}

/// Removes what downloads that were interrupted before `before_ns` (since 1970) left in an entry, unless somebody works
/// on it. Answers with the bytes that they took on disk.
pub fn sweep_entry(disk: &dyn Disk, dir: &Path, before_ns: i64) -> Result<u64, Error> {
    let names = disk.list(dir).at("list", dir)?;
    if !names.iter().any(|name| is_temporary(name)) {
        return Ok(0);
    }
    // Whoever writes such a file holds the lock.
    let Some(lock) = disk.try_lock_dir(dir).at("lock", dir)? else {
        return Ok(0);
    };
    let mut freed = 0;
    for name in names.iter().filter(|name| is_temporary(name)) {
        let path = dir.join(name);
        match disk.stat(&path).at("examine", &path)? {
            Some(stamp) if stamp.mtime_ns < before_ns => {
                disk.remove(&path).at("remove", &path)?;
                freed += on_disk(&stamp);
            }
            _ => {}
        }
    }
    drop(lock);
    Ok(freed)
}

/// Removes digest files of an entry, so that nothing speaks for its bytes without a hash. `false`: somebody works on it.
pub fn remove_digests(
    disk: &dyn Disk,
    dir: &Path,
    algorithms: &[Algorithm],
) -> Result<bool, Error> {
    let Some(lock) = disk.try_lock_dir(dir).at("lock", dir)? else {
        return Ok(false);
    };
    for algorithm in algorithms {
        let path = digest_path(dir, *algorithm);
        disk.remove(&path).at("remove", &path)?;
    }
    disk.sync_dir(dir).at("sync", dir)?;
    drop(lock);
    Ok(true)
}

/// What limactl and callao call files that are not complete yet.
fn is_temporary(name: &str) -> bool {
    name == "data.part" || name.starts_with("data.tmp.")
}

/// What is left of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The key of its staging file.
    pub key: String,
    /// Bytes that it takes on disk.
    pub bytes: u64,
    /// When something of it was written last, in nanoseconds since 1970.
    pub changed_ns: i64,
}

/// All staging files, whether or not somebody works on them; [`crate::staging::Staging::remove_leftover`] finds out.
pub fn leftovers(disk: &dyn Disk, places: &Places) -> Result<Vec<Leftover>, Error> {
    let dir = places.staging();
    let mut found: Vec<Leftover> = Vec::new();
    for name in disk.list(&dir).at("list", &dir)? {
        let suffixes = [".json.tmp", ".part", ".json", ".leaves"];
        let Some(key) = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)) else {
            continue;
        };
        let path = dir.join(&name);
        let Some(stamp) = disk.stat(&path).at("examine", &path)? else {
            continue;
        };
        let (bytes, changed_ns) = (on_disk(&stamp), stamp.mtime_ns);
        match found.iter_mut().find(|leftover| leftover.key == key) {
            Some(leftover) => {
                leftover.bytes += bytes;
                leftover.changed_ns = leftover.changed_ns.max(changed_ns);
            }
            None => found.push(Leftover {
                key: key.to_owned(),
                bytes,
                changed_ns,
            }),
        }
    }
    Ok(found)
}

fn on_disk(stamp: &Stamp) -> u64 {
    stamp.blocks.saturating_mul(512)
}

#[cfg(test)]
mod tests;
