//! What this computer is: processors, memory, its user, its time zone. Read once, from where Linux keeps it; what cannot
//! be read has a modest value. Decides nothing.

#![expect(
    clippy::disallowed_methods,
    reason = "with its parent the one place that reads the system's state"
)]

use std::path::{Path, PathBuf};

/// Assumed where the system does not tell.
const MEMORY_BYTES: u64 = 4 << 30;
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A user of this computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// Login name.
    pub(crate) name: String,
    /// Full name, the first part of GECOS.
    pub(crate) comment: String,
}

/// How many processors this process may use.
pub(crate) fn cpus() -> u32 {
    std::thread::available_parallelism()
        .ok()
        .and_then(|count| u32::try_from(count.get()).ok())
        .unwrap_or(1)
}

/// Memory in bytes.
pub(crate) fn memory_bytes() -> u64 {
    read("/proc/meminfo")
        .as_deref()
        .and_then(memory_in)
        .unwrap_or(MEMORY_BYTES)
}

fn memory_in(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The user of this ID; nameless if the system does not know it.
pub(crate) fn user(uid: u32) -> User {
    read("/etc/passwd")
        .as_deref()
        .and_then(|passwd| user_in(passwd, uid))
        .unwrap_or(User {
            name: String::new(),
            comment: String::new(),
        })
}

fn user_in(passwd: &str, uid: u32) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        if id.parse() != Ok(uid) {
            return None;
        }
        let comment = fields.nth(1).unwrap_or_default();
        Some(User {
            name: name.into(),
            comment: comment.split(',').next().unwrap_or_default().into(),
        })
    })
}

/// Where programs put files that are of no lasting value.
pub(crate) fn temporary_dir() -> PathBuf {
    std::env::temp_dir()
}

/// The time zone, such as `Europe/Lisbon`: what `/etc/localtime` is a link to, else `/etc/timezone`.
pub(crate) fn timezone() -> Option<String> {
    let link = std::fs::read_link("/etc/localtime").ok();
    link.as_deref()
        .and_then(zone_in)
        .or_else(|| read("/etc/timezone").map(|text| text.trim().to_string()))
        .filter(|zone| !zone.is_empty())
}

fn zone_in(link: &Path) -> Option<String> {
    let (_, zone) = link.to_str()?.split_once("zoneinfo/")?;
    Some(zone.to_string())
}

fn read(path: &str) -> Option<String> {
    let bytes = super::read_small_file(Path::new(path), FILE_BYTES_MAX).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_that_of_the_line_that_says_so() {
        let text = "MemTotal:       16303428 kB\nMemFree:          123 kB\n";
        assert_eq!(memory_in(text), Some(16_303_428 * 1024));
        assert_eq!(memory_in("MemFree: 1 kB\n"), None);
        assert_eq!(memory_in("MemTotal: many kB\n"), None);
    }

    #[test]
    fn a_user_is_found_by_its_number() {
        let passwd = "a:x:1:2:A Person,Room 1:/x:/bin/sh\nb:x:12:2::/y:/bin/sh\nbroken\n";
        let user = |uid| user_in(passwd, uid).map(|user| (user.name, user.comment));
        assert_eq!(user(1), Some(("a".into(), "A Person".into())));
        assert_eq!(user(12), Some(("b".into(), String::new())));
        assert_eq!(user(2), None);
    }

    #[test]
    fn a_zone_is_what_the_link_leads_to() {
        let zone = |path: &str| zone_in(Path::new(path));
        assert_eq!(
            zone("/usr/share/zoneinfo/Europe/Lisbon").as_deref(),
            Some("Europe/Lisbon")
        );
        assert_eq!(zone("../usr/share/zoneinfo/UTC").as_deref(), Some("UTC"));
        assert_eq!(zone("/etc/other"), None);
    }
}
