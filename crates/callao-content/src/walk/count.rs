//! How large a tree would be if it were written out: leaves, nodes, depth. Each distinct block is counted once, so a tree
//! that repeats itself is measured without being expanded.

use super::node::Parsed;
use super::{Error, Walk};
use crate::limits::DEPTH_MAX;

/// The size of a subtree, repeated blocks counted every time; sums saturate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    /// Leaves.
    pub(super) leaves: u64,
    /// Inner nodes.
    pub(super) nodes: u64,
    /// Levels below.
    height: usize,
}

/// Counts the subtrees of one walk.
pub(super) struct Counter<'w> {
    walk: &'w Walk,
    done: Vec<Option<Count>>,
}

impl<'w> Counter<'w> {
    pub(super) fn new(walk: &'w Walk) -> Self {
        Self {
            walk,
            done: vec![None; walk.blocks.len()],
        }
    }

    /// Counts the subtree at a block that lies `depth` levels below the root. The recursion is at most [`DEPTH_MAX`] deep.
    pub(super) fn count(&mut self, index: usize, depth: usize) -> Result<Count, Error> {
        let block = &self.walk.blocks[index];
        let too_deep = Error::TooDeep {
            cid: block.cid,
            max: DEPTH_MAX,
        };
        if let Some(count) = self.done[index] {
            return if depth + count.height > DEPTH_MAX {
                Err(too_deep)
            } else {
                Ok(count)
            };
        }
        if depth > DEPTH_MAX {
            return Err(too_deep);
        }
        let mut count = match &block.parsed {
            Some(Parsed::Inner(inner)) => Count {
                leaves: inner.leaves,
                nodes: 1,
                height: 0,
            },
            _ => Count {
                leaves: 1,
                nodes: 0,
                height: 0,
            },
        };
        if let Some(Parsed::Inner(inner)) = &block.parsed {
            for &child in &inner.below {
                let child = self.count(child as usize, depth + 1)?;
                count.leaves = count.leaves.saturating_add(child.leaves);
                count.nodes = count.nodes.saturating_add(child.nodes);
                count.height = count.height.max(child.height + 1);
            }
        }
        self.done[index] = Some(count);
        Ok(count)
    }
}
