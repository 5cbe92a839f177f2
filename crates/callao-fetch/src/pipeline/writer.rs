//! The writing thread: puts pieces at their place, and proves those that the digest thread does not see in time.
//! Knows nothing of sources or order.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender};

use callao_content::layout::Layout;
use callao_store::error::Error;

use super::{FlushJob, Piece, Shared, WriteJob};
use crate::limits::{BUFFER_BYTES, WRITEBACK_BYTES};
use crate::message::Report;

pub(super) fn run(shared: &Shared, jobs: &Receiver<WriteJob>, flush: &SyncSender<FlushJob>) {
    let mut regions = Regions {
        written: HashMap::new(),
        flush,
    };
    let mut buffer = Vec::new();
    for job in jobs {
        let outcome = match job {
            WriteJob::Write { piece, prove } => write(shared, &piece, prove, &mut regions),
            WriteJob::Prove { leaves } => prove_in_place(shared, leaves, &mut buffer),
            WriteJob::Copy { from, to } => copy(shared, from, to, &mut regions),
        };
        if !shared.outcome(outcome) {
            return;
        }
    }
}

fn write(
    shared: &Shared,
    piece: &Piece,
    prove: Option<usize>,
    regions: &mut Regions,
) -> Result<Report, Error> {
    let bytes = piece.bytes();
    let (Some(first), Some(layout)) = (prove, shared.layout.get()) else {
        shared.staging.write(piece.offset, bytes)?;
        regions.wrote(piece.offset, bytes.len());
        return Ok(Report::Written { piece: piece.id });
    };
    let mut leaves = Vec::new();
    let end = match layout.verify_run(first, bytes, &mut leaves) {
        Ok(()) => piece.offset + bytes.len() as u64,
        Err(mismatch) => mismatch.offset,
    };
    let good = (end - piece.offset) as usize;
    shared.staging.write(piece.offset, &bytes[..good])?;
    regions.wrote(piece.offset, good);
    for leaf in &leaves {
        shared.staging.hold(leaf);
    }
    Ok(Report::WrittenAndProven {
        piece: piece.id,
        end,
    })
}

fn prove_in_place(
    shared: &Shared,
    leaves: Range<usize>,
    buffer: &mut Vec<u8>,
) -> Result<Report, Error> {
    let layout = layout(shared);
    let mut false_leaves = Vec::new();
    let start = layout
        .leaves()
        .get(leaves.start)
        .map_or(0, |leaf| leaf.offset);
    let whole_end = leaves
        .end
        .checked_sub(1)
        .and_then(|last| layout.leaves().get(last));
    let whole_end = whole_end.map_or(start, |leaf| leaf.offset + u64::from(leaf.length));
    let mut next = leaves.start;
    while next < leaves.end {
        let mut last = next + 1;
        let from = layout.leaves()[next].offset;
        let mut end = from + u64::from(layout.leaves()[next].length);
        while last < leaves.end && end - from < BUFFER_BYTES as u64 {
            end += u64::from(layout.leaves()[last].length);
            last += 1;
        }
        buffer.resize((end - from) as usize, 0);
        shared.staging.read(from, buffer)?;
        let mut proven = Vec::new();
        let outcome = layout.verify_run(next, buffer, &mut proven);
        for leaf in &proven {
            shared.staging.hold(leaf);
        }
        next = last;
        if let Err(mismatch) = outcome {
            false_leaves.push(mismatch.index);
            next = mismatch.index + 1;
        }
    }
    Ok(Report::ProvenInPlace {
        range: start..whole_end,
        false_leaves,
    })
}

/// Fills the repetitions of a leaf. Each copy is hashed again: the source bytes come from disk.
fn copy(
    shared: &Shared,
    from: usize,
    to: Vec<usize>,
    regions: &mut Regions,
) -> Result<Report, Error> {
    let layout = layout(shared);
    let leaf = &layout.leaves()[from];
    let mut bytes = vec![0; leaf.length as usize];
    shared.staging.read(leaf.offset, &mut bytes)?;
    let mut copied = Vec::with_capacity(to.len());
    for target in to {
        if let Ok(verified) = layout.verify(target, &bytes) {
            shared.staging.write(verified.offset(), &bytes)?;
            regions.wrote(verified.offset(), bytes.len());
            shared.staging.hold(&verified);
            copied.push(target);
        }
    }
    Ok(Report::Copied { leaves: copied })
}

fn layout(shared: &Shared) -> &Layout {
    shared
        .layout
        .get()
        .expect("such jobs are only made from a layout")
}

/// Counts what is written per region, and asks for write-back once a region is full.
struct Regions<'a> {
    written: HashMap<u64, u64>,
    flush: &'a SyncSender<FlushJob>,
}

impl Regions<'_> {
    fn wrote(&mut self, offset: u64, length: usize) {
        let (mut at, end) = (offset, offset + length as u64);
        while at < end {
            let region = at / WRITEBACK_BYTES;
            let border = ((region + 1) * WRITEBACK_BYTES).min(end);
            let written = self.written.entry(region).or_default();
            *written += border - at;
            if *written >= WRITEBACK_BYTES {
                self.written.remove(&region);
                let start = region * WRITEBACK_BYTES;
                // Best effort: a queue that is full means that the disk is busy anyway.
                self.flush
                    .try_send(FlushJob::WriteBack(start..start + WRITEBACK_BYTES))
                    .unwrap_or(());
            }
            at = border;
        }
    }
}
