//! What lanes tell an attempt: heads, chunks, ends. Each handler only changes the state; what follows from it is
//! decided in `drive`.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Attempt, InPipeline, Mode};
use crate::buffer::Buffer;
use crate::error::Error;
use crate::event::Event;
use crate::health::Consequence;
use crate::message::{Chunk, Head, LaneId, Message, Verdict};
use crate::pipeline::{DigestJob, Piece, WriteJob};
use crate::source::{SourceError, SourceKind};

impl Attempt<'_> {
    pub(super) async fn handle(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Head {
                lane,
                head,
                verdict,
            } => {
                let answer = self.judge_head(lane, head)?;
                // An error means that the lane is gone.
                verdict.send(answer).unwrap_or(());
            }
            Message::Chunk(chunk) => self.take_chunk(chunk)?,
            Message::EndOfFile { size } => {
                if self.plan.size().is_none() {
                    self.set_size(size)?;
                }
            }
            Message::LaneEnded { lane, result } => self.lane_ended(lane, result),
            Message::Worker(report) => self.take_report(report)?,
            Message::Have { source, have } => {
                self.take_have(source, have);
                self.try_claim().await?;
            }
            Message::BlockRefused { source, error } => {
                let index = self
                    .entries
                    .iter()
                    .position(|entry| entry.source.id() == &source);
                if let Some(index) = index {
                    match error {
                        SourceError::False(_) => self.drop_source(index, error, true),
                        other => self.entries[index].last_error = Some(other),
                    }
                }
            }
            Message::Layout(found) => {
                self.searching = false;
                self.layout_late = None;
                match found {
                    Ok((layout, from)) if self.mode == Mode::Waiting => {
                        self.use_layout(layout, from).await?
                    }
                    Ok((layout, from)) if self.claim == Some(*layout.root()) => {
                        self.take_claimed(layout, from).await?
                    }
                    Ok(_) => {}
                    Err(_) if self.claim.is_some() => self.claim_failed(),
                    Err(error) => self.no_layout(error)?,
                }
            }
        }
        Ok(())
    }

    /// Nobody had the inner nodes, or they were refused.
    fn no_layout(&mut self, error: Error) -> Result<(), Error> {
        match error {
            // The tree itself is bad (a bomb, a directory, sizes that do not add up): with a digest the bytes can
            // still be had elsewhere, without one there is nothing to prove them by.
            Error::Content(error) if self.wanted.digest.is_none() => Err(Error::Content(error)),
            _ => {
                if self.mode == Mode::Waiting {
                    self.import();
                }
                Ok(())
            }
        }
    }

    /// Gives up on the layout: the whole digest decides.
    pub(super) fn import(&mut self) {
        self.mode = Mode::Importing;
        for (range, source) in &self.given_by {
            self.entries[*source].given += range.end - range.start;
            self.done.insert(range.clone());
        }
    }

    pub(super) fn set_size(&mut self, size: u64) -> Result<(), Error> {
        self.around.staging.set_size(size)?;
        self.plan.set_size(size);
        for lane in self.lanes.values() {
            lane.limit.fetch_min(size, Ordering::Relaxed);
        }
        self.around.observer.event(Event::Size { size });
        self.follow_all();
        Ok(())
    }

    fn judge_head(&mut self, lane: LaneId, head: Head) -> Result<Verdict, Error> {
        let Some(running) = self.lanes.get(&lane) else {
            return Ok(Verdict::Stop);
        };
        let (source, delay, probe) = (running.source, running.started.elapsed(), running.probe);
        let now = self.now();
        self.entries[source].health.answered(delay, now);
        if let Some(why) = self.other_file(&head) {
            return Ok(Verdict::Refuse(why));
        }
        let first = self.head.is_none();
        if let Some(total) = head.total
            && self.plan.size().is_none()
        {
            self.set_size(total)?;
        } else if first && head.total.is_none() && self.plan.size().is_none() {
            // No length at all: only one source can send such a file.
            self.only_lane(lane);
        } else if probe && !first {
            // Another one answered first and sends; this one gets a span of its own.
            return Ok(Verdict::Stop);
        }
        self.entries[source].head = Some(head.clone());
        if first {
            self.remember_head(head)?;
            self.plan.set_primary(lane);
        }
        Ok(Verdict::Accept)
    }

    /// Why `head` cannot belong to the wanted file; `None`: it can.
    fn other_file(&self, head: &Head) -> Option<String> {
        let size = self.plan.size().or(self.wanted.size);
        if let (Some(total), Some(size)) = (head.total, size)
            && total != size
        {
            return Some(format!("its file is {total} bytes long, not {size}"));
        }
        // Without proof for each leaf, bytes of two sources are only mixed when nothing speaks against it.
        let known = self
            .head
            .as_ref()
            .filter(|_| self.mode == Mode::Importing)?;
        match (&known.last_modified, &head.last_modified) {
            (Some(known), Some(new)) if known != new => {
                Some(format!("its file is of {new}, not of {known}"))
            }
            _ => None,
        }
    }

    fn only_lane(&mut self, lane: LaneId) {
        for (other, running) in &self.lanes {
            if *other != lane {
                running.cancel.cancel();
            }
        }
    }

    /// What the first answer said goes to the cache entry, and is what a later run has to match.
    fn remember_head(&mut self, head: Head) -> Result<(), Error> {
        let mut about = self.around.staging.about();
        about.etag.clone_from(&head.etag);
        about.last_modified.clone_from(&head.last_modified);
        about.length = head.total;
        self.around.staging.set_about(about)?;
        self.head = Some(head);
        Ok(())
    }

    fn take_chunk(&mut self, chunk: Chunk) -> Result<(), Error> {
        let range = chunk.offset..chunk.offset + chunk.buffer.filled().len() as u64;
        let Some(lane) = self.lanes.get(&chunk.lane) else {
            return Ok(());
        };
        let (source, now) = (lane.source, self.now());
        let lanes = self
            .lanes
            .values()
            .filter(|lane| lane.source == source)
            .count()
            .max(1);
        let health = &mut self.entries[source].health;
        health.arrived(range.end - range.start, now);
        let rate = health.rate().map(|rate| rate / lanes as f64);
        let banned = health.is_out();
        self.plan.moved(chunk.lane, range.end, rate);
        self.last_byte = now;
        if banned {
            return Ok(());
        }
        let buffer = Arc::new(chunk.buffer);
        for part in self.plan.still_missing(&range) {
            self.plan.arrived(part.clone());
            self.take_part(part, chunk.offset, &buffer, source)?;
        }
        self.stop_overtaken();
        Ok(())
    }

    fn take_part(
        &mut self,
        part: Range<u64>,
        offset: u64,
        buffer: &Arc<Buffer>,
        source: usize,
    ) -> Result<(), Error> {
        let (range, first) = match (self.mode, &self.layout) {
            (Mode::Proving, Some(layout)) => {
                let leaves = layout.leaves_in(part.clone());
                if leaves.is_empty() {
                    self.plan.lost(part);
                    return Ok(());
                }
                let last = &layout.leaves()[leaves.end - 1];
                let whole =
                    layout.leaves()[leaves.start].offset..last.offset + u64::from(last.length);
                // Leaves that arrived only in part come again as a whole.
                self.plan.lost(part.start..whole.start);
                self.plan.lost(whole.end..part.end);
                (whole, Some(leaves.start))
            }
            _ => (part, None),
        };
        if self.plan.size().is_none() {
            // Nobody said how long the file is: it grows with what comes.
            self.around
                .staging
                .set_size(range.end.max(self.around.staging.size()))?;
        }
        self.last_piece += 1;
        let id = self.last_piece;
        let bytes = (range.start - offset) as usize..(range.end - offset) as usize;
        let piece = Piece {
            id,
            offset: range.start,
            buffer: Arc::clone(buffer),
            part: bytes,
        };
        let in_order = range.start == self.frontier && self.mode != Mode::Waiting;
        let proof = first.map(|_| None);
        self.pieces.insert(
            id,
            InPipeline {
                range: range.clone(),
                source,
                written: false,
                proof,
            },
        );
        if in_order {
            self.frontier = range.end;
            self.pipeline.digest(DigestJob::Take {
                piece: piece.clone(),
                first,
            })?;
            self.pipeline.write(WriteJob::Write { piece, prove: None })
        } else {
            self.pipeline.write(WriteJob::Write {
                piece,
                prove: first,
            })
        }
    }

    fn lane_ended(&mut self, lane: LaneId, result: Result<(), SourceError>) {
        let hand = self.plan.ended(lane);
        let Some(running) = self.lanes.remove(&lane) else {
            return;
        };
        let source = running.source;
        let now = self.now();
        if !self.lanes.values().any(|lane| lane.source == source) {
            self.entries[source].health.became_idle(now);
        }
        if running.cancel.is_cancelled() {
            return;
        }
        let Some(hand) = hand else { return };
        let left = hand.position..hand.end;
        match result {
            Ok(()) if hand.end == u64::MAX || self.plan.here().covers(&left) => {}
            Ok(()) => self.failed(
                source,
                SourceError::Network(format!("ended early, at byte {}", left.start)),
                left.start,
            ),
            Err(error) => self.failed(source, error, left.start),
        }
    }

    /// Draws the consequence of a failure.
    pub(super) fn failed(&mut self, index: usize, error: SourceError, at: u64) {
        let entry = &mut self.entries[index];
        let local = matches!(
            entry.source.id().kind,
            SourceKind::KuboRepo | SourceKind::Car | SourceKind::File
        );
        if let (true, SourceError::NotFound(_) | SourceError::False(_), Some(layout)) =
            (local, &error, &self.layout)
            && at < layout.size()
        {
            // One damaged or missing block says nothing about the others of a local store.
            let leaf = &layout.leaves()[layout.leaf_at(at)];
            entry
                .lacks
                .insert(leaf.offset..leaf.offset + u64::from(leaf.length));
            entry.last_error = Some(error);
            return;
        }
        let now = self.around.started.elapsed();
        match entry.health.failed(&error, now, rand::random()) {
            Consequence::Again => {}
            Consequence::Pause(pause) => {
                self.lose_peer(index);
                let entry = &mut self.entries[index];
                let (source, reason) = (entry.source.id().clone(), error.to_string());
                entry.last_error = Some(error);
                let pause_ms = pause.as_millis() as u64;
                self.around.observer.event(Event::Paused {
                    source,
                    reason,
                    pause_ms,
                });
            }
            Consequence::Drop => self.drop_source(index, error, false),
            Consequence::Ban => self.drop_source(index, error, true),
        }
    }

    /// Takes a source out for good.
    pub(super) fn drop_source(&mut self, index: usize, error: SourceError, lied: bool) {
        let entry = &mut self.entries[index];
        let source = entry.source.id().clone();
        entry.health.drop_out();
        let reason = error.to_string();
        entry.last_error = Some(error);
        for lane in self.lanes.values().filter(|lane| lane.source == index) {
            lane.cancel.cancel();
        }
        self.forget_peer(index);
        self.around.observer.event(Event::Dropped {
            source,
            reason,
            lied,
        });
    }

    /// Ends lanes whose bytes others have brought.
    pub(super) fn stop_overtaken(&mut self) {
        for lane in self.plan.overtaken() {
            if let Some(running) = self.lanes.get(&lane) {
                running.cancel.cancel();
            }
        }
    }
}
