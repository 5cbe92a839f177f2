//! The flags of `callao lock`.

use std::path::PathBuf;

use clap::Args;

use super::SourceArgs;
use super::add::profile_names;

const LOCK_AFTER_HELP: &str = "\
Every file of the template (image, kernel, initrd, archive) is looked for in the
cache or fetched into it, and its digest and CID are written beside its location.
Comments, order, quotes and indentation stay as they are. Files of a `base:` are
locked in the base.

With --check nothing is written. Exit code 5: a digest or a CID does not name the
bytes; 8: one is missing.

Examples:
  callao lock template.yaml
  callao lock template.yaml --dry-run | less
  callao lock template.yaml --check --arch x86_64
  callao lock - < template.yaml > locked.yaml";

/// `callao lock`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = LOCK_AFTER_HELP)]
pub struct LockArgs {
    /// Template to change in place, or - to read it from stdin and print it
    #[arg(value_name = "TEMPLATE")]
    pub template: String,
    /// Only files for these architectures [default: all]
    #[arg(long, value_name = "ARCH", value_delimiter = ',')]
    pub arch: Vec<String>,
    /// How CIDs are made: kubo-cid-v1 is `ipfs add --cid-version=1`
    #[arg(long, value_name = "PROFILE", value_parser = profile_names())]
    #[arg(default_value = "kubo-cid-v1")]
    pub profile: String,
    /// Write nothing; say whether all digests and CIDs are there and name the bytes
    #[arg(long, conflicts_with_all = ["dry_run", "add_ipfs", "pin_latest"])]
    pub check: bool,
    /// With --check: entries with neither digest nor CID are no fault
    #[arg(long, requires = "check")]
    pub allow_unpinned: bool,
    /// Write nothing; print a unified diff
    #[arg(long)]
    pub dry_run: bool,
    /// Put an entry with location ipfs://CID/name in front of each entry that has a digest or a CID
    #[arg(long)]
    pub add_ipfs: bool,
    /// Lock entries with neither digest nor CID ("latest") to what they are now
    #[arg(long)]
    pub pin_latest: bool,
    /// Compare with the checksums that the origin publishes beside each file (SHA256SUMS, CHECKSUM and so on)
    #[arg(long)]
    pub sums: bool,
    /// The checksums must be signed by one of these OpenPGP certificates (armoured or not)
    #[arg(
        long,
        visible_alias = "keyring",
        value_name = "FILE",
        requires = "sums"
    )]
    pub key: Vec<PathBuf>,
    /// Where to look.
    #[command(flatten)]
    pub sources: SourceArgs,
}
