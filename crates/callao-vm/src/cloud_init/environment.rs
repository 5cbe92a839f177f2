//! What the scripts of the guest find in their environment, and what its users find in theirs.
//!
//! The names are Lima's (`lima.env` in `pkg/cidata/cidata.TEMPLATE.d`), because provision scripts use them; the text is
//! not: here every value is quoted, so that a shell can read the files whatever is in them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use callao_template::machine::{Machine, Provision};

use super::{
    ARCHIVE_SERIAL, Facts, GUEST_ADDRESS, GuestMount, HOST_ADDRESS, MountHow, RESOLVER_ADDRESS,
};

/// `lima.env`: what Lima tells scripts, as far as it is true of callao.
pub(super) fn lima(machine: &Machine, facts: &Facts) -> String {
    let mut out = String::new();
    let mut set = |name: &str, value: &str| assign(&mut out, &format!("LIMA_CIDATA_{name}"), value);
    set("IID", &facts.instance_id);
    set("NAME", &facts.name);
    set("USER", &machine.user.name);
    set("UID", &machine.user.uid.to_string());
    set("COMMENT", &machine.user.comment);
    set("HOME", &machine.user.home);
    set("SHELL", &machine.user.shell);
    set("MOUNTS", &facts.mounts.len().to_string());
    for (number, mount) in facts.mounts.iter().enumerate() {
        set(&format!("MOUNTS_{number}_MOUNTPOINT"), &mount.mount_point);
    }
    set(
        "MOUNTTYPE",
        facts.mounts.first().map_or("", lima_mount_type),
    );
    set("GUEST_INSTALL_PREFIX", &machine.guest_install_prefix);
    set("UPGRADE_PACKAGES", flag(machine.upgrade_packages));
    set("CONTAINERD_USER", flag(machine.containerd.user));
    set("CONTAINERD_SYSTEM", flag(machine.containerd.system));
    set("SLIRP_DNS", RESOLVER_ADDRESS);
    set("SLIRP_GATEWAY", HOST_ADDRESS);
    set("SLIRP_IP_ADDRESS", GUEST_ADDRESS);
    set(
        "SKIP_DEFAULT_DEPENDENCY_RESOLUTION",
        flag(skips_packages(machine)),
    );
    set("VMTYPE", "qemu");
    set("PLAIN", flag(machine.plain));
    set("PASSWORDLESS_SUDO", flag(machine.user.passwordless_sudo));
    out
}

/// `param.env`: `param:`.
pub(super) fn params(machine: &Machine) -> String {
    let mut out = String::new();
    for (name, value) in &machine.param {
        assign(&mut out, &format!("PARAM_{name}"), value);
    }
    out
}

/// `callao.env`: what callao's own scripts are told.
pub(super) fn callao(machine: &Machine, facts: &Facts) -> String {
    let mut out = String::new();
    let mut set = |name: &str, value: &str| assign(&mut out, &format!("CALLAO_{name}"), value);
    set("MOUNTS", &facts.mounts.len().to_string());
    for (number, mount) in facts.mounts.iter().enumerate() {
        let (kind, options) = mount_arguments(mount);
        set(&format!("MOUNT_{number}_TAG"), &mount.tag);
        set(&format!("MOUNT_{number}_TYPE"), kind);
        set(&format!("MOUNT_{number}_OPTIONS"), &options);
        set(&format!("MOUNT_{number}_POINT"), &mount.mount_point);
        let may_need_sshfs = mount.then_sshfs || mount.how == MountHow::Sshfs;
        set(&format!("MOUNT_{number}_SSHFS"), flag(may_need_sshfs));
    }
    for (number, provision) in machine.provision.iter().enumerate() {
        if let Provision::Data {
            path,
            owner,
            permissions,
            overwrite,
            ..
        } = provision
        {
            set(&format!("DATA_{number:08}_PATH"), path);
            set(&format!("DATA_{number:08}_OWNER"), owner);
            set(&format!("DATA_{number:08}_PERMISSIONS"), permissions);
            set(&format!("DATA_{number:08}_OVERWRITE"), flag(*overwrite));
        }
    }
    if let Some(archive) = &facts.containerd_archive {
        set("ARCHIVE_SERIAL", ARCHIVE_SERIAL);
        set("ARCHIVE_BYTES", &archive.size_bytes.to_string());
        set("ARCHIVE_IDENTITY", &archive.identity);
    }
    out
}

/// `guest.env`: `env:` and the proxies, for the scripts.
pub(super) fn guest(machine: &Machine, proxies: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    for (name, value) in merged(machine, proxies) {
        if is_name(name) {
            assign(&mut out, name, value);
        }
    }
    out
}

/// What goes into `/etc/environment`. `pam_env` reads it: a line is a variable, `#` ends it, quotes around the value are
/// dropped, and nothing can be escaped.
pub(super) fn etc_environment(machine: &Machine, proxies: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    for (name, value) in merged(machine, proxies) {
        let _ = if !is_name(name) {
            writeln!(out, "# {name:?} is no name of a variable")
        } else if value.contains(|c: char| c == '#' || c.is_control()) {
            writeln!(
                out,
                "# {name} is missing: this file can hold neither `#` nor control characters"
            )
        } else if value.trim() != value || value.starts_with(['"', '\'']) {
            writeln!(out, "{name}=\"{value}\"")
        } else {
            writeln!(out, "{name}={value}")
        };
    }
    out
}

fn merged<'a>(
    machine: &'a Machine,
    proxies: &'a BTreeMap<String, String>,
) -> BTreeMap<&'a String, &'a String> {
    let others = machine
        .env
        .iter()
        .filter(|(name, _)| !super::proxy::is_proxy(name));
    others.chain(proxies).collect()
}

/// A variable of a shell; anything else could not be set, and would be read as something else.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn mount_arguments(mount: &GuestMount) -> (&'static str, String) {
    let access = if mount.writable { "rw" } else { "ro" };
    match &mount.how {
        MountHow::NineP {
            msize_bytes,
            version,
            cache,
        } => (
            "9p",
            format!("{access},trans=virtio,version={version},msize={msize_bytes},cache={cache}"),
        ),
        MountHow::Virtiofs => ("virtiofs", access.to_owned()),
        MountHow::Sshfs => ("sshfs", access.to_owned()),
    }
}

fn lima_mount_type(mount: &GuestMount) -> &'static str {
    match mount.how {
        MountHow::NineP { .. } => "9p",
        MountHow::Virtiofs => "virtiofs",
        MountHow::Sshfs => "reverse-sshfs",
    }
}

fn skips_packages(machine: &Machine) -> bool {
    machine.provision.iter().any(|provision| {
        matches!(
            provision,
            Provision::Dependency {
                skip_default: true,
                ..
            }
        )
    })
}

/// Lima's way to say yes and no.
fn flag(yes: bool) -> &'static str {
    if yes { "1" } else { "" }
}

/// An assignment that a shell reads back as the same text.
fn assign(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "{name}='{}'", value.replace('\'', r"'\''"));
}
