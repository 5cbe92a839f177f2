//! Virtual machines: how long until a guest answers, and until it has a shell beside limactl, what making one costs, a list
//! of them, and what looks after one.

pub(super) mod boot;
pub(super) mod create;
pub(super) mod idle;
pub(super) mod list;
pub(super) mod shell;
