//! Deterministic images, wire-level fakes and real peers for the tests and the benchmark; never part of the product.
//!
//! [`image`] makes bytes; [`origin`], [`gateway`], [`kubo`], [`router`] and [`registry`] are servers on loopback that can
//! misbehave in every way a real one does; [`delay`] puts a server far away; [`real`] starts the real nginx, kubo and
//! docker-registry, finds oras and the guests that machines are tested with, and waits for `callao serve`. Knows of the
//! product only `callao-content`, and checks nothing itself: what it serves may be wrong on purpose.
//!
//! Every fake runs on a thread of its own with a runtime of its own, so it works from blocking tests and from async ones
//! alike, and ends when it is dropped.

pub mod blocks;
pub mod body;
pub mod dag;
pub mod delay;
pub mod files;
pub mod gateway;
pub mod http;
pub mod image;
pub mod kubo;
pub mod lan;
pub mod origin;
pub mod real;
pub mod registry;
pub mod router;
