//! Every size, depth and width that this crate refuses to go beyond. Values only, no logic.
//!
//! Sources: the trustless gateway and bitswap specifications (block, CID), IPIP-512 (identity digests), and
//! for the rest generous multiples of what importers in use produce. A tree of 1 TiB at 1 MiB leaves passes.

use std::time::Duration;

/// Largest block that is accepted, in bytes: what bitswap and trustless gateways carry.
pub const BLOCK_SIZE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Largest binary CID, in bytes (boxo drops longer ones from wantlists).
pub const CID_BYTES_MAX: usize = 168;

/// Longest text that is tried as a CID, in bytes: [`CID_BYTES_MAX`] in the widest multibase, base2, and its prefix.
/// Some bases decode in quadratic time, so the text is capped before it is decoded.
pub const CID_TEXT_BYTES_MAX: usize = CID_BYTES_MAX * 8 + 1;

/// Largest digest of an identity CID, in bytes (IPIP-512).
pub const IDENTITY_BYTES_MAX: usize = 128;

/// Largest chunk that the importer makes, in bytes: the dag-pb envelope must fit into the block beside it.
pub const CHUNK_SIZE_BYTES_MAX: u32 = 2 * 1024 * 1024 - 256;

/// Most links in one node. Importers use 174 and 1024; the specification gives no bound.
pub const LINKS_PER_NODE_MAX: usize = 16_384;

/// Most levels below the root. 1 TiB at 256 KiB and 174 links needs four; trickle trees are deeper.
pub const DEPTH_MAX: usize = 16;

/// Most leaves in one file: 512 GiB at 256 KiB, 2 TiB at 1 MiB.
pub const LEAVES_MAX: u64 = 1 << 21;

/// Most distinct blocks that one walk asks for.
pub const NODES_MAX: usize = 1 << 16;

/// Most bytes of inner nodes that one walk keeps.
pub const SKELETON_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Largest record of an IPNS name, in bytes (its specification).
pub const IPNS_RECORD_BYTES_MAX: usize = 10 * 1024;

/// Longest time that a record may be used without looking for a newer one, whatever it says: the DHT keeps none longer.
pub const IPNS_TTL_MAX: Duration = Duration::from_secs(48 * 60 * 60);

/// Largest fanout of a HAMT directory. Larger ones were used to exhaust memory (GHSA-q264-w97q-q778).
pub const HAMT_FANOUT_MAX: u64 = 1024;

/// Most segments in the path of an address.
pub const PATH_SEGMENTS_MAX: usize = 64;

/// Largest header of a CAR, in bytes.
pub const CAR_HEADER_BYTES_MAX: usize = 128 * 1024;

/// Most roots in the header of a CAR.
pub const CAR_ROOTS_MAX: usize = 1024;

/// Largest section of a CAR, in bytes: a CID and a block.
pub const CAR_SECTION_BYTES_MAX: usize = CID_BYTES_MAX + BLOCK_SIZE_BYTES_MAX;
