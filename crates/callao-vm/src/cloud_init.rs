//! What a guest is told: the documents of its seed volume (cloud-init's `NoCloud`), and the scripts that it runs.
//!
//! Pure: a machine and a few facts go in, texts come out. It must not know how the volume is made (see `seed`) nor what
//! QEMU attaches to the machine.
//!
//! The seed has what cloud-init reads (`user-data`, `meta-data`, `network-config`) and `boot.sh` with all that it needs.
//! `boot.sh` runs at every boot, so a change of the template reaches a machine that was set up long ago.

mod environment;
mod hosts;
mod provision;
mod proxy;
mod user_data;
mod yaml;

use std::collections::BTreeMap;

use callao_template::machine::Machine;

/// Where the guest finds the host: the gateway of QEMU's user network, as in Lima.
pub const HOST_ADDRESS: &str = "192.168.5.2";
/// Where the guest finds a resolver: QEMU's own.
const RESOLVER_ADDRESS: &str = "192.168.5.3";
/// The guest's own address.
const GUEST_ADDRESS: &str = "192.168.5.15";
/// The name of the host in the guest. Lima's, because templates use it.
const HOST_NAME: &str = "host.lima.internal";
/// The `serial=` of the disk that carries the archive of containerd. At most 20 characters fit.
pub const ARCHIVE_SERIAL: &str = "callao-nerdctl";

/// One file of the seed volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name in the volume, such as `user-data` or `mounts.sh`. There are no directories.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl Document {
    fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text: String = text.into();
        Self {
            name: name.into(),
            bytes: text.into_bytes(),
        }
    }
}

/// What a template does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Name of the instance.
    pub name: String,
    /// Host name of the guest.
    pub hostname: String,
    /// The same for an instance's life: cloud-init sets a machine up again when it changes.
    pub instance_id: String,
    /// MAC address of the network card, such as `52:55:55:12:34:56`.
    pub mac_address: String,
    /// Public keys that may log in, each in one line as in `authorized_keys`.
    pub ssh_public_keys: Vec<String>,
    /// What the guest shall try to mount, in this order.
    pub mounts: Vec<GuestMount>,
    /// The texts of `caCerts.files`, in PEM.
    pub ca_certificates: Vec<String>,
    /// The host's proxy variables (`http_proxy` and so on). They are used when the template propagates them.
    pub proxies: BTreeMap<String, String>,
    /// The archive of containerd, if it is attached.
    pub containerd_archive: Option<Archive>,
}

/// A directory of the host that the guest shall mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestMount {
    /// The name under which host and guest know it; letters, digits and `-`.
    pub tag: String,
    /// Where the guest has it, absolute.
    pub mount_point: String,
    /// Whether the guest may write to it.
    pub writable: bool,
    /// How it gets there.
    pub how: MountHow,
    /// Whether the host tries sshfs when the guest cannot do that.
    pub then_sshfs: bool,
}

/// How a directory of the host gets into the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountHow {
    /// 9p over virtio.
    NineP {
        /// `9p.msize` in bytes.
        msize_bytes: u64,
        /// `9p.protocolVersion`.
        version: String,
        /// `9p.cache`.
        cache: String,
    },
    /// virtiofs.
    Virtiofs,
    /// sshfs. The guest only says whether it has it; the host mounts, over its connection.
    Sshfs,
}

/// The archive of containerd on its disk: a `.tar.gz` with the layout of nerdctl-full, padded to full sectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Its length in bytes, without the padding.
    pub size_bytes: u64,
    /// What tells it from every other archive, such as its digest. It is unpacked again when this changes.
    pub identity: String,
}

/// The documents of the seed volume, in an order that depends on nothing else.
#[must_use]
pub fn documents(machine: &Machine, facts: &Facts) -> Vec<Document> {
    let proxies = proxy::variables(machine, &facts.proxies);
    let mut documents = vec![
        Document::new("user-data", user_data::user_data(machine, facts)),
        Document::new("meta-data", user_data::meta_data(facts)),
        Document::new("network-config", user_data::network_config(machine, facts)),
        Document::new("lima.env", environment::lima(machine, facts)),
        Document::new("param.env", environment::params(machine)),
        Document::new("callao.env", environment::callao(machine, facts)),
        Document::new("guest.env", environment::guest(machine, &proxies)),
        Document::new(
            "etc_environment",
            environment::etc_environment(machine, &proxies),
        ),
        Document::new("etc_hosts", hosts::lines(&machine.hosts)),
    ];
    documents.extend(provision::documents(machine));
    documents.extend(
        SCRIPTS
            .iter()
            .map(|(name, text)| Document::new(*name, *text)),
    );
    documents
}

/// What runs in the guest: `boot.sh` calls the others.
const SCRIPTS: [(&str, &str); 9] = [
    ("boot.sh", include_str!("guest/boot.sh")),
    ("blocks.sh", include_str!("guest/blocks.sh")),
    ("session.sh", include_str!("guest/session.sh")),
    ("mounts.sh", include_str!("guest/mounts.sh")),
    ("packages.sh", include_str!("guest/packages.sh")),
    ("data.sh", include_str!("guest/data.sh")),
    ("as-user.sh", include_str!("guest/as-user.sh")),
    ("containerd.sh", include_str!("guest/containerd.sh")),
    ("rootless.sh", include_str!("guest/rootless.sh")),
];

#[cfg(test)]
mod tests;
