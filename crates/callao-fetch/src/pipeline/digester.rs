//! The digest thread: takes the file in order from byte 0, computes the whole digest, and in the same pass proves each
//! leaf (a layout is known) or computes the layout (none is). It is the critical path of a fast fetch.
//! Knows nothing of sources.

use std::ops::Range;
use std::sync::mpsc::Receiver;

use callao_content::digest::Algorithm;
use callao_content::import::Builder;
use callao_content::layout::{LeafForm, LeafHash};
use callao_content::profile::Profile;
use callao_content::stream::InOrder;
use callao_store::error::Error;

use super::{DigestJob, Piece, Shared};
use crate::limits::BUFFER_BYTES;
use crate::message::Report;

pub(super) fn run(
    shared: &Shared,
    jobs: &Receiver<DigestJob>,
    algorithms: Vec<Algorithm>,
    journalled: usize,
) {
    let mut digester = Digester {
        shared,
        hashes: InOrder::new(&algorithms),
        builder: new_builder(),
        algorithms,
        journalled,
        buffer: Vec::new(),
    };
    for job in jobs {
        let outcome = match job {
            DigestJob::Take { piece, first } => digester.take(&piece, first),
            DigestJob::ReadBack { range } => digester.read_back(range),
            DigestJob::Restart => {
                digester.restart();
                Ok(None)
            }
            DigestJob::Finish => {
                shared.report(digester.finish());
                return;
            }
        };
        match outcome {
            Ok(Some(report)) => shared.report(report),
            Ok(None) => {}
            Err(error) => {
                shared.report(Report::Failed(error));
                return;
            }
        }
    }
}

fn new_builder() -> Builder {
    match Builder::new(Profile::KuboCidV1.shape()) {
        Ok(builder) => builder,
        Err(error) => unreachable!("kubo's own shape is a valid one: {error}"),
    }
}

struct Digester<'a> {
    shared: &'a Shared,
    algorithms: Vec<Algorithm>,
    hashes: InOrder,
    builder: Builder,
    journalled: usize,
    buffer: Vec<u8>,
}

impl Digester<'_> {
    fn restart(&mut self) {
        self.hashes = InOrder::new(&self.algorithms);
        self.builder = new_builder();
    }

    fn take(&mut self, piece: &Piece, first: Option<usize>) -> Result<Option<Report>, Error> {
        let bytes = piece.bytes();
        let (Some(first), Some(layout)) = (first, self.shared.layout.get()) else {
            self.import(bytes)?;
            return Ok(None);
        };
        let mut proven = Vec::new();
        let outcome = if self.hashes.position() == piece.offset {
            self.hashes.proving(layout, first, bytes, &mut proven)
        } else {
            // A false leaf came before this one: the digest waits there, the proof does not have to.
            layout.verify_run(first, bytes, &mut proven)
        };
        for leaf in &proven {
            self.shared.staging.hold(leaf);
        }
        let end = outcome.map_or_else(
            |mismatch| mismatch.offset,
            |()| piece.offset + bytes.len() as u64,
        );
        Ok(Some(Report::Proven {
            piece: piece.id,
            end,
        }))
    }

    fn import(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hashes.importing(&mut self.builder, bytes);
        for leaf in self.builder.leaves().iter().skip(self.journalled) {
            if let LeafForm::Raw(LeafHash::Sha256(hash)) = &leaf.form {
                self.shared.staging.journal_leaf(*hash)?;
            }
        }
        self.journalled = self.journalled.max(self.builder.leaves().len());
        Ok(())
    }

    fn read_back(&mut self, range: Range<u64>) -> Result<Option<Report>, Error> {
        if range.start != self.hashes.position() {
            // A false leaf came before this range, after it was asked for: it is asked for again when its turn comes.
            return Ok(Some(Report::Digested));
        }
        let mut at = range.start;
        while at < range.end {
            let end = match self.shared.layout.get() {
                None => range.end.min(at + BUFFER_BYTES as u64),
                Some(layout) => {
                    let leaves = layout.leaves();
                    let mut next = layout.leaf_at(at);
                    let mut end = at;
                    while next < leaves.len() && end < range.end && end - at < BUFFER_BYTES as u64 {
                        end += u64::from(leaves[next].length);
                        next += 1;
                    }
                    end
                }
            };
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.resize((end - at) as usize, 0);
            self.shared.staging.read(at, &mut buffer)?;
            let outcome = self.take_back(at, &buffer);
            self.buffer = buffer;
            if let Some(lied) = outcome? {
                return Ok(Some(lied));
            }
            at = end;
        }
        Ok(Some(Report::Digested))
    }

    /// Bytes that were proven before they were written are proven once more, at no cost: the disk may lie as well.
    fn take_back(&mut self, at: u64, bytes: &[u8]) -> Result<Option<Report>, Error> {
        let Some(layout) = self.shared.layout.get() else {
            self.import(bytes)?;
            return Ok(None);
        };
        let mut proven = Vec::new();
        let outcome = self
            .hashes
            .proving(layout, layout.leaf_at(at), bytes, &mut proven);
        Ok(outcome.err().map(|mismatch| Report::DiskLied {
            leaf: mismatch.index,
        }))
    }

    fn finish(self) -> Report {
        let computed = self
            .shared
            .layout
            .get()
            .is_none()
            .then(|| self.builder.finish());
        Report::Finished {
            digests: self.hashes.finish(),
            computed,
        }
    }
}
