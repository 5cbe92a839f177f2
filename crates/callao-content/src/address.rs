//! The ways in which people write the address of a file on IPFS. Text only: it resolves nothing.

use std::fmt;

use crate::cid::{self, Cid};
use crate::error::Error;
use crate::limits::PATH_SEGMENTS_MAX;

/// A root and what follows it. Whether the path leads through directories or is only the file's name shows when the root
/// is read (see [`crate::path`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IpfsAddress {
    /// The root.
    pub cid: Cid,
    /// The segments after it, percent-decoded; empty ones are dropped.
    pub path: Vec<String>,
}

impl IpfsAddress {
    /// Reads an address. Understood are `ipfs://CID[/path]`, `ipfs:CID[/path]`, `/ipfs/CID[/path]`, gateway URLs
    /// `http(s)://host/ipfs/CID[/path]` and `http(s)://CID.ipfs.host[/path]`, and a bare CID. Schemes in any case. Query and
    /// fragment of the URL forms are dropped.
    ///
    /// `None` if `text` is something else. `Some(Err)` if it can only be meant as an IPFS address and is a bad one:
    /// [`Error::NotAnAddress`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Result<Self, Error>> {
        if let Some(rest) = after_scheme(text, "ipfs:") {
            let rest = rest.trim_start_matches('/');
            // `ipfs://ipfs/CID` is written by old tools.
            let rest = rest.strip_prefix("ipfs/").unwrap_or(rest);
            return Some(Self::from_root(text, without_query(rest)));
        }
        if let Some(rest) = text.strip_prefix("/ipfs/") {
            return Some(Self::from_root(text, rest));
        }
        let url = after_scheme(text, "https://").or_else(|| after_scheme(text, "http://"));
        if let Some(rest) = url {
            return Self::from_gateway(text, without_query(rest));
        }
        let cid = cid::parse(text)
            .ok()
            .filter(|cid| cid::check_allowed(cid).is_ok())?;
        Some(Ok(Self {
            cid,
            path: Vec::new(),
        }))
    }

    /// `CID[/path]`.
    fn from_root(text: &str, rest: &str) -> Result<Self, Error> {
        let (root, path) = rest.split_once('/').unwrap_or((rest, ""));
        let refuse = |reason: String| Error::NotAnAddress {
            text: text.to_owned(),
            reason,
        };
        let cid = cid::parse(root).map_err(|error| refuse(error.to_string()))?;
        Ok(Self {
            cid,
            path: segments(path).map_err(|reason| refuse(reason.to_owned()))?,
        })
    }

    /// `host/...` of an http URL. Only a good CID in the right place makes it an IPFS address.
    fn from_gateway(text: &str, rest: &str) -> Option<Result<Self, Error>> {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if let Some(path) = path.strip_prefix("ipfs/") {
            let root = path.split('/').next().unwrap_or_default();
            return cid::parse(root)
                .is_ok()
                .then(|| Self::from_root(text, path));
        }
        let (label, host) = host.split_once('.')?;
        if !host.starts_with("ipfs.") {
            return None;
        }
        cid::parse(label)
            .is_ok()
            .then(|| Self::from_root(text, &format!("{label}/{path}")))
    }
}

impl fmt::Display for IpfsAddress {
    /// `ipfs://CID/path`, percent-encoded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ipfs://{}", self.cid)?;
        for segment in &self.path {
            f.write_str("/")?;
            for byte in segment.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' => {
                        write!(f, "{}", char::from(byte))?;
                    }
                    _ => write!(f, "%{byte:02X}")?,
                }
            }
        }
        Ok(())
    }
}

fn after_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let head = text.get(..scheme.len())?;
    head.eq_ignore_ascii_case(scheme)
        .then(|| &text[scheme.len()..])
}

fn without_query(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or_default()
}

fn segments(path: &str) -> Result<Vec<String>, &'static str> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    let out = parts.map(percent_decoded).collect::<Result<Vec<_>, _>>()?;
    if out.len() > PATH_SEGMENTS_MAX {
        Err("the path has too many segments")
    } else {
        Ok(out)
    }
}

fn percent_decoded(segment: &str) -> Result<String, &'static str> {
    let mut out = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = (byte == b'%').then(|| after.get(..2)).flatten();
        let code =
            code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        // A percent sign without two digits stands for itself, as browsers read it.
        out.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(out).map_err(|_| "the path is not UTF-8 when it is percent-decoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    const V0: &str = "QmW54qrASwQDdCyE1ik8GjQzD2NBZkp6k3Gnu3wh7HoF71";
    const V1: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

    #[test]
    fn every_form_is_understood() {
        for (text, path) in [
            (V1.to_owned(), ""),
            (V1.to_uppercase(), ""),
            (format!("ipfs://{V1}"), ""),
            (format!("IPFS://{V1}/"), ""),
            (format!("ipfs:{V1}/a"), "a"),
            (format!("ipfs://ipfs/{V1}/a"), "a"),
            (
                format!("ipfs://{V1}/a%20b//c.img?filename=x#y"),
                "a b|c.img",
            ),
            (format!("/ipfs/{V1}/a?b"), "a?b"),
            (
                format!("https://ipfs.io/ipfs/{V1}/disk.qcow2"),
                "disk.qcow2",
            ),
            (format!("HTTP://127.0.0.1:8080/ipfs/{V1}?format=raw"), ""),
            (
                format!("https://{V1}.ipfs.dweb.link/a%2Fb/100%"),
                "a/b|100%",
            ),
            (format!("https://{V1}.ipfs.localhost:8080"), ""),
        ] {
            let address = IpfsAddress::parse(&text).expect("an address").expect(&text);
            assert_eq!(cid::text(&address.cid), V1, "{text}");
            assert_eq!(address.path.join("|"), path, "{text}");
        }
        let v0 = IpfsAddress::parse(V0).expect("an address").expect("good");
        assert_eq!(v0.to_string(), format!("ipfs://{V0}"));
    }

    #[test]
    fn other_text_is_left_alone() {
        for text in [
            "",
            "disk.qcow2",
            "https://example.com/disk.qcow2",
            "https://example.com/ipfs/readme.html",
            "https://www.ipfs.tech/",
            "ipns://example.com",
            "/home/user/ipfs/x",
            "template:default",
            "bzip2",
        ] {
            assert_eq!(IpfsAddress::parse(text), None, "{text}");
        }
    }

    #[test]
    fn bad_addresses_say_why() {
        let folded = format!("ipfs://{}", V0.to_lowercase());
        let deep = format!("ipfs://{V1}/{}", "a/".repeat(65));
        let latin = format!("ipfs://{V1}/%ff");
        for (text, reason) in [
            ("ipfs://", "too short"),
            ("ipfs://example.com/x", "not a CID"),
            ("/ipfs/xyz", "unknown multibase"),
            (folded.as_str(), "case-sensitive"),
            (deep.as_str(), "too many segments"),
            (latin.as_str(), "not UTF-8"),
        ] {
            let message = IpfsAddress::parse(text)
                .expect("meant as an address")
                .expect_err(text)
                .to_string();
            assert!(message.contains(reason), "{text}: {message}");
        }
    }

    #[test]
    fn displays_as_it_reads() {
        let text = format!("ipfs://{V1}/a%20b%2Fc/d.img");
        let address = IpfsAddress::parse(&text)
            .expect("an address")
            .expect("good");
        assert_eq!(address.to_string(), text);
    }
}
