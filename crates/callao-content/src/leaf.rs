//! One leaf: where its bytes belong, what proves them, and the token that says they were proven. It does not know the
//! tree above the leaf.

use crate::hash;
use crate::unixfs::{Envelope, Kind};

/// Bytes of a file that were hashed and found to be the leaf that the layout names.
///
/// This is the only way for bytes to count as held. The constructor is private to this crate and takes the hash that
/// was computed over exactly these bytes.
#[derive(Debug, Clone, Copy)]
pub struct VerifiedLeaf<'a> {
    index: usize,
    offset: u64,
    bytes: &'a [u8],
}

impl<'a> VerifiedLeaf<'a> {
    /// Which leaf of the layout, from 0.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Where in the file it begins, in bytes.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes of the file (without the envelope of a dag-pb leaf).
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Hashes `bytes` in every form that the leaf may have.
    pub(crate) fn prove(index: usize, leaf: &Leaf, bytes: &'a [u8]) -> Result<Self, Mismatch> {
        let good = bytes.len() == leaf.length as usize && leaf.form.holds(bytes);
        if good {
            Ok(Self {
                index,
                offset: leaf.offset,
                bytes,
            })
        } else {
            Err(leaf.mismatch(index))
        }
    }

    /// Compares with `block_hash`, the SHA-256 of `bytes` in the leaf's [`Leaf::envelope`]. Before it gives up, a dag-pb leaf is
    /// hashed in its other form.
    pub(crate) fn prove_hashed(
        index: usize,
        leaf: &Leaf,
        bytes: &'a [u8],
        block_hash: &[u8; 32],
    ) -> Result<Self, Mismatch> {
        match &leaf.form {
            LeafForm::Raw(LeafHash::Sha256(hash)) | LeafForm::File(LeafHash::Sha256(hash))
                if hash == block_hash && bytes.len() == leaf.length as usize =>
            {
                Ok(Self {
                    index,
                    offset: leaf.offset,
                    bytes,
                })
            }
            LeafForm::Raw(LeafHash::Sha256(_)) => Err(leaf.mismatch(index)),
            _ => Self::prove(index, leaf, bytes),
        }
    }
}

/// One leaf of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// How many bytes of the file it holds; 0 only for an empty file and for empty parts in odd trees.
    pub length: u32,
    /// How it is proven and what its block looks like.
    pub form: LeafForm,
}

/// What the block of a leaf looks like, and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LeafForm {
    /// The block is the bytes.
    Raw(LeafHash),
    /// A dag-pb node in canonical form, see [`Envelope::of_leaf`]. Its kind is `File`, or `Raw` in trickle and old trees:
    /// the parent's link cannot tell which, so both are tried.
    File(LeafHash),
    /// A dag-pb node in any other form (for example with a modification time).
    Wrapped {
        /// Hash of the block.
        hash: LeafHash,
        /// The block before the bytes.
        prefix: Box<[u8]>,
        /// The block after the bytes.
        suffix: Box<[u8]>,
    },
    /// There is no block of its own: the bytes stand in an inner node or in an identity CID.
    Inline(Box<[u8]>),
}

/// The hash of a leaf's block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LeafHash {
    /// SHA-256.
    Sha256([u8; 32]),
    /// SHA-512.
    Sha512(Box<[u8; 64]>),
}

/// Bytes that are not the leaf that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the bytes given for leaf {index} ({length} bytes at offset {offset}) do not have its hash"
)]
pub struct Mismatch {
    /// Which leaf, from 0; the number of leaves if bytes were given beyond the last.
    pub index: usize,
    /// Where in the file it begins.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u64,
}

impl Leaf {
    /// Where in the file it ends (exclusive), in bytes.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.length)
    }

    /// The envelope around the bytes if the leaf is canonical and proven by SHA-256: what the fast paths can hash.
    pub(crate) fn envelope(&self) -> Option<Envelope> {
        match self.form {
            LeafForm::Raw(LeafHash::Sha256(_)) => Some(Envelope::RAW_LEAF),
            LeafForm::File(LeafHash::Sha256(_)) => Some(Envelope::of_leaf(Kind::File, self.length)),
            _ => None,
        }
    }

    /// Whether two leaves can be hashed in lockstep.
    pub(crate) fn same_shape(&self, other: &Self) -> bool {
        self.length == other.length
            && matches!(
                (&self.form, &other.form),
                (
                    LeafForm::Raw(LeafHash::Sha256(_)),
                    LeafForm::Raw(LeafHash::Sha256(_))
                ) | (
                    LeafForm::File(LeafHash::Sha256(_)),
                    LeafForm::File(LeafHash::Sha256(_))
                )
            )
    }

    pub(crate) fn mismatch(&self, index: usize) -> Mismatch {
        Mismatch {
            index,
            offset: self.offset,
            length: u64::from(self.length),
        }
    }
}

impl LeafForm {
    /// The hash of the block; `None` for inline leaves.
    #[must_use]
    pub const fn hash(&self) -> Option<&LeafHash> {
        match self {
            Self::Raw(hash) | Self::File(hash) | Self::Wrapped { hash, .. } => Some(hash),
            Self::Inline(_) => None,
        }
    }

    /// The two kinds that a canonical dag-pb leaf can have, the usual one first.
    pub(crate) const FILE_KINDS: [Kind; 2] = [Kind::File, Kind::Raw];

    fn holds(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Raw(hash) => hash.fits(&[], bytes, &[]),
            Self::File(hash) => Self::FILE_KINDS.into_iter().any(|kind| {
                let envelope = Envelope::of_leaf(kind, bytes.len() as u32);
                hash.fits(envelope.head(), bytes, envelope.tail())
            }),
            Self::Wrapped {
                hash,
                prefix,
                suffix,
            } => hash.fits(prefix, bytes, suffix),
            Self::Inline(own) => **own == *bytes,
        }
    }
}

impl LeafHash {
    /// Whether this is the hash of the three pieces together.
    pub(crate) fn fits(&self, prefix: &[u8], bytes: &[u8], suffix: &[u8]) -> bool {
        match self {
            Self::Sha256(hash) => hash::sha256_framed(prefix, bytes, suffix) == *hash,
            Self::Sha512(hash) => hash::sha512(&[prefix, bytes, suffix].concat()) == **hash,
        }
    }
}
