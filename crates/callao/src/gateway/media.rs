//! What kind of file it is, by its name or by how it begins. Knows few kinds: who cares says a name.

const UNKNOWN: &str = "application/octet-stream";

/// By the end of the name; `None` if that says nothing.
pub(super) fn by_name(name: &str) -> Option<&'static str> {
    let (_, end) = name.rsplit_once('.')?;
    Some(match end.to_ascii_lowercase().as_str() {
        "qcow2" | "img" | "raw" | "vmdk" | "vhd" | "vhdx" | "vdi" | "bin" | "car" => UNKNOWN,
        "iso" => "application/x-iso9660-image",
        "gz" | "tgz" => "application/gzip",
        "xz" => "application/x-xz",
        "zst" => "application/zstd",
        "bz2" => "application/x-bzip2",
        "zip" => "application/zip",
        "tar" => "application/x-tar",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" | "md" | "log" | "yaml" | "yml" | "toml" | "sha256" | "asc" => {
            "text/plain; charset=utf-8"
        }
        "css" => "text/css; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "xml" => "text/xml; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        _ => return None,
    })
}

/// By the first bytes, of which there may be none.
pub(super) fn by_bytes(start: &[u8]) -> &'static str {
    const LOOKED_AT: usize = 512;
    const MARKS: [(&[u8], &str); 9] = [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"%PDF-", "application/pdf"),
        (b"\x1f\x8b", "application/gzip"),
        (b"\xfd7zXZ\0", "application/x-xz"),
        (b"\x28\xb5\x2f\xfd", "application/zstd"),
        (b"PK\x03\x04", "application/zip"),
        (b"\0asm", "application/wasm"),
    ];
    let start = &start[..start.len().min(LOOKED_AT)];
    if let Some((_, kind)) = MARKS.iter().find(|(mark, _)| start.starts_with(mark)) {
        return kind;
    }
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // The last character may be cut.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return UNKNOWN,
    };
    let is_text = |char: char| !char.is_control() || "\t\n\r\u{c}".contains(char);
    if text.is_empty() || !text.chars().all(is_text) {
        return UNKNOWN;
    }
    let begins = text.trim_start().to_ascii_lowercase();
    if begins.starts_with("<!doctype html") || begins.starts_with("<html") {
        return "text/html; charset=utf-8";
    }
    "text/plain; charset=utf-8"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        for (name, kind) in [
            ("a.qcow2", Some(UNKNOWN)),
            ("a.QCOW2", Some(UNKNOWN)),
            ("a.tar.gz", Some("application/gzip")),
            ("index.html", Some("text/html; charset=utf-8")),
            ("a", None),
            ("a.", None),
            ("a.unheard", None),
            ("", None),
        ] {
            assert_eq!(by_name(name), kind, "{name}");
        }
        let cut = [b"caf".as_slice(), &"\u{e9}".as_bytes()[..1]].concat();
        for (start, kind) in [
            (&b""[..], UNKNOWN),
            (b"QFI\xfb\0\0\0\x03", UNKNOWN),
            (b"hello\n", "text/plain; charset=utf-8"),
            (&cut, "text/plain; charset=utf-8"),
            (b"\n<!DOCTYPE HTML>", "text/html; charset=utf-8"),
            (b"\x1f\x8b\x08", "application/gzip"),
            (b"a\0b", UNKNOWN),
            (b"\xff\xff", UNKNOWN),
        ] {
            assert_eq!(by_bytes(start), kind, "{start:?}");
        }
    }
}
