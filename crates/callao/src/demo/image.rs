//! Makes the demo's image: bytes that no compression or deduplication helps with, and some zeroes as real images
//! have them. The same size always gives the same bytes.

use std::io;

use callao_content::digest::{Algorithm, Digest};
use callao_content::import::Importer;
use callao_content::layout::Layout;
use callao_content::profile::Profile;
use callao_store::disk::DiskFile;

const PIECE_BYTES: usize = 1024 * 1024;

/// Writes `size` bytes to `file` and imports them on the way.
pub(crate) fn make(file: &dyn DiskFile, size: u64) -> io::Result<(Layout, Digest)> {
    let mut importer = Importer::new(Profile::KuboCidV1.shape(), &[Algorithm::Sha256])
        .map_err(io::Error::other)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut state = 0x9E37_79B9_7F4A_7C15;
    let mut offset = 0;
    while offset < size {
        let length = (size - offset).min(PIECE_BYTES as u64) as usize;
        fill(
            &mut piece[..length],
            &mut state,
            offset / PIECE_BYTES as u64,
        );
        importer.update(&piece[..length]);
        file.write_at(&piece[..length], offset)?;
        file.start_writeback(offset..offset + length as u64);
        offset += length as u64;
    }
    let (layout, digests) = importer.finish();
    let digest = digests
        .into_iter()
        .next()
        .ok_or_else(|| io::Error::other("no digest"))?;
    Ok((layout, digest))
}

/// Every sixteenth piece is zeroes, all others are noise (xorshift64*).
fn fill(piece: &mut [u8], state: &mut u64, index: u64) {
    if index % 16 == 15 {
        piece.fill(0);
        return;
    }
    for word in piece.chunks_mut(8) {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        let noise = state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes();
        word.copy_from_slice(&noise[..word.len()]);
    }
}
