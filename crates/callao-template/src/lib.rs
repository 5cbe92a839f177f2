//! Lima templates: which files they name, with which digests and CIDs, and which of them limactl would take.
//!
//! `edit` writes digests and CIDs into the text of a template.
//! It must not know a file system, a network or a process: text comes in, a model and messages go out.
//! The supported subset is what `model` holds; all other keys of Lima are accepted and ignored.

pub mod edit;
mod error;
mod keys;
pub mod limits;
mod model;
mod parse;
mod select;
mod tree;
mod validate;

pub use error::{Error, UnknownArch};
pub use model::{ARCHES, Arch, Containerd, File, Image, Template};
pub use parse::{Parsed, Warning, parse};
pub use select::{SelectOptions, Selection, Skipped, select};
