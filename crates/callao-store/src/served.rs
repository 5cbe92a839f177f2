//! What whoever serves blocks asks of what is held: is a block here, and its bytes, proven once more.
//! Must not know which protocol asks.

use callao_content::Cid;

/// Blocks that may be given to others. Shared by threads; every method may be called at any time.
pub trait Served: Send + Sync + std::fmt::Debug {
    /// Bytes of the block, if it may be served now. From memory, without touching the disk.
    fn length(&self, cid: &Cid) -> Option<u32>;

    /// Reads the block into a buffer that is used again and again, and hashes it. `false` (and the buffer empty) if it is
    /// not there, or no longer what it was: then it is out of service already, and `length` says so too.
    fn read(&self, cid: &Cid, buffer: &mut Vec<u8>) -> bool;
}
