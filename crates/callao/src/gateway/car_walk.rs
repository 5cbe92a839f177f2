//! Which blocks a CAR holds, depth first, and its bytes. Reads blocks through [`Served`]; must not know HTTP.
//!
//! Each block is written before those below it. Without repetition a block is written once, and a subtree that was
//! written wholly is not entered again: a small DAG that repeats itself a billion times costs what its blocks cost.

use std::collections::HashMap;
use std::ops::Range;

use callao_content::cid::{self, Cid};
use callao_content::unixfs::{self, Kind};
use callao_content::{Error, car, dag_cbor, dag_pb};
use callao_store::served::Served;

use super::buffers::PIECE_BYTES;
use super::resolve::DAG_CBOR;

/// Blocks that wait for their turn: 64 levels of directories with 2,000 entries each.
const PENDING_COUNT_MAX: usize = 128 << 10;
/// Different blocks in a CAR that repeats none: their names are kept.
const SEEN_COUNT_MAX: usize = 4 << 20;
const DEPTH_MAX: u32 = 256;
/// A section's length and CID take less than this.
const PREFIX_BYTES_MAX: usize = 256;

/// What is wanted of a block beside itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Below {
    /// Nothing.
    Nothing,
    /// Everything.
    All,
    /// The further shards of one directory.
    Shards,
    /// Of a file whose bytes begin there: what touches the wanted ones. `whole`: that is all of it.
    File { start: u64, whole: bool },
}

/// A CAR in the making.
#[derive(Debug)]
pub(super) struct CarWalk {
    /// The next one last.
    pending: Vec<Pending>,
    /// Blocks that were written, and whether everything wanted below them was. `None`: repeat them.
    seen: Option<HashMap<Box<[u8]>, bool>>,
    wanted: Range<u64>,
    block: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Pending {
    cid: Cid,
    below: Below,
    depth: u32,
}

/// How far a step got.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more.
    More,
    /// That was all.
    Done,
    /// This block is not here. `bytes` is where it lies in the file, if it is part of one.
    Missing { cid: Cid, start: Option<u64> },
    /// It cannot be completed.
    Bad(String),
}

impl CarWalk {
    /// `passed` are the blocks of the path before `end`; `below` is what is wanted of `end`, and `wanted` which bytes, if
    /// it is a file.
    pub(super) fn new(
        passed: &[Cid],
        end: Cid,
        below: Below,
        wanted: Range<u64>,
        dups: bool,
    ) -> Self {
        let alone = |cid: &Cid| Pending {
            cid: *cid,
            below: Below::Nothing,
            depth: 0,
        };
        let mut pending = vec![Pending {
            cid: end,
            below,
            depth: 0,
        }];
        pending.extend(passed.iter().rev().map(alone));
        CarWalk {
            pending,
            seen: (!dups).then(HashMap::new),
            wanted,
            block: Vec::new(),
        }
    }

    /// Appends sections until the buffer has about [`PIECE_BYTES`]. Reads from disk.
    pub(super) fn step(&mut self, held: &dyn Served, out: &mut Vec<u8>) -> Step {
        while let Some(next) = self.pending.pop() {
            if self.is_written(&next) {
                continue;
            }
            if next.cid.hash().code() == cid::IDENTITY {
                let block = next.cid.hash().digest().to_vec();
                if let Err(why) = self.enter(&next, &block) {
                    return Step::Bad(why);
                }
                continue;
            }
            let length = held.length(&next.cid).unwrap_or_default() as usize;
            if !out.is_empty() && out.len() + length + PREFIX_BYTES_MAX > PIECE_BYTES {
                self.pending.push(next);
                return Step::More;
            }
            let mut block = std::mem::take(&mut self.block);
            if !held.read(&next.cid, &mut block) {
                let start = match next.below {
                    Below::File { start, .. } => Some(start),
                    _ => None,
                };
                let cid = next.cid;
                self.pending.push(next);
                return Step::Missing { cid, start };
            }
            let taken = self.take(&next, &block, out);
            self.block = block;
            if let Err(why) = taken {
                return Step::Bad(why);
            }
        }
        Step::Done
    }

    /// Takes the block that was missing.
    pub(super) fn supply(&mut self, block: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        match self.pending.pop() {
            Some(next) => self.take(&next, block, out),
            None => Ok(()),
        }
    }

    /// Whether nothing of this is left to write.
    fn is_written(&self, next: &Pending) -> bool {
        let Some(seen) = &self.seen else {
            return false;
        };
        seen.get(key(&next.cid).as_ref()) == Some(&true)
    }

    fn take(&mut self, next: &Pending, block: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let wholly = !matches!(next.below, Below::File { whole: false, .. }) || is_leaf(&next.cid);
        let again = match &mut self.seen {
            None => false,
            Some(seen) if seen.len() >= SEEN_COUNT_MAX => {
                return Err("it has more blocks than a CAR may have here".to_owned());
            }
            Some(seen) => match seen.entry(key(&next.cid)) {
                std::collections::hash_map::Entry::Occupied(mut entry) => {
                    *entry.get_mut() |= wholly;
                    true
                }
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(wholly);
                    false
                }
            },
        };
        if !again {
            out.extend(car::Writer::block_prefix(&next.cid, block.len()));
            out.extend_from_slice(block);
        }
        self.enter(next, block)
    }

    /// Puts what is wanted below a block in front of everything else.
    fn enter(&mut self, next: &Pending, block: &[u8]) -> Result<(), String> {
        if next.depth > DEPTH_MAX {
            return Err(format!("{} lies too deep", next.cid));
        }
        let children = self
            .children(next, block)
            .map_err(|error| format!("{}: {error}", next.cid))?;
        if self.pending.len() + children.len() > PENDING_COUNT_MAX {
            return Err("it is too wide".to_owned());
        }
        let depth = next.depth + 1;
        let children = children.into_iter().rev();
        self.pending
            .extend(children.map(|(cid, below)| Pending { cid, below, depth }));
        Ok(())
    }

    fn children(&self, next: &Pending, block: &[u8]) -> Result<Vec<(Cid, Below)>, Error> {
        let codec = next.cid.codec();
        match &next.below {
            Below::Nothing => Ok(Vec::new()),
            Below::All if codec == DAG_CBOR => {
                let links = dag_cbor::links(block)?;
                Ok(links.into_iter().map(|cid| (cid, Below::All)).collect())
            }
            _ if codec != cid::DAG_PB => Ok(Vec::new()),
            Below::All => {
                let links = dag_pb::decode(block)?.links;
                Ok(links.iter().map(|link| (link.cid, Below::All)).collect())
            }
            Below::Shards => shards(block),
            Below::File { start, .. } => self.parts(block, *start),
        }
    }

    /// The parts of a file node that touch the wanted bytes.
    fn parts(&self, block: &[u8], start: u64) -> Result<Vec<(Cid, Below)>, Error> {
        let node = dag_pb::decode(block)?;
        let data = unixfs::decode(node.data.unwrap_or_default())?;
        let mut start = start.saturating_add(data.data.len() as u64);
        let mut parts = Vec::new();
        let everything = self.wanted.start == 0 && self.wanted.end == u64::MAX;
        for (index, link) in node.links.iter().enumerate() {
            let size = data.blocksizes.get(index).copied().unwrap_or_default();
            let end = start.saturating_add(size);
            let whole = everything || (start >= self.wanted.start && end <= self.wanted.end);
            let touched = start < self.wanted.end && end > self.wanted.start;
            if everything || touched {
                parts.push((link.cid, Below::File { start, whole }));
            }
            start = end;
        }
        Ok(parts)
    }
}

/// What an entity is made of: its kind decides what belongs to it. The size of a file comes with it.
pub(super) fn entity(end: &Cid, block: &[u8]) -> (Below, Option<u64>) {
    let file = Below::File {
        start: 0,
        whole: false,
    };
    if end.codec() == cid::RAW {
        return (file, Some(block.len() as u64));
    }
    let node = (end.codec() == cid::DAG_PB).then(|| dag_pb::decode(block));
    let Some(Ok(node)) = node else {
        return (Below::Nothing, None);
    };
    match unixfs::decode(node.data.unwrap_or_default()) {
        Ok(data) if matches!(data.kind, Kind::File | Kind::Raw) => {
            let parts = data
                .blocksizes
                .iter()
                .fold(0, |sum: u64, size| sum.saturating_add(*size));
            let size = data.filesize.unwrap_or(parts + data.data.len() as u64);
            (file, Some(size))
        }
        Ok(data) if data.kind == Kind::HamtShard => (Below::Shards, None),
        _ => (Below::Nothing, None),
    }
}

/// The links of a shard that lead to further shards: their names are the index alone.
fn shards(block: &[u8]) -> Result<Vec<(Cid, Below)>, Error> {
    let node = dag_pb::decode(block)?;
    let data = unixfs::decode(node.data.unwrap_or_default())?;
    let last = data.fanout.unwrap_or_default().saturating_sub(1);
    let digits = format!("{last:X}").len();
    let inner = node.links.iter().filter(|link| link.name.len() == digits);
    Ok(inner.map(|link| (link.cid, Below::Shards)).collect())
}

fn is_leaf(cid: &Cid) -> bool {
    cid.codec() == cid::RAW
}

fn key(cid: &Cid) -> Box<[u8]> {
    cid.hash().to_bytes().into_boxed_slice()
}

#[cfg(test)]
mod tests;
