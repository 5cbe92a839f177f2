//! The SHA-256 compression function on the SHA instructions of x86-64, in two shapes that the `sha2` crate does not
//! have: several messages in lockstep, and two states over one message. The only `unsafe` of this crate is here.
//!
//! One chain is bound by the latency of `sha256rnds2`, so a second one runs in its shadow: two lanes with messages of
//! their own give about 1.5 times the rate of one, four 1.9 times; two chains over one message cost little more
//! than one, because the message schedule is computed once.
#![expect(
    unsafe_code,
    reason = "SHA instructions have no safe form that is callable without a static CPU feature"
)]

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi64x,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32, _mm_storeu_si128,
};

use super::{Block, State};

/// Proof that this CPU has the instructions. Only [`ShaNi::detect`] makes one.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShaNi(());

impl ShaNi {
    /// `None` on a CPU without SHA, SSSE3 and SSE4.1.
    pub(super) fn detect() -> Option<Self> {
        // The standard library asks the CPU once and remembers.
        (is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1"))
        .then_some(Self(()))
    }

    /// Advances `N` states over blocks of their own.
    ///
    /// # Panics
    /// If the numbers of blocks differ.
    pub(super) fn lanes<const N: usize>(self, states: [&mut State; N], blocks: [&[Block]; N]) {
        // SAFETY: a `ShaNi` exists only where `detect` found sha, ssse3 and sse4.1.
        unsafe { lanes(states, blocks) }
    }

    /// Advances two states over the same blocks.
    pub(super) fn same(self, a: &mut State, b: &mut State, blocks: &[Block]) {
        // SAFETY: as in `lanes`.
        unsafe { same(a, b, blocks) }
    }
}

/// The round constants, four a vector.
#[repr(align(16))]
struct Constants([[u32; 4]; 16]);

static K: Constants = Constants([
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
]);

/// A state as the instructions want it: the words a, b, e, f and c, d, g, h.
#[derive(Clone, Copy)]
struct Packed {
    abef: __m128i,
    cdgh: __m128i,
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn lanes<const N: usize>(states: [&mut State; N], blocks: [&[Block]; N]) {
    let count = blocks.first().map_or(0, |blocks| blocks.len());
    assert!(blocks.iter().all(|blocks| blocks.len() == count));
    let mut packed: [Packed; N] = std::array::from_fn(|lane| pack(states[lane]));
    let mut index = 0;
    while index < count {
        let saved = packed;
        let mut words: [[__m128i; 4]; N] = std::array::from_fn(|lane| load(&blocks[lane][index]));
        for group in 0..4 {
            for (packed, words) in packed.iter_mut().zip(&words) {
                rounds(packed, words[group], group);
            }
        }
        for turn in 1..4 {
            for group in 0..4 {
                for (packed, words) in packed.iter_mut().zip(&mut words) {
                    schedule(words, group);
                    rounds(packed, words[group], 4 * turn + group);
                }
            }
        }
        for (packed, saved) in packed.iter_mut().zip(saved) {
            *packed = add(*packed, saved);
        }
        index += 1;
    }
    for (state, packed) in states.into_iter().zip(packed) {
        unpack(packed, state);
    }
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn same(a: &mut State, b: &mut State, blocks: &[Block]) {
    let (mut first, mut second) = (pack(a), pack(b));
    for block in blocks {
        let saved = (first, second);
        let mut words = load(block);
        for (group, &word) in words.iter().enumerate() {
            rounds(&mut first, word, group);
            rounds(&mut second, word, group);
        }
        for turn in 1..4 {
            for group in 0..4 {
                schedule(&mut words, group);
                rounds(&mut first, words[group], 4 * turn + group);
                rounds(&mut second, words[group], 4 * turn + group);
            }
        }
        first = add(first, saved.0);
        second = add(second, saved.1);
    }
    unpack(first, a);
    unpack(second, b);
}

/// Four rounds with four words of the schedule.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn rounds(state: &mut Packed, words: __m128i, group: usize) {
    // SAFETY: the reference is to 16 readable bytes; the load has no alignment.
    let constants = unsafe { _mm_loadu_si128((&raw const K.0[group]).cast()) };
    let low = _mm_add_epi32(words, constants);
    state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, low);
    let high = _mm_shuffle_epi32(low, 0x0e);
    state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, high);
}

/// The next four words of the schedule, in place of the oldest.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn schedule(words: &mut [__m128i; 4], group: usize) {
    let [w0, w1, w2, w3] = [
        words[group],
        words[(group + 1) % 4],
        words[(group + 2) % 4],
        words[(group + 3) % 4],
    ];
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));
    words[group] = _mm_sha256msg2_epu32(sum, w3);
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn add(a: Packed, b: Packed) -> Packed {
    Packed {
        abef: _mm_add_epi32(a.abef, b.abef),
        cdgh: _mm_add_epi32(a.cdgh, b.cdgh),
    }
}

/// The sixteen big-endian words of a block.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn load(block: &Block) -> [__m128i; 4] {
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let start: *const __m128i = block.as_ptr().cast();
    std::array::from_fn(|index| {
        // SAFETY: index is 0 to 3, so the 16 bytes lie inside the 64 of the block; the load has no alignment.
        let bytes = unsafe { _mm_loadu_si128(start.add(index)) };
        _mm_shuffle_epi8(bytes, swap)
    })
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn pack(state: &State) -> Packed {
    let start: *const __m128i = state.as_ptr().cast();
    // SAFETY: a state is 32 bytes, two vectors; the loads have no alignment.
    let (dcba, hgfe) = unsafe { (_mm_loadu_si128(start), _mm_loadu_si128(start.add(1))) };
    let cdab = _mm_shuffle_epi32(dcba, 0xb1);
    let efgh = _mm_shuffle_epi32(hgfe, 0x1b);
    Packed {
        abef: _mm_alignr_epi8(cdab, efgh, 8),
        cdgh: _mm_blend_epi16(efgh, cdab, 0xf0),
    }
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn unpack(packed: Packed, state: &mut State) {
    let feba = _mm_shuffle_epi32(packed.abef, 0x1b);
    let dchg = _mm_shuffle_epi32(packed.cdgh, 0xb1);
    let start: *mut __m128i = state.as_mut_ptr().cast();
    // SAFETY: as in `pack`; the reference is exclusive.
    unsafe {
        _mm_storeu_si128(start, _mm_blend_epi16(feba, dchg, 0xf0));
        _mm_storeu_si128(start.add(1), _mm_alignr_epi8(dchg, feba, 8));
    }
}
