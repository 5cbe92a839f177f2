//! Names of files that a browser sends: no path, nothing hidden, nothing that a terminal would obey. Pure.

use url::form_urlencoded;

use crate::error::CommandError;

/// Longest name, so that a number and a suffix still fit into the 255 bytes of file systems.
const NAME_BYTES_MAX: usize = 200;

/// The value of `name=` in a query, made into a file name.
pub(super) fn of_query(query: &str) -> Result<String, CommandError> {
    let given = form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "name")
        .map(|(_, value)| value.into_owned())
        .ok_or_else(|| CommandError::usage("the request does not name the file: ?name=NAME"))?;
    clean(&given)
        .ok_or_else(|| CommandError::usage(format!("`{}` is no name for a file", shown(&given))))
}

/// The last part of a path, of any system, without what does not belong into a name. `None` if nothing is left.
fn clean(given: &str) -> Option<String> {
    let last = given.rsplit(['/', '\\']).next()?;
    let kept: String = last.chars().filter(|c| !is_unfit(*c)).collect();
    let name = kept.trim().trim_start_matches(['.', ' ']);
    let name = shortened(name);
    (!name.is_empty()).then_some(name)
}

/// Control characters, and those that change the direction of the text after them: `gpj.exe` would be read as `exe.jpg`.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// At most [`NAME_BYTES_MAX`], with its suffix.
fn shortened(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let (stem, suffix) = parts(name);
    let suffix = if suffix.len() > 20 { "" } else { suffix };
    let end = stem.floor_char_boundary(NAME_BYTES_MAX - suffix.len());
    format!("{}{suffix}", &stem[..end])
}

/// `disk.img`, `disk-2.img`, `disk-3.img`: the name to try next when the one before is taken.
pub(super) fn numbered(name: &str, number: u32) -> String {
    if number < 2 {
        return name.to_owned();
    }
    let (stem, suffix) = parts(name);
    format!("{stem}-{number}{suffix}")
}

/// What is before the last dot, and the rest with it.
fn parts(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 => name.split_at(dot),
        _ => (name, ""),
    }
}

fn shown(given: &str) -> String {
    let kept = given.chars().filter(|c| !is_unfit(*c));
    kept.take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_path_and_hide_nothing() {
        for (given, wanted) in [
            ("disk.img", Some("disk.img")),
            ("../../etc/passwd", Some("passwd")),
            ("C:\\images\\disk.img", Some("disk.img")),
            ("/abs", Some("abs")),
            (".bashrc", Some("bashrc")),
            ("....a", Some("a")),
            (" a b ", Some("a b")),
            ("a\0b\nc\u{1b}[31m", Some("abc[31m")),
            ("\u{202e}gnp.exe", Some("gnp.exe")),
            (
                "<img src=x onerror=alert(1)>",
                Some("<img src=x onerror=alert(1)>"),
            ),
            ("größe.img", Some("größe.img")),
            ("..", None),
            (".", None),
            ("", None),
            ("a/", None),
            ("\n", None),
        ] {
            assert_eq!(clean(given).as_deref(), wanted, "{given:?}");
        }
    }

    #[test]
    fn long_names_keep_their_suffix() {
        let long = format!("{}.qcow2", "ä".repeat(300));
        let name = clean(&long).expect("a name");
        assert!(
            name.len() <= NAME_BYTES_MAX && name.ends_with("ä.qcow2"),
            "{name}"
        );
        let name = clean(&format!("a.{}", "b".repeat(300))).expect("a name");
        assert_eq!(name, "a");
    }

    #[test]
    fn taken_names_get_a_number() {
        assert_eq!(numbered("disk.img", 1), "disk.img");
        assert_eq!(numbered("disk.img", 2), "disk-2.img");
        assert_eq!(numbered("disk", 3), "disk-3");
    }

    #[test]
    fn a_query_without_a_name_is_refused() {
        assert_eq!(of_query("name=a%20b.img").expect("a name"), "a b.img");
        assert_eq!(
            of_query("file=a").expect_err("no name").message,
            "the request does not name the file: ?name=NAME"
        );
        assert_eq!(
            of_query("name=%2e%2e%2F").expect_err("no name").message,
            "`../` is no name for a file"
        );
    }
}
