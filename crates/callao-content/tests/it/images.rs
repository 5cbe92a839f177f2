//! The bytes that the vectors are made of, in pieces, so that a gigabyte needs no memory.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};

use callao_content::hash;

/// Bytes per piece.
pub(crate) const PIECE: usize = 1 << 20;

/// `byte[i] = 7 i + 13 (i >> 8) + 31 (i >> 16) + 17 (i >> 24)`, in pieces.
pub(crate) fn generator_a(size: u64, mut take: impl FnMut(&[u8])) {
    let mut piece = vec![0; PIECE];
    let mut start = 0;
    while start < size {
        for (group, bytes) in piece.chunks_exact_mut(256).enumerate() {
            let high = start + 256 * group as u64;
            let base = 13 * (high >> 8) + 31 * (high >> 16) + 17 * (high >> 24);
            for (low, byte) in bytes.iter_mut().enumerate() {
                *byte = (base as u8).wrapping_add((low as u8).wrapping_mul(7));
            }
        }
        let length = (size - start).min(PIECE as u64);
        take(&piece[..length as usize]);
        start += length;
    }
}

/// The first `size` bytes of generator A.
pub(crate) fn bytes_a(size: u64) -> Vec<u8> {
    let mut out = Vec::new();
    generator_a(size, |piece| out.extend_from_slice(piece));
    out
}

/// The ChaCha20 keystream whose key is the SHA-256 of `seed`, in pieces that end at each of `stops`.
pub(crate) fn keystream(seed: &str, stops: &[u64], mut take: impl FnMut(u64, &[u8])) {
    let mut cipher = ChaCha20::new(&hash::sha256(seed.as_bytes()).into(), &[0; 12].into());
    let mut piece = vec![0; PIECE];
    let mut position = 0;
    for &stop in stops {
        while position < stop {
            let length = (stop - position).min(PIECE as u64) as usize;
            piece.fill(0);
            cipher.apply_keystream(&mut piece[..length]);
            position += length as u64;
            take(position, &piece[..length]);
        }
    }
}

/// Bytes that look random and differ between seeds; short runs of them repeat, as images do.
pub(crate) fn patchwork(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut out = Vec::with_capacity(size + 64);
    while out.len() < size {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let length = (state >> 32) as usize % 64;
        match state >> 62 {
            0 => out.resize(out.len() + 4 * length, 0),
            _ => out.extend((0..length).map(|i| (state >> (i % 7 * 8)) as u8)),
        }
    }
    out.truncate(size);
    out
}
