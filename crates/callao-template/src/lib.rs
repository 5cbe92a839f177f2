//! Lima templates: read, merged with what they are based on, and which of their files limactl would take.
//!
//! It must not know a file system, a network or a process: texts come in, a model and messages go out. Whoever knows
//! where templates are hands in a [`load::Loader`].
//!
//! The model types what decides about files; everything else is kept in its tree. `edit` writes digests and CIDs into
//! the text of a template.

pub mod archives;
mod combine;
pub mod edit;
mod error;
mod fill;
pub mod image_locator;
mod keys;
pub mod limits;
pub mod load;
pub mod locator;
pub mod machine;
mod merge;
mod model;
mod parse;
mod select;
mod tree;
mod validate;

pub use error::{Error, UnknownArch};
pub use model::{ARCHES, Arch, Containerd, File, Firmware, FirmwareImage, Image, Template};
pub use parse::{Parsed, Warning, parse};
pub use select::{SelectOptions, Selection, Skipped, select};
pub use tree::{Entry, Node, Value};
