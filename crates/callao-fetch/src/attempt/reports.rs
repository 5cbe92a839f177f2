//! What the pipeline threads tell an attempt: written, proven, false, hashed, failed.

use std::ops::Range;

use super::{Attempt, Mode};
use crate::error::Error;
use crate::message::Report;
use crate::source::{SourceError, SourceKind};

impl Attempt<'_> {
    pub(super) fn take_report(&mut self, report: Report) -> Result<(), Error> {
        match report {
            Report::Written { piece } => self.piece_advanced(piece, true, None),
            Report::Proven { piece, end } => self.piece_advanced(piece, false, Some(end)),
            Report::WrittenAndProven { piece, end } => self.piece_advanced(piece, true, Some(end)),
            Report::ProvenInPlace {
                range,
                false_leaves,
            } => self.proven_in_place(range, &false_leaves),
            Report::Copied { leaves } => {
                self.own_writes -= 1;
                self.copied(&leaves);
            }
            Report::Digested => self.read_backs -= 1,
            Report::DiskLied { leaf } => self.disk_lied(leaf)?,
            Report::Finished { digests, computed } => self.hashed = Some((digests, computed)),
            Report::Synced => self.synced = true,
            Report::Died(thread) => {
                return Err(Error::Internal(format!("thread `{thread}` panicked")));
            }
            Report::Failed(error) => return Err(Error::Store(error)),
        }
        Ok(())
    }

    fn piece_advanced(&mut self, id: u64, written: bool, proven: Option<u64>) {
        let Some(piece) = self.pieces.get_mut(&id) else {
            return;
        };
        piece.written |= written;
        if proven.is_some() {
            piece.proof = Some(proven);
        }
        if !piece.written || piece.proof == Some(None) {
            return;
        }
        let Some(piece) = self.pieces.remove(&id) else {
            return;
        };
        match piece.proof.flatten() {
            Some(end) => self.proven(piece.range, end, piece.source),
            None => self.unproven(piece.range, piece.source),
        }
    }

    /// A piece is on disk without proof of its own.
    fn unproven(&mut self, range: Range<u64>, source: usize) {
        self.given_by.push((range.clone(), source));
        match self.mode {
            Mode::Waiting => {}
            Mode::Importing => {
                self.entries[source].given += range.end - range.start;
                self.done.insert(range);
            }
            // The layout came while it was being written.
            Mode::Proving => self.prove_later(range),
        }
    }

    /// A piece is proven up to `end`; a false leaf begins there if that is not its own end.
    fn proven(&mut self, range: Range<u64>, end: u64, source: usize) {
        self.entries[source].given += end - range.start;
        self.done.insert(range.start..end);
        self.copy_repeats(range.start..end);
        if end < range.end {
            self.plan.lost(end..range.end);
            // The digest thread stands before the false leaf, if this piece was the next in order.
            if range.contains(&self.frontier.saturating_sub(1)) || self.frontier > end {
                self.frontier = self.frontier.min(end);
            }
            self.lied(source, end);
        }
    }

    fn proven_in_place(&mut self, range: Range<u64>, false_leaves: &[usize]) {
        self.own_writes -= 1;
        let Some(layout) = self.layout.clone() else {
            return;
        };
        let mut good = super::RangeSet::new();
        good.insert(range);
        for index in false_leaves {
            let leaf = &layout.leaves()[*index];
            let bad = leaf.offset..leaf.offset + u64::from(leaf.length);
            good.remove(bad.clone());
            self.plan.lost(bad.clone());
            let giver = self
                .given_by
                .iter()
                .find(|(given, _)| given.start <= bad.start && bad.end <= given.end);
            // A leaf put together from two answers tells nothing about either.
            if let Some((_, source)) = giver.cloned() {
                self.lied(source, bad.start);
            }
        }
        for part in good.iter() {
            self.credit(&part);
            self.done.insert(part.clone());
            self.copy_repeats(part);
        }
    }

    /// Counts proven bytes for those who gave them before they could be proven.
    fn credit(&mut self, part: &Range<u64>) {
        for (given, source) in &self.given_by {
            let common = part.start.max(given.start)..part.end.min(given.end);
            if !common.is_empty() {
                self.entries[*source].given += common.end - common.start;
            }
        }
    }

    fn lied(&mut self, source: usize, at: u64) {
        if self.entries[source].health.is_out() {
            return;
        }
        let error = SourceError::False(format!("the bytes at {at} do not fit their hash"));
        self.failed(source, error, at);
        if !self.entries[source].health.is_out()
            && self.entries[source].source.id().kind == SourceKind::File
        {
            // A file is one thing: a false byte in it means that it is another file.
            let error = SourceError::False(format!("another file: the bytes at {at} do not fit"));
            self.drop_source(source, error, true);
        }
    }

    fn copy_repeats(&mut self, proven: Range<u64>) {
        if self.repeats.is_empty() {
            return;
        }
        let Some(layout) = &self.layout else { return };
        for leaf in layout.leaves_in(proven) {
            if let Some(to) = self.repeats.remove(&leaf) {
                self.to_copy.push_back((leaf, to));
            }
        }
    }

    fn copied(&mut self, leaves: &[usize]) {
        let Some(layout) = self.layout.clone() else {
            return;
        };
        for index in leaves {
            let leaf = &layout.leaves()[*index];
            let range = leaf.offset..leaf.offset + u64::from(leaf.length);
            self.plan.arrived(range.clone());
            self.done.insert(range);
        }
    }

    /// A leaf that was proven before it was written reads differently now: fetch it again, once more in order.
    fn disk_lied(&mut self, leaf: usize) -> Result<(), Error> {
        self.read_backs -= 1;
        let Some(layout) = &self.layout else {
            return Ok(());
        };
        let place = &layout.leaves()[leaf];
        let range = place.offset..place.offset + u64::from(place.length);
        self.disk_lies += 1;
        if self.disk_lies > DISK_LIES_COUNT_MAX {
            let why = format!(
                "the disk does not give back what was written at byte {}",
                range.start
            );
            return Err(Error::Internal(why));
        }
        self.plan.lost(range.clone());
        self.done.remove(range.clone());
        self.frontier = range.start;
        Ok(())
    }
}

/// Leaves that may read differently from what was written before the disk counts as broken.
const DISK_LIES_COUNT_MAX: u32 = 8;
