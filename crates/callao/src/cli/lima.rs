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
  callao lima --gateway=http://nas:8080 start ubuntu.yaml
  callao lima plugins install             then `limactl callao` is callao";

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
    /// Make `limactl callao` work
    #[command(subcommand)]
    Plugins(PluginsCommand),
    /// A command line of limactl.
    #[command(external_subcommand)]
    Limactl(Vec<OsString>),
}

/// `callao lima plugins`.
#[derive(Debug, Clone, Subcommand)]
pub enum PluginsCommand {
    /// Write limactl-callao, a small script that runs callao
    Install {
        /// Directory to write to [default: ~/.local/bin or the first own directory on PATH]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Remove it
    Remove {
        /// Directory to remove from [default: every directory on PATH]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}
