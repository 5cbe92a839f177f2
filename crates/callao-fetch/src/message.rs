//! What lanes and pipeline threads tell the engine. Plain data; the engine alone decides what follows.

use std::ops::Range;
use std::sync::Arc;

use callao_content::digest::Digest;
use callao_content::layout::Layout;
use tokio::sync::oneshot;

use crate::buffer::Buffer;
use crate::error::Error;
use crate::source::{Have, SourceError, SourceId};

/// Number of a lane: one request in flight.
pub(crate) type LaneId = u64;

/// What the head of an answer says about the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Length of the whole file in bytes.
    pub total: Option<u64>,
    /// Strong ETag, as sent.
    pub etag: Option<String>,
    /// `Last-Modified`, as sent.
    pub last_modified: Option<String>,
    /// `Content-Type`, as sent.
    pub content_type: Option<String>,
}

/// The engine's answer to a [`Head`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on.
    Accept,
    /// End quietly: the span is somebody else's by now.
    Stop,
    /// This is not the file that is wanted.
    Refuse(String),
}

/// Bytes that arrived: one buffer, beginning and ending on borders.
pub(crate) struct Chunk {
    /// Where in the file the buffer begins.
    pub offset: u64,
    /// The bytes.
    pub buffer: Buffer,
    /// Whose lane.
    pub lane: LaneId,
}

/// Everything that reaches the engine.
pub(crate) enum Message {
    /// An answer began.
    Head {
        lane: LaneId,
        head: Head,
        verdict: oneshot::Sender<Verdict>,
    },
    /// Bytes arrived.
    Chunk(Chunk),
    /// A lane found the end of a file whose length was not known.
    EndOfFile { size: u64 },
    /// A lane ended.
    LaneEnded {
        lane: LaneId,
        result: Result<(), SourceError>,
    },
    /// A pipeline thread reports.
    Worker(Report),
    /// The search for the layout ended.
    Layout(Result<(Arc<Layout>, Option<SourceId>), Error>),
    /// A peer said what it has.
    Have {
        source: usize,
        have: Result<Have, SourceError>,
    },
    /// A source for blocks turned out to lie while the layout was looked for.
    BlockRefused {
        source: SourceId,
        error: SourceError,
    },
}

/// What the pipeline threads report.
#[derive(Debug)]
pub(crate) enum Report {
    /// A piece is on disk (not yet synced).
    Written { piece: u64 },
    /// A piece is proven up to `end`; if that is not its own end, the leaf there did not fit.
    Proven { piece: u64, end: u64 },
    /// The same, and what is proven is on disk (not yet synced).
    WrittenAndProven { piece: u64, end: u64 },
    /// Leaves that were on disk are proven (or not) in place.
    ProvenInPlace {
        range: Range<u64>,
        false_leaves: Vec<usize>,
    },
    /// Copies of a leaf are written and proven.
    Copied { leaves: Vec<usize> },
    /// The digest thread took in what it had to read back.
    Digested,
    /// The digest thread read a leaf back from disk that no longer fits.
    DiskLied { leaf: usize },
    /// The whole file is hashed; with the layout that was computed on the way, if there was none.
    Finished {
        digests: Vec<Digest>,
        computed: Option<Layout>,
    },
    /// Everything is durable.
    Synced,
    /// A thread panicked.
    Died(&'static str),
    /// The disk failed.
    Failed(callao_store::error::Error),
}
