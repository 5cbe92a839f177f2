//! Virtual machines: an image becomes an instance, which QEMU runs, cloud-init sets up and ssh reaches.
//!
//! It gets paths to images and does not know where they came from. It reads no environment, prints nothing and chooses
//! no exit code. Files are touched in `files` alone.

mod child;
pub mod cloud_init;
pub mod disk;
pub mod ending;
mod error;
mod files;
pub mod forward;
pub mod instance;
pub mod launch;
pub mod limits;
pub mod machine;
pub mod places;
pub mod process_id;
pub mod program;
pub mod qemu;
pub mod requests;
pub mod seed;
pub mod share;
mod sparse;
pub mod spec;
pub mod ssh;
pub mod state;
pub mod status;
pub mod unpack;

#[cfg(test)]
#[path = "../tests/it/plain_machine.rs"]
mod plain_machine;

pub use error::Error;
