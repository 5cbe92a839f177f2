//! Sharded directories: which link of a shard a name leads to. It reads one shard at a time and fetches nothing.
//!
//! The hash of the name is murmur3 x64 128, of which the first 64 bits are taken, most significant first; every level uses up
//! log2(fanout) of them. A link's name is the index in upper-case hexadecimal, followed by the entry's name, or by
//! nothing if it leads to the next shard.

use crate::cid::Cid;
use crate::dag_pb::Link;
use crate::error::Error;
use crate::limits::HAMT_FANOUT_MAX;
use crate::unixfs::Data;

const MURMUR3_X64_64: u64 = 0x22;
const HASH_BITS: u32 = 64;

/// Where a name leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// To its entry.
    Entry(Cid),
    /// To the next shard.
    Shard(Cid),
    /// Nowhere.
    Nothing,
}

/// The way of one name through the shards.
#[derive(Debug, Clone)]
pub(crate) struct Lookup {
    name: Vec<u8>,
    hash: u64,
    used_bits: u32,
}

impl Lookup {
    pub(crate) fn new(name: &[u8]) -> Self {
        Self {
            name: name.to_vec(),
            hash: murmur3_x64_64(name),
            used_bits: 0,
        }
    }

    /// One level down: what the shard `cid` says about the name.
    pub(crate) fn step(
        &mut self,
        cid: &Cid,
        data: &Data<'_>,
        links: &[Link<'_>],
    ) -> Result<Found, Error> {
        let refuse = |reason| Err(Error::Hamt { cid: *cid, reason });
        if data.hash_type != Some(MURMUR3_X64_64) {
            return refuse("its hash function is not murmur3-x64-64");
        }
        let fanout = data.fanout.unwrap_or_default();
        if fanout > HAMT_FANOUT_MAX || !fanout.is_power_of_two() || !fanout.is_multiple_of(8) {
            return refuse("its fanout is not a power of two from 8 to 1024");
        }
        let bits = fanout.trailing_zeros();
        if self.used_bits + bits > HASH_BITS {
            return refuse("it is deeper than its hash function is long");
        }
        let index = (self.hash << self.used_bits) >> (HASH_BITS - bits);
        self.used_bits += bits;
        let digits = format!("{:X}", fanout - 1).len();
        let prefix = format!("{index:0digits$X}");
        for link in links {
            match link.name.strip_prefix(prefix.as_bytes()) {
                Some(b"") => return Ok(Found::Shard(link.cid)),
                Some(name) if name == self.name => return Ok(Found::Entry(link.cid)),
                _ => {}
            }
        }
        Ok(Found::Nothing)
    }
}

/// The first half of murmur3 x64 128 with seed 0 (public domain, Austin Appleby).
fn murmur3_x64_64(bytes: &[u8]) -> u64 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let word = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0_u64, |word, &byte| word << 8 | u64::from(byte))
    };
    let (mut h1, mut h2) = (0_u64, 0_u64);
    let (blocks, tail) = bytes.as_chunks::<16>();
    for block in blocks {
        h1 ^= mix1(word(&block[..8]));
        h1 = h1
            .rotate_left(27)
            .wrapping_add(h2)
            .wrapping_mul(5)
            .wrapping_add(0x52dc_e729);
        h2 ^= mix2(word(&block[8..]));
        h2 = h2
            .rotate_left(31)
            .wrapping_add(h1)
            .wrapping_mul(5)
            .wrapping_add(0x3849_5ab5);
    }
    let (low, high) = tail.split_at(tail.len().min(8));
    h2 ^= mix2(word(high));
    h1 ^= mix1(word(low));
    h1 ^= bytes.len() as u64;
    h2 ^= bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    finish(h1).wrapping_add(finish(h2))
}

const fn finish(mut k: u64) -> u64 {
    k ^= k >> 33;
    k = k.wrapping_mul(0xff51_afd7_ed55_8ccd);
    k ^= k >> 33;
    k = k.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid;
    use crate::unixfs::Kind;

    #[test]
    fn murmur3_vectors() {
        // From the reference implementation, seed 0, first half.
        for (text, expected) in [
            ("", 0),
            ("hello", 0xcbd8_a7b3_41bd_9b02),
            ("hello, world", 0x342f_ac62_3a5e_bc8e),
            ("19 Jan 2038 at 3:14:07 AM", 0xb89e_5988_b737_affc),
            (
                "The quick brown fox jumps over the lazy dog.",
                0xcd99_481f_9ee9_02c9,
            ),
        ] {
            assert_eq!(murmur3_x64_64(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn fanouts_that_are_refused() {
        let cid = cid::raw_sha256([0; 32]);
        for fanout in [None, Some(0), Some(4), Some(24), Some(2048), Some(u64::MAX)] {
            let data = Data {
                hash_type: Some(0x22),
                fanout,
                ..Data::empty(Kind::HamtShard)
            };
            let result = Lookup::new(b"a").step(&cid, &data, &[]);
            assert!(matches!(result, Err(Error::Hamt { .. })), "{fanout:?}");
        }
        let other = Data {
            hash_type: Some(0x12),
            fanout: Some(256),
            ..Data::empty(Kind::HamtShard)
        };
        assert!(Lookup::new(b"a").step(&cid, &other, &[]).is_err());
    }

    #[test]
    fn the_hash_is_used_up() {
        let cid = cid::raw_sha256([0; 32]);
        let mut lookup = Lookup::new(b"hello");
        let data = Data {
            hash_type: Some(0x22),
            fanout: Some(256),
            ..Data::empty(Kind::HamtShard)
        };
        // The bytes of the hash, in order, are the indexes.
        for index in ["CB", "D8", "A7", "B3", "41", "BD", "9B", "02"] {
            let links = [Link {
                cid,
                name: index.as_bytes(),
                tsize: None,
            }];
            assert_eq!(lookup.step(&cid, &data, &links), Ok(Found::Shard(cid)));
        }
        assert!(lookup.step(&cid, &data, &[]).is_err());
    }
}
