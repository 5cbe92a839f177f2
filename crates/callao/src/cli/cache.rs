//! The commands below `callao cache` and their flags.

use clap::{Args, Subcommand};

/// `callao cache`.
#[derive(Debug, Clone, Subcommand)]
pub enum CacheCommand {
    /// List what is in Lima's cache and what was added: size, age, URLs, digest, CID, how verified
    List,
    /// Read everything again and say which byte ranges of which file are bad
    Verify(VerifyArgs),
}

/// `callao cache verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// Only these: paths, URLs, digests or CIDs
    #[arg(value_name = "WHAT")]
    pub what: Vec<String>,
}
