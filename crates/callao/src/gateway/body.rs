//! The bytes of a file, streamed: read and proven on blocking threads, a few pieces ahead of the socket. What is being
//! fetched is waited for. Knows no header.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use callao_content::layout::Layout;
use callao_store::served;
use futures::Stream;
use tokio::task::JoinHandle;

use super::answer::Refusal;
use super::blocks::{Blocks, not_fetched, timed_out};
use super::buffers::{Lease, PIECE_BYTES};
use super::{Fetch, Held, HeldFile};

/// Pieces of one answer that are read ahead, together with the one that is being sent.
const AHEAD_COUNT_MAX: usize = 3;

/// Where the leaves of one file come from.
#[derive(Debug, Clone)]
pub(super) enum Leaves {
    /// From a file that is held.
    File(Arc<dyn HeldFile>),
    /// From single blocks: a file inside of a CAR.
    Blocks(Arc<dyn Held>, Arc<Layout>),
}

impl Leaves {
    pub(super) fn layout(&self) -> &Arc<Layout> {
        match self {
            Leaves::File(file) => file.layout(),
            Leaves::Blocks(_, layout) => layout,
        }
    }

    /// Up to where the bytes from `from` on are here; `from` itself if that byte is not.
    pub(super) fn ready(&self, from: u64) -> u64 {
        match self {
            Leaves::File(file) => {
                let have = file.have();
                let around = have.iter().find(|range| range.contains(&from));
                around.map_or(from, |range| range.end)
            }
            Leaves::Blocks(held, layout) => {
                let mut ready = from;
                for index in layout.leaf_at(from)..layout.leaves().len() {
                    let cid = layout.leaf_cid(index);
                    if cid.is_some_and(|cid| held.length(&cid).is_none()) {
                        break;
                    }
                    ready = layout.leaves()[index].end();
                }
                ready
            }
        }
    }

    /// Whether all bytes of the range are here.
    pub(super) fn covers(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.ready(range.start) >= range.end
    }

    /// Reads whole leaves.
    fn read(&self, leaves: Range<usize>, out: &mut Vec<u8>) -> bool {
        match self {
            Leaves::File(file) => file.read_leaves(leaves, out),
            Leaves::Blocks(held, layout) => served::read_leaves(&**held, layout, leaves, out),
        }
    }
}

/// Bytes of a file on their way.
#[derive(Debug)]
pub(super) struct Pieces {
    blocks: Blocks,
    leaves: Leaves,
    fetch: Option<Arc<dyn Fetch>>,
    /// What has not been asked for yet.
    rest: Range<u64>,
    /// Up to where the bytes are known to be here.
    ready: u64,
    ahead: VecDeque<JoinHandle<Option<Bytes>>>,
}

impl Pieces {
    pub(super) fn new(
        blocks: Blocks,
        leaves: Leaves,
        fetch: Option<Arc<dyn Fetch>>,
        range: Range<u64>,
    ) -> Self {
        Pieces {
            blocks,
            leaves,
            fetch,
            ready: range.start,
            rest: range,
            ahead: VecDeque::new(),
        }
    }

    /// The next piece; `None` at the end. After an error nothing more comes.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        while !self.rest.is_empty() && self.ahead.len() < AHEAD_COUNT_MAX {
            if self.rest.start >= self.ready {
                self.ready = self.leaves.ready(self.rest.start);
            }
            if self.rest.start >= self.ready {
                if !self.ahead.is_empty() {
                    break;
                }
                self.wait().await?;
            }
            let (buffers, local) = (&self.blocks.gateway.buffers, self.blocks.local);
            let lease = if self.ahead.is_empty() {
                buffers.lease(PIECE_BYTES, local).await
            } else {
                match buffers.try_lease(PIECE_BYTES, local) {
                    Some(lease) => lease,
                    None => break,
                }
            };
            let Some(read) = self.begin(lease) else {
                self.rest.start = self.rest.end;
                return Err(self.lost());
            };
            self.ahead.push_back(read);
        }
        let Some(read) = self.ahead.pop_front() else {
            return Ok(None);
        };
        match read.await {
            Ok(Some(piece)) => Ok(Some(piece)),
            _ => {
                self.rest.start = self.rest.end;
                self.ahead.clear();
                Err(self.lost())
            }
        }
    }

    /// The pieces, the first of which was read already, as a body. An error of the stream cuts the connection.
    pub(super) fn stream(self, first: Option<Bytes>) -> impl Stream<Item = io::Result<Bytes>> {
        futures::stream::unfold((Some(self), first), |(pieces, first)| async move {
            let mut pieces = pieces?;
            if first.is_some() {
                return first.map(|first| (Ok(first), (Some(pieces), None)));
            }
            match pieces.next().await {
                Ok(Some(piece)) => Some((Ok(piece), (Some(pieces), None))),
                Ok(None) => None,
                Err(refusal) => Some((Err(io::Error::other(refusal.message)), (None, None))),
            }
        })
    }

    /// Waits until the next byte has been fetched.
    async fn wait(&mut self) -> Result<(), Refusal> {
        let root = *self.leaves.layout().root();
        let Some(fetch) = &self.fetch else {
            return Err(self.lost());
        };
        let wait = self.blocks.gateway.backend.options.retrieval_timeout;
        let ready = match tokio::time::timeout(wait, fetch.wait(self.rest.clone())).await {
            Ok(Ok(ready)) if ready > self.rest.start => ready,
            Ok(Ok(_)) => return Err(self.lost()),
            Ok(Err(why)) => return Err(not_fetched(&root, &why)),
            Err(_) => return Err(timed_out(&root)),
        };
        self.ready = ready;
        // The file may have moved when its fetch ended.
        if let Some(file) = self.blocks.file(&root) {
            self.leaves = Leaves::File(file);
        }
        Ok(())
    }

    /// Begins to read as many whole leaves as fit into a piece; at least one. `None` if the leaf there is not ready.
    fn begin(&mut self, mut lease: Lease) -> Option<JoinHandle<Option<Bytes>>> {
        let layout = self.leaves.layout();
        let first = layout.leaf_at(self.rest.start);
        let start = layout.leaves().get(first)?.offset;
        let (mut last, mut end) = (first, start);
        for (index, leaf) in layout.leaves().iter().enumerate().skip(first) {
            let fits = index == first || leaf.end() - start <= PIECE_BYTES as u64;
            let wanted =
                leaf.end() <= self.ready && (index == first || leaf.offset < self.rest.end);
            if !fits || !wanted {
                break;
            }
            (last, end) = (index, leaf.end());
        }
        if end <= self.rest.start {
            return None;
        }
        let stop = end.min(self.rest.end);
        let inside = (self.rest.start - start) as usize..(stop - start) as usize;
        self.rest.start = stop;
        let (leaves, blocks) = (self.leaves.clone(), self.blocks.clone());
        Some(tokio::task::spawn_blocking(move || {
            let run = first..last + 1;
            let mut good = leaves.read(run.clone(), &mut lease.bytes);
            if !good && let Some(file) = blocks.file(leaves.layout().root()) {
                // It was published, or replaced by a good copy, since it was looked up.
                good = file.layout().leaves().len() == leaves.layout().leaves().len()
                    && file.read_leaves(run, &mut lease.bytes);
            }
            let whole = good && lease.bytes.len() >= inside.end;
            whole.then(|| lease.into_bytes().slice(inside))
        }))
    }

    fn lost(&self) -> Refusal {
        self.blocks.not_here(self.leaves.layout().root())
    }
}
