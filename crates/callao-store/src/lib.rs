//! Staging, the Lima cache, proofs and the catalogue: disk, but no network and no async.
