//! Finds the inner nodes of a file: asks every source that has blocks, proves each block by its CID, and drives the
//! sans-I/O walk of callao-content. Knows nothing of spans or disks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callao_content::Cid;
use callao_content::address::IpfsAddress;
use callao_content::layout::Layout;
use callao_content::path::{Resolve, Target};
use callao_content::walk::{Limits, Walk};
use callao_content::{cid, limits::BLOCK_SIZE_BYTES_MAX};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;

use crate::error::{Error, Refusal};
use crate::limits::{NODE_HEDGE, NODES_IN_FLIGHT_COUNT_MAX};
use crate::retry;
use crate::source::{Source, SourceError, SourceId};

/// Attempts per block and source before it counts as failed.
const BLOCK_ATTEMPTS_COUNT_MAX: u32 = 3;

/// The places to ask for blocks, the most helpful first.
pub(crate) struct BlockFinder {
    sources: Vec<Arc<dyn Source>>,
    late: Option<mpsc::Receiver<Arc<dyn Source>>>,
    /// Sources that lied or cannot help, with the reason.
    pub refusals: Vec<Refusal>,
}

/// What a search for a layout found out.
pub(crate) struct Found {
    /// The layout.
    pub layout: Layout,
    /// Who gave the last node; `None` if none was needed.
    pub source: Option<SourceId>,
}

impl BlockFinder {
    /// Asks `sources`; more of them may come through `late` while it searches.
    pub(crate) fn new(
        sources: Vec<Arc<dyn Source>>,
        late: Option<mpsc::Receiver<Arc<dyn Source>>>,
    ) -> Self {
        let sources = sources
            .into_iter()
            .filter(|source| source.traits().blocks)
            .collect();
        BlockFinder {
            sources,
            late,
            refusals: Vec::new(),
        }
    }

    /// The layout of the file `root`, at most `size_max` bytes long, exactly `size` if that is known.
    pub(crate) async fn layout(
        &mut self,
        root: Cid,
        size: Option<u64>,
        size_max: u64,
    ) -> Result<Found, Error> {
        let mut walk = Walk::new(root, Limits { size, size_max })?;
        let mut source = None;
        loop {
            let mut wants = walk.wants();
            if wants.is_empty() {
                return Ok(Found {
                    layout: walk.finish()?,
                    source,
                });
            }
            wants.truncate(NODES_IN_FLIGHT_COUNT_MAX);
            for (cid, block, from) in self.blocks(&wants).await? {
                walk.supply(&cid, &block)?;
                source = Some(from);
            }
        }
    }

    /// The file that `address` names: through directories, or the address itself.
    pub(crate) async fn resolve(&mut self, address: &IpfsAddress) -> Result<Target, Error> {
        let mut path = Resolve::new(address.clone());
        loop {
            if let Some(target) = path.done() {
                return Ok(target);
            }
            let Some(cid) = path.wants() else {
                return Err(Error::Internal(
                    "a path that neither ends nor goes on".into(),
                ));
            };
            for (cid, block, _) in self.blocks(&[cid]).await? {
                path.supply(&cid, &block)?;
            }
        }
    }

    async fn blocks(&mut self, wants: &[Cid]) -> Result<Vec<(Cid, Bytes, SourceId)>, Error> {
        let searches: FuturesUnordered<_> = wants
            .iter()
            .map(|cid| ask_all(*cid, &self.sources))
            .collect();
        let outcomes: Vec<_> = searches.collect().await;
        let mut blocks: Vec<(Cid, Bytes, SourceId)> = Vec::with_capacity(wants.len());
        let mut open = Vec::new();
        let mut refusals = Vec::new();
        for (cid, outcome) in outcomes {
            refusals.extend(outcome.refusals);
            match outcome.found {
                Some((block, index)) => blocks.push((cid, block, self.sources[index].id().clone())),
                None => open.push(cid),
            }
        }
        // Only now: sources that lied go, and the others move up.
        self.note(&refusals);
        // Whoever answered is asked first next time.
        if let Some((_, _, last)) = blocks.last()
            && let Some(index) = self.sources.iter().position(|source| source.id() == last)
        {
            self.sources.swap(0, index);
        }
        for cid in open {
            blocks.push(self.block_from_late(cid).await?);
        }
        Ok(blocks)
    }

    /// Nobody had it so far: wait for sources that are still being looked for.
    async fn block_from_late(&mut self, cid: Cid) -> Result<(Cid, Bytes, SourceId), Error> {
        while let Some(late) = &mut self.late {
            let Some(source) = late.recv().await else {
                self.late = None;
                break;
            };
            if !source.traits().blocks {
                continue;
            }
            self.sources.push(Arc::clone(&source));
            let (_, outcome) = ask_all(cid, std::slice::from_ref(&source)).await;
            self.note(&outcome.refusals);
            if let Some((block, _)) = outcome.found {
                return Ok((cid, block, source.id().clone()));
            }
        }
        Err(Error::AllFailed {
            name: format!("block {}", cid::text(&cid)),
            kept: 0,
            refusals: self.refusals.clone(),
        })
    }

    /// Keeps the reasons; sources that lied are not asked again.
    fn note(&mut self, refusals: &[Refusal]) {
        for refusal in refusals {
            if matches!(refusal.error, SourceError::False(_)) {
                self.sources.retain(|source| source.id() != &refusal.source);
            }
            self.refusals.retain(|known| known.source != refusal.source);
            self.refusals.push(refusal.clone());
        }
    }
}

struct Outcome {
    found: Option<(Bytes, usize)>,
    refusals: Vec<Refusal>,
}

/// Asks the first source, and each further one a moment later or as soon as an earlier one has failed.
/// The first block that fits its CID wins.
async fn ask_all(wanted: Cid, sources: &[Arc<dyn Source>]) -> (Cid, Outcome) {
    let mut refusals = Vec::new();
    let mut asked = FuturesUnordered::new();
    let mut next = 0;
    loop {
        if next < sources.len() && asked.is_empty() {
            asked.push(ask(wanted, next, &sources[next]));
            next += 1;
        }
        if asked.is_empty() {
            return (
                wanted,
                Outcome {
                    found: None,
                    refusals,
                },
            );
        }
        tokio::select! {
            Some((index, result)) = asked.next() => match result {
                Ok(block) => return (wanted, Outcome { found: Some((block, index)), refusals }),
                Err(error) => refusals.push(Refusal { source: sources[index].id().clone(), error }),
            },
            () = tokio::time::sleep(NODE_HEDGE), if next < sources.len() => {
                asked.push(ask(wanted, next, &sources[next]));
                next += 1;
            }
        }
    }
}

async fn ask(
    wanted: Cid,
    index: usize,
    source: &Arc<dyn Source>,
) -> (usize, Result<Bytes, SourceError>) {
    let mut failures = 0;
    loop {
        let result = match source.block(&wanted).await {
            Ok(block) if block.len() > BLOCK_SIZE_BYTES_MAX => Err(SourceError::Protocol(format!(
                "a block of {} bytes",
                block.len()
            ))),
            Ok(block) => match cid::verify_block(&wanted, &block) {
                Ok(()) => Ok(block),
                Err(error) => Err(SourceError::False(error.to_string())),
            },
            Err(error) => Err(error),
        };
        let retry_after = match &result {
            Err(SourceError::Network(_)) => None,
            Err(SourceError::Busy { retry_after, .. }) => *retry_after,
            _ => return (index, result),
        };
        failures += 1;
        if failures >= BLOCK_ATTEMPTS_COUNT_MAX {
            return (index, result);
        }
        let pause: Duration = retry::pause(failures, retry_after, rand::random());
        tokio::time::sleep(pause).await;
    }
}
