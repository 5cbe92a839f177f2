//! From a root CID to a [`Layout`]: asks for inner nodes, takes blocks, trusts nothing. It does not fetch.
//!
//! Each distinct block is asked for once, however often it occurs. While blocks arrive only what a single node says is
//! checked, and the sizes between parents and children. The tree is counted before it is expanded, so that a few
//! small nodes which repeat each other a billion times are refused and not written out.
//!
//! ```text
//! new(root) -> wants() -> supply(cid, block)* -> wants() is empty -> finish() -> Layout
//! ```
//! A dag-pb child counts as a leaf without being fetched if its Tsize is exactly that of a canonical leaf with its declared
//! size: an inner node is always longer. Should the Tsize lie, the leaf's hash will not fit.

mod count;
mod node;

use std::collections::HashMap;

use bytes::Bytes;

use crate::cid::{self, Cid};
use crate::dag_pb;
use crate::error::Error;
use crate::layout::{Layout, Leaf, LeafForm, Node};
use crate::limits::{DEPTH_MAX, LEAVES_MAX, NODES_MAX, SKELETON_BYTES_MAX};
use crate::unixfs;
use count::Counter;
use node::{Child, Parsed};

/// What the file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Exactly this many bytes, if the size is known.
    pub size: Option<u64>,
    /// At most this many bytes.
    pub size_max: u64,
}

impl Limits {
    /// No expectation: anything that the tree's own limits allow.
    pub const NONE: Self = Self {
        size: None,
        size_max: u64::MAX,
    };
}

/// A walk over one tree.
#[derive(Debug, Clone)]
pub struct Walk {
    root: Cid,
    limits: Limits,
    blocks: Vec<Block>,
    /// Position in `blocks` of each CID, in its [`cid::normal`] form.
    known: HashMap<Cid, usize>,
    missing: usize,
    leaves_seen: u64,
    skeleton_bytes: usize,
}

/// A block that is or was asked for.
#[derive(Debug, Clone)]
struct Block {
    /// As the first parent writes it.
    cid: Cid,
    depth: usize,
    /// Bytes of file in and below it, as its parents declare; `None` for the root.
    declared: Option<u64>,
    parsed: Option<Parsed>,
}

impl Walk {
    /// A walk that has seen nothing. An identity root needs no block, everything else begins with the root.
    ///
    /// # Errors
    /// [`Error::CodecNotAllowed`], [`Error::HashNotAllowed`]; for an identity root also the errors of
    /// [`Self::supply`].
    pub fn new(root: Cid, limits: Limits) -> Result<Self, Error> {
        let mut walk = Self {
            root,
            limits,
            blocks: Vec::new(),
            known: HashMap::new(),
            missing: 0,
            leaves_seen: 0,
            skeleton_bytes: 0,
        };
        walk.want(root, None, 0)?;
        Ok(walk)
    }

    /// The blocks that are missing now, those nearest to the root first as far as known. Ask for all at once; none of them has
    /// been supplied.
    #[must_use]
    pub fn wants(&self) -> Vec<Cid> {
        self.blocks
            .iter()
            .filter(|block| block.parsed.is_none())
            .map(|block| block.cid)
            .collect()
    }

    /// Takes a block: hashes it, reads it, and learns what else is wanted. A block that was supplied before is ignored. Blocks
    /// may come in any order that [`Self::wants`] allows, under any version of their CID.
    ///
    /// # Errors
    /// [`Error::NotWanted`], [`Error::BlockMismatch`] and [`Error::BlockTooLarge`] for `cid` itself are faults of whoever gave the
    /// block: the walk goes on. Every other error says that the tree is refused; the walk cannot be finished then.
    pub fn supply(&mut self, cid: &Cid, block: &[u8]) -> Result<(), Error> {
        let Some(&index) = self.known.get(&cid::normal(cid)) else {
            return Err(Error::NotWanted { cid: *cid });
        };
        if self.blocks[index].parsed.is_some() {
            return Ok(());
        }
        cid::verify_block(cid, block)?;
        self.take(index, block)
    }

    /// The layout, once nothing is wanted.
    ///
    /// # Errors
    /// [`Error::Incomplete`], [`Error::TooDeep`], [`Error::TreeTooLarge`].
    pub fn finish(self) -> Result<Layout, Error> {
        if self.missing > 0 {
            return Err(Error::Incomplete {
                root: self.root,
                missing: self.missing,
            });
        }
        let count = Counter::new(&self).count(0, 0)?;
        self.check_leaves(count.leaves.max(count.nodes))?;
        let mut out = Expansion {
            leaves: Vec::with_capacity(count.leaves as usize),
            nodes: Vec::new(),
            offset: 0,
            listed: vec![false; self.blocks.len()],
            empties: Vec::new(),
        };
        self.expand(0, &mut out)?;
        Ok(Layout::new(self.root, out.leaves, out.nodes))
    }

    /// Registers a block. Identity blocks are read at once.
    fn want(&mut self, cid: Cid, declared: Option<u64>, depth: usize) -> Result<usize, Error> {
        cid::check_allowed(&cid)?;
        if let Some(&index) = self.known.get(&cid::normal(&cid)) {
            return match (declared, self.declared(index)) {
                (Some(declared), Some(actual)) if declared != actual => Err(Error::ChildSize {
                    cid,
                    declared,
                    actual,
                }),
                _ => Ok(index),
            };
        }
        if depth > DEPTH_MAX {
            return Err(Error::TooDeep {
                cid,
                max: DEPTH_MAX,
            });
        }
        if self.blocks.len() >= NODES_MAX {
            return Err(self.too_large("nodes", self.blocks.len() as u64 + 1, NODES_MAX as u64));
        }
        let index = self.blocks.len();
        self.blocks.push(Block {
            cid,
            depth,
            declared,
            parsed: None,
        });
        self.known.insert(cid::normal(&cid), index);
        self.missing += 1;
        if cid.hash().code() == cid::IDENTITY {
            self.take(index, cid.hash().digest())?;
        }
        Ok(index)
    }

    /// Reads a verified block.
    fn take(&mut self, index: usize, block: &[u8]) -> Result<(), Error> {
        let Block {
            cid,
            depth,
            declared,
            ..
        } = self.blocks[index];
        let parsed = node::parse(&cid, block)?;
        let actual = parsed.size();
        match declared {
            Some(declared) if declared != actual => {
                return Err(Error::ChildSize {
                    cid,
                    declared,
                    actual,
                });
            }
            None => self.check_size(actual)?,
            Some(_) => {}
        }
        if let Parsed::Inner(inner) = &parsed {
            self.leaves_seen += inner.leaves;
            self.check_leaves(self.leaves_seen)?;
            self.skeleton_bytes += inner.bytes.len();
            if self.skeleton_bytes > SKELETON_BYTES_MAX {
                let (count, max) = (self.skeleton_bytes as u64, SKELETON_BYTES_MAX as u64);
                return Err(self.too_large("bytes of inner nodes", count, max));
            }
        }
        let below = parsed.children_to_fetch(&cid)?;
        self.blocks[index].parsed = Some(parsed);
        self.missing -= 1;
        let mut positions = Vec::with_capacity(below.len());
        for (child, size) in below {
            positions.push(self.want(child, Some(size), depth + 1)? as u32);
        }
        if let Some(Parsed::Inner(inner)) = &mut self.blocks[index].parsed {
            inner.below = positions;
        }
        Ok(())
    }

    /// Bytes of file in and below a block, as far as anybody said.
    fn declared(&self, index: usize) -> Option<u64> {
        let block = &self.blocks[index];
        block.parsed.as_ref().map(Parsed::size).or(block.declared)
    }

    fn check_size(&self, declared: u64) -> Result<(), Error> {
        let root = self.root;
        match self.limits.size {
            Some(expected) if expected != declared => Err(Error::SizeNotExpected {
                root,
                declared,
                expected,
            }),
            _ if declared > self.limits.size_max => Err(Error::SizeOverBudget {
                root,
                declared,
                max: self.limits.size_max,
            }),
            _ => Ok(()),
        }
    }

    fn check_leaves(&self, count: u64) -> Result<(), Error> {
        if count > LEAVES_MAX {
            Err(self.too_large("leaves", count, LEAVES_MAX))
        } else {
            Ok(())
        }
    }

    const fn too_large(&self, what: &'static str, count: u64, max: u64) -> Error {
        Error::TreeTooLarge {
            root: self.root,
            what,
            count,
            max,
        }
    }

    /// Appends everything at and below a block. Bounded: [`Self::finish`] has counted what comes.
    fn expand(&self, index: usize, out: &mut Expansion) -> Result<(), Error> {
        let block = &self.blocks[index];
        let inner = match &block.parsed {
            Some(Parsed::Leaf { length: 0, form }) if index > 0 => {
                out.empty(block.cid, node::empty_block(form));
                return Ok(());
            }
            Some(Parsed::Leaf { length, form }) => {
                out.leaf(*length, form.clone());
                return Ok(());
            }
            Some(Parsed::Inner(inner)) => inner,
            None => {
                return Err(Error::Incomplete {
                    root: self.root,
                    missing: self.missing,
                });
            }
        };
        let is_identity = block.cid.hash().code() == cid::IDENTITY;
        if !std::mem::replace(&mut out.listed[index], true) && !is_identity {
            out.nodes.push(Node {
                cid: block.cid,
                bytes: inner.bytes.clone(),
            });
        }
        let decoded = dag_pb::decode(&inner.bytes)?;
        let data = unixfs::decode(decoded.data.unwrap_or_default())?;
        if !data.data.is_empty() {
            out.leaf(data.data.len() as u32, LeafForm::Inline(data.data.into()));
        }
        let mut below = inner.below.iter();
        for (link, &size) in decoded.links.iter().zip(&data.blocksizes) {
            match node::classify(link, size)? {
                Child::Leaf { length, form } => out.leaf(length, form),
                Child::Empty { block } => out.empty(link.cid, block),
                Child::Fetch => {
                    if let Some(&child) = below.next() {
                        self.expand(child as usize, out)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A layout in the making.
struct Expansion {
    leaves: Vec<Leaf>,
    nodes: Vec<Node>,
    offset: u64,
    /// Which blocks of the walk are among the nodes already.
    listed: Vec<bool>,
    /// The empty parts that are among the nodes already.
    empties: Vec<Cid>,
}

impl Expansion {
    fn leaf(&mut self, length: u32, form: LeafForm) {
        self.leaves.push(Leaf {
            offset: self.offset,
            length,
            form,
        });
        self.offset += u64::from(length);
    }

    /// An empty part whose block is known without fetching: it is kept with the nodes, and its no bytes are inline.
    fn empty(&mut self, cid: Cid, block: Vec<u8>) {
        if !self
            .empties
            .iter()
            .any(|known| cid::same_block(known, &cid))
        {
            self.empties.push(cid);
            self.nodes.push(Node {
                cid,
                bytes: Bytes::from(block),
            });
        }
        self.leaf(0, LeafForm::Inline(Box::default()));
    }
}
