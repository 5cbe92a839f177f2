//! Staging, the Lima cache, proofs and the catalogue: disk, but no network and no async.
//!
//! Must not know a socket, an async runtime, the home directory, or a terminal; the only file that touches `std::fs`
//! is [`disk`]. Start at [`places`] (what lives where), then [`staging`] (a fetch under way) and [`lima`] (publishing).

pub mod catalogue;
pub mod check;
pub mod disk;
pub mod documents;
pub mod error;
pub mod foreign;
pub mod gc;
pub mod lima;
pub mod limits;
pub mod links;
pub mod lock;
pub mod names;
pub mod places;
pub mod proof;
mod proven;
pub mod reader;
mod rescan;
pub mod served;
pub mod shelf;
pub mod staging;
mod text_file;

pub use crate::error::Error;
