//! From the tree of a template to a machine: Lima's defaults, its rules, and what the command line says instead. It must
//! not know the files of the template.

use std::collections::BTreeMap;

use super::expand::{Names, expand_known};
use super::section::Section;
use super::{
    Installs, Machine, Overrides, Ssh, Surroundings, environment, mounts, paths, ports, provision,
    unsupported, user,
};
use crate::error::Error;
use crate::limits;
use crate::model::{Arch, Template};
use crate::tree::{Node, Value};
use crate::validate::shown;

/// `min(4, host)` and `min(4 GiB, half of the host's)`, as in Lima.
const CPUS_DEFAULT_MAX: u32 = 4;
const MEMORY_BYTES_DEFAULT_MAX: u64 = 4 << 30;
const DISK_BYTES_DEFAULT: u64 = 100 << 30;
/// QEMU counts memory in these.
const MIB: u64 = 1 << 20;
const INSTALL_PREFIX_DEFAULT: &str = "/usr/local";

/// The machine that a template describes here.
///
/// # Errors
/// A field of a wrong type or value, names that mean nothing, what callao cannot do, an option that does not fit.
pub fn read(
    template: &Template,
    around: &Surroundings,
    overrides: &Overrides,
) -> Result<Machine, Error> {
    let root = &template.tree;
    let top = &Section::top(root)?;
    if top.get("base").is_some_and(|base| !is_empty(base)) {
        return Err(top.bad("base", "must be merged before a machine is made of it"));
    }
    unsupported::check(top, around)?;
    let plain = overrides.plain || top.is_set("plain")?;
    let param = environment::param(top, root)?;
    let user = user::user(top, around, &param, plain)?;
    let guest = Names::of_guest(around, &user, &param);
    let host = Names::of_host(around, &param);
    let names = (&guest, &host);
    let (mount_type, mount_types_unsupported) = mounts::mount_types(top)?;
    let mounts = if plain {
        Vec::new()
    } else {
        mounts::mounts(top, around, &user.home, names, overrides)?
    };
    let resolver = top.section("hostResolver")?;
    let resolver_on = resolver.said("enabled")?.unwrap_or(true);
    let message = top.long_text("message")?.filter(|text| !text.is_empty());
    let message = message.map(|text| expand_known(text, &Names::of_message(around, &param)));
    Ok(Machine {
        arch: around.arch,
        cpus: cpus(top, around, overrides)?,
        memory_bytes: memory(top, around, overrides)?,
        disk_bytes: disk(top, overrides)?,
        cpu_type: cpu_type(top, around.arch)?,
        legacy_bios: top.section("firmware")?.is_set("legacyBIOS")?,
        ssh: ssh(&top.section("ssh")?)?,
        mounts,
        mount_type,
        mount_types_unsupported,
        port_forwards: ports::forwards(top, around, names, overrides, plain)?,
        provision: provision::provision(top, &guest)?,
        probes: provision::probes(top, &guest)?,
        copy_to_host: provision::copies(top, around, names)?,
        containerd: containerd(top, around.arch, overrides, plain)?,
        guest_install_prefix: install_prefix(top)?,
        env: environment::env(top)?,
        dns: environment::dns(top, resolver_on)?,
        hosts: if resolver_on {
            environment::hosts(&resolver)?
        } else {
            BTreeMap::new()
        },
        propagate_proxy: top.said("propagateProxyEnv")?.unwrap_or(true),
        ca_certs: environment::ca_certs(&top.section("caCerts")?, around)?,
        timezone: environment::timezone(top, around, plain)?,
        upgrade_packages: top.is_set("upgradePackages")?,
        plain,
        message,
        user,
        param,
    })
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::List(items) => items.is_empty(),
        Value::Scalar { text, .. } => text.is_empty(),
        _ => false,
    }
}

fn cpus(top: &Section<'_>, around: &Surroundings, overrides: &Overrides) -> Result<u32, Error> {
    let said = top.number("cpus", 0..=limits::CPUS_COUNT_MAX)?;
    if let Some(cpus) = overrides.cpus {
        if cpus == 0 || cpus > limits::CPUS_COUNT_MAX {
            return Err(Error::BadOption {
                option: "--cpus",
                reason: format!(
                    "must be a number from 1 to {}, not `{cpus}`",
                    limits::CPUS_COUNT_MAX
                ),
            });
        }
        return Ok(cpus);
    }
    let usual = around.host_cpus.clamp(1, CPUS_DEFAULT_MAX);
    Ok(said.filter(|cpus| *cpus > 0).unwrap_or(usual))
}

fn memory(top: &Section<'_>, around: &Surroundings, overrides: &Overrides) -> Result<u64, Error> {
    let range = limits::MEMORY_BYTES_MIN..=limits::SIZE_BYTES_MAX;
    let said = top.bytes("memory", range.clone())?;
    if let Some(bytes) = overrides.memory_bytes {
        return option_size("--memory", bytes, range.contains(&bytes));
    }
    let half = around.host_memory_bytes / 2;
    let usual = half.clamp(limits::MEMORY_BYTES_MIN, MEMORY_BYTES_DEFAULT_MAX);
    Ok(said.unwrap_or(usual / MIB * MIB))
}

fn disk(top: &Section<'_>, overrides: &Overrides) -> Result<u64, Error> {
    let range = 1..=limits::SIZE_BYTES_MAX;
    let said = top.bytes("disk", range.clone())?;
    match overrides.disk_bytes {
        Some(bytes) => option_size("--disk", bytes, range.contains(&bytes)),
        None => Ok(said.unwrap_or(DISK_BYTES_DEFAULT)),
    }
}

fn option_size(option: &'static str, bytes: u64, fits: bool) -> Result<u64, Error> {
    if fits {
        return Ok(bytes);
    }
    Err(Error::BadOption {
        option,
        reason: format!("must not be {bytes} bytes"),
    })
}

/// The driver's own option counts before the old one at the top (`FillConfig` in `pkg/driver/qemu`).
fn cpu_type(top: &Section<'_>, arch: Arch) -> Result<Option<String>, Error> {
    let own = top.section("vmOpts")?.section("qemu")?.section("cpuType")?;
    for section in [own, top.section("cpuType")?] {
        let Some(text) = section.text(arch.name())? else {
            continue;
        };
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            let reason = format!("must be the name of a CPU, not `{}`", shown(text));
            return Err(section.bad(arch.name(), reason));
        }
        return Ok(Some(text.to_owned()));
    }
    Ok(None)
}

fn ssh(section: &Section<'_>) -> Result<Ssh, Error> {
    let port = section.number("localPort", 0..=u32::from(u16::MAX))?;
    if port == Some(22) {
        let reason = "must not be 22, where the host's own ssh is";
        return Err(section.bad("localPort", reason));
    }
    let port = port.and_then(|port| u16::try_from(port).ok());
    Ok(Ssh {
        local_port: port.filter(|port| *port > 0),
        load_dot_ssh_pub_keys: section.is_set("loadDotSSHPubKeys")?,
        forward_agent: section.is_set("forwardAgent")?,
        forward_x11: section.is_set("forwardX11")?,
        forward_x11_trusted: section.is_set("forwardX11Trusted")?,
    })
}

/// As `Template::wants_containerd`.
fn containerd(
    top: &Section<'_>,
    arch: Arch,
    overrides: &Overrides,
    plain: bool,
) -> Result<Installs, Error> {
    let section = top.section("containerd")?;
    let usual = matches!(arch, Arch::X86_64 | Arch::Aarch64);
    let said = Installs {
        system: section.is_set("system")?,
        user: section.said("user")?.unwrap_or(usual),
    };
    Ok(match overrides.containerd {
        _ if plain => Installs::default(),
        Some(installs) => installs,
        None => said,
    })
}

fn install_prefix(top: &Section<'_>) -> Result<String, Error> {
    let key = "guestInstallPrefix";
    let prefix = top.text(key)?.unwrap_or(INSTALL_PREFIX_DEFAULT);
    paths::absolute(top, key, prefix)
}
