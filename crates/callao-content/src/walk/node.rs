//! What one block of a file tree says, checked by itself: leaf or inner node, its sizes, and what each child is. It knows
//! nothing of the rest of the tree.

use bytes::Bytes;

use crate::cid::{self, Cid};
use crate::dag_pb::{self, Link};
use crate::error::Error;
use crate::hash;
use crate::layout::{LeafForm, LeafHash, leaf_hash};
use crate::limits::{BLOCK_SIZE_BYTES_MAX, LINKS_PER_NODE_MAX};
use crate::unixfs::{self, Data, Envelope, Kind};

/// A block that was read.
#[derive(Debug, Clone)]
pub(super) enum Parsed {
    /// Bytes of the file. They are not kept, only how to prove them again.
    Leaf {
        /// How many.
        length: u32,
        /// What the block looks like.
        form: LeafForm,
    },
    /// A node with links.
    Inner(Inner),
}

/// A node with links; it was decoded once, so it decodes again.
#[derive(Debug, Clone)]
pub(super) struct Inner {
    /// Bytes of file in and below it.
    pub(super) size: u64,
    /// Leaves directly below it, its own bytes counted as one.
    pub(super) leaves: u64,
    /// The block.
    pub(super) bytes: Bytes,
    /// Where the walk keeps the children that are not leaves, in the order of the links.
    pub(super) below: Vec<u32>,
}

/// What a link of a file node leads to, judged by the link alone.
pub(super) enum Child {
    /// A leaf, proven later by its hash.
    Leaf {
        /// Bytes of file.
        length: u32,
        /// What its block looks like.
        form: LeafForm,
    },
    /// A leaf without bytes, and its block.
    Empty {
        /// The block, made here.
        block: Vec<u8>,
    },
    /// A node that must be read.
    Fetch,
}

impl Parsed {
    /// Bytes of file in and below the block.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Leaf { length, .. } => u64::from(*length),
            Self::Inner(inner) => inner.size,
        }
    }

    /// The children that must be read, with their declared sizes, in the order of the links.
    pub(super) fn children_to_fetch(&self, cid: &Cid) -> Result<Vec<(Cid, u64)>, Error> {
        let Self::Inner(inner) = self else {
            return Ok(Vec::new());
        };
        let in_block = |error: Error| error.in_block(cid);
        let node = dag_pb::decode(&inner.bytes).map_err(in_block)?;
        let data = unixfs::decode(node.data.unwrap_or_default()).map_err(in_block)?;
        let mut out = Vec::new();
        for (link, &size) in node.links.iter().zip(&data.blocksizes) {
            if matches!(classify(link, size)?, Child::Fetch) {
                out.push((link.cid, size));
            }
        }
        Ok(out)
    }
}

/// Reads a block whose hash was checked (or an identity digest).
pub(super) fn parse(cid: &Cid, block: &[u8]) -> Result<Parsed, Error> {
    if cid.codec() == cid::RAW {
        let form = leaf_hash(cid).map_or_else(|| LeafForm::Inline(block.into()), LeafForm::Raw);
        return Ok(Parsed::Leaf {
            length: block.len() as u32,
            form,
        });
    }
    let in_block = |error: Error| error.in_block(cid);
    let node = dag_pb::decode(block).map_err(in_block)?;
    let Some(data_bytes) = node.data else {
        return Err(in_block(Error::UnixFs {
            offset: 0,
            reason: "the node has no data field",
        }));
    };
    let data = unixfs::decode(data_bytes).map_err(in_block)?;
    if data.kind != Kind::File && data.kind != Kind::Raw {
        return Err(Error::NotAFile {
            cid: *cid,
            kind: data.kind.name(),
        });
    }
    check(cid, &node.links, &data)?;
    if node.links.is_empty() {
        let form = leaf_form(cid, block, &data);
        return Ok(Parsed::Leaf {
            length: data.data.len() as u32,
            form,
        });
    }
    let mut leaves = u64::from(!data.data.is_empty());
    for (link, &size) in node.links.iter().zip(&data.blocksizes) {
        leaves += u64::from(!matches!(classify(link, size)?, Child::Fetch));
    }
    let size = parts(&data);
    Ok(Parsed::Inner(Inner {
        size,
        leaves,
        bytes: Bytes::copy_from_slice(block),
        below: Vec::new(),
    }))
}

/// What a child is, by its CID, its declared bytes of file and its Tsize.
pub(super) fn classify(link: &Link<'_>, size: u64) -> Result<Child, Error> {
    let cid = &link.cid;
    cid::check_allowed(cid)?;
    if size == 0 {
        return empty(cid);
    }
    let Some(hash) = leaf_hash(cid) else {
        return identity(cid, size);
    };
    if cid.codec() == cid::RAW {
        if size > BLOCK_SIZE_BYTES_MAX as u64 {
            return Err(Error::BlockTooLarge {
                cid: *cid,
                length: size,
                max: BLOCK_SIZE_BYTES_MAX as u64,
            });
        }
        return Ok(Child::Leaf {
            length: size as u32,
            form: LeafForm::Raw(hash),
        });
    }
    if size >= BLOCK_SIZE_BYTES_MAX as u64 {
        return Ok(Child::Fetch);
    }
    let canonical = size + Envelope::of_leaf(Kind::File, size as u32).length() as u64;
    if link.tsize == Some(canonical) && canonical <= BLOCK_SIZE_BYTES_MAX as u64 {
        Ok(Child::Leaf {
            length: size as u32,
            form: LeafForm::File(hash),
        })
    } else {
        Ok(Child::Fetch)
    }
}

/// A child that is declared to be empty. The blocks of empty leaves are known; anything else is read.
fn empty(cid: &Cid) -> Result<Child, Error> {
    let Some(hash) = leaf_hash(cid) else {
        return identity(cid, 0);
    };
    if cid.codec() == cid::RAW {
        let good = hash.fits(&[], &[], &[]);
        // No bytes at all cannot have another hash.
        return if good {
            Ok(Child::Empty { block: Vec::new() })
        } else {
            Err(Error::BlockMismatch {
                cid: *cid,
                length: 0,
            })
        };
    }
    let known = LeafForm::FILE_KINDS
        .into_iter()
        .map(|kind| Envelope::of_leaf(kind, 0))
        .find(|envelope| match &hash {
            LeafHash::Sha256(hash) => {
                hash::sha256_framed(envelope.head(), &[], envelope.tail()) == *hash
            }
            LeafHash::Sha512(_) => false,
        });
    Ok(known.map_or(Child::Fetch, |envelope| Child::Empty {
        block: [envelope.head(), envelope.tail()].concat(),
    }))
}

/// A child whose block stands in its CID.
fn identity(cid: &Cid, size: u64) -> Result<Child, Error> {
    let bytes = cid.hash().digest();
    if cid.codec() != cid::RAW {
        // Read by the walk like any node, only without being fetched.
        return Ok(Child::Fetch);
    }
    if bytes.len() as u64 != size {
        return Err(Error::ChildSize {
            cid: *cid,
            declared: size,
            actual: bytes.len() as u64,
        });
    }
    Ok(Child::Leaf {
        length: size as u32,
        form: LeafForm::Inline(bytes.into()),
    })
}

/// The block of a leaf without bytes.
pub(super) fn empty_block(form: &LeafForm) -> Vec<u8> {
    match form {
        LeafForm::Raw(_) | LeafForm::Inline(_) => Vec::new(),
        LeafForm::Wrapped { prefix, suffix, .. } => [&**prefix, suffix].concat(),
        LeafForm::File(hash) => {
            let mut envelopes = LeafForm::FILE_KINDS
                .into_iter()
                .map(|kind| Envelope::of_leaf(kind, 0));
            let fits = envelopes.find(|envelope| hash.fits(envelope.head(), &[], envelope.tail()));
            fits.map_or_else(Vec::new, |envelope| {
                [envelope.head(), envelope.tail()].concat()
            })
        }
    }
}

/// The rules that every file node keeps.
fn check(cid: &Cid, links: &[Link<'_>], data: &Data<'_>) -> Result<(), Error> {
    let cid = *cid;
    if links.len() > LINKS_PER_NODE_MAX {
        return Err(Error::TooManyLinks {
            cid,
            links: links.len(),
            max: LINKS_PER_NODE_MAX,
        });
    }
    if links.len() != data.blocksizes.len() {
        return Err(Error::LinkCount {
            cid,
            links: links.len(),
            blocksizes: data.blocksizes.len(),
        });
    }
    if let Some(index) = links.iter().position(|link| !link.name.is_empty()) {
        return Err(Error::NamedLink { cid, index });
    }
    let parts = parts(data);
    let filesize = data.filesize.unwrap_or(parts);
    // A sum that saturates is no size: it would hide what the children declare.
    if filesize != parts || parts == u64::MAX {
        return Err(Error::SizeSum {
            cid,
            filesize,
            parts,
        });
    }
    Ok(())
}

/// Bytes of file in and below a node, saturated.
fn parts(data: &Data<'_>) -> u64 {
    data.blocksizes
        .iter()
        .fold(data.data.len() as u64, |sum, &size| {
            sum.saturating_add(size)
        })
}

fn leaf_form(cid: &Cid, block: &[u8], data: &Data<'_>) -> LeafForm {
    let Some(hash) = leaf_hash(cid) else {
        return LeafForm::Inline(data.data.into());
    };
    let envelope = Envelope::of_leaf(data.kind, data.data.len() as u32);
    let canonical = block.len() == envelope.length() + data.data.len()
        && block.starts_with(envelope.head())
        && block.ends_with(envelope.tail());
    if canonical {
        return LeafForm::File(hash);
    }
    // The data is a slice of the block, so the distance is its place there. Empty data has no place: all is prefix.
    let start = match data.data.is_empty() {
        true => block.len(),
        false => data.data.as_ptr().addr() - block.as_ptr().addr(),
    };
    let (prefix, rest) = block.split_at(start);
    LeafForm::Wrapped {
        hash,
        prefix: prefix.into(),
        suffix: rest[data.data.len()..].into(),
    }
}
