//! QEMU: which one, with which accelerator, firmware and arguments, how it is started and talked to.
//!
//! It must not know instances, ssh or cloud-init: paths, a port and shares are handed in.

pub mod accel;
pub mod args;
pub mod client;
pub mod firmware;
pub mod probe;
pub mod process;
pub mod qmp;
