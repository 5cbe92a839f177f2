//! Nodes against nodes over loopback. One binary; each module has one subject.
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at files behind the store's back"
)]

mod connecting;
mod dht;
mod fetching;
mod helia;
mod hostile;
mod memory;
mod nodes;
mod raw;
mod real_kubo;
mod speech;
mod transfer;
