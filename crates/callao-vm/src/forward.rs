//! Ports and sockets that appear on the host because the guest listens on them, or the other way round, through the
//! connection of `ssh::master`. Must not know how the guest was started.

pub mod keeper;
pub mod listeners;
pub mod rules;
