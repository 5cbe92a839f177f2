//! `oci://registry/repository[:tag|@digest][#file]`: pure text. Guesses no registry, no namespace and no scheme.

use std::fmt;

use callao_content::digest::Digest;

use crate::limits::{OCI_ADDRESS_SHOWN_CHARS_MAX, OCI_REPOSITORY_CHARS_MAX, OCI_TAG_CHARS_MAX};

/// What an address in a registry names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Host, with its port if one was given; lower case.
    pub registry: String,
    /// Path of the repository.
    pub repository: String,
    /// The tag; `latest` if there is neither tag nor digest.
    pub tag: Option<String>,
    /// Digest of a manifest or an index. It decides, whatever the tag says.
    pub digest: Option<Digest>,
    /// Title of a layer, or path in a layer that is a tar archive.
    pub file: Option<String>,
}

/// Why a text is no address in a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {reason}")]
pub struct BadReference {
    /// As given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Docker Hub's name in references.
const HUB: &str = "docker.io";
/// Where its API is.
const HUB_API: &str = "registry-1.docker.io";

impl Reference {
    /// Reads `oci://...`; `None` if it does not begin like that.
    pub fn parse(text: &str) -> Option<Result<Self, BadReference>> {
        let scheme = text.get(.."oci://".len())?;
        if !scheme.eq_ignore_ascii_case("oci://") {
            return None;
        }
        let read = read(&text["oci://".len()..]);
        Some(read.map_err(|reason| BadReference {
            text: shown(text),
            reason,
        }))
    }

    /// The host (and port) that answers for the registry.
    pub fn api_host(&self) -> &str {
        if self.registry == HUB {
            HUB_API
        } else {
            &self.registry
        }
    }

    /// The name under which `docker login` keeps credentials for the registry.
    pub fn login_key(&self) -> &str {
        match self.registry.as_str() {
            HUB | HUB_API | "index.docker.io" => "https://index.docker.io/v1/",
            other => other,
        }
    }

    /// What comes after `/manifests/`: the digest, else the tag.
    pub fn manifest(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".into(),
        }
    }

    /// The last part of the repository, to name a file that has no title.
    pub fn base_name(&self) -> &str {
        self.repository
            .rsplit('/')
            .next()
            .unwrap_or(&self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        match &self.file {
            Some(file) => write!(f, "#{}", file.replace('%', "%25")),
            None => Ok(()),
        }
    }
}

/// An address for a message: short, and without a password that somebody wrote into it.
fn shown(text: &str) -> String {
    let host_at = "oci://".len();
    let host_end = text[host_at..]
        .find('/')
        .map_or(text.len(), |at| host_at + at);
    let login_end = text[..host_end].rfind('@').filter(|at| *at >= host_at);
    let (before, after) = match login_end {
        Some(at) => ("oci://...", &text[at..]),
        None => ("", text),
    };
    before
        .chars()
        .chain(after.chars())
        .take(OCI_ADDRESS_SHOWN_CHARS_MAX)
        .collect()
}

fn read(text: &str) -> Result<Reference, &'static str> {
    let (text, file) = match text.split_once('#') {
        Some((_, "")) => return Err("the file name after `#` is empty"),
        Some((text, file)) => (
            text,
            Some(decoded(file).ok_or("the file name after `#` is not well encoded")?),
        ),
        None => (text, None),
    };
    let (registry, path) = text
        .split_once('/')
        .ok_or("expected oci://REGISTRY/REPOSITORY[:TAG|@DIGEST][#FILE]")?;
    if registry.contains('@') {
        return Err("credentials do not belong into an address: use `docker login`");
    }
    let registry = registry.to_ascii_lowercase();
    if !is_host(&registry) {
        return Err("the registry is not a host name");
    }
    let (name, digest) = match path.split_once('@') {
        Some((name, digest)) => {
            let digest = digest
                .parse::<Digest>()
                .map_err(|_| "the digest after `@` is not sha256:HEX (or sha384, sha512)")?;
            (name, Some(digest))
        }
        None => (path, None),
    };
    let (repository, tag) = match name.split_once(':') {
        Some((_, tag)) if !is_tag(tag) => {
            return Err("the tag has characters that no tag may have");
        }
        Some((repository, tag)) => (repository, Some(tag.to_string())),
        None => (name, None),
    };
    if !is_repository(repository) {
        return Err(
            "the repository may have lower-case letters, digits and single . _ - / between them only",
        );
    }
    let tag = tag.or_else(|| digest.is_none().then(|| "latest".into()));
    Ok(Reference {
        registry,
        repository: repository.into(),
        tag,
        digest,
        file,
    })
}

/// `host`, `host:port`, `1.2.3.4:port`, `[::1]:port`.
fn is_host(text: &str) -> bool {
    let url = url::Url::parse(&format!("https://{text}/"));
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte));
    plain && url.is_ok_and(|url| url.host_str().is_some_and(|host| !host.is_empty()))
}

/// The grammar of the distribution specification.
fn is_repository(text: &str) -> bool {
    text.len() <= OCI_REPOSITORY_CHARS_MAX && text.split('/').all(is_component)
}

/// Letters and digits with `.`, `_`, `__` or any number of `-` between them.
fn is_component(text: &str) -> bool {
    let letters = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    let separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    letters(first)
        && letters(last)
        && separators
            .filter(|part| !part.is_empty())
            .all(|part| matches!(part, "." | "_" | "__") || part.bytes().all(|byte| byte == b'-'))
}

/// Whether a text may be a tag.
pub fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = text.as_bytes();
    bytes.len() <= OCI_TAG_CHARS_MAX
        && bytes.first().is_some_and(|byte| word(*byte))
        && bytes.iter().all(|byte| word(*byte) || b".-".contains(byte))
}

/// Percent-decoded, as in any URL.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let hex = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c";

    fn parse(text: &str) -> Result<Reference, BadReference> {
        Reference::parse(text).expect("an oci:// address")
    }

    #[test]
    fn every_part_is_read() {
        let whole =
            format!("oci://Quay.IO:8443/podman/machine-os:6.0@sha256:{HEX}#disk/a%20b.qcow2.zst");
        let read = parse(&whole).expect("a reference");
        assert_eq!(read.registry, "quay.io:8443");
        assert_eq!(read.repository, "podman/machine-os");
        assert_eq!(read.tag.as_deref(), Some("6.0"));
        assert_eq!(read.digest.map(|digest| digest.hex()).as_deref(), Some(HEX));
        assert_eq!(read.file.as_deref(), Some("disk/a b.qcow2.zst"));
        assert_eq!(read.manifest(), format!("sha256:{HEX}"));
        assert_eq!(read.base_name(), "machine-os");
        let short = parse("oci://[::1]:5000/a").expect("a reference");
        assert_eq!(
            (
                short.registry.as_str(),
                short.manifest().as_str(),
                short.file
            ),
            ("[::1]:5000", "latest", None)
        );
    }

    #[test]
    fn only_docker_io_has_another_name() {
        let hub = parse("oci://docker.io/library/alpine:3").expect("a reference");
        assert_eq!(
            (hub.api_host(), hub.login_key(), hub.repository.as_str()),
            (
                "registry-1.docker.io",
                "https://index.docker.io/v1/",
                "library/alpine"
            )
        );
        let short = parse("oci://docker.io/alpine").expect("a reference");
        assert_eq!(short.repository, "alpine", "no namespace is guessed");
        let other = parse("oci://ghcr.io/a/b").expect("a reference");
        assert_eq!(
            (other.api_host(), other.login_key()),
            ("ghcr.io", "ghcr.io")
        );
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in [
            "oci://h/a:b",
            "oci://h:1/a/b-c/d__e.f:b#x%25y",
            &format!("oci://h/a@sha256:{HEX}"),
            &format!("oci://h/a:t@sha256:{HEX}#f"),
        ] {
            assert_eq!(parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_and_why() {
        let table = [
            (
                "oci://host",
                "expected oci://REGISTRY/REPOSITORY[:TAG|@DIGEST][#FILE]",
            ),
            ("oci:///a", "the registry is not a host name"),
            ("oci://ho st/a", "the registry is not a host name"),
            ("oci://host:99999/a", "the registry is not a host name"),
            (
                "oci://user:secret@host/a",
                "credentials do not belong into an address: use `docker login`",
            ),
            (
                "oci://host/",
                "the repository may have lower-case letters, digits and single . _ - / between them only",
            ),
            (
                "oci://host/A",
                "the repository may have lower-case letters, digits and single . _ - / between them only",
            ),
            (
                "oci://host/a//b",
                "the repository may have lower-case letters, digits and single . _ - / between them only",
            ),
            (
                "oci://host/../a",
                "the repository may have lower-case letters, digits and single . _ - / between them only",
            ),
            (
                "oci://host/a?x=y",
                "the repository may have lower-case letters, digits and single . _ - / between them only",
            ),
            (
                "oci://host/a:",
                "the tag has characters that no tag may have",
            ),
            (
                "oci://host/a:b/c",
                "the tag has characters that no tag may have",
            ),
            (
                "oci://host/a:.b",
                "the tag has characters that no tag may have",
            ),
            (
                "oci://host/a@sha256:12",
                "the digest after `@` is not sha256:HEX (or sha384, sha512)",
            ),
            ("oci://host/a#", "the file name after `#` is empty"),
            (
                "oci://host/a#%zz",
                "the file name after `#` is not well encoded",
            ),
        ];
        for (text, reason) in table {
            assert_eq!(parse(text).expect_err(text).reason, reason, "{text}");
        }
        let secret = parse("oci://user:secret@host/a").expect_err("a login");
        assert_eq!(secret.text, "oci://...@host/a", "a password is not shown");
        assert_eq!(Reference::parse("https://host/a"), None);
        assert_eq!(
            parse("oci://host").expect_err("no repository").to_string(),
            "`oci://host`: expected oci://REGISTRY/REPOSITORY[:TAG|@DIGEST][#FILE]"
        );
    }
}
