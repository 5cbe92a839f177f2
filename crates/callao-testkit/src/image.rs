//! Test images: the same bytes on every computer, made at any offset without making what is before it.
//!
//! Knows nothing of files, servers or CIDs.

use std::io;

/// Bytes per piece in which [`Image::write_to`] makes an image.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes per run in [`Image::Holes`]: every second run is zero.
const RUN_BYTES: u64 = 768 * 1024;

/// How the bytes of an image come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// Generator A of the published vectors: `byte[i] = 7*i + 13*(i>>8) + 31*(i>>16) + 17*(i>>24) mod 256`. Repeats
    /// 256 KiB chunks on purpose.
    Pattern,
    /// Pseudo-random bytes of a seed (splitmix64 of the position): no two chunks are equal.
    Random(u64),
    /// Pseudo-random bytes of a seed in which every second run of 768 KiB is zero, as in a raw disk image.
    Holes(u64),
}

impl Image {
    /// Fills `out` with the bytes of the image from `offset` on.
    pub fn fill(self, offset: u64, out: &mut [u8]) {
        match self {
            Self::Pattern => fill_pattern(offset, out),
            Self::Random(seed) => fill_random(seed, offset, out),
            Self::Holes(seed) => fill_holes(seed, offset, out),
        }
    }

    /// The first `size` bytes of the image.
    pub fn bytes(self, size: usize) -> Vec<u8> {
        let mut out = vec![0; size];
        self.fill(0, &mut out);
        out
    }

    /// Writes the first `size` bytes of the image to `out`, with 1 MiB of memory however large the image is.
    ///
    /// # Errors
    /// What `out` reports.
    pub fn write_to(self, size: u64, out: &mut dyn io::Write) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut offset = 0;
        while offset < size {
            let length = PIECE_BYTES.min(usize::try_from(size - offset).unwrap_or(PIECE_BYTES));
            self.fill(offset, &mut piece[..length]);
            out.write_all(&piece[..length])?;
            offset += length as u64;
        }
        Ok(())
    }
}

fn fill_pattern(offset: u64, out: &mut [u8]) {
    for (i, byte) in (offset..).zip(out) {
        let value = (i.wrapping_mul(7))
            .wrapping_add((i >> 8) * 13)
            .wrapping_add((i >> 16) * 31)
            .wrapping_add((i >> 24) * 17);
        *byte = (value & 0xff) as u8;
    }
}

fn fill_random(seed: u64, offset: u64, out: &mut [u8]) {
    let head = (out.len()).min(((8 - offset % 8) % 8) as usize);
    let (first, rest) = out.split_at_mut(head);
    let word = mix(seed, offset / 8).to_le_bytes();
    first.copy_from_slice(&word[(offset % 8) as usize..][..head]);
    let start = (offset + head as u64) / 8;
    for (index, chunk) in (start..).zip(rest.chunks_mut(8)) {
        let word = mix(seed, index).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

fn fill_holes(seed: u64, offset: u64, out: &mut [u8]) {
    let mut at = 0;
    while at < out.len() {
        let position = offset + at as u64;
        let left = (RUN_BYTES - position % RUN_BYTES) as usize;
        let end = out.len().min(at + left);
        if (position / RUN_BYTES) % 2 == 1 {
            out[at..end].fill(0);
        } else {
            fill_random(seed, position, &mut out[at..end]);
        }
        at = end;
    }
}

/// splitmix64 of the `index`-th word.
fn mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_piece_equals_the_same_piece_of_the_whole() {
        for image in [Image::Pattern, Image::Random(7), Image::Holes(7)] {
            let whole = image.bytes(2 * RUN_BYTES as usize + 100);
            for (offset, length) in [
                (0, 1),
                (3, 4),
                (3, 5),
                (5, 40),
                (RUN_BYTES as usize - 3, 9),
                (1000, 262_144),
            ] {
                let mut piece = vec![1; length];
                image.fill(offset as u64, &mut piece);
                assert_eq!(
                    piece,
                    &whole[offset..offset + length],
                    "{image:?} at {offset}"
                );
            }
        }
    }

    #[test]
    fn pattern_is_generator_a() {
        let bytes = Image::Pattern.bytes(1 << 17);
        let expected =
            |i: u64| ((7 * i + 13 * (i >> 8) + 31 * (i >> 16) + 17 * (i >> 24)) % 256) as u8;
        assert!((0..1u64 << 17).all(|i| bytes[i as usize] == expected(i)));
    }

    #[test]
    fn streaming_gives_the_same_bytes() {
        let mut out = Vec::new();
        Image::Random(3)
            .write_to(3 * 1024 * 1024 + 5, &mut out)
            .expect("a Vec takes everything");
        assert_eq!(out, Image::Random(3).bytes(3 * 1024 * 1024 + 5));
    }

    #[test]
    fn holes_have_zero_runs() {
        let bytes = Image::Holes(1).bytes(2 * RUN_BYTES as usize);
        assert!(bytes[RUN_BYTES as usize..].iter().all(|byte| *byte == 0));
        assert!(bytes[..64].iter().any(|byte| *byte != 0));
    }
}
