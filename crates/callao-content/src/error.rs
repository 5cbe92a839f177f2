//! Everything that can be wrong with content: one enum, context as fields. It knows no source, URL or path.

use crate::Cid;

/// Why bytes, a CID, a tree or a path was refused.
///
/// Messages are lower-case fragments that name the block and what is wrong in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text or bytes that are no CID.
    #[error("`{text}` is not a CID: {reason}")]
    NotACid {
        /// What was given; bytes as hexadecimal, long input shortened.
        text: String,
        /// Why.
        reason: String,
    },
    /// A CID whose codec cannot hold file bytes.
    #[error("{cid} has codec 0x{codec:x}: only raw (0x55) and dag-pb (0x70) blocks are accepted")]
    CodecNotAllowed {
        /// The CID.
        cid: Cid,
        /// Its codec.
        codec: u64,
    },
    /// A CID whose hash is not accepted as proof.
    #[error(
        "{cid} has multihash 0x{code:x} of {length} bytes: only sha2-256, sha2-512 and identity up to 128 bytes are accepted"
    )]
    HashNotAllowed {
        /// The CID.
        cid: Cid,
        /// Its multihash code.
        code: u64,
        /// Length of the digest in bytes.
        length: usize,
    },
    /// A block beyond [`crate::limits::BLOCK_SIZE_BYTES_MAX`].
    #[error("block {cid} has {length} bytes; the most that is accepted is {max}")]
    BlockTooLarge {
        /// The block's CID.
        cid: Cid,
        /// Its length in bytes.
        length: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// Bytes that are not the block that was asked for.
    #[error("the {length} bytes given for block {cid} do not have its hash")]
    BlockMismatch {
        /// The CID that was asked for.
        cid: Cid,
        /// How many bytes came.
        length: usize,
    },
    /// Text that is no digest.
    #[error("`{text}` is not a digest: {reason}")]
    NotADigest {
        /// What was given.
        text: String,
        /// Why.
        reason: String,
    },
    /// Text that begins like an IPFS address and is none.
    #[error("`{text}` is not an IPFS address: {reason}")]
    NotAnAddress {
        /// What was given.
        text: String,
        /// Why.
        reason: String,
    },
    /// Bytes that are not dag-pb.
    #[error("not a dag-pb node: {reason} (byte {offset})")]
    DagPb {
        /// Where in the block.
        offset: usize,
        /// Why.
        reason: &'static str,
    },
    /// Bytes that are not dag-cbor.
    #[error("not dag-cbor: {reason} (byte {offset})")]
    DagCbor {
        /// Where in the block.
        offset: usize,
        /// Why.
        reason: &'static str,
    },
    /// Bytes that are not a record of the name.
    #[error("not an IPNS record of this name: {reason}")]
    Ipns {
        /// Why.
        reason: &'static str,
    },
    /// Bytes that are not UnixFS data.
    #[error("not UnixFS data: {reason} (byte {offset})")]
    UnixFs {
        /// Where in the data field.
        offset: usize,
        /// Why.
        reason: &'static str,
    },
    /// Bytes that are not a CAR.
    #[error("not a CAR: {reason} (byte {offset})")]
    Car {
        /// Where in the stream.
        offset: u64,
        /// Why.
        reason: String,
    },
    /// A block whose hash is right and whose contents cannot be read.
    #[error("block {cid}: {reason}")]
    Block {
        /// The block's CID.
        cid: Cid,
        /// What was wrong inside it.
        reason: Box<Error>,
    },
    /// A block that is something else than a file.
    #[error("{cid} is a {kind}, not a file")]
    NotAFile {
        /// The block's CID.
        cid: Cid,
        /// `directory`, `symlink` and so on.
        kind: &'static str,
    },
    /// A file node whose `blocksizes` do not belong to its links.
    #[error("file node {cid} has {links} links and {blocksizes} blocksizes")]
    LinkCount {
        /// The node's CID.
        cid: Cid,
        /// How many links it has.
        links: usize,
        /// How many blocksizes it has.
        blocksizes: usize,
    },
    /// A file node with a name on a link.
    #[error("file node {cid} has a name on link {index}")]
    NamedLink {
        /// The node's CID.
        cid: Cid,
        /// Which link, from 0.
        index: usize,
    },
    /// A file node whose sizes do not add up.
    #[error("file node {cid} declares {filesize} bytes, its parts have {parts}")]
    SizeSum {
        /// The node's CID.
        cid: Cid,
        /// The size that it declares.
        filesize: u64,
        /// Sum of its inline data and blocksizes (saturated).
        parts: u64,
    },
    /// A child that is not as long as its parent says.
    #[error("{cid} has {actual} bytes of file, its parent declares {declared}")]
    ChildSize {
        /// The child's CID.
        cid: Cid,
        /// What the parent says.
        declared: u64,
        /// What the child (or another parent) says.
        actual: u64,
    },
    /// A tree deeper than [`crate::limits::DEPTH_MAX`].
    #[error("{cid} lies more than {max} levels below the root")]
    TooDeep {
        /// The node that is too deep.
        cid: Cid,
        /// The limit.
        max: usize,
    },
    /// A node wider than [`crate::limits::LINKS_PER_NODE_MAX`].
    #[error("node {cid} has {links} links; the most that is accepted is {max}")]
    TooManyLinks {
        /// The node's CID.
        cid: Cid,
        /// How many links it has.
        links: usize,
        /// The limit.
        max: usize,
    },
    /// A tree beyond [`crate::limits::LEAVES_MAX`], [`crate::limits::NODES_MAX`] or
    /// [`crate::limits::SKELETON_BYTES_MAX`].
    #[error(
        "the tree below {root} has at least {count} {what}; the most that is accepted is {max}"
    )]
    TreeTooLarge {
        /// The root.
        root: Cid,
        /// `leaves`, `nodes`, `bytes of inner nodes`.
        what: &'static str,
        /// How many were seen when it was refused (saturated).
        count: u64,
        /// The limit.
        max: u64,
    },
    /// A tree that declares another size than was asked for.
    #[error("{root} declares a file of {declared} bytes, expected {expected}")]
    SizeNotExpected {
        /// The root.
        root: Cid,
        /// What it declares.
        declared: u64,
        /// What was expected.
        expected: u64,
    },
    /// A tree that declares more than is allowed.
    #[error("{root} declares a file of {declared} bytes; the most that is allowed is {max}")]
    SizeOverBudget {
        /// The root.
        root: Cid,
        /// What it declares.
        declared: u64,
        /// The budget.
        max: u64,
    },
    /// A block that nobody asked for.
    #[error("block {cid} was not asked for")]
    NotWanted {
        /// The block's CID.
        cid: Cid,
    },
    /// A walk that was ended before it had every block.
    #[error("{missing} blocks below {root} are missing")]
    Incomplete {
        /// The root.
        root: Cid,
        /// How many blocks are still wanted.
        missing: usize,
    },
    /// A verified block that is not the envelope that the layout says.
    #[error("leaf {index} is not a block of {length} file bytes")]
    LeafForm {
        /// Which leaf.
        index: usize,
        /// How many bytes of file it should hold.
        length: u32,
    },
    /// A name that a directory does not have.
    #[error("directory {cid} has no entry `{name}`")]
    NoSuchName {
        /// The directory's CID.
        cid: Cid,
        /// The name that was looked for.
        name: String,
    },
    /// A path that goes on after a file.
    #[error("`{file}` is a file, so the path cannot go on to `{rest}`")]
    PathThroughFile {
        /// The segments up to the file.
        file: String,
        /// The segments after it.
        rest: String,
    },
    /// A directory whose shards are not as the specification says.
    #[error("sharded directory {cid}: {reason}")]
    Hamt {
        /// The shard's CID.
        cid: Cid,
        /// Why.
        reason: &'static str,
    },
    /// A chunk size, width or CID version that no tree can be built with.
    #[error("no tree can be built: {reason}")]
    Shape {
        /// Why.
        reason: String,
    },
}

impl Error {
    /// The same error, with the block that it was found in.
    pub(crate) fn in_block(self, cid: &Cid) -> Self {
        Self::Block {
            cid: *cid,
            reason: Box::new(self),
        }
    }
}
