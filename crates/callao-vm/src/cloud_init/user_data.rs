//! The three documents that cloud-init reads. Keys as in Lima (`pkg/cidata/cidata.TEMPLATE.d`), and as cloud-init's
//! reference of modules has them.
//!
//! It must not know what `boot.sh` does: cloud-init makes the user and grows the disk, everything else is a script.

use std::fmt::Write as _;

use callao_template::machine::{Machine, Provision};

use super::Facts;
use super::yaml::quoted;

/// Runs `boot.sh` at every boot; cloud-init writes it once, so it must not depend on anything that may change.
const PER_BOOT: &str = include_str!("../guest/per-boot.sh");
/// Where cloud-init looks for what it runs at every boot.
const PER_BOOT_PATH: &str = "/var/lib/cloud/scripts/per-boot/00-callao.boot.sh";

/// `user-data`.
pub(super) fn user_data(machine: &Machine, facts: &Facts) -> String {
    let mut out = String::from("#cloud-config\n");
    user(&mut out, machine, facts);
    out.push_str("growpart:\n  mode: auto\n  devices: [\"/\"]\nresize_rootfs: true\n");
    line(&mut out, "hostname", &quoted(&facts.hostname));
    // Only the line of its own name: the others in this file are `boot.sh`'s.
    line(&mut out, "manage_etc_hosts", "localhost");
    if let Some(timezone) = &machine.timezone {
        line(&mut out, "timezone", &quoted(timezone));
    }
    if machine.upgrade_packages {
        out.push_str(
            "package_update: true\npackage_upgrade: true\npackage_reboot_if_required: true\n",
        );
    }
    if !machine.dns.is_empty() {
        // For guests without systemd-resolved, which do not look into network-config for this (Alpine).
        out.push_str("manage_resolv_conf: true\nresolv_conf:\n  nameservers:\n");
        for address in &machine.dns {
            let _ = writeln!(out, "    - \"{address}\"");
        }
    }
    certificates(&mut out, machine, facts);
    per_boot(&mut out, machine);
    out
}

/// One user as Lima makes it, and no other: the image's own default user is not made.
fn user(out: &mut String, machine: &Machine, facts: &Facts) {
    let user = &machine.user;
    let _ = writeln!(out, "users:\n  - name: {}", quoted(&user.name));
    let mut field = |name: &str, value: &str| line(out, &format!("    {name}"), value);
    // A text: older versions take no number here.
    field("uid", &quoted(&user.uid.to_string()));
    // A colon ends the field in `/etc/passwd`; useradd would refuse, and there would be no user at all.
    let fits = |c: &char| !c.is_control() && *c != ':';
    let comment: String = user.comment.chars().filter(fits).collect();
    if !comment.is_empty() {
        field("gecos", &quoted(&comment));
    }
    field("homedir", &quoted(&user.home));
    field("shell", &quoted(&user.shell));
    if user.passwordless_sudo {
        field("sudo", &quoted("ALL=(ALL) NOPASSWD:ALL"));
    } else {
        field("sudo", &quoted("ALL=(ALL) ALL"));
    }
    field(
        "lock_passwd",
        if user.passwordless_sudo {
            "true"
        } else {
            "false"
        },
    );
    if !facts.ssh_public_keys.is_empty() {
        out.push_str("    ssh_authorized_keys:\n");
    }
    for key in &facts.ssh_public_keys {
        let _ = writeln!(out, "      - {}", quoted(key.trim()));
    }
}

fn certificates(out: &mut String, machine: &Machine, facts: &Facts) {
    let trusted: Vec<&String> = facts
        .ca_certificates
        .iter()
        .chain(&machine.ca_certs.certs)
        .collect();
    if !machine.ca_certs.remove_defaults && trusted.is_empty() {
        return;
    }
    out.push_str("ca_certs:\n");
    if machine.ca_certs.remove_defaults {
        out.push_str("  remove_defaults: true\n");
    }
    if !trusted.is_empty() {
        out.push_str("  trusted:\n");
    }
    for certificate in trusted {
        let _ = writeln!(out, "    - {}", quoted(certificate));
    }
}

fn per_boot(out: &mut String, machine: &Machine) {
    let has_boot_scripts = machine
        .provision
        .iter()
        .any(|entry| matches!(entry, Provision::Boot { .. }));
    if has_boot_scripts {
        // They run before the network, at the first boot too, when cloud-init has not written the file below yet.
        let _ = writeln!(
            out,
            "bootcmd:\n  - [sh, -c, {}, callao, early]",
            quoted(PER_BOOT)
        );
    }
    let _ = writeln!(out, "write_files:\n  - path: {PER_BOOT_PATH}");
    out.push_str("    owner: root:root\n    permissions: \"0755\"\n    content: |\n");
    for text in PER_BOOT.lines() {
        let _ = writeln!(out, "      {text}");
    }
}

/// `meta-data`.
pub(super) fn meta_data(facts: &Facts) -> String {
    let mut out = String::new();
    line(&mut out, "instance-id", &quoted(&facts.instance_id));
    line(&mut out, "local-hostname", &quoted(&facts.hostname));
    out
}

/// `network-config`, version 2. Unlike Lima's it leaves the card its own name: cloud-init cannot rename one that is up
/// already (Launchpad bug 2136392), and then the guest has no network at all.
pub(super) fn network_config(machine: &Machine, facts: &Facts) -> String {
    let mut out = String::from("version: 2\nethernets:\n  callao0:\n    match:\n");
    line(&mut out, "      macaddress", &quoted(&facts.mac_address));
    out.push_str("    dhcp4: true\n    dhcp-identifier: mac\n    dhcp4-overrides:\n      route-metric: 200\n");
    if !machine.dns.is_empty() {
        out.push_str("    nameservers:\n      addresses:\n");
    }
    for address in &machine.dns {
        let _ = writeln!(out, "        - \"{address}\"");
    }
    out
}

fn line(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "{name}: {value}");
}
