//! The rules for single values, as strict as limactl's (`pkg/limayaml/validate.go`, go-digest).
//! It must not know where in a template a value stands.

use callao_content::cid::{self, Cid};
use callao_content::digest::Digest;
use callao_content::error::Error as Content;

use crate::error::Error;
use crate::limits;
use crate::model::{Arch, File, Image};

/// A location is kept as it is. Only what can name no file is refused.
pub(crate) fn location(text: &str) -> Result<(), &'static str> {
    if text.chars().any(char::is_control) {
        return Err("contains a control character");
    }
    if text.trim().is_empty() {
        return Err("is blank");
    }
    Ok(())
}

/// `sha256|sha384|sha512:<lower-case hex of the right length>`.
pub(crate) fn digest(text: &str) -> Result<Digest, String> {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return Err("invalid checksum digest format: an algorithm, a colon and hexadecimal digits are expected".to_owned());
    };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => {
            return Err(
                "unsupported digest algorithm: it is one of sha256, sha384, sha512".to_owned(),
            );
        }
    };
    if let Some(c) = hex.chars().find(|c| !matches!(c, '0'..='9' | 'a'..='f')) {
        let hint = if c.is_ascii_hexdigit() {
            "write it in lower case"
        } else {
            "only 0-9 and a-f may follow the colon"
        };
        return Err(format!("invalid checksum digest format: {hint}"));
    }
    if hex.len() != length {
        return Err(format!(
            "invalid checksum digest length: {algorithm} has {length} digits, not {}",
            hex.len()
        ));
    }
    text.parse().map_err(|error: Content| error.to_string())
}

/// Any CID that the content crate can verify bytes with. The reason leaves the CID out, since the message ends with it.
pub(crate) fn cid(text: &str) -> Result<Cid, String> {
    let read = || {
        let parsed = cid::parse(text)?;
        cid::check_allowed(&parsed)?;
        Ok(parsed)
    };
    read().map_err(|error| match error {
        Content::NotACid { reason, .. } => format!("not a CID: {reason}"),
        Content::CodecNotAllowed { codec, .. } => {
            format!("codec 0x{codec:x} holds no file: it must be raw (0x55) or dag-pb (0x70)")
        }
        Content::HashNotAllowed { code, length, .. } => format!(
            "multihash 0x{code:x} of {length} bytes is not accepted as proof: it must be sha2-256, sha2-512 or a short identity"
        ),
        other => other.to_string(),
    })
}

/// Kernel and initrd must be for the architecture of their image, as far as both are known.
/// `arch` is what an image without its own `arch:` is for.
pub(crate) fn arches_agree(
    image: &Image,
    field: &str,
    arch: Option<Arch>,
    name: &str,
) -> Result<(), Error> {
    let Some(image_arch) = image.file.arch.or(arch) else {
        return Ok(());
    };
    let parts: [(&str, &Option<File>); 2] = [("kernel", &image.kernel), ("initrd", &image.initrd)];
    for (part, file) in parts {
        let Some(file) = file else { continue };
        if let Some(arch) = file.arch.filter(|arch| *arch != image_arch) {
            return Err(Error::ArchDiffers {
                name: name.to_owned(),
                line: file.line.unwrap_or(1),
                field: format!("{field}.{part}"),
                arch,
                image: image.file.location.clone(),
                image_arch,
            });
        }
    }
    Ok(())
}

/// A foreign value in a message: no control characters, not endless.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(limits::EXCERPT_CHARS_MAX * 2)
        .collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_as_strict_as_go_digest() {
        let hex = "32a9d30d18803da72f5936cf2b7b9efcb4d0bb63c67933f17e3bdfd1751de3f3";
        assert_eq!(
            digest(&format!("sha256:{hex}")).map(|d| d.to_string()),
            Ok(format!("sha256:{hex}"))
        );
        assert!(digest(&format!("sha384:{}", "a".repeat(96))).is_ok());
        assert!(digest(&format!("sha512:{}", "a".repeat(128))).is_ok());
        let format = "invalid checksum digest format";
        let cases = [
            (hex.to_owned(), "an algorithm, a colon"),
            (
                "sha256:".to_owned(),
                "invalid checksum digest length: sha256 has 64 digits, not 0",
            ),
            (
                format!("sha256:{}", &hex[1..]),
                "sha256 has 64 digits, not 63",
            ),
            (format!("sha512:{hex}"), "sha512 has 128 digits, not 64"),
            (
                format!("sha256:{}", hex.to_uppercase()),
                "write it in lower case",
            ),
            (format!("sha256: {hex}"), "only 0-9 and a-f"),
            (format!("sha256:ä{hex}"), format),
            (format!("SHA256:{hex}"), "unsupported digest algorithm"),
            (
                format!("md5:{hex}"),
                "unsupported digest algorithm: it is one of sha256, sha384, sha512",
            ),
        ];
        for (text, part) in cases {
            let reason = digest(&text).expect_err("not a digest");
            assert!(reason.contains(part), "{text}: {reason}");
        }
    }

    #[test]
    fn locations_are_kept_unless_they_can_name_nothing() {
        for good in [
            "https://example.com/a.img",
            "~/a.img",
            "a b.img",
            "ipfs://bafy/x",
            "cid:x",
            "ä",
        ] {
            assert_eq!(location(good), Ok(()), "{good}");
        }
        assert_eq!(location(" "), Err("is blank"));
        assert_eq!(
            location("https://example.com/\n"),
            Err("contains a control character")
        );
    }

    #[test]
    fn foreign_text_is_shown_shortened_and_clean() {
        assert_eq!(shown("abc"), "abc");
        assert_eq!(shown("a\u{1b}[0m"), "a[0m…");
        assert_eq!(
            shown(&"x".repeat(1000)).chars().count(),
            limits::EXCERPT_CHARS_MAX * 2 + 1
        );
    }
}
