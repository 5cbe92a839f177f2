//! What whoever serves blocks asks of what is held: is a block here, and its bytes, proven once more.
//! Must not know which protocol asks.

use std::ops::Range;

use callao_content::Cid;
use callao_content::layout::{Layout, LeafForm};

/// Blocks that may be given to others. Shared by threads; every method may be called at any time.
pub trait Served: Send + Sync + std::fmt::Debug {
    /// Bytes of the block, if it may be served now. From memory, without touching the disk.
    fn length(&self, cid: &Cid) -> Option<u32>;

    /// Reads the block into a buffer that is used again and again, and hashes it. `false` (and the buffer empty) if it is
    /// not there, or no longer what it was: then it is out of service already, and `length` says so too.
    fn read(&self, cid: &Cid, buffer: &mut Vec<u8>) -> bool;

    /// [`Served::read`] for several blocks, each with a buffer of its own.
    fn read_many(&self, wanted: &[Cid], buffers: &mut [Vec<u8>]) -> Vec<bool> {
        let each = wanted.iter().zip(buffers);
        each.map(|(cid, buffer)| self.read(cid, buffer)).collect()
    }
}

/// Replaces the buffer's contents by the bytes of consecutive leaves of a file whose blocks are served. `false` (and the
/// buffer empty) if one of them is not here.
pub fn read_leaves(
    served: &dyn Served,
    layout: &Layout,
    leaves: Range<usize>,
    buffer: &mut Vec<u8>,
) -> bool {
    buffer.clear();
    let mut block = Vec::new();
    let good = leaves.into_iter().all(|index| {
        if let Some(LeafForm::Inline(bytes)) = layout.leaves().get(index).map(|leaf| &leaf.form) {
            buffer.extend_from_slice(bytes);
            return true;
        }
        let cid = layout.leaf_cid(index);
        let read = cid.is_some_and(|cid| served.read(&cid, &mut block));
        let payload = layout.payload(index, &block).ok().filter(|_| read);
        buffer.extend_from_slice(payload.unwrap_or_default());
        payload.is_some()
    });
    if !good {
        buffer.clear();
    }
    good
}
