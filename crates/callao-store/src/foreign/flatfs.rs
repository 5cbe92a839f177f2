//! The `blocks` directory of a kubo repository (go-ds-flatfs), read without kubo and without its lock.
//! Must not write, nor know what the blocks are.
//!
//! ```text
//! <repo>/datastore_spec          which datastore holds /blocks
//! <repo>/blocks/SHARDING         /repo/flatfs/shard/v1/next-to-last/2
//! <repo>/blocks/<XY>/<KEY>.data  KEY = base32, upper case, of the block's multihash
//! ```
//! A daemon may run meanwhile: flatfs writes a temporary file and renames it, so a file that is there is complete.

use std::path::{Path, PathBuf};

use callao_content::{Cid, cid, limits as content_limits};
use serde_json::Value;

use super::{BlockReader, identity};
use crate::disk::{self, RealDisk};
use crate::error::{At, Error};
use crate::limits;

/// How many of which characters of a key name its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shard {
    Prefix(usize),
    Suffix(usize),
    NextToLast(usize),
}

/// An open repository.
#[derive(Debug)]
pub struct Flatfs {
    repository: PathBuf,
    blocks: PathBuf,
    shard: Shard,
}

impl Flatfs {
    /// Opens a repository (`$IPFS_PATH`), or its `blocks` directory. [`Error::UnsupportedDatastore`] if it does not keep
    /// its blocks in flatfs: then only the daemon can read them.
    pub fn open(repository: &Path) -> Result<Self, Error> {
        let blocks = blocks_dir(repository)?;
        let sharding = blocks.join("SHARDING");
        let text = read_text(&sharding)?.ok_or_else(|| Error::NotARepository {
            path: repository.to_owned(),
        })?;
        Ok(Self {
            repository: repository.to_owned(),
            shard: Shard::parse(text.trim()).ok_or(Error::BadSharding {
                path: sharding,
                text,
            })?,
            blocks,
        })
    }

    /// Where the block of a CID is, if it is there.
    pub fn block_path(&self, cid: &Cid) -> PathBuf {
        let key = cid::multihash_base32_upper(cid);
        let mut path = self.blocks.join(self.shard.directory(&key));
        path.push(key + ".data");
        path
    }
}

impl BlockReader for Flatfs {
    fn read_into(&self, cid: &Cid, buffer: &mut Vec<u8>) -> Result<bool, Error> {
        if identity(cid, buffer) {
            return Ok(true);
        }
        let path = self.block_path(cid);
        disk::read_whole_into(&path, buffer, content_limits::BLOCK_SIZE_BYTES_MAX).at("read", &path)
    }

    fn read_start(&self, cid: &Cid, place: &mut [u8]) -> Result<Option<usize>, Error> {
        let mut inline = Vec::new();
        if identity(cid, &mut inline) {
            let count = inline.len().min(place.len());
            place[..count].copy_from_slice(&inline[..count]);
            return Ok(Some(count));
        }
        let path = self.block_path(cid);
        disk::read_start_of(&path, place).at("read", &path)
    }

    fn describe(&self) -> String {
        format!("kubo repository {}", self.repository.display())
    }
}

impl Shard {
    fn parse(text: &str) -> Option<Self> {
        let (name, count) = text
            .strip_prefix("/repo/flatfs/shard/v1/")?
            .split_once('/')?;
        let count: usize = count.parse().ok()?;
        match name {
            "prefix" => Some(Self::Prefix(count)),
            "suffix" => Some(Self::Suffix(count)),
            "next-to-last" => Some(Self::NextToLast(count)),
            _ => None,
        }
    }

    /// go-ds-flatfs pads short keys with underscores.
    fn directory(self, key: &str) -> String {
        // Keys are base32: bytes are characters.
        let tail = |key: &str, count: usize| {
            let padded = format!("{}{key}", "_".repeat(count.saturating_sub(key.len())));
            padded[padded.len() - count..].to_owned()
        };
        match self {
            Self::Prefix(count) => key
                .chars()
                .chain(std::iter::repeat('_'))
                .take(count)
                .collect(),
            Self::Suffix(count) => tail(key, count),
            Self::NextToLast(count) => tail(&key[..key.len().saturating_sub(1)], count),
        }
    }
}

/// The directory that `datastore_spec` mounts at `/blocks`.
fn blocks_dir(repository: &Path) -> Result<PathBuf, Error> {
    if read_text(&repository.join("SHARDING"))?.is_some() {
        return Ok(repository.to_owned());
    }
    let Some(text) = read_text(&repository.join("datastore_spec"))? else {
        return Ok(repository.join("blocks"));
    };
    let unsupported = |kind: &str| Error::UnsupportedDatastore {
        path: repository.to_owned(),
        kind: kind.to_owned(),
    };
    let spec: Value =
        serde_json::from_str(&text).map_err(|_| unsupported("an unreadable datastore_spec"))?;
    let mounted = mount_at(&spec, "/blocks")
        .or_else(|| mount_at(&spec, "/"))
        .unwrap_or(&spec);
    let mut store = mounted;
    // Wrappers such as `measure` may stand around it.
    while let Some(child) = store.get("child") {
        store = child;
    }
    match store.get("type").and_then(Value::as_str) {
        Some("flatfs") => {
            let path = store
                .get("path")
                .and_then(Value::as_str)
                .unwrap_or("blocks");
            Ok(repository.join(path))
        }
        Some(kind) => Err(unsupported(kind)),
        None => Err(unsupported("an unknown datastore")),
    }
}

fn mount_at<'a>(spec: &'a Value, mountpoint: &str) -> Option<&'a Value> {
    spec.get("mounts")?
        .as_array()?
        .iter()
        .find(|mount| mount.get("mountpoint").and_then(Value::as_str) == Some(mountpoint))
}

fn read_text(path: &Path) -> Result<Option<String>, Error> {
    let bytes = match disk::read_small(&RealDisk, path, limits::SMALL_FILE_BYTES_MAX) {
        // `<file>/SHARDING`: the caller named a file.
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => None,
        other => other.at("read", path)?,
    };
    Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
}

#[cfg(test)]
mod tests;
