//! What a fetch reports while it runs: a closed, serialisable set. Nothing here prints.

use std::time::Duration;

use callao_content::Cid;
use callao_content::digest::Digest;
use serde::Serialize;

use crate::source::SourceId;

/// Receives events. Must return at once: it is called from the engine's task.
pub trait Observer: Send + Sync {
    /// One event.
    fn event(&self, event: Event);
}

/// An observer for nobody.
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: Event) {}
}

/// Bytes that a source gave and that were kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Who.
    pub source: SourceId,
    /// How many bytes of the file.
    pub bytes: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A source is asked for the first time.
    Asked {
        /// Who.
        source: SourceId,
    },
    /// Bytes of an earlier run are kept.
    Resumed {
        /// How many.
        bytes: u64,
    },
    /// The layout is known: from now on every leaf is proven as it arrives.
    Layout {
        /// Who gave the (last) inner node; `None`: from disk.
        source: Option<SourceId>,
        /// Length of the file in bytes.
        size: u64,
        /// Leaves of the file.
        leaves: usize,
    },
    /// The length is known.
    Size {
        /// In bytes.
        size: u64,
    },
    /// How far it is.
    Progress {
        /// Bytes that are proven, or merely received where only the whole digest can prove them.
        done: u64,
        /// Length of the file, when known.
        size: Option<u64>,
        /// Bytes in the last second or so, per second.
        rate: u64,
        /// Who gave how much.
        shares: Vec<Share>,
    },
    /// A source failed and is asked again later.
    Paused {
        /// Who.
        source: SourceId,
        /// Why.
        reason: String,
        /// The pause in milliseconds.
        pause_ms: u64,
    },
    /// A source is out for this file.
    Dropped {
        /// Who.
        source: SourceId,
        /// Why.
        reason: String,
        /// It sent false bytes.
        lied: bool,
    },
    /// The CID names other bytes than the digest; the digest decides.
    CidContradictsDigest {
        /// The CID as given.
        cid: String,
        /// What the bytes behind the CID have as digest.
        got: String,
    },
    /// The whole digest did not fit; every source is tried alone.
    StartingAgain {
        /// Why.
        reason: String,
    },
}

/// How the bytes were proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Both the digest and the CID.
    DigestAndCid,
    /// The whole digest.
    Digest,
    /// Every leaf by the CID.
    Cid,
    /// Nothing was given to prove them by.
    Nothing,
}

/// How a fetch ended well.
#[derive(Debug, Clone)]
pub struct Report {
    /// Length in bytes.
    pub size: u64,
    /// The digests that were computed (the wanted algorithm, or sha256).
    pub digests: Vec<Digest>,
    /// Root of the layout that is kept.
    pub root: Cid,
    /// How the bytes were proven.
    pub proof: Proof,
    /// Who gave how much.
    pub shares: Vec<Share>,
    /// Bytes kept from an earlier run.
    pub resumed: u64,
    /// Each source that did not help, and why.
    pub reasons: Vec<(SourceId, String)>,
    /// The CID that turned out to name other bytes.
    pub wrong_cid: Option<Cid>,
    /// `Content-Type` of the origin, as sent.
    pub content_type: Option<String>,
    /// `Last-Modified` of the origin, as sent.
    pub last_modified: Option<String>,
    /// From the start of the engine to the last byte proven.
    pub elapsed: Duration,
}
