//! Where distributors put the checksums of a file, and the signatures of these. Pure.
//!
//! The names are those that Lima's own scripts read (`hack/update-template-*.sh`), and those of the same kind.

use url::Url;

/// Signatures beside a list of checksums.
const SIGNATURE_ENDS: [&str; 4] = [".gpg", ".sign", ".asc", ".sig"];
/// Lists for a whole directory: Ubuntu, Debian, nerdctl; AlmaLinux; FreeBSD.
const LISTS: [&str; 5] = [
    "SHA256SUMS",
    "SHA512SUMS",
    "CHECKSUM",
    "CHECKSUM.SHA256",
    "CHECKSUM.SHA512",
];
/// Lists of one file: Alpine; CentOS; Rocky; others.
const OWN_ENDS: [&str; 7] = [
    ".sha256",
    ".sha512",
    ".SHA256SUM",
    ".CHECKSUM",
    ".sha256sum",
    ".sha512sum",
    ".SHA512SUM",
];

/// A place where a list may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) url: Url,
    /// It is of this file alone.
    pub(super) is_own: bool,
}

/// The name of the file at a location, as a list writes it, and where its lists may be, the usual ones first.
pub(super) fn candidates(location: &str) -> Option<(String, Vec<Candidate>)> {
    let mut file = Url::parse(location).ok()?;
    if !matches!(file.scheme(), "http" | "https") {
        return None;
    }
    file.set_query(None);
    file.set_fragment(None);
    let encoded = file.path_segments()?.next_back()?.to_owned();
    let name = decoded(&encoded)?;
    if name.is_empty() {
        return None;
    }
    let beside = |name: &str, is_own| {
        let mut url = file.clone();
        url.path_segments_mut().ok()?.pop().push(name);
        Some(Candidate { url, is_own })
    };
    let mut all: Vec<Candidate> = Vec::new();
    all.extend(LISTS[..2].iter().filter_map(|list| beside(list, false)));
    all.extend(fedora(&name).and_then(|list| beside(&list, false)));
    all.extend(LISTS[2..].iter().filter_map(|list| beside(list, false)));
    let own = OWN_ENDS
        .iter()
        .filter_map(|end| beside(&format!("{name}{end}"), true));
    all.extend(own);
    Some((name, all))
}

/// Where the signature of a list may be.
pub(super) fn signatures(list: &Url) -> Vec<Url> {
    let with_end = |end: &&str| {
        let mut url = list.clone();
        url.set_path(&format!("{}{end}", list.path()));
        url
    };
    SIGNATURE_ENDS.iter().map(with_end).collect()
}

/// `Fedora-Cloud-Base-Generic-44-1.7.x86_64.qcow2` is in `Fedora-Cloud-44-1.7-x86_64-CHECKSUM`.
fn fedora(name: &str) -> Option<String> {
    let rest = name.strip_prefix("Fedora-Cloud-Base")?;
    let (rest, _) = rest.rsplit_once('.')?;
    let is_number = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    let parts: Vec<&str> = rest.split('-').collect();
    let at = parts.iter().position(|part| is_number(part))?;
    let (version, build) = (parts[at], *parts.get(at + 1)?);
    // Since 40 the architecture comes last, before that in front of the version.
    let (build, arch) = match (build.rsplit_once('.'), parts[at - 1].split_once('.')) {
        (Some((build, arch)), _) if !is_number(arch) => (build, arch),
        (_, Some((_, arch))) => (build, arch),
        _ => return None,
    };
    Some(format!("Fedora-Cloud-{version}-{build}-{arch}-CHECKSUM"))
}

/// Without percent signs; `None` if that is no text.
fn decoded(name: &str) -> Option<String> {
    let bytes = name.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let code = name
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_beside_the_file() {
        let (name, all) = candidates("https://h/a/b/x%2By.img?q#f").expect("candidates");
        assert_eq!(name, "x+y.img");
        let texts: Vec<&str> = all.iter().map(|one| one.url.as_str()).collect();
        assert_eq!(texts[0], "https://h/a/b/SHA256SUMS");
        assert_eq!(texts.last(), Some(&"https://h/a/b/x+y.img.SHA512SUM"));
        assert_eq!(texts.len(), LISTS.len() + OWN_ENDS.len());
        assert!(candidates("ipfs://bafy/a.img").is_none());
        assert!(candidates("https://h/a/").is_none());
        let signed = signatures(&all[0].url);
        assert_eq!(signed[0].as_str(), "https://h/a/b/SHA256SUMS.gpg");
    }

    #[test]
    fn fedora_names_its_lists_after_release_and_architecture() {
        let cases = [
            (
                "Fedora-Cloud-Base-Generic-44-1.7.x86_64.qcow2",
                Some("Fedora-Cloud-44-1.7-x86_64-CHECKSUM"),
            ),
            (
                "Fedora-Cloud-Base-Generic.aarch64-40-1.14.qcow2",
                Some("Fedora-Cloud-40-1.14-aarch64-CHECKSUM"),
            ),
            (
                "Fedora-Cloud-Base-Generic-44-20260604.0.riscv64.qcow2",
                Some("Fedora-Cloud-44-20260604.0-riscv64-CHECKSUM"),
            ),
            ("Fedora-Cloud-Base.qcow2", None),
            ("debian.qcow2", None),
        ];
        for (name, list) in cases {
            assert_eq!(fedora(name).as_deref(), list, "{name}");
        }
    }
}
