//! Every limit of this crate: sizes, counts and waits, units last. Nothing else.

/// The largest bitswap message that is read or written, as in boxo and Helia.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Wants that one peer may have registered, as in boxo.
pub const WANTS_PER_PEER_COUNT_MAX: usize = 1024;
