//! The fetch engine and every source that speaks HTTP or reads blocks.
//!
//! [`engine`] owns one fetch: it asks [`source`]s for spans, proves each leaf before it counts, and fills a staging
//! file. This crate names no path, prints nothing and reads no environment; what it may do is handed to it.

pub mod answer;
mod attempt;
pub mod buffer;
mod claims;
pub mod client;
pub mod engine;
pub mod error;
pub mod event;
mod health;
pub mod kubo_add;
mod layouts;
pub mod limits;
pub mod message;
pub mod names;
pub mod netfilter;
pub mod oci;
mod pipeline;
mod plan;
pub mod probe;
mod ranges;
pub mod request;
mod retry;
pub mod routing;
pub mod sink;
pub mod source;
