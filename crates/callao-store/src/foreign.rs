//! Blocks that other programs keep on disk, read in place: a kubo repository, a CAR file.
//! Must not believe them: whoever asks hashes what comes.

use bytes::Bytes;
use callao_content::Cid;

use crate::error::Error;

pub mod car;
pub mod flatfs;

/// Something on disk that blocks can be read from. Blocks are *not* verified.
pub trait BlockReader: Send + Sync + std::fmt::Debug {
    /// Reads a block into a buffer that is used again and again; `false` (and the buffer empty) if it is not there.
    fn read_into(&self, cid: &Cid, buffer: &mut Vec<u8>) -> Result<bool, Error>;

    /// Reads the beginning of a block straight into its place, as much as fits; the number of bytes, or `None` if the
    /// block is not there.
    fn read_start(&self, cid: &Cid, place: &mut [u8]) -> Result<Option<usize>, Error> {
        let mut buffer = Vec::new();
        if !self.read_into(cid, &mut buffer)? {
            return Ok(None);
        }
        let count = buffer.len().min(place.len());
        place[..count].copy_from_slice(&buffer[..count]);
        Ok(Some(count))
    }

    /// What it is, for messages: a lower-case fragment with the path.
    fn describe(&self) -> String;

    /// Reads a block; `None` if it is not there.
    fn get(&self, cid: &Cid) -> Result<Option<Bytes>, Error> {
        let mut buffer = Vec::new();
        let found = self.read_into(cid, &mut buffer)?;
        // A buffer that was reserved for the largest block must not live on with a small one.
        Ok(found.then(|| Bytes::copy_from_slice(&buffer)))
    }
}

/// A block whose bytes are the CID itself.
fn identity(cid: &Cid, buffer: &mut Vec<u8>) -> bool {
    buffer.clear();
    let inline = cid.hash().code() == callao_content::cid::IDENTITY;
    if inline {
        buffer.extend_from_slice(cid.hash().digest());
    }
    inline
}
