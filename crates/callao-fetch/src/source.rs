//! What a source of bytes is: something that can hand over a span of the file, or a block, or both.
//! Knows nothing of planning, proving or disks; a source may be slow, dead or lying, and the engine
//! copes with all three. Add a source: one file in `source/` that implements [`Source`].

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callao_content::Cid;
use callao_content::layout::Layout;
use futures::future::BoxFuture;
use serde::Serialize;

use crate::sink::SpanSink;

pub mod blocks;
pub mod file;
pub mod gateway;
pub mod http;
pub mod kubo_rpc;
pub mod lan;
pub mod oci;

/// The kinds of source, as `--only` and the reports name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// The origin or a mirror: plain HTTP(S).
    Http,
    /// An IPFS gateway.
    Gateway,
    /// A running kubo, by its RPC API (and its gateway).
    Kubo,
    /// A kubo repository on disk.
    KuboRepo,
    /// A CAR file.
    Car,
    /// A local file.
    File,
    /// A blob of an OCI registry.
    Oci,
    /// A peer that speaks bitswap.
    Bitswap,
    /// Another callao, by HTTP.
    Lan,
}

impl SourceKind {
    /// The name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            SourceKind::Http => "http",
            SourceKind::Gateway => "gateway",
            SourceKind::Kubo => "kubo",
            SourceKind::KuboRepo => "kubo_repo",
            SourceKind::Car => "car",
            SourceKind::File => "file",
            SourceKind::Oci => "oci",
            SourceKind::Bitswap => "bitswap",
            SourceKind::Lan => "lan",
        }
    }
}

/// Kind and place of a source: what the user is shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct SourceId {
    /// What it is.
    pub kind: SourceKind,
    /// Where it is: a URL or a description of a local place.
    pub place: String,
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.place)
    }
}

/// What a source can do. Asked again before each span: a source may learn (no ranges, other mode).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Can answer [`Source::block`].
    pub blocks: bool,
    /// Can answer [`Source::send`] at all.
    pub spans: bool,
    /// Needs [`Span::layout`] to send.
    pub needs_layout: bool,
    /// Can begin anywhere. `false`: sends from byte 0 only (the sink skips what is not wanted).
    pub ranges: bool,
    /// Requests in flight at the same time that this source gains from.
    pub lanes_max: usize,
    /// Longest span for one request (a CAR has to be held until it is whole). `u64::MAX`: no bound.
    pub span_bytes_max: u64,
}

impl Traits {
    /// An HTTP server that does what it should.
    pub const FILE_SERVER: Traits = Traits {
        blocks: false,
        spans: true,
        needs_layout: false,
        ranges: true,
        lanes_max: 2,
        span_bytes_max: u64::MAX,
    };

    /// Something that knows blocks, and so any part of a file whose layout is known.
    pub const BY_LAYOUT: Traits = Traits {
        blocks: true,
        spans: true,
        needs_layout: true,
        ranges: true,
        lanes_max: 1,
        span_bytes_max: u64::MAX,
    };
}

/// What a source can do, for those who want to know without fetching. `None`: it did not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Abilities {
    /// Any bytes of the file.
    pub ranges: Option<bool>,
    /// Blocks by CID.
    pub blocks: Option<bool>,
    /// Many blocks in one CAR.
    pub car: Option<bool>,
    /// Program and version.
    pub version: Option<String>,
    /// The way that bytes of the file are asked for, where there are several.
    pub way: Option<String>,
    /// What its clock says, in seconds since 1970.
    #[serde(skip)]
    pub date_unix: Option<i64>,
}

impl Abilities {
    /// What the traits alone tell.
    fn of(traits: &Traits) -> Self {
        Abilities {
            ranges: traits.spans.then_some(traits.ranges),
            blocks: Some(traits.blocks),
            ..Abilities::default()
        }
    }
}

/// What a peer of a swarm has of a file at one moment. All of it is its own claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Have {
    /// What the hosts of the swarm know it by.
    pub host: String,
    /// Length of the file in bytes.
    pub size: u64,
    /// It has all of it; otherwise it is fetching it.
    pub complete: bool,
    /// What it has, within `size`.
    pub ranges: Vec<Range<u64>>,
    /// The root under which it has it.
    pub root: Option<Cid>,
}

/// What is asked of a source.
#[derive(Debug, Clone)]
pub struct Span {
    /// Bytes of the file. `end` may be `u64::MAX` while the length is not known: send up to the end of the file.
    /// It begins and ends on leaf borders when there is a layout.
    pub range: Range<u64>,
    /// The layout, when it is known.
    pub layout: Option<Arc<Layout>>,
    /// An ETag or date that the file must still have (`If-Range`), from an earlier run.
    pub unchanged: Option<String>,
}

impl Span {
    /// The layout, for a source that can send nothing without it.
    ///
    /// # Errors
    /// [`SourceError::Unsupported`] while it is not known.
    pub fn known_layout(&self) -> Result<Arc<Layout>, SourceError> {
        let why =
            || SourceError::Unsupported("a span of a file whose inner nodes are not known".into());
        self.layout.clone().ok_or_else(why)
    }
}

/// Why a source did not deliver. Each variant decides what the engine does next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// It does not have it (404, 410, block missing): not asked again for this file.
    #[error("does not have it: {0}")]
    NotFound(String),
    /// A passing failure (connection, stall, 5xx): asked again after a pause, a few times.
    #[error("{0}")]
    Network(String),
    /// It said when to come back (429, 503 with Retry-After).
    #[error("{why}")]
    Busy {
        /// What it said.
        why: String,
        /// When to ask again; `None`: after our own pause.
        retry_after: Option<Duration>,
    },
    /// It answered something that it must not: not asked again.
    #[error("{0}")]
    Protocol(String),
    /// The file changed at the source since the first request.
    #[error("the file changed at the source: {0}")]
    Changed(String),
    /// It sends only from byte 0; `traits().ranges` is false from now on.
    #[error("the server ignores ranges")]
    NoRanges,
    /// It proved to be lying: a block or a leaf that does not fit its hash.
    #[error("sent false bytes: {0}")]
    False(String),
    /// It cannot do this at all.
    #[error("cannot do this: {0}")]
    Unsupported(String),
}

/// A place that has the bytes, or parts of them.
pub trait Source: Send + Sync {
    /// Kind and place.
    fn id(&self) -> &SourceId;

    /// What it can do now.
    fn traits(&self) -> Traits;

    /// One block by CID, not yet proven (the caller hashes it), at most 2 MiB.
    fn block<'a>(&'a self, _cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, SourceError>> {
        Box::pin(async { Err(SourceError::Unsupported("blocks".into())) })
    }

    /// What it has of the file now, for a source that may have only parts of it and get more: it is asked again and
    /// again while the fetch runs, and gets no span that it did not say it has. `None`: a source like any other.
    fn have(&self) -> Option<BoxFuture<'_, Result<Have, SourceError>>> {
        None
    }

    /// What it can do for the file with this root. May ask it; asks for no more than a block or a byte.
    fn abilities<'a>(&'a self, _root: Option<&'a Cid>) -> BoxFuture<'a, Abilities> {
        Box::pin(async { Abilities::of(&self.traits()) })
    }

    /// Sends `span` into `sink` in order, without gaps, beginning at `span.range.start`.
    ///
    /// Ends with `Ok` when the span is complete or the sink said stop; time-outs (`limits`) are the source's own
    /// duty, and must not run while the sink makes it wait.
    fn send<'a>(
        &'a self,
        span: Span,
        sink: &'a mut SpanSink,
    ) -> BoxFuture<'a, Result<(), SourceError>>;
}
