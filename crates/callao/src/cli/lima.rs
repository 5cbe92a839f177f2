//! The flags of `callao lima`, and where limactl's own command line begins.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::SourceArgs;

const LIMA_AFTER_HELP: &str = "\
Anything else after `callao lima` is a command line of limactl. Before `create`
and `start`, callao fetches and verifies the files that limactl will want, so
that limactl finds them in its cache. Then limactl takes the place of callao:
its messages, its exit code. callao's flags stand before limactl's command, and
those that take several values are written with `=`.

Examples:
  callao lima start                       as `limactl start`
  callao lima create --name=vm template:debian-12 --arch=aarch64
  callao lima start ipfs://bafy.../template.yaml
  callao lima --gateway=http://nas:8080 start ubuntu.yaml
  callao lima plugins install             then `limactl callao`, `limactl start ipfs:...`";

/// `callao lima`.
#[derive(Debug, Clone, Args)]
#[command(after_help = LIMA_AFTER_HELP, arg_required_else_help = true)]
pub struct LimaArgs {
    /// Where to look.
    #[command(flatten)]
    pub sources: SourceArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: LimaCommand,
}

/// What comes after `callao lima`.
#[derive(Debug, Clone, Subcommand)]
pub enum LimaCommand {
    /// Make `limactl callao` and ipfs: locators work with limactl itself
    #[command(subcommand)]
    Plugins(PluginsCommand),
    /// What limactl-url-ipfs asks for: the template behind an address, as a file of this computer
    #[command(hide = true)]
    Url {
        /// The address without its scheme, as limactl hands it over
        #[arg(value_name = "ADDRESS")]
        address: String,
    },
    /// A command line of limactl.
    #[command(external_subcommand)]
    Limactl(Vec<OsString>),
}

/// `callao lima plugins`.
#[derive(Debug, Clone, Subcommand)]
pub enum PluginsCommand {
    /// Write limactl-callao and limactl-url-ipfs, two small scripts that run callao
    Install {
        /// Directory to write to [default: ~/.local/bin or the first own directory on PATH]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Remove them
    Remove {
        /// Directory to remove from [default: every directory on PATH]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}
