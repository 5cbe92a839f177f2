//! A trustless gateway of one file: raw blocks, and CARs of byte ranges of it. It sends no bytes that a client would
//! have to believe.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use callao_content::Cid;
use callao_content::layout::Layout;
use callao_content::{car, cid, dag_pb};
use callao_store::disk::DiskFile;

use super::server::{Answer, Request};

const RAW: &str = "application/vnd.ipld.raw";
const CAR: &str = "application/vnd.ipld.car; version=1; order=dfs; dups=n";

/// The gateway and the file that it has.
pub(crate) struct Gateway {
    file: Arc<dyn DiskFile>,
    layout: Arc<Layout>,
    nodes: HashMap<Cid, usize>,
    leaves: HashMap<Cid, usize>,
}

impl Gateway {
    /// Serves `file`, whose layout is `layout`.
    pub(crate) fn new(file: Arc<dyn DiskFile>, layout: Arc<Layout>) -> Self {
        let nodes = layout
            .nodes()
            .iter()
            .enumerate()
            .map(|(index, node)| (node.cid, index))
            .collect();
        let leaves = (0..layout.leaves().len())
            .filter_map(|index| Some((layout.leaf_cid(index)?, index)))
            .collect();
        Gateway {
            file,
            layout,
            nodes,
            leaves,
        }
    }

    /// Answers one request.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let Some(cid) = request
            .path
            .strip_prefix("/ipfs/")
            .and_then(|text| cid::parse(text).ok())
        else {
            return Answer::text("404 Not Found", "only /ipfs/CID is here");
        };
        if request.parameter("format").is_none() && !request.accept.contains("vnd.ipld") {
            return Answer::text("400 Bad Request", "only raw blocks and CARs are served");
        }
        let wants_car = match request.parameter("format") {
            Some(format) => format == "car",
            None => request.accept.contains("vnd.ipld.car"),
        };
        if !wants_car {
            return match self.block(&cid) {
                Ok(Some(block)) => Answer::bytes("200 OK", RAW, block),
                Ok(None) => Answer::text("404 Not Found", "no such block"),
                Err(error) => Answer::text("500 Internal Server Error", &error.to_string()),
            };
        }
        if cid != *self.layout.root() {
            return Answer::text("404 Not Found", "no such root");
        }
        match self.car(request.parameter("entity-bytes")) {
            Ok(Some(bytes)) => Answer::bytes("200 OK", CAR, bytes),
            Ok(None) => Answer::text("400 Bad Request", "no such range"),
            Err(error) => Answer::text("500 Internal Server Error", &error.to_string()),
        }
    }

    fn block(&self, cid: &Cid) -> io::Result<Option<Vec<u8>>> {
        if let Some(index) = self.nodes.get(cid) {
            return Ok(self
                .layout
                .nodes()
                .get(*index)
                .map(|node| node.bytes.to_vec()));
        }
        self.leaves
            .get(cid)
            .map(|index| self.leaf(*index))
            .transpose()
    }

    fn leaf(&self, index: usize) -> io::Result<Vec<u8>> {
        let leaf = self
            .layout
            .leaves()
            .get(index)
            .ok_or(io::ErrorKind::NotFound)?;
        let mut payload = vec![0; leaf.length as usize];
        let mut done = 0;
        while done < payload.len() {
            match self
                .file
                .read_at(&mut payload[done..], leaf.offset + done as u64)?
            {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => done += read,
            }
        }
        Ok(self.layout.block(index, &payload))
    }

    /// The blocks that prove a range of bytes: the nodes above it and its leaves, depth first.
    fn car(&self, range: Option<&str>) -> io::Result<Option<Vec<u8>>> {
        let size = self.layout.size();
        let (from, to) = match range.map(|text| entity_range(text, size)) {
            None => (0, size),
            Some(Some(range)) => range,
            Some(None) => return Ok(None),
        };
        let mut out = car::Writer::header(&[*self.layout.root()]);
        let mut state = Walk {
            next_leaf: 0,
            from,
            to,
        };
        self.subtree(self.layout.root(), &mut state, &mut out)?;
        Ok(Some(out))
    }

    fn subtree(&self, cid: &Cid, state: &mut Walk, out: &mut Vec<u8>) -> io::Result<()> {
        let node = self
            .nodes
            .get(cid)
            .and_then(|index| self.layout.nodes().get(*index));
        let Some(node) = node else {
            let index = state.next_leaf;
            state.next_leaf += 1;
            if let Some(leaf) = self.layout.leaves().get(index)
                && leaf.offset < state.to
                && leaf.offset + u64::from(leaf.length) > state.from
            {
                put(out, cid, &self.leaf(index)?);
            }
            return Ok(());
        };
        // Written first and taken back if nothing below it is in the range.
        let (before, after) = (out.len(), {
            put(out, cid, &node.bytes);
            out.len()
        });
        let decoded = dag_pb::decode(&node.bytes).map_err(io::Error::other)?;
        for link in &decoded.links {
            self.subtree(&link.cid, state, out)?;
        }
        if out.len() == after && cid != self.layout.root() {
            out.truncate(before);
        }
        Ok(())
    }
}

struct Walk {
    next_leaf: usize,
    from: u64,
    to: u64,
}

fn put(out: &mut Vec<u8>, cid: &Cid, block: &[u8]) {
    out.extend_from_slice(&car::Writer::block_prefix(cid, block.len()));
    out.extend_from_slice(block);
}

/// `from:to` (inclusive, `*` is the end) as a half-open range within `size`.
fn entity_range(text: &str, size: u64) -> Option<(u64, u64)> {
    let (from, to) = text.split_once(':').or_else(|| text.split_once("%3A"))?;
    let from: u64 = from.parse().ok()?;
    let to = if to == "*" {
        size
    } else {
        to.parse::<u64>().ok()?.saturating_add(1).min(size)
    };
    (from < to).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_ranges_are_inclusive() {
        assert_eq!(entity_range("0:4", 10), Some((0, 5)));
        assert_eq!(entity_range("5:*", 10), Some((5, 10)));
        assert_eq!(
            (entity_range("10:*", 10), entity_range("x", 10)),
            (None, None)
        );
    }
}
