//! The layout of a file: for every leaf its offset, its length and its hash, and the inner nodes that prove them. With
//! it, bytes from anywhere can be proven piece by piece. It does not know how the layout was found.

use std::collections::HashMap;
use std::ops::Range;

use ::cid::Version;
use ::cid::multihash::Multihash;
use bytes::Bytes;

use crate::cid::{self, Cid};
use crate::dag_pb;
use crate::error::Error;
use crate::hash;
use crate::leaf::VerifiedLeaf;
pub use crate::leaf::{Leaf, LeafForm, LeafHash, Mismatch};
use crate::limits::BLOCK_SIZE_BYTES_MAX;
use crate::unixfs::{Envelope, Kind};

/// What a file is made of. Leaves cover it without gap or overlap, in order; there is always at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: Cid,
    size: u64,
    leaves: Vec<Leaf>,
    nodes: Vec<Node>,
    leaf_length_max: u32,
}

/// An inner node, verbatim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its CID, as its parent writes it.
    pub cid: Cid,
    /// The block.
    pub bytes: Bytes,
}

impl Layout {
    pub(crate) fn new(root: Cid, leaves: Vec<Leaf>, nodes: Vec<Node>) -> Self {
        let size = leaves.last().map_or(0, Leaf::end);
        let leaf_length_max = leaves.iter().map(|leaf| leaf.length).max().unwrap_or(0);
        Self {
            root,
            size,
            leaves,
            nodes,
            leaf_length_max,
        }
    }

    /// The layout of a file that is one block: a raw block, or a canonical dag-pb leaf, of `length` bytes of file. Such a
    /// file has no inner nodes, so this is all there is to keep. The length is proven with the bytes.
    ///
    /// # Errors
    /// [`Error::CodecNotAllowed`], [`Error::HashNotAllowed`], [`Error::BlockTooLarge`]; [`Error::ChildSize`] if an
    /// identity CID holds another number of bytes.
    pub fn single_leaf(root: Cid, length: u32) -> Result<Self, Error> {
        cid::check_allowed(&root)?;
        if length as usize > BLOCK_SIZE_BYTES_MAX {
            let (length, max) = (u64::from(length), BLOCK_SIZE_BYTES_MAX as u64);
            return Err(Error::BlockTooLarge {
                cid: root,
                length,
                max,
            });
        }
        let form = match leaf_hash(&root) {
            Some(hash) if root.codec() == cid::RAW => LeafForm::Raw(hash),
            Some(hash) => LeafForm::File(hash),
            None => {
                let bytes = root.hash().digest();
                if root.codec() != cid::RAW || bytes.len() != length as usize {
                    let (declared, actual) = (u64::from(length), bytes.len() as u64);
                    return Err(Error::ChildSize {
                        cid: root,
                        declared,
                        actual,
                    });
                }
                LeafForm::Inline(bytes.into())
            }
        };
        Ok(Self::new(
            root,
            vec![Leaf {
                offset: 0,
                length,
                form,
            }],
            Vec::new(),
        ))
    }

    /// The CID of the file.
    #[must_use]
    pub const fn root(&self) -> &Cid {
        &self.root
    }

    /// Bytes of the file.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The leaves, in file order.
    #[must_use]
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The inner nodes that stand in blocks of their own, each once, depth first. Empty if the file is one block. With
    /// them a [`crate::walk::Walk`] finds this layout again.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Bytes of all blocks of the tree, repeated ones counted every time: the Tsize of a link to the root.
    #[must_use]
    pub fn dag_size(&self) -> u64 {
        if let Some(root) = self.nodes.first().filter(|node| node.cid == self.root) {
            let links = dag_pb::decode(&root.bytes)
                .map(|node| node.links)
                .unwrap_or_default();
            return links.iter().fold(root.bytes.len() as u64, |sum, link| {
                sum.saturating_add(link.tsize.unwrap_or_default())
            });
        }
        self.block_length(0)
    }

    /// Bytes of a leaf's block: its bytes of the file and its envelope. 0 beyond the last leaf.
    #[must_use]
    pub fn block_length(&self, index: usize) -> u64 {
        let Some(leaf) = self.leaves.get(index) else {
            return 0;
        };
        let envelope = match &leaf.form {
            LeafForm::File(_) => Envelope::of_leaf(Kind::File, leaf.length).length(),
            LeafForm::Wrapped { prefix, suffix, .. } => prefix.len() + suffix.len(),
            LeafForm::Raw(_) | LeafForm::Inline(_) => 0,
        };
        u64::from(leaf.length) + envelope as u64
    }

    /// Bytes of the longest leaf.
    #[must_use]
    pub const fn max_leaf(&self) -> u32 {
        self.leaf_length_max
    }

    /// Which leaf holds the byte at `offset`; the last one if the offset lies beyond the end.
    #[must_use]
    pub fn leaf_at(&self, offset: u64) -> usize {
        self.leaves
            .partition_point(|leaf| leaf.offset <= offset)
            .saturating_sub(1)
    }

    /// The leaves that lie wholly inside `range` (bytes of the file). Empty ones at its edges belong to it.
    #[must_use]
    pub fn leaves_in(&self, range: Range<u64>) -> Range<usize> {
        let start = self
            .leaves
            .partition_point(|leaf| leaf.offset < range.start);
        let end = self.leaves.partition_point(|leaf| leaf.end() <= range.end);
        start..end.max(start)
    }

    /// The bytes of the leaves that `wanted` says yes to: sorted ranges that neither touch nor overlap.
    #[must_use]
    pub fn ranges_of(&self, wanted: impl Fn(usize) -> bool) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for (index, leaf) in self.leaves.iter().enumerate() {
            if leaf.length == 0 || !wanted(index) {
                continue;
            }
            match ranges.last_mut() {
                Some(last) if last.end == leaf.offset => last.end = leaf.end(),
                _ => ranges.push(leaf.offset..leaf.end()),
            }
        }
        ranges
    }

    /// The CID of a leaf's block; `None` for an inline leaf, which has no block, and for an index beyond the last.
    #[must_use]
    pub fn leaf_cid(&self, index: usize) -> Option<Cid> {
        let form = &self.leaves.get(index)?.form;
        let hash = match form.hash()? {
            LeafHash::Sha256(hash) if matches!(form, LeafForm::Raw(_)) => {
                return Some(cid::raw_sha256(*hash));
            }
            LeafHash::Sha256(hash) => {
                return Some(cid::dag_pb_sha256(self.dag_pb_version(), *hash));
            }
            LeafHash::Sha512(hash) => Multihash::wrap(cid::SHA2_512, &hash[..]).ok()?,
        };
        let codec = if matches!(form, LeafForm::Raw(_)) {
            cid::RAW
        } else {
            cid::DAG_PB
        };
        Some(Cid::new_v1(codec, hash))
    }

    /// Proves the bytes of one leaf.
    ///
    /// # Errors
    /// [`Mismatch`] if the length or the hash is another, or there is no such leaf.
    pub fn verify<'a>(&self, index: usize, bytes: &'a [u8]) -> Result<VerifiedLeaf<'a>, Mismatch> {
        let leaf = self.leaves.get(index).ok_or(self.beyond())?;
        VerifiedLeaf::prove(index, leaf, bytes)
    }

    /// Proves consecutive whole leaves, beginning with leaf `first`, four at a time. Those before the first false one
    /// are appended to `out`, also when there is a false one. Leaves without bytes that follow directly are included.
    ///
    /// # Errors
    /// [`Mismatch`] names the first leaf that is false, cut short, or beyond the last.
    pub fn verify_run<'a>(
        &self,
        first: usize,
        bytes: &'a [u8],
        out: &mut Vec<VerifiedLeaf<'a>>,
    ) -> Result<(), Mismatch> {
        let mut run = self.run(first, bytes);
        while let Some((index, leaf)) = run.next_leaf()? {
            let group = self.leaves[index..]
                .iter()
                .take(hash::LANES)
                .take_while(|other| leaf.same_shape(other))
                .count();
            let group = group.min(
                run.rest
                    .len()
                    .checked_div(leaf.length as usize)
                    .unwrap_or(1),
            );
            let Some(envelope) = leaf.envelope().filter(|_| group > 1) else {
                out.push(VerifiedLeaf::prove(index, leaf, run.take(leaf))?);
                continue;
            };
            let mut payloads = [&[][..]; hash::LANES];
            for payload in &mut payloads[..group] {
                *payload = run.take(leaf);
            }
            let hashes = hash::sha256_lanes(envelope.head(), &payloads[..group], envelope.tail());
            for (step, (payload, block_hash)) in payloads[..group].iter().zip(&hashes).enumerate() {
                let (index, leaf) = (index + step, &self.leaves[index + step]);
                out.push(VerifiedLeaf::prove_hashed(
                    index, leaf, payload, block_hash,
                )?);
            }
        }
        Ok(())
    }

    /// The bytes of file inside a leaf's block. The block must have been verified against [`Self::leaf_cid`]; only its form
    /// is looked at here.
    ///
    /// # Errors
    /// [`Error::LeafForm`] if the block does not have the envelope and length that the layout says.
    pub fn payload<'b>(&self, index: usize, block: &'b [u8]) -> Result<&'b [u8], Error> {
        let Some(leaf) = self.leaves.get(index) else {
            return Err(Error::LeafForm { index, length: 0 });
        };
        let strip = |head: &[u8], tail: &[u8]| block.strip_prefix(head)?.strip_suffix(tail);
        let payload = match &leaf.form {
            LeafForm::Raw(_) => Some(block),
            LeafForm::File(_) => LeafForm::FILE_KINDS.into_iter().find_map(|kind| {
                let envelope = Envelope::of_leaf(kind, leaf.length);
                strip(envelope.head(), envelope.tail())
            }),
            LeafForm::Wrapped { prefix, suffix, .. } => strip(prefix, suffix),
            LeafForm::Inline(own) => (**own == *block).then_some(block),
        };
        let payload = payload.filter(|payload| payload.len() == leaf.length as usize);
        payload.ok_or(Error::LeafForm {
            index,
            length: leaf.length,
        })
    }

    /// The block of a leaf, made from its bytes: the envelope is added. A canonical dag-pb leaf is hashed once on the way,
    /// to learn which of its two kinds it has.
    #[must_use]
    pub fn block(&self, index: usize, payload: &[u8]) -> Vec<u8> {
        let Some(leaf) = self.leaves.get(index) else {
            return payload.to_vec();
        };
        match &leaf.form {
            LeafForm::Raw(_) | LeafForm::Inline(_) => payload.to_vec(),
            LeafForm::Wrapped { prefix, suffix, .. } => [prefix, payload, suffix].concat(),
            LeafForm::File(hash) => {
                let old = Envelope::of_leaf(Kind::Raw, payload.len() as u32);
                let usual = Envelope::of_leaf(Kind::File, payload.len() as u32);
                let is_usual = hash.fits(usual.head(), payload, usual.tail());
                let envelope = if is_usual { usual } else { old };
                [envelope.head(), payload, envelope.tail()].concat()
            }
        }
    }

    /// Makes the block of a leaf where it stands: `block` becomes as long as it is, `fill` writes the bytes of the file in
    /// its middle, and the envelope is set around them. Nothing is proven: of a canonical dag-pb leaf the kind is taken to
    /// be the usual one. `false` if `fill` says so, and for leaves without a block of their own.
    pub fn block_around(
        &self,
        index: usize,
        block: &mut Vec<u8>,
        fill: impl FnOnce(&mut [u8]) -> bool,
    ) -> bool {
        let Some(leaf) = self.leaves.get(index) else {
            return false;
        };
        let envelope = Envelope::of_leaf(Kind::File, leaf.length);
        let (head, tail): (&[u8], &[u8]) = match &leaf.form {
            LeafForm::Raw(_) => (&[], &[]),
            LeafForm::File(_) => (envelope.head(), envelope.tail()),
            LeafForm::Wrapped { prefix, suffix, .. } => (prefix, suffix),
            LeafForm::Inline(_) => return false,
        };
        let end = head.len() + leaf.length as usize;
        block.resize(end + tail.len(), 0);
        block[..head.len()].copy_from_slice(head);
        block[end..].copy_from_slice(tail);
        fill(&mut block[head.len()..end])
    }

    /// Every leaf whose block occurs before, with the first leaf that has the same block. Such bytes need to be fetched once
    /// only (zero runs in images).
    #[must_use]
    pub fn duplicates(&self) -> Vec<(usize, usize)> {
        let mut first: HashMap<(&LeafForm, u32), usize> = HashMap::with_capacity(self.leaves.len());
        let mut out = Vec::new();
        for (index, leaf) in self.leaves.iter().enumerate() {
            if matches!(leaf.form, LeafForm::Inline(_)) {
                continue;
            }
            let earliest = *first.entry((&leaf.form, leaf.length)).or_insert(index);
            if earliest != index {
                out.push((index, earliest));
            }
        }
        out
    }

    /// The leaves whose bytes stand in the layout itself, with those bytes. They need no source.
    pub fn inline(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.leaves
            .iter()
            .enumerate()
            .filter_map(|(index, leaf)| match &leaf.form {
                LeafForm::Inline(bytes) => Some((index, &**bytes)),
                _ => None,
            })
    }

    /// Cuts `bytes` into the leaves that begin at leaf `first`.
    pub(crate) fn run<'l, 'a>(&'l self, first: usize, bytes: &'a [u8]) -> Run<'l, 'a> {
        Run {
            layout: self,
            next: first,
            rest: bytes,
        }
    }

    /// The version that dag-pb leaves have in this tree.
    fn dag_pb_version(&self) -> Version {
        self.root.version()
    }

    fn beyond(&self) -> Mismatch {
        Mismatch {
            index: self.leaves.len(),
            offset: self.size,
            length: 0,
        }
    }
}

/// Bytes on their way to being cut into leaves.
pub(crate) struct Run<'l, 'a> {
    layout: &'l Layout,
    next: usize,
    rest: &'a [u8],
}

impl<'l, 'a> Run<'l, 'a> {
    /// The leaf that begins here, if there are bytes for it; `None` at the end of the bytes.
    pub(crate) fn next_leaf(&mut self) -> Result<Option<(usize, &'l Leaf)>, Mismatch> {
        match self.layout.leaves.get(self.next) {
            Some(leaf) if leaf.length == 0 => Ok(Some((self.next, leaf))),
            _ if self.rest.is_empty() => Ok(None),
            Some(leaf) if leaf.length as usize <= self.rest.len() => Ok(Some((self.next, leaf))),
            Some(leaf) => Err(leaf.mismatch(self.next)),
            None => Err(self.layout.beyond()),
        }
    }

    /// The bytes of the leaf that begins here.
    pub(crate) fn take(&mut self, leaf: &Leaf) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(leaf.length as usize);
        self.rest = rest;
        self.next += 1;
        bytes
    }
}

/// The hash in a CID as a leaf keeps it; `None` for identity and for hashes that are not allowed.
pub(crate) fn leaf_hash(cid: &Cid) -> Option<LeafHash> {
    let digest = cid.hash().digest();
    match cid.hash().code() {
        cid::SHA2_256 => digest.try_into().ok().map(LeafHash::Sha256),
        cid::SHA2_512 => digest
            .try_into()
            .ok()
            .map(|hash| LeafHash::Sha512(Box::new(hash))),
        _ => None,
    }
}
