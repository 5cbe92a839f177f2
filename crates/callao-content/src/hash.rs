//! SHA-256 of leaves and of the whole file, as fast as the CPU allows: four leaves in lockstep, or one leaf and the
//! whole file in one pass. It knows lengths and envelopes, not trees.
//!
//! Two implementations give the same answers: SHA-NI (`hash::sha_ni`, chosen when the program runs) and the `sha2`
//! crate, which is also what the tests compare against.

mod chain;
#[cfg(target_arch = "x86_64")]
mod sha_ni;

pub use chain::WholeAndLeaf;
use sha2::Digest as _;

/// How many leaves of one length are hashed in lockstep.
pub const LANES: usize = 4;

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

/// SHA-512 of `bytes`.
#[must_use]
pub fn sha512(bytes: &[u8]) -> [u8; 64] {
    sha2::Sha512::digest(bytes).into()
}

/// SHA-256 of `prefix`, `bytes` and `suffix` together, without joining them in memory.
#[must_use]
pub fn sha256_framed(prefix: &[u8], bytes: &[u8], suffix: &[u8]) -> [u8; 32] {
    let mut hasher = sha2::Sha256::new();
    hasher.update(prefix);
    hasher.update(bytes);
    hasher.update(suffix);
    hasher.finalize().into()
}

/// Appends the SHA-256 of each of `messages` to `out`, in order. Runs of messages of one length are hashed in lockstep.
pub fn sha256_many(messages: &[&[u8]], out: &mut Vec<[u8; 32]>) {
    out.reserve(messages.len());
    let mut rest = messages;
    while let Some(first) = rest.first() {
        let run = rest
            .iter()
            .take(LANES)
            .take_while(|message| message.len() == first.len())
            .count();
        let hashes = sha256_lanes(&[], &rest[..run], &[]);
        out.extend_from_slice(&hashes[..run]);
        rest = &rest[run..];
    }
}

/// SHA-256 of up to [`LANES`] payloads of one length, each between the same `prefix` and `suffix`. Only as many of the
/// results as there are payloads mean anything.
///
/// # Panics
/// If there are more than [`LANES`] payloads or their lengths differ (a fault of the caller).
#[must_use]
pub fn sha256_lanes(prefix: &[u8], payloads: &[&[u8]], suffix: &[u8]) -> [[u8; 32]; LANES] {
    assert!(
        payloads.len() <= LANES
            && payloads
                .windows(2)
                .all(|pair| pair[0].len() == pair[1].len())
    );
    let kernel = Kernel::detect();
    let mut out = [[0; 32]; LANES];
    match *payloads {
        [a, b, c, d] => out = chain::lanes(kernel, prefix, [a, b, c, d], suffix),
        [a, b, c] => out[..3].copy_from_slice(&chain::lanes(kernel, prefix, [a, b, c], suffix)),
        [a, b] => out[..2].copy_from_slice(&chain::lanes(kernel, prefix, [a, b], suffix)),
        [a] => out[0] = sha256_framed(prefix, a, suffix),
        _ => {}
    }
    out
}

/// What this CPU hashes leaves with, for `doctor` and benchmarks.
#[must_use]
pub fn implementation() -> &'static str {
    match Kernel::detect() {
        #[cfg(target_arch = "x86_64")]
        Kernel::ShaNi(_) => "SHA-NI, four lanes",
        Kernel::Portable => "portable",
    }
}

/// The compression function, in the three shapes that are needed.
#[derive(Clone, Copy, Debug)]
enum Kernel {
    #[cfg(target_arch = "x86_64")]
    ShaNi(sha_ni::ShaNi),
    Portable,
}

/// One block of a message.
type Block = [u8; 64];
/// The eight words of a SHA-256 in the making.
type State = [u32; 8];

impl Kernel {
    fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(token) = sha_ni::ShaNi::detect() {
            return Self::ShaNi(token);
        }
        Self::Portable
    }

    /// Advances one state.
    fn one(self, state: &mut State, blocks: &[Block]) {
        sha2::block_api::compress256(state, blocks);
    }

    /// Advances two states over the *same* blocks: the message schedule is computed once.
    fn same(self, a: &mut State, b: &mut State, blocks: &[Block]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi(token) => token.same(a, b, blocks),
            Self::Portable => {
                self.one(a, blocks);
                self.one(b, blocks);
            }
        }
    }

    /// Advances `N` states over blocks of their own, equally many.
    fn lanes<const N: usize>(self, states: [&mut State; N], blocks: [&[Block]; N]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi(token) => token.lanes(states, blocks),
            Self::Portable => {
                for (state, blocks) in states.into_iter().zip(blocks) {
                    self.one(state, blocks);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seed: usize, length: usize) -> Vec<u8> {
        (0..length)
            .map(|i| (i * 31 + seed * 7 + (i >> 8) * 13) as u8)
            .collect()
    }

    fn kernels() -> Vec<Kernel> {
        vec![Kernel::detect(), Kernel::Portable]
    }

    fn lengths() -> Vec<usize> {
        (0..=200)
            .chain([255, 256, 1000, 4096, 4103, 65_536, 262_144, 262_145])
            .collect()
    }

    #[test]
    fn lanes_agree_with_the_oracle() {
        for kernel in kernels() {
            for length in lengths() {
                let [a, b, c, d] = [1, 2, 3, 4].map(|seed| message(seed, length));
                for (prefix, suffix) in [
                    (&b""[..], &b""[..]),
                    (b"\x0a\x03pre", b"suf"),
                    (&[7; 70], &[9; 130]),
                ] {
                    let four = chain::lanes(kernel, prefix, [&a, &b, &c, &d], suffix);
                    let expected =
                        [&a, &b, &c, &d].map(|payload| sha256_framed(prefix, payload, suffix));
                    assert_eq!(four, expected, "{kernel:?} {length}");
                    let two = chain::lanes(kernel, prefix, [&b, &d], suffix);
                    assert_eq!(two, [expected[1], expected[3]], "{kernel:?} {length}");
                    let three = chain::lanes(kernel, prefix, [&d, &a, &c], suffix);
                    assert_eq!(
                        three,
                        [expected[3], expected[0], expected[2]],
                        "{kernel:?} {length}"
                    );
                }
            }
        }
    }

    #[test]
    fn many_keeps_the_order() {
        let messages: Vec<Vec<u8>> = [5, 5, 5, 5, 5, 7, 7, 0, 64, 64, 64]
            .iter()
            .map(|&n| message(n, n * 11))
            .collect();
        let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let mut out = vec![[1; 32]];
        sha256_many(&slices, &mut out);
        assert_eq!(out[0], [1; 32]);
        for (message, hash) in slices.iter().zip(&out[1..]) {
            assert_eq!(*hash, sha256(message));
        }
        assert_eq!(out.len(), messages.len() + 1);
    }

    #[test]
    fn whole_and_leaf_agree_with_the_oracle() {
        let envelopes: [(&[u8], &[u8]); 4] = [
            (b"", b""),
            (b"head", b"tail"),
            (&[3; 64], b""),
            (&[1; 5], &[2; 80]),
        ];
        for kernel in kernels() {
            for length in lengths() {
                // An odd start, so that every alignment of the whole file against the leaf is met.
                for start in [0, 1, 5, 63] {
                    let (odd, leaf) = (message(9, start), message(8, length));
                    let mut both = WholeAndLeaf::with_kernel(kernel);
                    both.skip_leaf(&odd);
                    let mut file = odd;
                    for (prefix, suffix) in envelopes {
                        let hash = both.leaf_framed(prefix, &leaf, suffix);
                        assert_eq!(
                            hash,
                            sha256_framed(prefix, &leaf, suffix),
                            "{kernel:?} {length} {start}"
                        );
                        file.extend_from_slice(&leaf);
                    }
                    assert_eq!(both.position(), file.len() as u64);
                    assert_eq!(both.finish(), sha256(&file), "{kernel:?} {length} {start}");
                }
            }
        }
    }

    #[test]
    fn a_leaf_may_come_in_pieces() {
        let leaf = message(1, 5000);
        for kernel in kernels() {
            for step in [1, 7, 63, 64, 65, 1000] {
                let mut both = WholeAndLeaf::with_kernel(kernel);
                both.begin_leaf(b"h");
                for piece in leaf.chunks(step) {
                    both.update(piece);
                }
                assert_eq!(both.end_leaf(b"t"), sha256_framed(b"h", &leaf, b"t"));
                assert_eq!(both.finish(), sha256(&leaf));
            }
        }
    }
}
