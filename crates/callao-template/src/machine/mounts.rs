//! `mounts:`, `mountType:` and `mountTypesUnsupported:`, with `--mount` (`FillDefault` and `Validate` in `pkg/limayaml`).
//! It must not know whether a directory is there, nor what the guest can mount.

use super::expand::Names;
use super::section::Section;
use super::{Mount, MountType, Overrides, Surroundings, paths};
use crate::error::Error;
use crate::limits;
use crate::validate::shown;

/// What a guest cannot do without. The last three are not in Lima's list: nothing works without them either.
const SYSTEM_PATHS: [&str; 13] = [
    "/", "/bin", "/dev", "/etc", "/home", "/opt", "/sbin", "/tmp", "/usr", "/var", "/proc", "/run",
    "/sys",
];
const SECURITY_MODELS: [&str; 5] = [
    "none",
    "passthrough",
    "mapped",
    "mapped-xattr",
    "mapped-file",
];
const PROTOCOL_VERSIONS: [&str; 3] = ["9p2000", "9p2000.u", "9p2000.L"];
const CACHES: [&str; 5] = ["none", "loose", "fscache", "mmap", "readahead"];
const SFTP_DRIVERS: [&str; 2] = ["builtin", "openssh-sftp-server"];
const MSIZE_BYTES_DEFAULT: u64 = 128 * 1024;
/// What QEMU takes (`hw/9pfs`): below it warns, and above it overflows.
const MSIZE_BYTES_MIN: u64 = 4 * 1024;
const MSIZE_BYTES_MAX: u64 = 1 << 30;

const MOUNT_TYPES: [(&str, MountType); 3] = [
    ("reverse-sshfs", MountType::ReverseSshfs),
    ("9p", MountType::NineP),
    ("virtiofs", MountType::Virtiofs),
];

/// An entry as far as it says something: a later one about the same mount point says the rest.
#[derive(Default)]
struct Said {
    location: String,
    mount_point: String,
    writable: Option<bool>,
    security_model: Option<String>,
    version: Option<String>,
    msize_bytes: Option<u64>,
    cache: Option<String>,
    queue_size: Option<u32>,
    sshfs_cache: Option<bool>,
    follow_symlinks: Option<bool>,
}

/// All mounts, those of the command line last.
pub(super) fn mounts(
    top: &Section<'_>,
    around: &Surroundings,
    guest_home: &str,
    names: (&Names<'_>, &Names<'_>),
    overrides: &Overrides,
) -> Result<Vec<Mount>, Error> {
    let mut all: Vec<Said> = Vec::new();
    for section in top.sections("mounts")? {
        let said = said(&section, around, names)?;
        let key = if section.get("mountPoint").is_some() {
            "mountPoint"
        } else {
            "location"
        };
        allowed(&said.mount_point, guest_home).map_err(|reason| section.bad(key, reason))?;
        add(&mut all, said);
    }
    for (location, writable) in &overrides.mounts {
        let bad = |reason: &str| Error::BadOption {
            option: "--mount",
            reason: format!("`{}` {reason}", shown(location)),
        };
        if !location.starts_with('/') || location.chars().any(char::is_control) {
            return Err(bad("must be an absolute path"));
        }
        let location = crate::locator::clean(location);
        allowed(&location, guest_home).map_err(|reason| bad(&reason))?;
        let said = Said {
            mount_point: location.clone(),
            location: location.clone(),
            writable: Some(*writable),
            ..Said::default()
        };
        add(&mut all, said).location = location;
    }
    Ok(all.into_iter().map(filled).collect())
}

fn said(
    section: &Section<'_>,
    around: &Surroundings,
    (guest, host): (&Names<'_>, &Names<'_>),
) -> Result<Said, Error> {
    let Some(location) = section.text("location")? else {
        return Err(section.bad("location", "is missing"));
    };
    let location = paths::on_host(section, "location", location, Some(host), &around.home)?;
    let mount_point = match section.text("mountPoint")? {
        Some(text) => paths::in_guest(section, "mountPoint", text, guest)?,
        None => location.clone(),
    };
    let nine_p = section.section("9p")?;
    let sshfs = section.section("sshfs")?;
    // Which program serves the files makes no difference to the guest.
    word(&sshfs, "sftpDriver", &SFTP_DRIVERS)?;
    Ok(Said {
        location,
        mount_point,
        writable: section.said("writable")?,
        security_model: word(&nine_p, "securityModel", &SECURITY_MODELS)?,
        version: word(&nine_p, "protocolVersion", &PROTOCOL_VERSIONS)?,
        msize_bytes: nine_p.bytes("msize", MSIZE_BYTES_MIN..=MSIZE_BYTES_MAX)?,
        cache: word(&nine_p, "cache", &CACHES)?,
        queue_size: queue_size(&section.section("virtiofs")?)?,
        sshfs_cache: sshfs.said("cache")?,
        follow_symlinks: sshfs.said("followSymlinks")?,
    })
}

/// One of a few words: they become options of QEMU and of `mount`.
fn word(section: &Section<'_>, key: &str, words: &[&str]) -> Result<Option<String>, Error> {
    let Some(text) = section.text(key)? else {
        return Ok(None);
    };
    if words.contains(&text) {
        return Ok(Some(text.to_owned()));
    }
    let reason = format!("must be one of {}, not `{}`", words.join(", "), shown(text));
    Err(section.bad(key, reason))
}

fn queue_size(section: &Section<'_>) -> Result<Option<u32>, Error> {
    let size = section.number("queueSize", 2..=limits::VIRTIOFS_QUEUE_COUNT_MAX)?;
    match size {
        Some(size) if !size.is_power_of_two() => {
            Err(section.bad("queueSize", format!("must be a power of two, not `{size}`")))
        }
        size => Ok(size),
    }
}

/// Why the guest cannot have something at this place.
fn allowed(mount_point: &str, guest_home: &str) -> Result<(), String> {
    if SYSTEM_PATHS.contains(&mount_point) {
        return Err(format!(
            "would hide `{mount_point}` of the guest: choose another mountPoint"
        ));
    }
    if mount_point == guest_home {
        return Err(format!(
            "would hide the home directory of the guest, `{mount_point}`: choose another mountPoint"
        ));
    }
    Ok(())
}

/// What a later entry says about the same mount point counts; its location does not, as in Lima.
fn add(all: &mut Vec<Said>, later: Said) -> &mut Said {
    let same = |earlier: &Said| earlier.mount_point == later.mount_point;
    let Some(at) = all.iter().position(same) else {
        let at = all.len();
        all.push(later);
        return &mut all[at];
    };
    let earlier = std::mem::take(&mut all[at]);
    all[at] = Said {
        location: earlier.location,
        mount_point: earlier.mount_point,
        writable: later.writable.or(earlier.writable),
        security_model: later.security_model.or(earlier.security_model),
        version: later.version.or(earlier.version),
        msize_bytes: later.msize_bytes.or(earlier.msize_bytes),
        cache: later.cache.or(earlier.cache),
        queue_size: later.queue_size.or(earlier.queue_size),
        sshfs_cache: later.sshfs_cache.or(earlier.sshfs_cache),
        follow_symlinks: later.follow_symlinks.or(earlier.follow_symlinks),
    };
    &mut all[at]
}

/// With Lima's defaults.
fn filled(said: Said) -> Mount {
    let writable = said.writable.unwrap_or(false);
    let cache = if writable { "mmap" } else { "fscache" };
    Mount {
        location: said.location,
        mount_point: said.mount_point,
        writable,
        nine_p_security_model: said.security_model.unwrap_or_else(|| "none".to_owned()),
        nine_p_version: said.version.unwrap_or_else(|| "9p2000.L".to_owned()),
        nine_p_msize_bytes: said.msize_bytes.unwrap_or(MSIZE_BYTES_DEFAULT),
        nine_p_cache: said.cache.unwrap_or_else(|| cache.to_owned()),
        virtiofs_queue_size: said.queue_size.or(Some(limits::VIRTIOFS_QUEUE_COUNT_MAX)),
        sshfs_cache: said.sshfs_cache.unwrap_or(true),
        sshfs_follow_symlinks: said.follow_symlinks.unwrap_or(false),
    }
}

/// `mountType:` and `mountTypesUnsupported:`.
pub(super) fn mount_types(top: &Section<'_>) -> Result<(Option<MountType>, Vec<MountType>), Error> {
    let known = |text: &str| {
        let found = MOUNT_TYPES.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, kind)| kind)
    };
    let mut unsupported = Vec::new();
    for (_, text) in top.texts("mountTypesUnsupported")? {
        match known(text) {
            Some(kind) if !unsupported.contains(&kind) => unsupported.push(kind),
            // What callao would never use may well be excluded.
            Some(_) | None => {}
        }
    }
    let Some(text) = top.text("mountType")? else {
        return Ok((None, unsupported));
    };
    let Some(kind) = known(text) else {
        let help = "write reverse-sshfs, 9p or virtiofs, or remove it";
        return Err(top.unsupported_value("mountType", Some(text), help));
    };
    if unsupported.contains(&kind) {
        let reason = format!("must not be `{text}`, which mountTypesUnsupported excludes");
        return Err(top.bad("mountType", reason));
    }
    Ok((Some(kind), unsupported))
}
