//! Why a fetch failed. Rendering, hints and exit codes are the caller's.

use callao_content::Cid;
use callao_content::digest::Digest;

use crate::source::{SourceError, SourceId};

/// A source and why it did not deliver.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Who.
    pub source: SourceId,
    /// Why.
    pub error: SourceError,
}

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nobody to ask.
    #[error("there is no source to ask for {name}")]
    NoSource {
        /// What was wanted.
        name: String,
    },
    /// All sources gave up. The reasons tell whether it was not found or the network.
    #[error("no source could deliver {name}")]
    AllFailed {
        /// What was wanted.
        name: String,
        /// Bytes that are kept for the next run.
        kept: u64,
        /// Each source and its last error.
        refusals: Vec<Refusal>,
    },
    /// The bytes do not have the wanted digest.
    #[error("expected digest `{expected}`, got `{got}`")]
    DigestMismatch {
        /// As wanted.
        expected: Digest,
        /// As computed over what the sources agree on.
        got: Digest,
        /// Who sent those bytes.
        sources: Vec<SourceId>,
    },
    /// The bytes behind the CID have another digest, and `strict` was asked for or nobody else has them.
    #[error(
        "CID {cid} and digest `{expected}` name different bytes (those of the CID have `{got}`)"
    )]
    Contradiction {
        /// As given.
        cid: Cid,
        /// As given.
        expected: Digest,
        /// As computed.
        got: Digest,
    },
    /// The bytes fit no known way to make the wanted CID, and nobody had its inner nodes.
    #[error("could not prove that the bytes belong to CID {cid}")]
    CidUnproven {
        /// As wanted.
        cid: Cid,
    },
    /// The CID does not name a file that can be fetched.
    #[error(transparent)]
    Content(#[from] callao_content::error::Error),
    /// The disk or the staging file.
    #[error(transparent)]
    Store(#[from] callao_store::error::Error),
    /// Stopped by the caller; what arrived is kept.
    #[error("interrupted")]
    Interrupted,
    /// A thread of the pipeline ended without a word: a defect.
    #[error("internal: {0}")]
    Internal(String),
}
