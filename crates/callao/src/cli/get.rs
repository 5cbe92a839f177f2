//! The flags of `callao get`.

use std::path::PathBuf;

use clap::Args;

use super::{SourceArgs, TemplateArgs};

const GET_AFTER_HELP: &str = "\
WHAT is one of
  template.yaml           a Lima template, by its path, URL or ipfs:// address:
                          image, kernel, initrd, archives, firmware
  template:NAME           a template of Lima's or callao's; - reads one from stdin
  https://host/file       a URL; verified with --digest or --cid
  ipfs://CID[/path]       a file, or one below a directory; also CID, /ipfs/CID
  oci://host/repository   a file in a registry: [:TAG|@DIGEST][#FILE]
  https://host/ipfs/CID   a gateway's URL: verified, and fetched elsewhere as well
  path/to/file            a file that is here already: verified in place

Each file is proven block by block if its CID is known, and as a whole by its
digest, before limactl can see it. An interrupted get goes on where it was.
The path of each file is printed on stdout.

Examples:
  callao get template.yaml --arch aarch64
  callao get template:ubuntu --list
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
    /// Which files of a template.
    #[command(flatten)]
    pub template: TemplateArgs,
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
    /// Where to look.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// Print every file of WHAT and whether it would be fetched; fetch nothing
    #[arg(long, conflicts_with = "output")]
    pub list: bool,
    /// Write this file instead of an entry in Lima's cache; it appears complete or not at all
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
