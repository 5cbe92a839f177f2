//! Bytes to a tree: the deterministic importer. The same bytes and shape always give the same CID, byte for byte the one
//! that kubo gives. It keeps hashes, never payload.

use std::collections::HashSet;

use ::cid::Version;
use bytes::Bytes;

use crate::cid::{self, Cid};
use crate::dag_pb::{self, Link};
use crate::digest::{Algorithm, Digest};
use crate::error::Error;
use crate::hash::{self, WholeAndLeaf};
use crate::layout::{Layout, Leaf, LeafForm, LeafHash, Node};
use crate::limits::{CHUNK_SIZE_BYTES_MAX, LINKS_PER_NODE_MAX};
use crate::profile::Shape;
use crate::stream::InOrder;
use crate::unixfs::{self, Data, Envelope, Kind};

/// The layout of `bytes`.
///
/// # Errors
/// [`Error::Shape`], as [`Builder::new`].
pub fn import(bytes: &[u8], shape: Shape) -> Result<Layout, Error> {
    let mut builder = Builder::new(shape)?;
    InOrder::new(&[]).importing(&mut builder, bytes);
    Ok(builder.finish())
}

/// A balanced tree in the making, leaf by leaf. A node is closed as soon as it is full.
#[derive(Debug, Clone)]
pub struct Builder {
    shape: Shape,
    leaves: Vec<Leaf>,
    size: u64,
    levels: Vec<Level>,
}

/// What one level holds: every closed node of it, and the children that wait for the next node.
#[derive(Debug, Clone, Default)]
struct Level {
    waiting: Vec<Child>,
    nodes: Vec<Node>,
}

/// What a parent writes about a child.
#[derive(Debug, Clone)]
struct Child {
    cid: Cid,
    file_bytes: u64,
    tsize: u64,
}

impl Builder {
    /// No leaf yet.
    ///
    /// # Errors
    /// [`Error::Shape`] if the chunk is empty or would not fit into a block, or the width is not 2 to
    /// [`LINKS_PER_NODE_MAX`].
    pub fn new(shape: Shape) -> Result<Self, Error> {
        let refuse = |reason: String| Err(Error::Shape { reason });
        if !(1..=CHUNK_SIZE_BYTES_MAX).contains(&shape.chunk_size) {
            return refuse(format!(
                "the chunk size is {}, it must be 1 to {CHUNK_SIZE_BYTES_MAX}",
                shape.chunk_size
            ));
        }
        if !(2..=LINKS_PER_NODE_MAX).contains(&(shape.width as usize)) {
            return refuse(format!(
                "the width is {}, it must be 2 to {LINKS_PER_NODE_MAX}",
                shape.width
            ));
        }
        Ok(Self {
            shape,
            leaves: Vec::new(),
            size: 0,
            levels: vec![Level::default()],
        })
    }

    /// The shape that this builds.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The leaves so far.
    #[must_use]
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The next leaf: [`Shape::chunk_size`] bytes, fewer only at the end of the file.
    pub fn leaf(&mut self, bytes: &[u8]) {
        let envelope = self.envelope(bytes.len() as u32);
        self.leaf_hash(
            hash::sha256_framed(envelope.head(), bytes, envelope.tail()),
            bytes.len() as u32,
        );
    }

    /// The next leaf, hashed elsewhere: the SHA-256 of its *block* (with the envelope, if leaves have one) and its length.
    pub fn leaf_hash(&mut self, hash: [u8; 32], length: u32) {
        let (form, cid) = if self.shape.raw_leaves {
            (LeafForm::Raw(LeafHash::Sha256(hash)), cid::raw_sha256(hash))
        } else {
            (
                LeafForm::File(LeafHash::Sha256(hash)),
                cid::dag_pb_sha256(self.shape.cid_version, hash),
            )
        };
        let tsize = (length as usize + self.envelope(length).length()) as u64;
        self.leaves.push(Leaf {
            offset: self.size,
            length,
            form,
        });
        self.size += u64::from(length);
        self.add(
            0,
            Child {
                cid,
                file_bytes: u64::from(length),
                tsize,
            },
        );
    }

    /// The tree. Without a leaf it is that of the empty file.
    #[must_use]
    pub fn finish(mut self) -> Layout {
        if self.leaves.is_empty() {
            self.leaf(&[]);
        }
        let mut level = 0;
        // A group of one still gets a parent, unless it is all there is: then it is the root.
        while level + 1 < self.levels.len() || self.levels[level].waiting.len() > 1 {
            if !self.levels[level].waiting.is_empty() {
                self.close(level);
            }
            level += 1;
        }
        let root = self.levels[level].waiting[0].cid;
        let levels: Vec<Vec<Node>> = self.levels.into_iter().map(|level| level.nodes).collect();
        let nodes = depth_first(&levels, level, self.shape.width as usize);
        Layout::new(root, self.leaves, nodes)
    }

    /// The envelope of a leaf of this many bytes.
    pub(crate) fn envelope(&self, length: u32) -> Envelope {
        if self.shape.raw_leaves {
            Envelope::RAW_LEAF
        } else {
            Envelope::of_leaf(Kind::File, length)
        }
    }

    fn add(&mut self, level: usize, child: Child) {
        // A full node is closed when the next child comes, not before: the last may be the root.
        if self.levels[level].waiting.len() == self.shape.width as usize {
            self.close(level);
        }
        self.levels[level].waiting.push(child);
    }

    /// Makes a node of the children that wait, and hands it up.
    fn close(&mut self, level: usize) {
        let children = std::mem::take(&mut self.levels[level].waiting);
        let (node, child) = inner_node(&children, self.shape.cid_version);
        self.levels[level].nodes.push(node);
        if level + 1 == self.levels.len() {
            self.levels.push(Level::default());
        }
        self.add(level + 1, child);
    }
}

fn inner_node(children: &[Child], version: Version) -> (Node, Child) {
    let links = children
        .iter()
        .map(|child| Link {
            cid: child.cid,
            name: b"",
            tsize: Some(child.tsize),
        })
        .collect();
    let file_bytes = children.iter().map(|child| child.file_bytes).sum();
    let blocksizes = children.iter().map(|child| child.file_bytes).collect();
    let data = unixfs::encode(&Data {
        filesize: Some(file_bytes),
        blocksizes,
        ..Data::empty(Kind::File)
    });
    let block = dag_pb::encode(&dag_pb::Node {
        links,
        data: Some(&data),
    });
    let cid = cid::dag_pb_sha256(version, hash::sha256(&block));
    let tsize = block.len() as u64 + children.iter().map(|child| child.tsize).sum::<u64>();
    (
        Node {
            cid,
            bytes: Bytes::from(block),
        },
        Child {
            cid,
            file_bytes,
            tsize,
        },
    )
}

/// The nodes of all levels, each parent before its children, each block once. `levels[n]` holds the parents of level `n`,
/// so the root is alone in the highest one that has nodes.
fn depth_first(levels: &[Vec<Node>], height: usize, width: usize) -> Vec<Node> {
    let mut seen = HashSet::new();
    let mut out = Vec::with_capacity(levels.iter().map(Vec::len).sum());
    // Pairs of level and position that are still to be visited, the next one last.
    let mut open: Vec<(usize, usize)> = height
        .checked_sub(1)
        .map(|top| (top, 0))
        .into_iter()
        .collect();
    while let Some((level, position)) = open.pop() {
        let Some(node) = levels[level].get(position) else {
            continue;
        };
        if !seen.insert(node.cid) {
            // The same block has the same children: they are there already.
            continue;
        }
        out.push(node.clone());
        if let Some(below) = level.checked_sub(1) {
            let end = levels[below].len().min((position + 1) * width);
            open.extend((position * width..end).rev().map(|child| (below, child)));
        }
    }
    out
}

/// [`Builder`] and [`InOrder`] for bytes that come in pieces of any size. A leaf that is cut by a piece's end goes on with
/// the next; raw leaves are never copied.
#[derive(Debug, Clone)]
pub struct Importer {
    builder: Builder,
    digests: InOrder,
    /// The leaf in the making when no whole SHA-256 is asked for.
    alone: WholeAndLeaf,
    begun: u32,
    /// A copy of the leaf in the making, for dag-pb leaves only: their envelope begins with their length, which is known
    /// when they end. They are hashed as full ones, and once more if the last is shorter.
    kept: Vec<u8>,
}

impl Importer {
    /// Nothing seen yet; the digests of the whole file that are wanted beside the tree.
    ///
    /// # Errors
    /// [`Error::Shape`], as [`Builder::new`].
    pub fn new(shape: Shape, algorithms: &[Algorithm]) -> Result<Self, Error> {
        let (builder, digests) = (Builder::new(shape)?, InOrder::new(algorithms));
        Ok(Self {
            builder,
            digests,
            alone: WholeAndLeaf::new(),
            begun: 0,
            kept: Vec::new(),
        })
    }

    /// The next bytes of the file.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let chunk_size = self.builder.shape.chunk_size;
        while !bytes.is_empty() {
            let whole = bytes.len() / chunk_size as usize * chunk_size as usize;
            if self.begun == 0 && whole > 0 {
                self.digests.importing(&mut self.builder, &bytes[..whole]);
                bytes = &bytes[whole..];
                continue;
            }
            let (piece, rest) = bytes.split_at(bytes.len().min((chunk_size - self.begun) as usize));
            self.piece(piece);
            if self.begun == chunk_size {
                self.end_leaf();
            }
            bytes = rest;
        }
    }

    /// The tree and the digests, in the order in which they were asked for.
    #[must_use]
    pub fn finish(mut self) -> (Layout, Vec<Digest>) {
        if self.begun > 0 {
            self.end_leaf();
        }
        (self.builder.finish(), self.digests.finish())
    }

    fn piece(&mut self, piece: &[u8]) {
        let shape = self.builder.shape;
        let hasher = self.digests.sha256_mut().unwrap_or(&mut self.alone);
        if self.begun == 0 {
            hasher.begin_leaf(self.builder.envelope(shape.chunk_size).head());
        }
        hasher.update(piece);
        self.digests.advance(piece);
        self.begun += piece.len() as u32;
        if !shape.raw_leaves {
            self.kept.extend_from_slice(piece);
        }
    }

    fn end_leaf(&mut self) {
        let shape = self.builder.shape;
        if shape.raw_leaves || self.begun == shape.chunk_size {
            let hasher = self.digests.sha256_mut().unwrap_or(&mut self.alone);
            let hash = hasher.end_leaf(self.builder.envelope(self.begun).tail());
            self.builder.leaf_hash(hash, self.begun);
        } else {
            self.builder.leaf(&self.kept);
        }
        self.kept.clear();
        self.begun = 0;
    }
}
