//! A text as YAML: always in double quotes, so that nothing in it can mean anything.
//! It must not know what the texts are.

use std::fmt::Write as _;

/// A scalar in double quotes. Every reader takes it as the same text: those of YAML 1.1 (`PyYAML`, which cloud-init uses)
/// as those of 1.2.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            _ if is_plain(character) => out.push(character),
            _ => {
                // Writing to a text cannot fail.
                let _ = match u32::from(character) {
                    code @ ..=0xff => write!(out, "\\x{code:02x}"),
                    code @ ..=0xffff => write!(out, "\\u{code:04x}"),
                    code => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push('"');
    out
}

/// What every reader takes as it is: printable, no line break of any kind, and in the plane that old readers know.
fn is_plain(character: char) -> bool {
    match character {
        ' '..='~' | '\u{a0}'..='\u{d7ff}' => !matches!(character, '\u{2028}' | '\u{2029}'),
        '\u{e000}'..='\u{fffd}' => character != '\u{feff}',
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn everything_comes_back_as_it_was() {
        let texts = [
            "",
            "plain",
            "it's \"quoted\"",
            "a: b # no comment",
            "back\\slash \\n",
            "two\nlines\r\n\ttab",
            "- no\n- list",
            "null",
            "1e3",
            "*anchor &anchor !tag %directive @at `tick",
            "grüße, 日本, \u{1f680}",
            "\0\u{7}\u{1b}\u{7f}\u{85}\u{9f}\u{a0}\u{2028}\u{2029}\u{feff}\u{fffe}\u{ffff}\u{10ffff}",
            " spaces around ",
        ];
        for text in texts {
            let yaml = format!("key: {}\n", quoted(text));
            let read: std::collections::BTreeMap<String, String> =
                serde_saphyr::from_str(&yaml).unwrap();
            assert_eq!(read["key"], text, "{yaml}");
            assert_eq!(yaml.lines().count(), 1, "{yaml}");
        }
    }

    #[test]
    fn what_old_readers_refuse_is_escaped() {
        assert_eq!(
            quoted("\u{1}é\u{1f680}\u{feff}"),
            r#""\x01é\U0001f680\ufeff""#
        );
    }
}
