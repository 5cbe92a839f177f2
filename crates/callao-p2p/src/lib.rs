//! The libp2p node: fetches blocks from peers and serves what is held, by bitswap; finds peers and is found.
//!
//! The only crate that names libp2p, and no type of libp2p leaves it: addresses and peer IDs go in and out as text.
//! It must not know paths, settings, or a terminal; what it serves is handed to it as a [`callao_store::served::Served`].

pub mod limits;
