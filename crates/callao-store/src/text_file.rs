//! Small files that appear whole or not at all: temporary name, then rename.
//! Must not know what they say.

use std::path::Path;

use crate::disk::{self, Disk};
use crate::error::{At, Error};
use crate::limits;

/// Should the bytes be durable before the name is?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// A power cut may leave an empty file.
    Lax,
    /// The bytes are synced before the rename.
    Synced,
}

/// Writes `bytes` to `temporary` and renames it to `path`.
pub(crate) fn replace(
    disk: &dyn Disk,
    temporary: &Path,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), Error> {
    // What a crashed process left under this name would keep its length.
    disk.remove(temporary).at("remove", temporary)?;
    let written = (|| {
        let file = disk.create_new(temporary)?;
        file.write_at(bytes, 0)?;
        if durability == Durability::Synced {
            file.sync_data()?;
        }
        disk.rename(temporary, path)
    })();
    written
        .at_needing("write", path, bytes.len() as u64)
        .inspect_err(|_| {
            let _ = disk.remove(temporary);
        })
}

/// The trimmed text of a small file: `None` if it is missing, not UTF-8, or far too long to be what it should be.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Option<String>, Error> {
    match disk::read_small(disk, path, limits::SMALL_FILE_BYTES_MAX) {
        Ok(Some(bytes)) => Ok(String::from_utf8(bytes)
            .ok()
            .map(|text| text.trim().to_owned())),
        Ok(None) => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}
