//! The commands below `callao cache` and their flags.

use clap::{Args, Subcommand};

use super::SourceArgs;

const PRUNE_AFTER_HELP: &str = "\
An entry goes only if every condition that is given lets it go. Without a
condition no entry goes: only what interrupted fetches left a week ago, and
what callao still knows of files that are gone.

Never removed: what somebody is writing or reading right now, what an instance
needs that has no disk yet, and files of your own (callao add, callao get -o).

Examples:
  callao cache prune --older-than 30d --dry-run
  callao cache prune --older-than 2w --keep-referred
  callao cache prune --space-budget 20GiB";

const REPAIR_AFTER_HELP: &str = "\
Everything is read again. Of a file whose CID is known only the damaged pieces
are fetched, from any place that has them, and each is proven before it counts;
the repaired file then replaces the damaged one under all of its URLs at once.
A file of which only the digest is known is fetched whole. Your own files
(callao add, callao get -o) are looked at and never written to.

Examples:
  callao cache repair
  callao cache repair https://host/a.img --mirror https://other/a.img
  callao cache repair --kubo ~/.ipfs --offline";

/// `callao cache`.
#[derive(Debug, Clone, Subcommand)]
pub enum CacheCommand {
    /// List what is in Lima's cache and what was added: size, age, URLs, digest, CID, how verified
    List,
    /// Read everything again and say which byte ranges of which file are bad
    Verify(VerifyArgs),
    /// Remove entries that are old, that nothing refers to, or that are too much
    Prune(PruneArgs),
    /// Fetch the damaged pieces of files again, and nothing else
    Repair(Box<RepairArgs>),
    /// Make the catalogue anew from the files: each is read once
    Rebuild,
}

/// `callao cache verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// Only these: paths, URLs, digests or CIDs
    #[arg(value_name = "WHAT")]
    pub what: Vec<String>,
}

/// `callao cache prune`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = PRUNE_AFTER_HELP)]
pub struct PruneArgs {
    /// Entries that were not used for this long, such as 30d, 12h or 2w
    #[arg(long, value_name = "AGE")]
    pub older_than: Option<String>,
    /// Keep what a template or an instance of Lima refers to, as limactl prune does
    #[arg(long)]
    pub keep_referred: bool,
    /// Remove what was not used for longest, until what is left fits into this, such as 20GiB
    #[arg(long, value_name = "SIZE")]
    pub space_budget: Option<String>,
    /// Go on when a template or an instance cannot be read: what only it refers to may go
    #[arg(long)]
    pub ignore_unreadable: bool,
    /// Show what would go and how much that frees, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `callao cache repair`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = REPAIR_AFTER_HELP)]
pub struct RepairArgs {
    /// Only these: paths, URLs, digests or CIDs
    #[arg(value_name = "WHAT")]
    pub what: Vec<String>,
    /// Further URLs of the same bytes (for a single file)
    #[arg(long, value_name = "URL", num_args = 1.., help_heading = "Where to look")]
    pub mirror: Vec<String>,
    /// Where to look.
    #[command(flatten)]
    pub sources: SourceArgs,
}
