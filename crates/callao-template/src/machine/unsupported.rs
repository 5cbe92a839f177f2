//! What Lima can do and callao cannot: an error that names the field and what would help, never a silence. A key with the
//! value that asks for nothing is fine. It must not know the fields that are supported.

use super::Surroundings;
use super::section::Section;
use crate::error::Error;
use crate::model::Arch;

/// Booleans that may not be true: mapping, key, what would help.
const NOT_TRUE: [(&str, &str, &str); 5] = [
    ("", "tpm", "remove it"),
    ("", "nestedVirtualization", "remove it"),
    (
        "",
        "mountInotify",
        "remove it; programs in the guest must poll for changes on the host",
    ),
    (
        "rosetta",
        "enabled",
        "remove it; it belongs to vmType vz on macOS",
    ),
    ("ssh", "overVsock", "remove it; ssh uses a loopback port"),
];

/// Texts that may only be one of these: mapping, key, the values, what would help.
const ONLY: [(&str, &str, &[&str], &str); 4] = [
    (
        "",
        "os",
        &["Linux", "default"],
        "only guests with Linux can be run",
    ),
    (
        "",
        "vmType",
        &["qemu", "default"],
        "remove it or write `vmType: qemu`",
    ),
    (
        "audio",
        "device",
        &["none"],
        "remove it; the machine has no sound",
    ),
    (
        "video",
        "display",
        &["none"],
        "remove it or write `display: none`; the machine is reached by ssh",
    ),
];

/// Lists that must be empty: key, what would help.
const EMPTY: [(&str, &str); 2] = [
    (
        "networks",
        "remove it; the machine has QEMU's user network, and portForwards lead into it",
    ),
    (
        "additionalDisks",
        "remove it and choose a larger `disk:`, or share a directory by `mounts:`",
    ),
];

/// Refuses a template that asks for more than there is.
pub(super) fn check(top: &Section<'_>, around: &Surroundings) -> Result<(), Error> {
    let around_key = |name: &str| {
        if name.is_empty() {
            Ok(top.clone())
        } else {
            top.section(name)
        }
    };
    for (mapping, key, values, help) in ONLY {
        let section = around_key(mapping)?;
        if let Some(value) = section.text(key)?.filter(|text| !values.contains(text)) {
            return Err(section.unsupported_value(key, Some(value), help));
        }
    }
    if !matches!(around.arch, Arch::X86_64 | Arch::Aarch64) {
        let help = "choose x86_64 or aarch64 with --arch";
        return Err(top.unsupported_value("arch", Some(around.arch.name()), help));
    }
    for (mapping, key, help) in NOT_TRUE {
        let section = around_key(mapping)?;
        if section.is_set(key)? {
            return Err(section.unsupported_value(key, Some("true"), help));
        }
    }
    for (key, help) in EMPTY {
        if top.count(key)? > 0 {
            return Err(top.unsupported(key, help));
        }
    }
    Ok(())
}
