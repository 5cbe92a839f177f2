//! The command line: what can be said, and the help that teaches it. No logic: what it means is decided in
//! `settings` and `commands`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const AFTER_HELP: &str = "\
Examples:
  callao get template.yaml          every file of a template, into Lima's cache
  callao get https://host/a.img --digest sha256:...
  callao get ipfs://bafy.../a.img   from gateways, a kubo on this computer, a CAR
  callao add disk.img               digest, CID, and the lines for a template
  callao demo                       see it at work, without network

`callao COMMAND --help` tells more about a command, `callao man` everything.";

/// Verified VM images from every source at once, straight into Lima's cache.
#[derive(Debug, Parser)]
#[command(name = "callao", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Print every event and result on stdout as JSON, one object a line, each with "v":1
    #[arg(long, global = true)]
    pub json: bool,
    /// Show no progress
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Print errors, warnings and results only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more: every source that is asked
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Settings file [default: ~/.config/callao/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory that holds Lima's cache (lima/) and callao's own (callao/) [default: ~/.cache]
    #[arg(long, global = true, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch and verify files, into Lima's cache or to a file
    Get(Box<GetArgs>),
    /// Compute digest and CID of files and make them known, without copying them
    Add(AddArgs),
    /// Look at what is in the cache
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Show in a throw-away directory, without network, what callao does
    Demo(DemoArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page (view it with: callao man | man -l -)
    Man,
}

const GET_AFTER_HELP: &str = "\
WHAT is one of
  template.yaml           a Lima template: image, kernel, initrd and archives
  https://host/file       a URL; verified with --digest or --cid
  ipfs://CID[/path]       a file, or one below a directory; also CID, /ipfs/CID
  https://host/ipfs/CID   a gateway's URL: verified, and fetched elsewhere as well
  path/to/file            a file that is here already: verified in place

Each file is proven block by block if its CID is known, and as a whole by its
digest, before limactl can see it. An interrupted get goes on where it was.
The path of each file is printed on stdout.

Examples:
  callao get template.yaml --arch aarch64
  callao get https://host/a.img --digest sha256:... --mirror https://other/a.img
  callao get ipfs://bafy.../a.img --kubo ~/.ipfs --only kubo
  callao get bafy... --car a.car -o a.img --offline";

/// `callao get`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = GET_AFTER_HELP)]
pub struct GetArgs {
    /// Template, URL, ipfs:// address, CID or path
    #[arg(value_name = "WHAT")]
    pub what: Vec<String>,
    /// Architecture whose files of a template are fetched [default: that of this computer]
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// Take the images of this variant [default: that of the first image]
    #[arg(long, value_name = "NAME")]
    pub image_variant: Option<String>,
    /// Take the images of this archVariant [default: that of the first image]
    #[arg(long, value_name = "NAME")]
    pub arch_variant: Option<String>,
    /// Digest that the file must have, as sha256:HEX (or sha384, sha512)
    #[arg(long, value_name = "DIGEST", help_heading = "What it must be")]
    pub digest: Option<String>,
    /// CID that the file must have
    #[arg(long, value_name = "CID", help_heading = "What it must be")]
    pub cid: Option<String>,
    /// Stop when the CID and the digest name different bytes (the digest decides otherwise)
    #[arg(long, help_heading = "What it must be")]
    pub strict: bool,
    /// Never fetch a file that has neither digest nor CID
    #[arg(
        long,
        conflicts_with = "allow_unpinned",
        help_heading = "What it must be"
    )]
    pub require_pin: bool,
    /// Fall back to entries without digest and CID when all pinned ones fail, as limactl does
    #[arg(long, help_heading = "What it must be")]
    pub allow_unpinned: bool,
    /// Further URLs of the same bytes (not for templates)
    #[arg(long, value_name = "URL", num_args = 1.., help_heading = "Where to look")]
    pub mirror: Vec<String>,
    /// IPFS gateways to ask
    #[arg(long, value_name = "URL", num_args = 1.., help_heading = "Where to look")]
    pub gateway: Vec<String>,
    /// RPC address of a kubo daemon, or the directory of a kubo repository
    #[arg(long, value_name = "URL|DIR", num_args = 1.., help_heading = "Where to look")]
    pub kubo: Vec<String>,
    /// CAR files to read from
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Where to look")]
    pub car: Vec<PathBuf>,
    /// Use no other kinds of source than these
    #[arg(
        long,
        value_name = "KIND",
        value_delimiter = ',',
        help_heading = "Where to look"
    )]
    pub only: Vec<Kind>,
    /// Where to look besides the places that are named: public gateways, this computer, or nowhere
    #[arg(long, value_name = "SCOPE", help_heading = "Where to look")]
    pub discovery: Option<Discovery>,
    /// Open no socket at all
    #[arg(long, help_heading = "Where to look")]
    pub offline: bool,
    /// Write this file instead of an entry in Lima's cache; it appears complete or not at all
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Leave out the containerd archives of a template
    #[arg(long)]
    pub no_archives: bool,
    /// How long to wait for another process that is busy with the same file
    #[arg(long, value_name = "SECONDS")]
    pub lock_seconds: Option<u64>,
}

/// The kinds of source that `--only` allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The URLs of the file and its mirrors
    Http,
    /// IPFS gateways
    Gateway,
    /// A kubo daemon or repository
    Kubo,
    /// CAR files
    Car,
    /// Local files
    File,
}

/// Where callao may look on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Discovery {
    /// Public gateways and routers, and a kubo on this computer
    Public,
    /// A kubo on this computer
    Lan,
    /// Only the places that you or the template name
    None,
}

const ADD_AFTER_HELP: &str = "\
The file is read once and stays where it is: `callao get` of its digest or CID
uses it from now on. The CID is that of `ipfs add` with the same profile.

Examples:
  callao add disk.img
  callao add --only-hash --profile unixfs-v1-2025 disk.img
  callao add disk.img --car disk.car";

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

fn profile_names() -> clap::builder::PossibleValuesParser {
    callao_content::profile::Profile::ALL
        .iter()
        .map(|profile| profile.name())
        .collect::<Vec<_>>()
        .into()
}

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

/// `callao demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Size of the image to make, such as 256MiB
    #[arg(long, default_value = "256MiB")]
    pub size: String,
    /// Keep the directory and say where it is
    #[arg(long)]
    pub keep: bool,
}

/// `callao completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}
