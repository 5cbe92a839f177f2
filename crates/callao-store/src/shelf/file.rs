//! One file under one layout, as it is served: whole, or as far as a fetch has come. Every byte is hashed again before
//! it leaves. Must not know whether it may be served, nor who asks.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callao_content::digest::Digest;
use callao_content::layout::Layout;
use callao_content::leaf::LeafHash;
use callao_content::{Cid, cid};

use crate::disk::{self, DiskFile, Stamp};
use crate::proven::Proven;

/// Whose bytes they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// An entry of Lima's cache.
    Lima,
    /// A file that the user added.
    User,
    /// A CAR file that the user added.
    Car,
    /// A staging file: somebody is fetching it, or was interrupted.
    Fetch,
}

impl Owner {
    /// The word in the daemon's status.
    pub fn name(self) -> &'static str {
        match self {
            Owner::Lima => "lima",
            Owner::User => "user",
            Owner::Car => "car",
            Owner::Fetch => "fetching",
        }
    }
}

/// A file that is served. Used by many threads at once; no lock is held while it is read.
#[derive(Debug)]
pub struct Shelved {
    pub(super) layout: Arc<Layout>,
    pub(super) about: About,
    /// Stays open: a file that is renamed or removed can be read to the end.
    pub(super) file: Arc<dyn DiskFile>,
    /// The leaves that a fetch has proven; `None`: all of them.
    pub(super) have: Option<Proven>,
    pub(super) retired: AtomicBool,
}

/// What is known of it beside its bytes.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) owner: Owner,
    pub(super) url: Option<String>,
    pub(super) digests: Vec<Digest>,
    pub(super) stamp: Stamp,
}

impl Shelved {
    /// What it is made of.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// A name for people; may be empty.
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.about.path
    }

    /// Whose it is.
    pub fn owner(&self) -> Owner {
        self.about.owner
    }

    /// Digests of the whole, as far as they are known.
    pub fn digests(&self) -> &[Digest] {
        &self.about.digests
    }

    /// The location that it came from.
    pub fn url(&self) -> Option<&str> {
        self.about.url.as_deref()
    }

    /// Is every leaf here?
    pub fn is_complete(&self) -> bool {
        self.have
            .as_ref()
            .is_none_or(|have| have.count() == self.layout.leaves().len())
    }

    /// The proven bytes: sorted ranges that neither touch nor overlap.
    pub fn have(&self) -> Vec<Range<u64>> {
        self.layout.ranges_of(|index| self.has_leaf(index))
    }

    /// Replaces the buffer's contents by the bytes of consecutive leaves, hashed again. `false` (and the buffer empty) if
    /// one of them is not here or is no longer what it was; then a whole file is out of service.
    pub fn read_leaves(&self, leaves: Range<usize>, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        let all = self.layout.leaves();
        if leaves.is_empty() {
            return leaves.end <= all.len();
        }
        let Some(wanted) = all.get(leaves.clone()) else {
            return false;
        };
        if self.is_retired() || !leaves.clone().all(|index| self.has_leaf(index)) {
            return false;
        }
        let (first, last) = (&wanted[0], &wanted[wanted.len() - 1]);
        buffer.resize((last.end() - first.offset) as usize, 0);
        let mut proven = Vec::with_capacity(wanted.len());
        let good = self.fill(first.offset, buffer)
            && self
                .layout
                .verify_run(leaves.start, buffer, &mut proven)
                .is_ok();
        drop(proven);
        if !good {
            buffer.clear();
            self.distrust(leaves);
        }
        good
    }

    /// Leaves first, then inner nodes.
    pub(super) fn block_count(&self) -> usize {
        self.layout.leaves().len() + self.layout.nodes().len()
    }

    /// Calls `each` with the number and the digest of every block that has a hash.
    pub(super) fn digests_of_blocks(&self, mut each: impl FnMut(usize, &[u8])) {
        let leaves = self.layout.leaves();
        for (index, leaf) in leaves.iter().enumerate() {
            match leaf.form.hash() {
                Some(LeafHash::Sha256(hash)) => each(index, hash),
                Some(LeafHash::Sha512(hash)) => each(index, &hash[..]),
                None => {}
            }
        }
        for (index, node) in self.layout.nodes().iter().enumerate() {
            each(leaves.len() + index, node.cid.hash().digest());
        }
    }

    /// Length of a block, if it is the one that is asked for and can be read now.
    pub(super) fn length(&self, block: usize, wanted: &Cid) -> Option<u32> {
        if self.is_retired() {
            return None;
        }
        let leaves = self.layout.leaves().len();
        if let Some(node) = block.checked_sub(leaves) {
            let node = self.layout.nodes().get(node)?;
            return (node.cid.hash() == wanted.hash()).then_some(node.bytes.len() as u32);
        }
        let same = self.layout.leaf_cid(block)?.hash() == wanted.hash();
        (same && self.has_leaf(block)).then(|| self.layout.block_length(block) as u32)
    }

    /// Reads a block for which [`Shelved::length`] answered.
    pub(super) fn read(&self, block: usize, wanted: &Cid, buffer: &mut Vec<u8>) -> bool {
        let good = self.read_unproven(block, buffer)
            && (cid::verify_block(wanted, buffer).is_ok()
                || self.is_other_kind(block, wanted, buffer));
        if !good {
            buffer.clear();
            self.distrust(block..block + 1);
        }
        good
    }

    /// The bytes that ought to be a block for which [`Shelved::length`] answered. What is in the buffer otherwise means
    /// nothing.
    pub(super) fn read_unproven(&self, block: usize, buffer: &mut Vec<u8>) -> bool {
        if let Some(node) = block.checked_sub(self.layout.leaves().len()) {
            let node = self.layout.nodes().get(node);
            buffer.clear();
            buffer.extend_from_slice(node.map_or(&[], |node| &node.bytes[..]));
            return node.is_some();
        }
        let offset = self.layout.leaves()[block].offset;
        self.layout
            .block_around(block, buffer, |bytes| self.fill(offset, bytes))
    }

    /// Old trees have dag-pb leaves of another kind around the same bytes: then that is what the buffer holds afterwards.
    fn is_other_kind(&self, block: usize, wanted: &Cid, buffer: &mut Vec<u8>) -> bool {
        let payload = self.layout.payload(block, buffer);
        let rebuilt = payload.map(|payload| self.layout.block(block, payload));
        let rebuilt = rebuilt.is_ok_and(|rebuilt| {
            *buffer = rebuilt;
            true
        });
        rebuilt && cid::verify_block(wanted, buffer).is_ok()
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    fn has_leaf(&self, index: usize) -> bool {
        self.have.as_ref().is_none_or(|have| have.get(index))
    }

    fn fill(&self, offset: u64, buffer: &mut [u8]) -> bool {
        disk::read_full(&*self.file, buffer, offset).is_ok_and(|read| read == buffer.len())
    }

    /// A whole file that is not what it was goes out of service; of a fetch, only these leaves do.
    fn distrust(&self, leaves: Range<usize>) {
        match &self.have {
            None => self.retired.store(true, Ordering::Release),
            Some(have) => leaves.for_each(|index| have.clear(index)),
        }
    }
}
