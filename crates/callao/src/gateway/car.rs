//! A CAR as an answer: its headers, and its bytes as they are read. What cannot be completed ends the connection, never the
//! body in good order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callao_content::car::Writer;
use callao_content::cid::Cid;
use callao_content::digest::{Algorithm, Digest};
use hyper::{Response, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::answer::{self, Refusal, put};
use super::blocks::Blocks;
use super::body::Leaves;
use super::buffers::{Lease, PIECE_BYTES};
use super::car_walk::{Below, CarWalk, Step, entity};
use super::conditional;
use super::format::{CarOptions, DagScope};
use super::ipfs::{FOR_EVER, Found};
use super::route::Ask;
use super::{Body, Fetch, path};

/// Answers with a CAR of what the path names, and of the blocks on the way there.
pub(super) async fn answer(
    ask: &Ask,
    found: Found,
    options: CarOptions,
) -> Result<Response<Body>, Refusal> {
    let end = found.way.end();
    let etag = etag(&found, options);
    if conditional::is_known(ask.header(header::IF_NONE_MATCH), &etag) {
        return Ok(described(
            answer::empty(StatusCode::NOT_MODIFIED),
            ask,
            &end,
            &etag,
            options,
        ));
    }
    let plan = plan(&found.blocks, end, options).await?;
    let mut answer = answer::empty(StatusCode::OK);
    if !ask.head {
        let walk = CarWalk::new(
            &found.way.passed,
            end,
            plan.below,
            plan.wanted,
            options.dups,
        );
        let sections = Sections {
            blocks: found.blocks,
            fetch: plan.fetch,
            ahead: None,
            idle: Some(walk),
            _seat: found.seat,
        };
        *answer.body_mut() = answer::stream(sections.stream(Writer::header(&[end])));
    }
    Ok(described(answer, ask, &end, &etag, options))
}

/// What is below the last block that belongs into the CAR.
struct Plan {
    below: Below,
    wanted: std::ops::Range<u64>,
    fetch: Option<Arc<dyn Fetch>>,
}

/// Reads the last block of the path. What is known to be incomplete is refused here, while there is still a status to say so.
async fn plan(blocks: &Blocks, end: Cid, options: CarOptions) -> Result<Plan, Refusal> {
    let mut fetch = None;
    if blocks.fetches && blocks.length(&end).is_none() && options.scope != DagScope::Block {
        // A file is fetched into the cache; what is no file, block by block.
        fetch = path::begin(blocks, end).await.ok();
    }
    let block = blocks.get(&end).await?;
    let everything = 0..u64::MAX;
    let (below, wanted) = match options.scope {
        DagScope::Block => (Below::Nothing, everything),
        DagScope::All => (Below::All, everything),
        DagScope::Entity => {
            let (below, size) = entity(&end, &block);
            let bytes = options.bytes.zip(size).map(|(bytes, size)| bytes.of(size));
            match (below, bytes) {
                (Below::File { start, .. }, None) => {
                    (Below::File { start, whole: true }, everything)
                }
                (below, bytes) => (below, bytes.unwrap_or(everything)),
            }
        }
    };
    if let Some(file) = blocks.file(&end).filter(|_| below != Below::Nothing) {
        let size = file.layout().size();
        let leaves = Leaves::File(file);
        let range = wanted.start.min(size)..wanted.end.min(size);
        if !leaves.covers(&range) {
            if !blocks.fetches {
                return Err(blocks.not_here(&end));
            }
            fetch = Some(
                path::begin(blocks, end)
                    .await
                    .map_err(path::NotBegun::refusal)?,
            );
        }
    }
    // Of a file `all` and the entity are the same; so its leaves have a place that can be waited for.
    let is_file = matches!(entity(&end, &block).0, Below::File { .. });
    let below = match below {
        Below::All if is_file => Below::File {
            start: 0,
            whole: true,
        },
        below => below,
    };
    Ok(Plan {
        below,
        wanted,
        fetch,
    })
}

/// The sections of a CAR on their way.
struct Sections {
    blocks: Blocks,
    fetch: Option<Arc<dyn Fetch>>,
    ahead: Option<JoinHandle<Reading>>,
    /// The walk, while nobody reads; `None` at the end.
    idle: Option<CarWalk>,
    _seat: Option<OwnedSemaphorePermit>,
}

/// A walk, what it wrote last, and how far it got.
struct Reading {
    walk: CarWalk,
    out: Lease,
    step: Step,
}

impl Sections {
    fn stream(self, head: Vec<u8>) -> impl futures::Stream<Item = io::Result<Bytes>> {
        let state = (Some(self), Some(Bytes::from(head)));
        futures::stream::unfold(state, |(sections, head)| async move {
            let mut sections = sections?;
            if let Some(head) = head {
                return Some((Ok(head), (Some(sections), None)));
            }
            match sections.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), (Some(sections), None))),
                Ok(None) => None,
                Err(why) => Some((Err(io::Error::other(why)), (None, None))),
            }
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let reading = match self.ahead.take() {
                Some(ahead) => ahead,
                None => match self.idle.take() {
                    Some(walk) => {
                        let (buffers, local) = (&self.blocks.gateway.buffers, self.blocks.local);
                        let lease = buffers.lease(PIECE_BYTES, local).await;
                        self.read(walk, lease)
                    }
                    None => return Ok(None),
                },
            };
            let mut reading = reading.await.map_err(|error| error.to_string())?;
            match reading.step {
                Step::Bad(why) => return Err(why),
                Step::Done => {}
                Step::More => self.read_ahead(reading.walk),
                Step::Missing { cid, start } => {
                    self.find(&mut reading.walk, &mut reading.out, cid, start)
                        .await?;
                    self.idle = Some(reading.walk);
                }
            }
            if !reading.out.bytes.is_empty() {
                return Ok(Some(reading.out.into_bytes()));
            }
        }
    }

    /// Reads the next piece while this one is sent, if there is a buffer for it.
    fn read_ahead(&mut self, walk: CarWalk) {
        let (buffers, local) = (&self.blocks.gateway.buffers, self.blocks.local);
        match buffers.try_lease(PIECE_BYTES, local) {
            Some(lease) => self.ahead = Some(self.read(walk, lease)),
            None => self.idle = Some(walk),
        }
    }

    fn read(&self, mut walk: CarWalk, mut out: Lease) -> JoinHandle<Reading> {
        let held = Arc::clone(&self.blocks.gateway.backend.shelf);
        tokio::task::spawn_blocking(move || {
            let step = walk.step(&*held, &mut out.bytes);
            Reading { walk, out, step }
        })
    }

    /// A block that is not here: it is waited for as part of its file, or asked for by itself.
    async fn find(
        &self,
        walk: &mut CarWalk,
        out: &mut Lease,
        cid: Cid,
        start: Option<u64>,
    ) -> Result<(), String> {
        let wait: Duration = self.blocks.gateway.backend.options.retrieval_timeout;
        if let (Some(fetch), Some(start)) = (&self.fetch, start) {
            let waited = tokio::time::timeout(wait, fetch.wait(start..start + 1)).await;
            let came = waited.is_ok_and(|waited| waited.is_ok_and(|ready| ready > start));
            if came && self.blocks.length(&cid).is_some() {
                return Ok(());
            }
        }
        let block = self.blocks.fetch(&cid).await.map_err(|why| why.message)?;
        walk.supply(&block, &mut out.bytes)
    }
}

/// Etags of CARs are weak: another order would be as good. The parameters belong to it.
fn etag(found: &Found, options: CarOptions) -> String {
    let said = format!("{:?} {:?} {options:?}", found.way.roots, found.way.passed);
    let hash = Digest::of(Algorithm::Sha256, said.as_bytes()).hex();
    format!("W/\"{}.car.{}\"", found.way.end(), &hash[..16])
}

fn described(
    mut answer: Response<Body>,
    ask: &Ask,
    end: &Cid,
    etag: &str,
    options: CarOptions,
) -> Response<Body> {
    let dups = if options.dups { 'y' } else { 'n' };
    let kind = format!("application/vnd.ipld.car; version=1; order=dfs; dups={dups}");
    put(&mut answer, header::CONTENT_TYPE, kind);
    put(&mut answer, header::ETAG, etag);
    put(&mut answer, header::CACHE_CONTROL, FOR_EVER);
    put(&mut answer, header::ACCEPT_RANGES, "none");
    let disposition = path::disposition(ask, &format!("{end}.car"), true);
    put(&mut answer, header::CONTENT_DISPOSITION, disposition);
    answer
}
