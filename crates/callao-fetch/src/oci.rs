//! Files in OCI registries: what a reference names, which manifest and which layer that is, who may be told which
//! password, and the registry's protocol. Knows no cache, no template and no command line.
//!
//! [`mod@reference`], [`manifest`], [`choose`] and [`auth`] are pure; [`registry`] speaks to the servers, [`resolve`] walks
//! from a reference to a blob, [`push`] goes the other way. `source/oci.rs` makes a blob a source of the engine.

pub mod auth;
pub mod choose;
pub mod error;
pub mod login;
pub mod manifest;
pub mod push;
mod redirects;
pub mod reference;
pub mod registry;
pub mod resolve;
mod tokens;
