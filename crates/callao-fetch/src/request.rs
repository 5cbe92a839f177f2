//! What is wanted: names for the same bytes. Where they may come from is a matter of sources.

use callao_content::Cid;
use callao_content::digest::{Algorithm, Digest};

/// One file, by digest, CID, both or neither.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// For messages.
    pub name: String,
    /// The whole digest: it decides.
    pub digest: Option<Digest>,
    /// The CID of the file itself (paths are resolved before).
    pub cid: Option<Cid>,
    /// Length in bytes, when somebody said so.
    pub size: Option<u64>,
    /// Stop when CID and digest contradict each other, instead of going on with the digest alone.
    pub strict: bool,
}

impl Wanted {
    /// The algorithms to compute over the whole file: the wanted one, or sha256.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        vec![
            self.digest
                .as_ref()
                .map_or(Algorithm::Sha256, Digest::algorithm),
        ]
    }
}
