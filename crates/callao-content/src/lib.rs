//! CIDs, digests, dag-pb, UnixFS, CAR and their verification.
//!
//! Pure: no I/O, no async, no clock, no environment; the same bytes always give the same answer.
//! It knows what bytes *are*, never where they came from or where they go.
//!
//! Start at [`layout`] (what a file is made of), [`walk`] (a root CID to a layout), [`import`] (bytes to
//! a layout) and [`stream`] (hash a file once, in order, while its leaves are proven).

pub mod address;
pub mod car;
pub mod cid;
pub mod dag_cbor;
pub mod dag_pb;
pub mod digest;
pub mod error;
mod hamt;
pub mod hash;
pub mod import;
pub mod ipns;
pub mod layout;
pub mod leaf;
pub mod limits;
pub mod path;
pub mod peer_id;
pub mod profile;
pub mod stream;
pub mod unixfs;
pub mod varint;
pub mod walk;

pub use crate::cid::Cid;
pub use crate::error::Error;
