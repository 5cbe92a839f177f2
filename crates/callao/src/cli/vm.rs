//! The flags of the commands for virtual machines.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::SourceArgs;

const START_AFTER_HELP: &str = "\
WHAT is the name of an instance, or what a new one is made of:
  template.yaml, template:NAME, a template's URL or ipfs:// address
  disk.qcow2, https://host/a.img, ipfs://CID/a.img, oci://host/repository

The image is fetched and verified as `callao get` does it; the instance gets a
hard link to it, and a disk of its own on top. start returns when ssh answers
and everything that the template asks for is set up.

Examples:
  callao start template.yaml
  callao start template:debian-12 --name web --cpus 2 --memory 2GiB
  callao start ipfs://bafy.../a.img --name a --mount ~/src:w
  callao shell web uname -a";

const COPY_AFTER_HELP: &str = "\
Examples:
  callao copy web:/etc/os-release .
  callao copy -r src web:src";

/// The commands for virtual machines.
#[derive(Debug, Subcommand)]
pub enum MachineCommand {
    /// Make a virtual machine, start it, and wait until it is ready
    Start(Box<StartArgs>),
    /// Make a virtual machine without starting it
    Create(Box<CreateArgs>),
    /// Stop a virtual machine
    Stop(StopArgs),
    /// Stop a virtual machine and start it again
    Restart(RestartArgs),
    /// Get into a virtual machine, or run a command in it
    Shell(ShellArgs),
    /// Copy files into a virtual machine, or out of it
    Copy(CopyArgs),
    /// Show the virtual machines
    List(ListArgs),
    /// Remove virtual machines
    Delete(DeleteArgs),
    /// Show what a virtual machine says on its serial port
    Logs(LogsArgs),
    /// Print what ssh needs to know to get into a virtual machine
    SshConfig(SshConfigArgs),
    /// Change CPUs, memory or disk of a virtual machine that does not run
    Edit(EditArgs),
    /// Look after one virtual machine; callao start runs this
    #[command(hide = true)]
    Supervise(SuperviseArgs),
}

/// What a new instance is.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "The new instance")]
pub struct NewArgs {
    /// Name of the instance [default: as the template or the image is called]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Architecture: x86_64 or aarch64 [default: that of the template, or of this computer]
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// Take the images of this variant [default: that of the first image]
    #[arg(long, value_name = "NAME")]
    pub image_variant: Option<String>,
    /// Take the images of this archVariant [default: that of the first image]
    #[arg(long, value_name = "NAME")]
    pub arch_variant: Option<String>,
    /// How many CPUs [default: 4, or as many as there are]
    #[arg(long, value_name = "N")]
    pub cpus: Option<u32>,
    /// Memory, such as 2GiB [default: 4GiB, or half of what there is]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Size of the disk, such as 20GiB; it takes up only what is written [default: 100GiB]
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<String>,
    /// A directory of this computer that the guest sees at the same path; with :w it may write
    #[arg(long, value_name = "DIR[:w]")]
    pub mount: Vec<String>,
    /// A port of this computer that leads to one of the guest
    #[arg(long, value_name = "HOST:GUEST")]
    pub port_forward: Vec<String>,
    /// Nothing but the guest and ssh: no mounts, no containerd, only static ports
    #[arg(long)]
    pub plain: bool,
    /// Which containerd the guest gets [default: as the template says; none for a bare image]
    #[arg(long, value_name = "WHICH")]
    pub containerd: Option<Containerd>,
    /// Digest that the image must have, if WHAT is an image
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<String>,
    /// Never take a file that has neither digest nor CID
    #[arg(long, conflicts_with = "allow_unpinned")]
    pub require_pin: bool,
    /// Fall back to entries without digest and CID when all pinned ones fail, as limactl does
    #[arg(long)]
    pub allow_unpinned: bool,
}

impl NewArgs {
    /// The first flag that was given, as a user knows it.
    pub fn any(&self) -> Option<&'static str> {
        let given = [
            ("--name", self.name.is_some()),
            ("--arch", self.arch.is_some()),
            ("--image-variant", self.image_variant.is_some()),
            ("--arch-variant", self.arch_variant.is_some()),
            ("--cpus", self.cpus.is_some()),
            ("--memory", self.memory.is_some()),
            ("--disk", self.disk.is_some()),
            ("--mount", !self.mount.is_empty()),
            ("--port-forward", !self.port_forward.is_empty()),
            ("--plain", self.plain),
            ("--containerd", self.containerd.is_some()),
            ("--digest", self.digest.is_some()),
            ("--require-pin", self.require_pin),
            ("--allow-unpinned", self.allow_unpinned),
        ];
        let flag = given.into_iter().find(|(_, is_given)| *is_given);
        flag.map(|(flag, _)| flag)
    }
}

/// Which containerd a guest gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Containerd {
    /// None
    None,
    /// For root
    System,
    /// Rootless, for the user
    User,
    /// Both
    #[value(name = "user+system")]
    Both,
}

/// `callao create`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = START_AFTER_HELP)]
pub struct CreateArgs {
    /// What the instance is made of
    #[arg(value_name = "WHAT")]
    pub what: String,
    /// What it is like.
    #[command(flatten)]
    pub new: NewArgs,
    /// Where to look.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// `callao start`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = START_AFTER_HELP)]
pub struct StartArgs {
    /// The instance, or what a new one is made of
    #[arg(value_name = "WHAT")]
    pub what: String,
    /// How long the guest may take until it is ready
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,
    /// What a new one is like.
    #[command(flatten)]
    pub new: NewArgs,
    /// Where to look.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// `callao stop`.
#[derive(Debug, Clone, Default, Args)]
pub struct StopArgs {
    /// The instance
    pub name: String,
    /// End it at once: what the guest has not written is lost
    #[arg(short, long)]
    pub force: bool,
}

/// `callao restart`.
#[derive(Debug, Clone, Default, Args)]
pub struct RestartArgs {
    /// The instance
    pub name: String,
    /// End it at once: what the guest has not written is lost
    #[arg(short, long)]
    pub force: bool,
    /// How long the guest may take until it is ready
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,
}

/// `callao shell`.
#[derive(Debug, Clone, Default, Args)]
pub struct ShellArgs {
    /// The instance
    pub name: String,
    /// A command and its arguments; a login shell if there is none
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
    /// Directory in the guest [default: where you are, if the guest sees it, else its home]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Shell in the guest [default: the user's]
    #[arg(long, value_name = "SHELL")]
    pub shell: Option<String>,
}

/// `callao copy`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = COPY_AFTER_HELP)]
pub struct CopyArgs {
    /// Files, and last where they go; NAME:PATH is a path in an instance
    #[arg(value_name = "FROM... TO", num_args = 2.., required = true)]
    pub paths: Vec<String>,
    /// Directories with what is in them
    #[arg(short, long)]
    pub recursive: bool,
}

/// `callao list`.
#[derive(Debug, Clone, Default, Args)]
pub struct ListArgs {
    /// Only these instances
    pub names: Vec<String>,
}

/// `callao delete`.
#[derive(Debug, Clone, Default, Args)]
pub struct DeleteArgs {
    /// The instances
    #[arg(required = true)]
    pub names: Vec<String>,
    /// Also if it runs: it is ended at once. One that is not there is no error
    #[arg(short, long)]
    pub force: bool,
}

/// `callao logs`.
#[derive(Debug, Clone, Default, Args)]
pub struct LogsArgs {
    /// The instance
    pub name: String,
    /// Go on as long as it runs
    #[arg(short, long)]
    pub follow: bool,
    /// Which log
    #[arg(long, value_name = "WHICH", default_value = "serial")]
    pub log: Log,
}

/// The logs of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Log {
    /// What the guest says on its serial port
    #[default]
    Serial,
    /// What QEMU says
    Qemu,
    /// What its supervisor says
    Supervisor,
}

/// `callao ssh-config`.
#[derive(Debug, Clone, Default, Args)]
pub struct SshConfigArgs {
    /// The instance
    pub name: String,
}

/// `callao edit`.
#[derive(Debug, Clone, Default, Args)]
#[group(id = "change", required = true, multiple = true, args = ["cpus", "memory", "disk"])]
pub struct EditArgs {
    /// The instance
    pub name: String,
    /// How many CPUs
    #[arg(long, value_name = "N")]
    pub cpus: Option<u32>,
    /// Memory, such as 2GiB
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Size of the disk, such as 20GiB; it can only grow
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<String>,
}

/// `callao supervise`, which `callao start` runs.
#[derive(Debug, Clone, Default, Args)]
pub struct SuperviseArgs {
    /// Directory of the instance
    pub dir: PathBuf,
    /// How long the guest may take until it is ready
    #[arg(long, value_name = "SECONDS")]
    pub timeout: u64,
}
