//! What limactl calls an instance that is made from an image alone (`InstNameFromImageURL` in `pkg/limatmpl/locator.go`,
//! Lima v2.2): the image's name without what says nothing. Pure.

/// Words that say nothing of what an image is.
const GENERIC: [&str; 22] = [
    "base",
    "basic",
    "cloud",
    "cloudimg",
    "cloudinit",
    "current",
    "daily",
    "default",
    "generic",
    "genericcloud",
    "kvm",
    "latest",
    "linux",
    "minimal",
    "openstack",
    "release",
    "restore",
    "server",
    "std",
    "stream",
    "uefi",
    "vm",
];

/// The name for an image with this file name, on a computer of this architecture.
pub(crate) fn instance(file_name: &str, native: &str) -> String {
    let mut name = without_format(&file_name.to_lowercase()).to_string();
    name = name.strip_prefix("nocloud_").unwrap_or(&name).to_string();
    for word in GENERIC {
        name = without_word(&name, word);
    }
    name = name.replacen("universalmac_", "macos-", 1);
    name = name.replacen("arm64-aarch64", "arm64", 1);
    name = without_word(&name, native);
    name = without_date(&name);
    if let Some(rest) = name.strip_prefix("arch")
        && !rest.starts_with(is_word)
    {
        name = format!("archlinux{rest}");
    }
    name = without_repeated_major(&name);
    without_macos_build(&name)
}

fn without_format(name: &str) -> &str {
    let plain = [".gz", ".xz", ".bz2", ".zstd"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name);
    [".img", ".qcow2", ".raw", ".iso", ".ipsw"]
        .iter()
        .find_map(|ending| plain.strip_suffix(ending))
        .unwrap_or(name)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_separator(c: char) -> bool {
    matches!(c, '-' | '_' | '.')
}

/// Without a separator and the word after it, wherever the word ends there.
fn without_word(name: &str, word: &str) -> String {
    without(name, |after| {
        after
            .strip_prefix(word)
            .filter(|rest| !rest.starts_with(is_word))
    })
}

/// Without `-20YYMMDD`, and a number after it.
fn without_date(name: &str) -> String {
    without(name, |after| {
        let (date, rest) = digits(after.strip_prefix("20")?);
        if date != 6 {
            return None;
        }
        let numbered = rest
            .strip_prefix(is_separator)
            .map(digits)
            .filter(|(count, rest)| *count > 0 && !rest.starts_with(is_word))
            .map(|(_, rest)| rest);
        numbered.or(Some(rest).filter(|rest| !rest.starts_with(is_word)))
    })
}

/// How many digits a text begins with, and what follows them.
fn digits(text: &str) -> (usize, &str) {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    (count, &text[count..])
}

/// Takes out each separator after which `end` finds something to take out with it.
fn without(name: &str, end: impl Fn(&str) -> Option<&str>) -> String {
    let mut out = String::new();
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match end(after).filter(|_| is_separator(c)) {
            Some(rest) => rest,
            None => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// `rocky-8-8.10` is `rocky-8.10`.
fn without_repeated_major(name: &str) -> String {
    let parts: Vec<&str> = name.split('-').collect();
    let mut kept: Vec<&str> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let is_repeated = is_number
            && index > 0
            && parts.get(index + 1).is_some_and(|next| {
                next.strip_prefix(part)
                    .is_some_and(|rest| rest.starts_with('.'))
            });
        if !is_repeated {
            kept.push(part);
        }
    }
    kept.join("-")
}

/// `macos-15.6.1_24g90` is `macos-15.6.1`.
fn without_macos_build(name: &str) -> String {
    let Some(version) = name.strip_prefix("macos-") else {
        return name.to_string();
    };
    let count = version
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
        .count();
    match version[count..].starts_with(['-', '_']) && count > 0 {
        true => format!("macos-{}", &version[..count]),
        false => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_give_the_names_that_limactl_gives() {
        let cases = [
            (
                "ubuntu-24.04-server-cloudimg-amd64.img",
                "ubuntu-24.04-amd64",
            ),
            ("ubuntu-24.04-server-cloudimg-x86_64.img", "ubuntu-24.04"),
            (
                "Rocky-8-GenericCloud-Base-8.10-20240528.0.x86_64.qcow2",
                "rocky-8.10",
            ),
            (
                "debian-12-genericcloud-amd64-20250316-2053.qcow2",
                "debian-12-amd64",
            ),
            (
                "nocloud_alpine-3.23.4-x86_64-uefi-cloudinit-r0.qcow2",
                "alpine-3.23.4-r0",
            ),
            ("Arch-Linux-x86_64-cloudimg.qcow2", "archlinux"),
            ("archive.raw.xz", "archive"),
            (
                "FreeBSD-16.0-CURRENT-arm64-aarch64-BASIC-CLOUDINIT-ufs.qcow2.xz",
                "freebsd-16.0-arm64-ufs",
            ),
            ("UniversalMac_15.6.1_24G90_Restore.ipsw", "macos-15.6.1"),
            ("disk.img", "disk"),
            ("image.img.zst", "image.img.zst"),
        ];
        for (file, name) in cases {
            assert_eq!(instance(file, "x86_64"), name, "{file}");
        }
    }
}
