//! The engine against real sockets and real files. One binary; each module has one subject.
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at files behind the store's back"
)]

mod bad_days;
mod bench;
mod corpus;
mod crash;
mod gateway;
mod happy;
mod kubo;
mod lan;
mod many;
mod probe;
mod real_kubo;
mod resume;
mod routing;
mod stores;
