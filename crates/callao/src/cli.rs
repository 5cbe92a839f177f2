//! The command line: what can be said, and the help that teaches it. No logic: what it means is decided in
//! `settings` and `commands`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod add;
mod cache;
mod doctor;
mod explain;
mod get;
mod lima;
mod lock;
mod publish;
mod serve;
mod service;
mod sources;
mod template;
mod vm;

pub use add::AddArgs;
pub use cache::{CacheCommand, PruneArgs, RepairArgs, VerifyArgs};
pub use doctor::DoctorArgs;
pub use explain::ExplainArgs;
pub use get::GetArgs;
pub use lima::{LimaArgs, LimaCommand, PluginsCommand};
pub use lock::LockArgs;
pub use publish::{PublishArgs, Target};
pub use serve::ServeArgs;
pub use service::{InstallArgs, ServiceCommand};
pub use sources::{Discovery, Kind, RegistryArgs, SourceArgs};
pub use template::TemplateArgs;
pub use vm::{
    Containerd, CopyArgs, CreateArgs, DeleteArgs, EditArgs, ListArgs, Log, LogsArgs,
    MachineCommand, NewArgs, RestartArgs, ShellArgs, SshConfigArgs, StartArgs, StopArgs,
    SuperviseArgs,
};

const AFTER_HELP: &str = "\
Examples:
  callao get template.yaml          every file of a template, into Lima's cache
  callao get https://host/a.img --digest sha256:...
  callao get ipfs://bafy.../a.img   from gateways, a kubo on this computer, a CAR
  callao start template.yaml        a virtual machine of it; callao shell NAME
  callao lock template.yaml         digest and CID of every file, into the template
  callao add disk.img               digest, CID, and the lines for a template
  callao demo                       see it at work, without network

`callao COMMAND --help` tells more about a command, `callao man` everything.";

const DEMO_AFTER_HELP: &str = "\
Without --vm an image is made and fetched from servers that are slow or lie. With
--vm it is one of yours: any cloud image does that has sshd and cloud-init, and boots
by BIOS on x86_64; scripts/make-tiny-image of callao's sources makes the smallest one.
QEMU and ssh are needed for that (exit code 9 without).

Examples:
  callao demo
  callao demo --vm debian-12-genericcloud-amd64.qcow2";

const COMPLETIONS_AFTER_HELP: &str = "\
Commands, flags, files, template:NAME and URLs that are in the cache complete.

Examples:
  source <(callao completions bash)          in ~/.bashrc
  callao completions zsh > ~/.zfunc/_callao  a directory in $fpath
  callao completions fish > ~/.config/fish/completions/callao.fish";

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
    /// Run limactl with its files fetched and verified beforehand
    Lima(Box<LimaArgs>),
    /// Virtual machines.
    #[command(flatten)]
    Machine(MachineCommand),
    /// Write the digest and the CID of every file into a template
    Lock(Box<LockArgs>),
    /// Publish files by `callao serve`, to an OCI registry, to a kubo, or into a CAR
    Publish(Box<PublishArgs>),
    /// Give others what the cache holds: bitswap, and a gateway for this computer
    Serve(ServeArgs),
    /// Have systemd run `callao serve` for you
    #[command(subcommand, after_help = service::SERVICE_AFTER_HELP)]
    Service(ServiceCommand),
    /// Show whom the running `callao serve` is connected to
    Peers,
    /// Look at the cache, clear it up, and repair it
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Say where each file would come from and why, and how the last fetches went
    Explain(Box<ExplainArgs>),
    /// Check whether callao can work on this computer, and say what to do
    Doctor(DoctorArgs),
    /// Show in a throw-away directory, without network, what callao does
    Demo(DemoArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page (view it with: callao man | man -l -)
    Man,
}

/// `callao demo`.
#[derive(Debug, Clone, Args)]
#[command(after_help = DEMO_AFTER_HELP)]
pub struct DemoArgs {
    /// Size of the image to make, such as 256MiB
    #[arg(long, default_value = "256MiB", conflicts_with = "vm")]
    pub size: String,
    /// Boot a virtual machine from this image, which comes over IPFS from the demo's own node
    #[arg(long, value_name = "IMAGE")]
    pub vm: Option<PathBuf>,
    /// Keep the directory and say where it is
    #[arg(long)]
    pub keep: bool,
}

/// `callao completions`.
#[derive(Debug, Clone, Args)]
#[command(after_help = COMPLETIONS_AFTER_HELP)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}
