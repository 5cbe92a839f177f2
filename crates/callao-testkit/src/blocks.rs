//! The blocks that a fake has: the nodes and leaves of whole files, and single blocks.
//!
//! Leaves are cut out of the file when they are asked for, so a file is in memory once. Knows no protocol.

use std::collections::HashMap;
use std::sync::Arc;

use callao_content::layout::Layout;
use callao_content::{Cid, cid};

use crate::dag;

/// Blocks by multihash.
#[derive(Debug, Default)]
pub struct BlockSet {
    files: Vec<(Layout, Arc<[u8]>)>,
    places: HashMap<Vec<u8>, Place>,
}

#[derive(Clone, Debug)]
enum Place {
    Leaf { file: usize, index: usize },
    Node { file: usize, index: usize },
    Single(Vec<u8>),
}

/// Part of a directory tree that a request wants: a block, in depth-first order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This block is there.
    Here(Cid, Vec<u8>),
    /// This block is missing.
    Missing(Cid),
}

impl BlockSet {
    /// Blocks of `files` and single blocks besides.
    pub fn new(files: Vec<(Layout, Arc<[u8]>)>, extra: Vec<(Cid, Vec<u8>)>) -> Self {
        let mut set = Self::default();
        for (file, (layout, _)) in files.iter().enumerate() {
            for index in 0..layout.leaves().len() {
                if let Some(leaf) = layout.leaf_cid(index) {
                    set.places.insert(key(&leaf), Place::Leaf { file, index });
                }
            }
            for (index, node) in layout.nodes().iter().enumerate() {
                set.places
                    .insert(key(&node.cid), Place::Node { file, index });
            }
        }
        for (block_cid, block) in extra {
            set.places.insert(key(&block_cid), Place::Single(block));
        }
        set.files = files;
        set
    }

    /// The block that a CID names, whatever the CID's version and codec.
    pub fn get(&self, block_cid: &Cid) -> Option<Vec<u8>> {
        if block_cid.hash().code() == cid::IDENTITY {
            return Some(block_cid.hash().digest().to_vec());
        }
        match self.places.get(&key(block_cid))? {
            Place::Single(block) => Some(block.clone()),
            Place::Node { file, index } => Some(self.files[*file].0.nodes()[*index].bytes.to_vec()),
            Place::Leaf { file, index } => {
                let (layout, bytes) = &self.files[*file];
                let leaf = &layout.leaves()[*index];
                let start = usize::try_from(leaf.offset).ok()?;
                Some(layout.block(*index, bytes.get(start..start + leaf.length as usize)?))
            }
        }
    }

    /// The bytes of the file with this root, if it is one of the whole files.
    pub fn file(&self, root: &Cid) -> Option<Arc<[u8]>> {
        let (_, bytes) = self
            .files
            .iter()
            .find(|(layout, _)| cid::same_block(layout.root(), root))?;
        Some(Arc::clone(bytes))
    }

    /// Follows plain directories: the blocks on the way, and what the last name leads to.
    pub fn resolve(&self, root: &Cid, names: &[String]) -> Option<(Vec<Cid>, Cid)> {
        let (mut way, mut at) = (Vec::new(), *root);
        for name in names {
            way.push(at);
            let node = dag::read(&self.get(&at)?)?;
            at = node.links.into_iter().find(|link| &link.name == name)?.cid;
        }
        Some((way, at))
    }

    /// The blocks below `root`, depth first, of which some byte lies in `wanted` (bytes of the file, from..to). `whole`
    /// takes directories' entries too.
    pub fn walk(&self, root: &Cid, wanted: &std::ops::Range<u64>, whole: bool) -> Vec<Found> {
        let mut out = Vec::new();
        // (block, where its bytes begin in the file), the next one last.
        let mut stack = vec![(*root, 0_u64)];
        while let Some((at, offset)) = stack.pop() {
            let Some(block) = self.get(&at) else {
                out.push(Found::Missing(at));
                continue;
            };
            let node = (at.codec() == cid::DAG_PB)
                .then(|| dag::read(&block))
                .flatten()
                .unwrap_or_default();
            out.push(Found::Here(at, block));
            let directory = node.block_sizes.len() != node.links.len();
            let mut start = offset;
            let mut children = Vec::new();
            for (index, link) in node.links.iter().enumerate() {
                let size = node.block_sizes.get(index).copied().unwrap_or(0);
                let touched = start < wanted.end && start + size > wanted.start;
                if (directory && whole) || (!directory && touched) {
                    children.push((link.cid, start));
                }
                start += size;
            }
            stack.extend(children.into_iter().rev());
        }
        out
    }
}

fn key(block_cid: &Cid) -> Vec<u8> {
    block_cid.hash().to_bytes()
}
