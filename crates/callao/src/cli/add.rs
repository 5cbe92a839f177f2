//! The flags of `callao add`.

use std::path::PathBuf;

use clap::Args;

const ADD_AFTER_HELP: &str = "\
The file is read once and stays where it is: `callao get` of its digest or CID
uses it from now on. The CID is that of `ipfs add` with the same profile.
A CAR (FILE.car) is checked and registered with all its blocks: directories too.

Examples:
  callao add disk.img
  callao add --only-hash --profile unixfs-v1-2025 disk.img
  callao add disk.img --car disk.car
  callao add images.car";

/// `callao add`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = ADD_AFTER_HELP)]
pub struct AddArgs {
    /// Files to add
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How the file is cut and linked: kubo-cid-v1 is `ipfs add --cid-version=1`, unixfs-v0-2015 plain `ipfs add`
    #[arg(long, value_name = "PROFILE", value_parser = profile_names())]
    #[arg(default_value = "kubo-cid-v1")]
    pub profile: String,
    /// Length of a leaf in bytes, instead of the profile's
    #[arg(long, value_name = "BYTES")]
    pub chunk_size: Option<u32>,
    /// Links of an inner node, instead of the profile's
    #[arg(long, value_name = "COUNT")]
    pub width: Option<u32>,
    /// Compute only: register nothing
    #[arg(long)]
    pub only_hash: bool,
    /// Write a CAR file with all blocks as well
    #[arg(long, value_name = "OUT")]
    pub car: Option<PathBuf>,
}

/// The names that `--profile` takes.
pub(super) fn profile_names() -> clap::builder::PossibleValuesParser {
    callao_content::profile::Profile::ALL
        .iter()
        .map(|profile| profile.name())
        .collect::<Vec<_>>()
        .into()
}
