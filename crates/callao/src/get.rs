//! From WHAT to files: what is meant (`what`), which files in which order (`plan`), what is there already (`held`),
//! whom to ask (`sources`), and the run of one file (`fetch`, `publish`).

pub(crate) mod plan;
pub(crate) mod what;
