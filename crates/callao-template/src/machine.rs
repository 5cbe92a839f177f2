//! What a template says of the machine itself: size, user, shares, ports, scripts. Typed, complete with Lima's defaults,
//! and free of everything that callao cannot do, which is an error that names the field.
//!
//! It must not know the files of the template (see `model`), nor anything of QEMU or of a running machine.

mod braces;
mod condition;
mod environment;
mod expand;
mod kernel;
mod mounts;
mod name;
mod paths;
mod ports;
mod provision;
mod read;
mod section;
mod sizes;
mod unsupported;
mod user;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::Arch;

pub use kernel::kernel_command_line;
pub use name::{BadName, check_name, hostname};
pub use read::read;
pub use sizes::size;

/// A machine as a template and the command line describe it. Nothing in it has to be guessed any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// `arch:`.
    pub arch: Arch,
    /// `cpus:`, at least 1.
    pub cpus: u32,
    /// `memory:` in bytes.
    pub memory_bytes: u64,
    /// `disk:` in bytes: what the guest sees, not what is used on the host.
    pub disk_bytes: u64,
    /// `vmOpts.qemu.cpuType` (or `cpuType:`) for this architecture; `None`: what suits the accelerator.
    pub cpu_type: Option<String>,
    /// `firmware.legacyBIOS:`.
    pub legacy_bios: bool,
    /// `user:`.
    pub user: User,
    /// `ssh:`.
    pub ssh: Ssh,
    /// `mounts:`; none when `plain`.
    pub mounts: Vec<Mount>,
    /// `mountType:`; `None`: the best that host and guest can both do.
    pub mount_type: Option<MountType>,
    /// `mountTypesUnsupported:`.
    pub mount_types_unsupported: Vec<MountType>,
    /// `portForwards:`, in the order of the template: the first rule that fits counts. When `plain`, static ones only.
    /// Otherwise Lima has a last rule that is not in here: 127.0.0.1, every port to the same port.
    pub port_forwards: Vec<PortForward>,
    /// `provision:`.
    pub provision: Vec<Provision>,
    /// `probes:`.
    pub probes: Vec<Probe>,
    /// `copyToHost:`.
    pub copy_to_host: Vec<CopyToHost>,
    /// `containerd:` without its archives; neither when `plain`.
    pub containerd: Installs,
    /// `guestInstallPrefix:`, where the archives of containerd go.
    pub guest_install_prefix: String,
    /// `env:`, for `/etc/environment`.
    pub env: BTreeMap<String, String>,
    /// `param:`, which provision scripts see as `PARAM_<key>`.
    pub param: BTreeMap<String, String>,
    /// `dns:`; empty: the resolver of the host, by QEMU's user network.
    pub dns: Vec<IpAddr>,
    /// `hostResolver.hosts:`: name to address or to another name.
    pub hosts: BTreeMap<String, String>,
    /// `propagateProxyEnv:`.
    pub propagate_proxy: bool,
    /// `caCerts:`.
    pub ca_certs: CaCerts,
    /// `timezone:`; `None`: as the image has it.
    pub timezone: Option<String>,
    /// `upgradePackages:`.
    pub upgrade_packages: bool,
    /// `plain:`.
    pub plain: bool,
    /// `message:`, shown when the machine runs.
    pub message: Option<String>,
}

/// `user:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Login name.
    pub name: String,
    /// GECOS.
    pub comment: String,
    /// Home directory in the guest.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// User ID in the guest.
    pub uid: u32,
    /// Whether `sudo` asks for no password.
    pub passwordless_sudo: bool,
}

/// `ssh:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ssh {
    /// `localPort:`; `None` (0 in the template): a free one at every start.
    pub local_port: Option<u16>,
    /// `loadDotSSHPubKeys:`: the user's own public keys may log in too.
    pub load_dot_ssh_pub_keys: bool,
    /// `forwardAgent:`.
    pub forward_agent: bool,
    /// `forwardX11:`.
    pub forward_x11: bool,
    /// `forwardX11Trusted:`.
    pub forward_x11_trusted: bool,
}

/// One entry of `mounts:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Directory of the host, absolute.
    pub location: String,
    /// Where the guest has it, absolute.
    pub mount_point: String,
    /// Whether the guest may write to it.
    pub writable: bool,
    /// `9p.securityModel`.
    pub nine_p_security_model: String,
    /// `9p.protocolVersion`.
    pub nine_p_version: String,
    /// `9p.msize` in bytes.
    pub nine_p_msize_bytes: u64,
    /// `9p.cache`.
    pub nine_p_cache: String,
    /// `virtiofs.queueSize`.
    pub virtiofs_queue_size: Option<u32>,
    /// `sshfs.cache`.
    pub sshfs_cache: bool,
    /// `sshfs.followSymlinks`.
    pub sshfs_follow_symlinks: bool,
}

/// How a directory is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountType {
    /// SSHFS from the guest to an SFTP server on the host, over the connection that the host opened.
    #[serde(rename = "reverse-sshfs")]
    ReverseSshfs,
    /// 9p over virtio, served by QEMU.
    #[serde(rename = "9p")]
    NineP,
    /// virtiofs, served by virtiofsd.
    #[serde(rename = "virtiofs")]
    Virtiofs,
}

/// One entry of `portForwards:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortForward {
    /// What listens in the guest.
    pub guest: GuestEnd,
    /// What listens on the host; ranges are as long as those of the guest.
    pub host: HostEnd,
    /// What the guest listens on is not forwarded by this rule or by a later one.
    pub ignore: bool,
    /// Forwarded from the start, whether or not something listens.
    pub is_static: bool,
    /// The host's socket is forwarded into the guest (sockets only).
    pub reverse: bool,
}

/// The guest's side of a forward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GuestEnd {
    /// TCP ports, first and last.
    Ports {
        /// The address; a guest that listens on all addresses matches 127.0.0.1 as well.
        ip: IpAddr,
        /// `guestIPMustBeZero`: only what listens on all addresses matches.
        must_be_zero: bool,
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
    },
    /// A unix socket.
    Socket(String),
}

/// The host's side of a forward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HostEnd {
    /// TCP ports.
    Ports {
        /// The address, loopback unless the template says otherwise.
        ip: IpAddr,
        /// The first port; the others follow it.
        first: u16,
    },
    /// A unix socket, by an absolute path.
    Socket(String),
}

/// One entry of `provision:`, its script inlined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "mode")]
pub enum Provision {
    /// As root, after the network is there.
    System {
        /// The script.
        script: String,
    },
    /// As the user.
    User {
        /// The script.
        script: String,
    },
    /// As root, before everything else, at every boot.
    Boot {
        /// The script.
        script: String,
    },
    /// As root, before callao's own dependencies are installed.
    Dependency {
        /// The script.
        script: String,
        /// Whether callao installs none of its own.
        skip_default: bool,
    },
    /// A file in the guest.
    Data {
        /// What is in it.
        content: String,
        /// Its path.
        path: String,
        /// `user:group`.
        owner: String,
        /// In octal, such as `644`.
        permissions: String,
        /// Whether a file that is there is replaced.
        overwrite: bool,
    },
}

/// One entry of `probes:`: a script that ends with 0 once the machine is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// What is waited for.
    pub description: String,
    /// The script, beginning with `#!`.
    pub script: String,
    /// What to do when it never succeeds.
    pub hint: String,
}

/// One entry of `copyToHost:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyToHost {
    /// A file in the guest.
    pub guest: String,
    /// Where it goes on the host.
    pub host: String,
    /// Whether it may be missing.
    pub skip_if_missing: bool,
    /// Whether the copy is removed when the machine stops.
    pub delete_on_stop: bool,
}

/// Which containerd the guest gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Installs {
    /// As root.
    pub system: bool,
    /// Rootless, for the user.
    pub user: bool,
}

/// `caCerts:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaCerts {
    /// The guest's own certificates are not trusted any more.
    pub remove_defaults: bool,
    /// Files of the host, absolute, in PEM.
    pub files: Vec<String>,
    /// Certificates in PEM.
    pub certs: Vec<String>,
}

/// What Lima's defaults depend on, and what the names in templates (`{{.User}}`, `{{.Dir}}`) stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// Name of the instance.
    pub name: String,
    /// Its directory on the host.
    pub dir: String,
    /// The architecture that was chosen.
    pub arch: Arch,
    /// CPUs of the host.
    pub host_cpus: u32,
    /// Memory of the host in bytes.
    pub host_memory_bytes: u64,
    /// Login name of the user on the host.
    pub user: String,
    /// GECOS of the user on the host.
    pub user_comment: String,
    /// User ID on the host.
    pub uid: u32,
    /// Home directory on the host.
    pub home: String,
    /// The host's directory for temporary files.
    pub temporary_dir: String,
    /// The host's time zone, where it is known.
    pub timezone: Option<String>,
}

/// What the command line says instead of the template.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// `--cpus`.
    pub cpus: Option<u32>,
    /// `--memory` in bytes.
    pub memory_bytes: Option<u64>,
    /// `--disk` in bytes.
    pub disk_bytes: Option<u64>,
    /// `--mount`: directory of the host, absolute, and whether it may be written to. They are added to the template's.
    pub mounts: Vec<(String, bool)>,
    /// `--port-forward`: port of the host, port of the guest; static. They come before the template's.
    pub port_forwards: Vec<(u16, u16)>,
    /// `--plain`.
    pub plain: bool,
    /// `--containerd`.
    pub containerd: Option<Installs>,
}
