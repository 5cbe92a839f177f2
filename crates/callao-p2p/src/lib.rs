//! The libp2p node: fetches blocks from peers and serves what is held, by bitswap; finds peers and is found.
//!
//! The only crate that names libp2p, and no type of libp2p leaves it: addresses and peer IDs go in and out as text.
//! It must not know paths, settings, or a terminal; what it serves is handed to it as a [`callao_store::served::Served`].
//! Begin with [`node`].

mod address;
mod behaviour;
mod bitswap;
mod discovery;
pub mod error;
mod gate;
mod gather;
mod key;
pub mod limits;
pub mod node;
pub mod options;
mod peers;
mod source;
mod transport;
pub mod upload;

pub use address::check_address;
pub use error::Error;
pub use key::NodeKey;
pub use node::{Node, Stats};
pub use options::{Dht, NodeOptions, Scope};
pub use peers::PeerInfo;
pub use upload::UploadLimits;
