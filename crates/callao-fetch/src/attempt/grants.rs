//! What an attempt sets going: lanes for sources that have nothing to do, read-backs, proofs and copies.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::{Attempt, Lane, Mode};
use crate::error::Error;
use crate::event::Event;
use crate::limits::{LANES_COUNT_MAX, OWN_JOBS_COUNT_MAX, READ_BACK_BYTES_MAX, SPAN_TIME};
use crate::message::{LaneId, Message};
use crate::pipeline::{DigestJob, WriteJob};
use crate::plan::{Asker, Grant, Hand};
use crate::sink::SpanSink;
use crate::source::{SourceError, Span, Traits};

/// A source with this many lanes or fewer sends best through one request at a time.
const STREAMING_LANES_COUNT_MAX: usize = 2;

impl Attempt<'_> {
    /// Waiting ends when the bytes are here and a digest can decide, or when nobody is left to ask for the layout.
    pub(super) fn settle_mode(&mut self) {
        let decidable =
            self.plan.complete() && self.pieces.is_empty() && self.wanted.digest.is_some();
        if self.mode == Mode::Waiting && decidable {
            self.import();
        }
    }

    /// Hands the digest thread what it can take from disk, and the writing thread its own work.
    pub(super) fn feed_pipeline(&mut self) -> Result<(), Error> {
        while self.mode != Mode::Waiting && self.read_backs < OWN_JOBS_COUNT_MAX {
            let Some(held) = self.done.containing(self.frontier) else {
                break;
            };
            let mut end = held.end.min(self.frontier + READ_BACK_BYTES_MAX);
            if end < held.end {
                end = self
                    .plan
                    .borders()
                    .floor(end)
                    .max(self.plan.borders().ceil(self.frontier + 1))
                    .min(held.end);
            }
            self.pipeline.digest(DigestJob::ReadBack {
                range: self.frontier..end,
            })?;
            self.read_backs += 1;
            self.frontier = end;
        }
        while self.own_writes < OWN_JOBS_COUNT_MAX {
            let job = if let Some(leaves) = self.to_prove.pop_front() {
                WriteJob::Prove { leaves }
            } else if let Some((from, to)) = self.to_copy.pop_front() {
                WriteJob::Copy { from, to }
            } else {
                break;
            };
            self.pipeline.write(job)?;
            self.own_writes += 1;
        }
        Ok(())
    }

    /// Gives every source that could do something a span.
    pub(super) fn hand_out(&mut self, now: Duration) -> Result<(), Error> {
        let mut order: Vec<usize> = (0..self.entries.len())
            .filter(|index| self.may_send(*index, now))
            .collect();
        order.sort_by(|a, b| {
            let rate = |index: &usize| self.entries[*index].health.rate().unwrap_or(f64::MAX);
            rate(b).total_cmp(&rate(a))
        });
        let ranged = order
            .iter()
            .any(|index| self.entries[*index].source.traits().ranges);
        let covered = self.swarm_covers_all();
        let senders = order
            .iter()
            .filter(|index| !(covered && self.is_spare(**index, now)))
            .count();
        for index in order.iter().copied() {
            while self.lanes.len() < LANES_COUNT_MAX && self.another_lane(index, senders, ranged) {}
        }
        Ok(())
    }

    fn may_send(&self, index: usize, now: Duration) -> bool {
        let entry = &self.entries[index];
        let traits = entry.source.traits();
        entry.health.usable(now)
            && traits.spans
            && (self.layout.is_some() || !traits.needs_layout)
            && self.has_spoken(index)
    }

    /// Whether every byte can be had from peers.
    fn swarm_covers_all(&self) -> bool {
        let held = self.plan.swarm().held();
        self.plan.size().is_some_and(|size| held.covers(&(0..size)))
    }

    /// Starts one more lane for a source; `false` if there is nothing for it to do.
    fn another_lane(&mut self, index: usize, senders: usize, somebody_ranged: bool) -> bool {
        let traits = self.entries[index].source.traits();
        let running: Vec<u64> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.source == index)
            .map(|(id, _)| *id)
            .collect();
        if !traits.ranges
            && (somebody_ranged
                || !running.is_empty()
                || (self.head.is_none() && !self.lanes.is_empty()))
        {
            return false;
        }
        if running.len() >= traits.lanes_max
            || (!running.is_empty() && !self.wants_another(index, &running, traits))
        {
            return false;
        }
        let entry = &self.entries[index];
        let asker = Asker {
            source: index,
            rate: entry
                .health
                .rate()
                .map(|rate| rate / (running.len().max(1)) as f64),
            alone: (senders == 1 && traits.lanes_max <= STREAMING_LANES_COUNT_MAX)
                || !traits.ranges,
            span_bytes_max: traits.span_bytes_max,
            only_free: !running.is_empty(),
            lacks: &entry.lacks,
            spare: self.is_spare(index, self.now()),
        };
        match self.plan.grant(&asker) {
            Some(grant) => {
                self.start_lane(index, grant);
                true
            }
            None => false,
        }
    }

    /// A second request is sent early enough that its first byte follows the last one of the request before.
    fn wants_another(&self, index: usize, running: &[u64], traits: Traits) -> bool {
        if self.plan.size().is_none() {
            return false;
        }
        if traits.lanes_max > STREAMING_LANES_COUNT_MAX {
            return true;
        }
        let health = &self.entries[index].health;
        let Some(rate) = health.rate() else {
            return false;
        };
        let left: u64 = running
            .iter()
            .filter_map(|lane| self.plan.hand(*lane))
            .map(|hand| hand.end - hand.position)
            .sum();
        let ahead = (health.first_byte_delay() * 2).clamp(Duration::from_millis(5), SPAN_TIME);
        (left as f64) < rate * ahead.as_secs_f64()
    }

    fn start_lane(&mut self, index: usize, grant: Grant) {
        if let Some((lane, end)) = grant.cut {
            self.plan.cut(lane, end);
            if let Some(running) = self.lanes.get(&lane) {
                running.limit.store(end, Ordering::Relaxed);
            }
        }
        self.last_lane += 1;
        let id = self.last_lane;
        let now = self.now();
        let entry = &mut self.entries[index];
        entry.health.became_busy(now);
        if !entry.asked {
            entry.asked = true;
            self.around.observer.event(Event::Asked {
                source: entry.source.id().clone(),
            });
        }
        let range = grant.range;
        self.plan.began(
            id,
            Hand {
                source: index,
                position: range.start,
                end: range.end,
                duplicate: grant.duplicate,
                rate: None,
            },
        );
        let lane = Lane {
            source: index,
            cancel: self.around.cancel.child_token(),
            limit: Arc::new(AtomicU64::new(range.end)),
            started: Instant::now(),
            probe: range.end == u64::MAX,
        };
        let rate = self.entries[index].health.rate();
        self.spawn_lane(id, &lane, range, self.plan.chunk_bytes(rate));
        self.lanes.insert(id, lane);
    }

    fn spawn_lane(&mut self, id: LaneId, lane: &Lane, range: Range<u64>, chunk_bytes: u64) {
        let mut sink = SpanSink::new(
            id,
            range.start,
            Arc::clone(&lane.limit),
            self.plan.borders().clone(),
            Arc::clone(&self.pool),
            self.to_engine.clone(),
            lane.cancel.clone(),
        );
        sink.hand_on_every(chunk_bytes);
        let resuming = self.mode != Mode::Proving && range.start > 0;
        let span = Span {
            range,
            layout: self.layout.clone(),
            unchanged: self.unchanged.clone().filter(|_| resuming),
        };
        let source = Arc::clone(&self.entries[lane.source].source);
        let (engine, stop) = (self.to_engine.clone(), lane.cancel.clone());
        self.tasks.spawn(async move {
            let result = tokio::select! {
                result = source.send(span, &mut sink) => result,
                () = stop.cancelled() => Ok(()),
            };
            sink.close().await;
            let ended = Message::LaneEnded { lane: id, result };
            // An error means that the attempt is over.
            engine.send(ended).await.unwrap_or(());
        });
    }

    /// Lets sources go whose spans only hold up the others; never one that brings what nobody else could: an origin that
    /// many hosts share crawls beside peers that have what others have brought.
    pub(super) fn drop_slow(&mut self, now: Duration) {
        let usable: Vec<usize> = (0..self.entries.len())
            .filter(|index| self.may_send(*index, now))
            .collect();
        let is_whole = |index: &usize| self.entries[*index].lacks.total() == 0;
        let whole: Vec<usize> = usable.iter().copied().filter(is_whole).collect();
        for index in usable {
            if !self.entries[index].health.too_slow(f64::INFINITY, now) {
                continue;
            }
            let rate = |index: &usize| self.entries[*index].health.rate().unwrap_or(0.0);
            let substitutes = self.plan.substitutes(index, &whole);
            let fastest = substitutes.iter().map(rate).fold(0.0, f64::max);
            if self.entries[index].health.too_slow(fastest, now) {
                let rate = self.entries[index].health.rate().unwrap_or(0.0) / 1024.0;
                let why = format!("too slow beside the others ({rate:.1} KiB/s)");
                self.drop_source(index, SourceError::Network(why), false);
            }
        }
    }
}
