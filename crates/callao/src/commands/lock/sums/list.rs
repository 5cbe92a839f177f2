//! A list of checksums as distributors publish it: which digest it gives a file. Pure.
//!
//! ```text
//! 32a9d30d...  ubuntu.img          as sha256sum prints it, or with `*` before the name
//! SHA256 (ubuntu.img) = 32a9d30d... as BSD's tools print it
//! 32a9d30d...                       the whole file: that of the one file it is named after
//! ```

use callao_content::digest::{Algorithm, Digest};

/// What a list says about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Says {
    /// It gives this digest; the longest, if it gives several.
    Digest(Digest),
    /// It does not name the file.
    Nothing,
    /// It names it more than once, with different digests of one kind.
    Several,
}

/// The digest of `name`. `is_own`: the list is of this file alone, so that it need not name it.
pub(super) fn look_up(text: &str, name: &str, is_own: bool) -> Says {
    let mut found: Vec<Digest> = Vec::new();
    for (digest, named) in text.lines().filter_map(|line| read(line.trim_end())) {
        let is_it = match named {
            Some(named) => named.strip_prefix("./").unwrap_or(named) == name,
            None => is_own,
        };
        if is_it && !found.contains(&digest) {
            found.push(digest);
        }
    }
    found.sort_by_key(|digest| digest.hex().len());
    let Some(best) = found.last() else {
        return Says::Nothing;
    };
    let same_kind = found
        .iter()
        .filter(|digest| digest.algorithm() == best.algorithm());
    match same_kind.count() {
        1 => Says::Digest(*best),
        _ => Says::Several,
    }
}

/// One line: a digest and the name that it belongs to.
fn read(line: &str) -> Option<(Digest, Option<&str>)> {
    if let Some((kind, rest)) = line.split_once(" (") {
        let (name, hex) = rest.rsplit_once(") = ")?;
        let digest = digest(hex.trim())?;
        let is_kind = kind.eq_ignore_ascii_case(bsd_name(digest.algorithm()));
        return is_kind.then_some((digest, Some(name)));
    }
    let end = line.find([' ', '\t']).unwrap_or(line.len());
    let digest = digest(&line[..end])?;
    let rest = line[end..].trim_start_matches([' ', '\t']);
    let name = rest.strip_prefix('*').unwrap_or(rest);
    Some((digest, Some(name).filter(|name| !name.is_empty())))
}

/// Hexadecimal digits of a length that tells the algorithm.
fn digest(hex: &str) -> Option<Digest> {
    let name = match hex.len() {
        64 => "sha256",
        96 => "sha384",
        128 => "sha512",
        _ => return None,
    };
    format!("{name}:{}", hex.to_ascii_lowercase()).parse().ok()
}

fn bsd_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Sha256 => "SHA256",
        Algorithm::Sha384 => "SHA384",
        Algorithm::Sha512 => "SHA512",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str, name: &str) -> Option<String> {
        match look_up(text, name, false) {
            Says::Digest(digest) => Some(digest.to_string()),
            _ => None,
        }
    }

    #[test]
    fn the_lists_of_distributors_are_understood() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let gnu = format!("{b}  other.img\n{a} *noble-server-cloudimg-amd64.img\n");
        let name = "noble-server-cloudimg-amd64.img";
        assert_eq!(says(&gnu, name), Some(format!("sha256:{a}")));
        let bsd =
            format!("# Fedora-Cloud.qcow2: 585498624 bytes\nSHA256 (Fedora-Cloud.qcow2) = {a}\r\n");
        assert_eq!(
            says(&bsd, "Fedora-Cloud.qcow2"),
            Some(format!("sha256:{a}"))
        );
        let dotted = format!("{}  ./debian.qcow2\n", "C".repeat(128));
        assert_eq!(
            says(&dotted, "debian.qcow2"),
            Some(format!("sha512:{}", "c".repeat(128)))
        );
        assert_eq!(says(&gnu, "other"), None);
        assert_eq!(says("<html>not found</html>", "other"), None);
    }

    #[test]
    fn a_list_of_one_file_need_not_name_it() {
        let text = format!("{}\n", "a".repeat(128));
        assert!(matches!(look_up(&text, "a.img", true), Says::Digest(_)));
        assert_eq!(look_up(&text, "a.img", false), Says::Nothing);
        let other = format!("{}  b.img\n", "a".repeat(64));
        assert_eq!(look_up(&other, "a.img", true), Says::Nothing);
    }

    #[test]
    fn the_longest_digest_counts_and_two_of_a_kind_are_told() {
        let text = format!("{}  a\n{}  a\n{0}  a\n", "a".repeat(64), "b".repeat(128));
        assert_eq!(
            says(&text, "a"),
            Some(format!("sha512:{}", "b".repeat(128)))
        );
        let text = format!("{}  a\n{}  a\n", "a".repeat(64), "b".repeat(64));
        assert_eq!(look_up(&text, "a", false), Says::Several);
        // The wrong kind, and a digest that is too short.
        assert_eq!(
            says(&format!("SHA512 (a) = {}\n", "a".repeat(64)), "a"),
            None
        );
        assert_eq!(
            says("MD5 (a) = d41d8cd98f00b204e9800998ecf8427e\n", "a"),
            None
        );
    }
}
