//! One attempt at one file: the task that owns its state and takes every event one after the other.
//!
//! ```text
//!            CID, layout not known                       layout comes
//!   start ----------------------------> Waiting --------------------------> Proving
//!     |                                    |  nobody has it, or all bytes      ^
//!     |  no CID                            v  are here and a digest decides    | layout from disk
//!     +-------------------------------> Importing                   start -----+
//! ```
//! *Waiting*: bytes are written, nothing is proven or hashed. *Proving*: each leaf is proven as it arrives.
//! *Importing*: the whole digest decides at the end, and the layout is computed on the way.
//! Lanes (one request each) and pipeline threads report by [`Message`]; nothing else changes the state.
//! What to do after an attempt failed is the engine's matter.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callao_content::Cid;
use callao_content::digest::Digest;
use callao_content::layout::Layout;
use callao_store::staging::Staging;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::buffer::Pool;
use crate::claims::Claims;
use crate::error::{Error, Refusal};
use crate::event::{Event, Observer, Share};
use crate::health::Health;
use crate::limits::{
    BUFFER_BYTES, BUFFERS_COUNT_MAX, LAYOUT_PATIENCE, MESSAGES_COUNT_MAX, PROGRESS_INTERVAL,
    SOURCES_COUNT_MAX,
};
use crate::message::{Head, LaneId, Message};
use crate::pipeline::{DigestJob, Pipeline};
use crate::plan::Plan;
use crate::plan::swarm::Me;
use crate::ranges::RangeSet;
use crate::request::Wanted;
use crate::sink::IMPORT_LEAF_BYTES;
use crate::source::{Source, SourceError, SourceId};

mod arrivals;
mod grants;
mod layout;
mod peers;
mod reports;

use peers::{Peer, Peers};

/// What all attempts at one file share.
pub(crate) struct Surroundings {
    pub staging: Arc<Staging>,
    pub observer: Arc<dyn Observer>,
    pub cancel: CancellationToken,
    pub started: Instant,
    /// What this host is to the others of a swarm.
    pub me: Me,
    /// Roots that peers name for the digest.
    pub claims: Mutex<Claims>,
}

impl Surroundings {
    pub(crate) fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the bytes get proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Waiting,
    Proving,
    Importing,
}

/// A source and its record.
struct Entry {
    source: Arc<dyn Source>,
    health: Health,
    given: u64,
    asked: bool,
    head: Option<Head>,
    last_error: Option<SourceError>,
    /// Parts that a local store turned out not to have.
    lacks: RangeSet,
    /// It may have only parts, and is asked which.
    peer: Option<Peer>,
}

/// One request in flight.
struct Lane {
    source: usize,
    cancel: CancellationToken,
    limit: Arc<AtomicU64>,
    started: Instant,
    /// It asks for the whole file since the length is not known.
    probe: bool,
}

/// A piece in the pipeline.
struct InPipeline {
    range: Range<u64>,
    source: usize,
    written: bool,
    /// `None`: no proof is under way; `Some(None)`: it is; `Some(Some(end))`: proven up to there.
    proof: Option<Option<u64>>,
}

/// How an attempt ended: every byte is there, hashed and durable.
pub(crate) struct Outcome {
    pub size: u64,
    pub digests: Vec<Digest>,
    pub layout: Arc<Layout>,
    /// Every leaf was proven by the CID.
    pub proven: bool,
    /// Who gave which bytes, where they were not proven leaf by leaf.
    pub given_by: Vec<(Range<u64>, SourceId)>,
    pub shares: Vec<Share>,
    pub resumed: u64,
    pub head: Head,
    pub refusals: Vec<Refusal>,
}

pub(crate) struct Attempt<'a> {
    wanted: &'a Wanted,
    around: &'a Surroundings,
    mode: Mode,
    entries: Vec<Entry>,
    lanes: HashMap<LaneId, Lane>,
    last_lane: LaneId,
    tasks: JoinSet<()>,
    plan: Plan,
    pool: Arc<Pool>,
    pipeline: Pipeline,
    to_engine: mpsc::Sender<Message>,
    layout: Option<Arc<Layout>>,
    layout_late: Option<mpsc::Sender<Arc<dyn Source>>>,
    searching: bool,
    pieces: HashMap<u64, InPipeline>,
    last_piece: u64,
    /// Proven, or (without a layout) written.
    done: RangeSet,
    /// Written without proof, and by whom.
    given_by: Vec<(Range<u64>, usize)>,
    /// Up to here the file was handed to the digest thread.
    frontier: u64,
    read_backs: usize,
    own_writes: usize,
    to_prove: VecDeque<Range<usize>>,
    to_copy: VecDeque<(usize, Vec<usize>)>,
    repeats: HashMap<usize, Vec<usize>>,
    head: Option<Head>,
    resumed: u64,
    /// What was kept of an earlier run without proof of each leaf.
    prefix: Range<u64>,
    /// An earlier part is only right if the file has not changed since.
    unchanged: Option<String>,
    synced: bool,
    syncing: bool,
    hashed: Option<(Vec<Digest>, Option<Layout>)>,
    finishing: bool,
    rate: Health,
    reported: u64,
    disk_lies: u32,
    peers: Peers,
    /// The claimed root whose inner nodes are looked for.
    claim: Option<Cid>,
    /// When bytes last arrived.
    last_byte: Duration,
    /// Since when everything is here but the layout.
    complete_since: Option<Duration>,
}

impl<'a> Attempt<'a> {
    /// Fetches the file from `sources`, and from those that come through `late`.
    pub(crate) async fn run(
        wanted: &'a Wanted,
        around: &'a Surroundings,
        sources: Vec<Arc<dyn Source>>,
        late: &mut Option<mpsc::Receiver<Arc<dyn Source>>>,
        held: Option<Arc<Layout>>,
    ) -> Result<Outcome, Error> {
        let (to_engine, mut messages) = mpsc::channel(MESSAGES_COUNT_MAX);
        let prefix = if held.is_none() {
            resume_prefix(around).await?
        } else {
            None
        };
        let journalled = prefix.as_ref().map_or(0, |prefix| prefix.leaves);
        let pipeline = Pipeline::start(
            &around.staging,
            wanted.algorithms(),
            journalled,
            to_engine.clone(),
        )?;
        let mut attempt = Attempt::new(wanted, around, sources, pipeline, to_engine);
        if let Some(prefix) = prefix {
            attempt.keep_prefix(prefix)?;
        }
        let result = match attempt.begin(held, late.is_some()).await {
            Ok(()) => attempt.drive_to_end(&mut messages, late).await,
            Err(error) => Err(error),
        };
        attempt.wind_up(result, messages).await
    }

    fn new(
        wanted: &'a Wanted,
        around: &'a Surroundings,
        sources: Vec<Arc<dyn Source>>,
        pipeline: Pipeline,
        to_engine: mpsc::Sender<Message>,
    ) -> Self {
        let mut attempt = Attempt {
            wanted,
            around,
            mode: if wanted.cid.is_some() {
                Mode::Waiting
            } else {
                Mode::Importing
            },
            entries: Vec::new(),
            lanes: HashMap::new(),
            last_lane: 0,
            tasks: JoinSet::new(),
            plan: Plan::new(around.me),
            pool: Pool::new(BUFFERS_COUNT_MAX, BUFFER_BYTES),
            pipeline,
            to_engine,
            layout: None,
            layout_late: None,
            searching: false,
            pieces: HashMap::new(),
            last_piece: 0,
            done: RangeSet::new(),
            given_by: Vec::new(),
            frontier: 0,
            read_backs: 0,
            own_writes: 0,
            to_prove: VecDeque::new(),
            to_copy: VecDeque::new(),
            repeats: HashMap::new(),
            head: None,
            resumed: 0,
            prefix: 0..0,
            unchanged: None,
            synced: false,
            syncing: false,
            hashed: None,
            finishing: false,
            rate: Health::default(),
            reported: 0,
            disk_lies: 0,
            peers: Peers::default(),
            claim: None,
            last_byte: Duration::ZERO,
            complete_since: None,
        };
        for source in sources {
            attempt.add_source(source);
        }
        attempt
    }

    fn add_source(&mut self, source: Arc<dyn Source>) {
        let known = self
            .entries
            .iter()
            .any(|entry| entry.source.id() == source.id());
        if known || self.entries.len() >= SOURCES_COUNT_MAX {
            return;
        }
        self.entries.push(Entry {
            source,
            health: Health::default(),
            given: 0,
            asked: false,
            head: None,
            last_error: None,
            lacks: RangeSet::new(),
            peer: None,
        });
        self.watch(self.entries.len() - 1);
    }

    /// Takes up what is known before the first request: the layout, and what an earlier run left.
    async fn begin(&mut self, held: Option<Arc<Layout>>, more_to_come: bool) -> Result<(), Error> {
        self.rate.became_busy(Duration::ZERO);
        match held {
            Some(layout) => self.use_layout(layout, None).await?,
            None if self.mode == Mode::Waiting => {
                if more_to_come
                    || self
                        .entries
                        .iter()
                        .any(|entry| entry.source.traits().blocks)
                {
                    if let Some(root) = self.wanted.cid {
                        self.search_layout(root, more_to_come);
                    }
                } else {
                    self.import();
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Goes on after the beginning that an earlier run left.
    fn keep_prefix(&mut self, prefix: Prefix) -> Result<(), Error> {
        self.set_size(prefix.size)?;
        self.prefix = 0..prefix.end;
        self.unchanged = Some(prefix.validator);
        self.resumed = prefix.end;
        self.done.insert(0..prefix.end);
        self.plan.arrived(0..prefix.end);
        self.around
            .observer
            .event(Event::Resumed { bytes: prefix.end });
        Ok(())
    }

    async fn drive_to_end(
        &mut self,
        messages: &mut mpsc::Receiver<Message>,
        late: &mut Option<mpsc::Receiver<Arc<dyn Source>>>,
    ) -> Result<(), Error> {
        let mut tick = tokio::time::interval(PROGRESS_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            self.drive(late.is_some())?;
            if self.synced && self.hashed.is_some() {
                return Ok(());
            }
            tokio::select! {
                () = self.around.cancel.cancelled() => return Err(Error::Interrupted),
                Some(message) = messages.recv() => self.handle(message).await?,
                Some(source) = next_late(late) => self.late_source(source).await,
                Some(Err(error)) = self.tasks.join_next() => {
                    // It will never report again: waiting for it would be for ever.
                    return Err(Error::Internal(format!("a lane ended without a word: {error}")));
                }
                _ = tick.tick() => {
                    self.tick();
                    self.try_claim().await?;
                }
            }
        }
    }

    /// Does whatever can be done now.
    fn drive(&mut self, more_to_come: bool) -> Result<(), Error> {
        if !more_to_come {
            // Whoever looks for the layout must not wait for sources that will never come.
            self.layout_late = None;
        }
        self.settle_mode();
        self.feed_pipeline()?;
        if let Some(size) = self.plan.size()
            && self.done.covers(&(0..size))
            && self.mode != Mode::Waiting
        {
            return self.finish(size);
        }
        // One moment for both: a pause that ends between them would look like a source that has nothing to give.
        let now = self.now();
        self.hand_out(now)?;
        self.check_hope(more_to_come, now)
    }

    /// Everything is there: hash the rest, and sync meanwhile.
    fn finish(&mut self, size: u64) -> Result<(), Error> {
        if !self.syncing && self.pieces.is_empty() {
            self.syncing = true;
            for lane in self.lanes.values() {
                lane.cancel.cancel();
            }
            self.pipeline.sync()?;
        }
        if !self.finishing && self.frontier == size {
            self.finishing = true;
            self.pipeline.digest(DigestJob::Finish)?;
        }
        Ok(())
    }

    /// Fails when there is nobody left who could bring what is missing.
    fn check_hope(&self, more_to_come: bool, now: Duration) -> Result<(), Error> {
        let working =
            !self.lanes.is_empty() || !self.pieces.is_empty() || self.searching || more_to_come;
        let own = self.own_writes + self.read_backs > 0
            || !self.to_prove.is_empty()
            || !self.to_copy.is_empty();
        if working || own || self.finishing {
            return Ok(());
        }
        let hopeful = |entry: &&Entry| !entry.health.is_out() && entry.source.traits().spans;
        if self
            .entries
            .iter()
            .filter(hopeful)
            .any(|entry| !entry.health.usable(now))
            || self.swarm_has_hope(now)
        {
            return Ok(()); // it is only paused, or others are still fetching
        }
        if self.mode == Mode::Waiting && self.plan.complete() {
            return Ok(());
        }
        if self.entries.is_empty() {
            return Err(Error::NoSource {
                name: self.wanted.name.clone(),
            });
        }
        Err(Error::AllFailed {
            name: self.wanted.name.clone(),
            kept: self.done.total(),
            refusals: self.refusals(),
        })
    }

    async fn late_source(&mut self, source: Arc<dyn Source>) {
        self.add_source(Arc::clone(&source));
        if let Some(search) = &self.layout_late {
            // An error means that the search is over.
            search.send(source).await.unwrap_or(());
        }
    }

    fn tick(&mut self) {
        let now = self.now();
        let done = self.arrived_bytes();
        if done > self.reported {
            self.rate.arrived(done - self.reported, now);
            self.reported = done;
        }
        self.drop_slow(now);
        self.end_waiting(now);
        self.around.observer.event(Event::Progress {
            done,
            size: self.plan.size(),
            rate: self.rate.rate().unwrap_or(0.0) as u64,
            shares: self.shares(),
        });
    }

    /// Further sources may be looked for as long as the fetch runs; that somebody has the inner nodes is hoped for only
    /// a while, when nothing else is missing.
    fn end_waiting(&mut self, now: Duration) {
        if self.mode != Mode::Waiting || !self.plan.complete() || !self.pieces.is_empty() {
            return;
        }
        let since = *self.complete_since.get_or_insert(now);
        if now > since + LAYOUT_PATIENCE {
            self.import();
        }
    }

    fn arrived_bytes(&self) -> u64 {
        if self.mode == Mode::Proving {
            self.done.total()
        } else {
            self.plan.here().total()
        }
    }

    fn now(&self) -> Duration {
        self.around.started.elapsed()
    }

    fn shares(&self) -> Vec<Share> {
        let gave = |entry: &&Entry| entry.given > 0;
        let share = |entry: &Entry| Share {
            source: entry.source.id().clone(),
            bytes: entry.given,
        };
        self.entries.iter().filter(gave).map(share).collect()
    }

    fn refusals(&self) -> Vec<Refusal> {
        let refusal = |entry: &Entry| {
            let error = entry.last_error.clone()?;
            Some(Refusal {
                source: entry.source.id().clone(),
                error,
            })
        };
        self.entries.iter().filter_map(refusal).collect()
    }

    /// Ends lanes and threads, waits for them, and puts the outcome together.
    async fn wind_up(
        mut self,
        result: Result<(), Error>,
        mut messages: mpsc::Receiver<Message>,
    ) -> Result<Outcome, Error> {
        for lane in self.lanes.values() {
            lane.cancel.cancel();
        }
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        let (shares, refusals) = (self.shares(), self.refusals());
        let threads = self.pipeline.end();
        // The threads may be waiting to report: take the reports until all of them are gone.
        drop(self.to_engine);
        while messages.recv().await.is_some() {}
        blocking(move || threads.into_iter().for_each(|thread| drop(thread.join()))).await?;
        result?;
        let (Some((digests, computed)), Some(size)) = (self.hashed.take(), self.plan.size()) else {
            return Err(Error::Internal(
                "an attempt that ended well without a digest".into(),
            ));
        };
        let proven = self.mode == Mode::Proving;
        let Some(layout) = self
            .layout
            .take()
            .filter(|_| proven)
            .or(computed.map(Arc::new))
        else {
            return Err(Error::Internal(
                "an attempt that ended well without a layout".into(),
            ));
        };
        let id = |index: usize| self.entries[index].source.id().clone();
        let given_by = if proven {
            Vec::new()
        } else {
            std::mem::take(&mut self.given_by)
        };
        let given_by = given_by
            .into_iter()
            .map(|(range, index)| (range, id(index)))
            .collect();
        Ok(Outcome {
            size,
            digests,
            layout,
            proven,
            given_by,
            shares,
            resumed: self.resumed,
            head: self.head.take().unwrap_or_default(),
            refusals,
        })
    }
}

/// What an earlier run left of a file whose leaves cannot be proven.
struct Prefix {
    leaves: usize,
    end: u64,
    size: u64,
    /// `ETag` or `Last-Modified` that the rest must have.
    validator: String,
}

async fn resume_prefix(around: &Surroundings) -> Result<Option<Prefix>, Error> {
    let about = around.staging.about();
    let etag = about.etag.filter(|etag| !etag.starts_with("W/"));
    // Mirrors of one file share its date, seldom its ETag. Where a digest has the last word, the date will do.
    let validator = match about.digest {
        Some(_) => about.last_modified.or(etag),
        None => etag.or(about.last_modified),
    };
    let (Some(size), Some(validator)) = (about.length, validator) else {
        return Ok(None);
    };
    if !around.staging.is_resumed() {
        return Ok(None);
    }
    let staging = Arc::clone(&around.staging);
    let leaves = blocking(move || staging.resume_prefix()).await??.len();
    let end = (leaves as u64 * IMPORT_LEAF_BYTES).min(size);
    Ok((end > 0).then_some(Prefix {
        leaves,
        end,
        size,
        validator,
    }))
}

async fn next_late(late: &mut Option<mpsc::Receiver<Arc<dyn Source>>>) -> Option<Arc<dyn Source>> {
    let source = match late {
        Some(receiver) => receiver.recv().await,
        // Nothing more will come: never ready.
        None => std::future::pending().await,
    };
    if source.is_none() {
        *late = None;
        // The loop has to look again whether there is hope left.
        return std::future::pending().await;
    }
    source
}

/// Runs disk work off the runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Internal(error.to_string()))
}
