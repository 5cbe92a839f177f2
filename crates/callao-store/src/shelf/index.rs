//! Where each block is: a sorted table of 16 bytes a block, over all files. Must not know a disk.

use std::sync::Arc;

use callao_content::Cid;

use super::file::Shelved;

/// All blocks of some files.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By key; several entries of one key are one block in several places, or (as good as never) different blocks.
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// The first bytes of the digest.
    key: u64,
    file: u32,
    block: u32,
}

impl Index {
    pub(super) fn of(files: &[Arc<Shelved>]) -> Self {
        let mut entries = Vec::with_capacity(files.iter().map(|file| file.block_count()).sum());
        for (number, file) in files.iter().enumerate() {
            file.digests_of_blocks(|block, digest| {
                entries.push(Entry {
                    key: key(digest),
                    file: number as u32,
                    block: block as u32,
                });
            });
        }
        entries.sort_unstable();
        Index { entries }
    }

    /// File and block numbers that may be it: the caller compares the CID.
    pub(super) fn find(&self, cid: &Cid) -> impl Iterator<Item = (usize, usize)> {
        let key = key(cid.hash().digest());
        let first = self.entries.partition_point(|entry| entry.key < key);
        self.entries[first..]
            .iter()
            .take_while(move |entry| entry.key == key)
            .map(|entry| (entry.file as usize, entry.block as usize))
    }
}

fn key(digest: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let count = digest.len().min(bytes.len());
    bytes[..count].copy_from_slice(&digest[..count]);
    u64::from_be_bytes(bytes)
}
