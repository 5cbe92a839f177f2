//! From WHAT to files: what is meant (`what`), what that needs (`needs`), which files in which order (`plan`,
//! `satisfy`), what is here already (`held`, `fresh`), whom to ask (`sources`, `peers`), the run of one file (`run`), where its
//! bytes go (`publish`), and what is said about it (`report`). A damaged file is completed by `again`.

pub(crate) mod again;
pub(crate) mod blobs;
mod fresh;
pub(crate) mod hashing;
pub(crate) mod held;
pub(crate) mod needs;
mod own_daemon;
pub(crate) mod peers;
pub(crate) mod plan;
mod publish;
mod report;
pub(crate) mod run;
pub(crate) mod satisfy;
pub(crate) mod sources;
mod unpack;
pub(crate) mod what;

pub(crate) use publish::out_path;
