//! Nodes against nodes over loopback. One binary; each module has one subject.

mod connecting;
mod dht;
mod nodes;
