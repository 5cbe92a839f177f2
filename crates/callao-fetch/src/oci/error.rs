//! Why a registry did not help. Wording only; hints and exit codes are the caller's.

use callao_content::digest::Digest;

use super::choose::NoChoice;
use super::manifest::BadManifest;
use crate::limits::OCI_SHOWN_CHARS_MAX;
use crate::source::SourceError;

/// The error of everything below `oci`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OciError {
    /// The transport, or a refusal that has nothing to do with logins.
    #[error("{0}")]
    Source(#[from] SourceError),
    /// The registry, or its token server, wants to know who asks, or does not let that one in.
    #[error("{why}")]
    Login {
        /// What they said.
        why: String,
        /// What was not done, and why: one reason an entry.
        notes: Vec<String>,
        /// A login was sent, so another one is needed.
        sent: bool,
    },
    /// A document that cannot be used.
    #[error(transparent)]
    Manifest(#[from] BadManifest),
    /// Nothing in it is what is wanted.
    #[error(transparent)]
    Choice(#[from] NoChoice),
    /// Bytes of a document that are not those that were named.
    #[error("the manifest must have digest `{expected}`, and has `{got}`")]
    WrongDigest {
        /// As named.
        expected: Digest,
        /// As computed.
        got: Digest,
    },
    /// A document whose length is not the one that was named.
    #[error("the manifest must be {expected} bytes long, and is {got}")]
    WrongSize {
        /// As named.
        expected: u64,
        /// As received.
        got: u64,
    },
    /// An index in an index in an index.
    #[error("the indexes are nested too deeply")]
    TooDeep,
    /// An upload that does not end as it should.
    #[error("{0}")]
    Upload(String),
}

/// Foreign text for a message: short, and without control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(OCI_SHOWN_CHARS_MAX)
        .collect()
}
