//! What an interrupted fetch left, for those who only want to know. Changes nothing, hashes nothing.

use crate::disk::Disk;
use crate::error::{At, Error};
use crate::places::Places;

/// A staging file, looked at from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leftover {
    /// Bytes that were written, in any order. How many of them are good shows only when they are hashed.
    pub bytes_at_most: u64,
    /// Length of the whole file, as it was reserved.
    pub size: u64,
    /// Somebody is working on it.
    pub in_use: bool,
}

/// Looks at the staging file of `key`; `None` if there is none, or nothing in it.
pub fn look(disk: &dyn Disk, places: &Places, key: &str) -> Result<Option<Leftover>, Error> {
    super::check_key(key)?;
    let path = places.staging_part(key);
    if disk.stat(&path).at("examine", &path)?.is_none() {
        return Ok(None);
    }
    let file = disk.open_read(&path).at("open", &path)?;
    let size = file.stamp().at("examine", &path)?.size;
    if size == 0 {
        return Ok(None);
    }
    Ok(Some(Leftover {
        bytes_at_most: file.written_bytes().at("examine", &path)?.min(size),
        size,
        // Taken for a moment only: the handle goes at the end of this function.
        in_use: !file.try_lock().at("lock", &path)?,
    }))
}
