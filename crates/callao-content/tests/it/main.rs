//! Tests of `callao-content` through its public interface, in one binary. It knows no internals.

mod blocks;
mod car;
mod corpus;
mod foreign_trees;
mod images;
mod never_panics;
mod oracle;
mod paths;
mod refusals;
mod round_trip;
mod vectors;
