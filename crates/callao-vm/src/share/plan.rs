//! Which way each mount goes: virtiofs, 9p, or sshfs over the ssh connection. Pure.
//! Must not know where the programs are, nor whether the guest can do it: that shows when it tries.

use std::fmt::Write as _;

use callao_content::hash::sha256;
use callao_template::machine::{Machine, Mount, MountType};

/// What the host can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Host {
    /// There is a virtiofsd that this user may run, and QEMU has `vhost-user-fs-pci`.
    pub virtiofs: bool,
    /// That virtiofsd can itself refuse to write (`--readonly`).
    pub virtiofs_read_only: bool,
    /// QEMU has `virtio-9p-pci`.
    pub nine_p: bool,
    /// There is an `sftp-server`.
    pub sftp: bool,
}

/// One mount and its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The mount.
    pub mount: Mount,
    /// What the guest knows it by.
    pub tag: String,
    /// How it is tried first.
    pub way: MountType,
    /// Whether sshfs is tried when the guest cannot do that.
    pub then_sshfs: bool,
    /// Why it is not, where the template would let it.
    pub why_no_sshfs: Option<String>,
    /// Why it does not go a better way; empty if there is none.
    pub reasons: Vec<String>,
}

/// Why a mount goes no way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The template's way is none on this host.
    #[error(
        "mountType {way}: mount {location}: {why}; leave mountType out and the best way that there is is taken"
    )]
    Chosen {
        /// What the template wants.
        way: &'static str,
        /// The directory.
        location: String,
        /// Why not.
        why: String,
    },
    /// There is no way at all.
    #[error("mount {location}: there is no way to share it: {why}")]
    None {
        /// The directory.
        location: String,
        /// Why not, way by way.
        why: String,
    },
}

/// The way of each mount, in the order of the template.
///
/// The template's way if it names one; else virtiofs, 9p, sshfs, the first that can be had and that enforces on the host
/// what the template promises: a guest's root may remount read-write whatever the guest mounted read-only.
///
/// # Errors
/// A mount goes no way, or not the way that the template wants.
pub fn plan(machine: &Machine, host: Host) -> Result<Vec<Share>, Error> {
    let shares = machine.mounts.iter().map(|mount| {
        let (way, reasons) = way_of(machine, mount, host)?;
        let is_last = machine.mount_type.is_some() || way == MountType::ReverseSshfs;
        let why_no_sshfs = why_not(MountType::ReverseSshfs, machine, mount, host);
        Ok(Share {
            tag: tag(mount),
            way,
            then_sshfs: !is_last && why_no_sshfs.is_none(),
            why_no_sshfs: why_no_sshfs.filter(|_| !is_last),
            reasons,
            mount: mount.clone(),
        })
    });
    shares.collect()
}

fn way_of(machine: &Machine, mount: &Mount, host: Host) -> Result<(MountType, Vec<String>), Error> {
    let location = mount.location.clone();
    if let Some(way) = machine.mount_type {
        return match why_not(way, machine, mount, host) {
            None => Ok((way, Vec::new())),
            Some(why) => Err(Error::Chosen {
                way: name(way),
                location,
                why,
            }),
        };
    }
    let mut reasons = Vec::new();
    for way in [
        MountType::Virtiofs,
        MountType::NineP,
        MountType::ReverseSshfs,
    ] {
        match why_not(way, machine, mount, host) {
            None => return Ok((way, reasons)),
            Some(why) => reasons.push(format!("{}: {why}", name(way))),
        }
    }
    Err(Error::None {
        location,
        why: reasons.join("; "),
    })
}

fn why_not(way: MountType, machine: &Machine, mount: &Mount, host: Host) -> Option<String> {
    if machine.mount_types_unsupported.contains(&way) {
        return Some("the template says that the guest cannot (mountTypesUnsupported)".to_owned());
    }
    let why = match way {
        MountType::Virtiofs if !host.virtiofs => {
            "there is no virtiofsd that this user may run, or QEMU has no vhost-user-fs-pci"
        }
        MountType::Virtiofs if !mount.writable && !host.virtiofs_read_only => {
            "the virtiofsd here cannot keep the guest from writing; one that knows --readonly can (1.13 or newer)"
        }
        MountType::NineP if !host.nine_p => "QEMU has no virtio-9p-pci",
        MountType::ReverseSshfs if !host.sftp => {
            "there is no sftp-server (Debian, Ubuntu: openssh-sftp-server; Fedora: openssh-server)"
        }
        _ => return None,
    };
    Some(why.to_owned())
}

/// As templates write it.
#[must_use]
pub fn name(way: MountType) -> &'static str {
    match way {
        MountType::ReverseSshfs => "reverse-sshfs",
        MountType::NineP => "9p",
        MountType::Virtiofs => "virtiofs",
    }
}

/// What the guest knows a mount by (Lima: `limayaml.MountTag`).
#[must_use]
pub fn tag(mount: &Mount) -> String {
    let hash = sha256(format!("{}:{}", mount.location, mount.mount_point).as_bytes());
    let mut tag = "lima-".to_owned();
    for byte in &hash[..8] {
        // Writing to a string cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag
}

#[cfg(test)]
mod tests;
