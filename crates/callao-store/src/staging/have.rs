//! `<key>.have`: which leaves of a staging file are proven, for other processes that serve them while the fetch goes on.
//! Must not be believed: whoever reads it hashes the leaves. Not synced, and nothing fails if it cannot be written.
//!
//! ```text
//! 0    128   the root as text, a newline, zeros
//! 128  8*n   one bit per leaf, in words of 64 bits, little endian
//! ```

use std::path::Path;
use std::sync::Arc;

use callao_content::{Cid, cid};

use crate::disk::{self, Disk, DiskFile};
use crate::limits::HAVE_BYTES_MAX;
use crate::proven::Proven;

const HEADER_BYTES: usize = 128;

/// The file, open for writing.
#[derive(Debug)]
pub(super) struct HaveFile {
    file: Arc<dyn DiskFile>,
}

impl HaveFile {
    /// Begins a new one; `None` if that is not possible.
    pub(super) fn create(disk: &dyn Disk, path: &Path, root: &Cid, leaves: usize) -> Option<Self> {
        let mut header = [0; HEADER_BYTES];
        let text = format!("{}\n", cid::text(root));
        header
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        let file = disk.open_write(path).ok()?;
        file.set_len(0).ok()?;
        file.set_len((HEADER_BYTES + leaves.div_ceil(64) * 8) as u64)
            .ok()?;
        file.write_at(&header, 0).ok()?;
        Some(HaveFile { file })
    }

    /// Writes the word that holds a leaf. Two threads may write one word in the wrong order; the leaf that is lost so is
    /// not served until the next one in its word is proven.
    pub(super) fn note(&self, proven: &Proven, leaf: usize) {
        let (word, bits) = proven.word_of(leaf);
        let at = (HEADER_BYTES + word * 8) as u64;
        // Best effort: it only tells others what they may ask for.
        let _ = self.file.write_at(&bits.to_le_bytes(), at);
    }

    /// Writes all words.
    pub(super) fn note_all(&self, proven: &Proven, leaves: usize) {
        (0..leaves)
            .step_by(64)
            .for_each(|leaf| self.note(proven, leaf));
    }
}

/// The root and the words of such a file; `None` if there is none, or if it is no such file.
pub(crate) fn load(disk: &dyn Disk, path: &Path) -> Option<(Cid, Vec<u64>)> {
    let bytes = disk::read_small(disk, path, HAVE_BYTES_MAX).ok()??;
    let (header, words) = bytes.split_at_checked(HEADER_BYTES)?;
    let text = header.split(|byte| *byte == b'\n').next()?;
    let root = cid::parse(std::str::from_utf8(text).ok()?).ok()?;
    let (words, _) = words.as_chunks::<8>();
    Some((
        root,
        words.iter().map(|word| u64::from_le_bytes(*word)).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::faulty::FaultyDisk;
    use callao_content::hash;

    #[test]
    fn bits_come_back_and_garbage_is_nothing() {
        let (disk, path) = (FaultyDisk::new(), Path::new("/d/k.have"));
        disk.plant(Path::new("/d/other"), b"");
        let root = cid::raw_sha256(hash::sha256(b"x"));
        assert_eq!(load(&disk, path), None);
        let file = HaveFile::create(&disk, path, &root, 130).expect("a good disk");
        assert_eq!(load(&disk, path), Some((root, vec![0, 0, 0])));
        let proven = Proven::new(130);
        for leaf in [1, 64, 129] {
            proven.set(leaf);
            file.note(&proven, leaf);
        }
        assert_eq!(load(&disk, path), Some((root, vec![2, 1, 2])));
        proven.set(0);
        file.note_all(&proven, 130);
        assert_eq!(load(&disk, path), Some((root, vec![3, 1, 2])));
        HaveFile::create(&disk, path, &root, 1).expect("begun again");
        assert_eq!(load(&disk, path), Some((root, vec![0])));
        disk.plant(path, b"too short");
        assert_eq!(load(&disk, path), None);
        disk.plant(path, &[b'x'; 200]);
        assert_eq!(load(&disk, path), None);
    }
}
