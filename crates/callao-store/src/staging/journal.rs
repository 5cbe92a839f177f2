//! Hashes of the leaves of a fetch that has no layout, in file order, so that it can be continued.
//! Must not know the bytes beyond hashing them; nothing in the journal is believed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callao_content::hash;

use crate::disk::{self, Disk, DiskFile};
use crate::error::{At, Error};
use crate::limits;

const HASH_BYTES: usize = 32;

/// Leaves hashed at a time while resuming: four lanes, 1 MiB.
const RUN_LEAVES: usize = 4;

/// The writing end.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<Arc<dyn DiskFile>>,
    /// Hashes that are in the file.
    written: u64,
    pending: Vec<[u8; HASH_BYTES]>,
}

impl Journal {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            written: 0,
            pending: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, disk: &dyn Disk, hash: [u8; HASH_BYTES]) -> Result<(), Error> {
        self.pending.push(hash);
        if self.pending.len() < limits::JOURNAL_FLUSH_LEAVES {
            return Ok(());
        }
        self.flush(disk)
    }

    pub(super) fn flush(&mut self, disk: &dyn Disk) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let bytes = self.pending.concat();
        let file = match self.file.take() {
            Some(file) => file,
            None => disk.open_write(&self.path).at("create", &self.path)?,
        };
        let offset = self.written * HASH_BYTES as u64;
        file.write_at(&bytes, offset)
            .and_then(|()| file.set_len(offset + bytes.len() as u64))
            .at_needing("write", &self.path, bytes.len() as u64)?;
        self.file = Some(file);
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Goes on after these hashes, which are in the file already.
    pub(super) fn restart(&mut self, good: Vec<[u8; HASH_BYTES]>) {
        self.written = good.len() as u64;
        self.pending.clear();
        self.file = None;
    }
}

/// The hashes in a journal; none if there is no journal.
pub(super) fn load(disk: &dyn Disk, path: &Path) -> Result<Vec<[u8; HASH_BYTES]>, Error> {
    let max = usize::try_from(limits::JOURNAL_LEAVES_MAX).unwrap_or(usize::MAX);
    match disk::read_small(disk, path, max.saturating_mul(HASH_BYTES)) {
        Ok(bytes) => Ok(bytes.unwrap_or_default().as_chunks().0.to_vec()),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(Vec::new()),
        Err(error) => Err(error).at("read", path),
    }
}

/// As many of the hashes, from the first, as the file's bytes confirm.
pub(super) fn good_prefix(
    file: &dyn DiskFile,
    length: u64,
    noted: Vec<[u8; HASH_BYTES]>,
) -> io::Result<Vec<[u8; HASH_BYTES]>> {
    let leaf_bytes = limits::JOURNAL_LEAF_BYTES as usize;
    let mut buffer = vec![0; RUN_LEAVES * leaf_bytes];
    let mut hashes = Vec::with_capacity(RUN_LEAVES);
    let mut good = noted;
    let mut index = 0;
    while index < good.len() {
        let offset = index as u64 * limits::JOURNAL_LEAF_BYTES;
        let wanted = (good.len() - index).min(RUN_LEAVES) * leaf_bytes;
        let available = usize::try_from(length.saturating_sub(offset))
            .unwrap_or(usize::MAX)
            .min(wanted);
        let read = disk::read_full(file, &mut buffer[..available], offset)?;
        let leaves: Vec<&[u8]> = buffer[..read].chunks(leaf_bytes).collect();
        hashes.clear();
        hash::sha256_many(&leaves, &mut hashes);
        let confirmed = hashes
            .iter()
            .zip(&good[index..])
            .take_while(|(actual, noted)| actual == noted)
            .count();
        index += confirmed;
        if confirmed < RUN_LEAVES {
            break;
        }
    }
    good.truncate(index);
    Ok(good)
}
