//! What another program said, made fit for an error message: one line, short, without control characters.
//! Must not know which program it was.

use crate::limits::SAID_CHARS_MAX;

/// The end of a text, which is where programs say why they gave up; its lines become one.
pub(crate) fn said(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>())
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let line = lines.join("; ");
    let chars = line.chars().count();
    if chars <= SAID_CHARS_MAX {
        return line;
    }
    let end = line.chars().skip(chars - SAID_CHARS_MAX);
    format!("...{}", end.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_one_and_control_characters_go() {
        assert_eq!(
            said(b"\r\nfirst\r\n\n \x1b[1msecond\x07 \n"),
            "first; [1msecond"
        );
        assert_eq!(said(b"\xff\n"), "\u{fffd}");
        assert_eq!(said(b""), "");
    }

    #[test]
    fn of_a_long_text_the_end_is_kept() {
        let long = format!("{}why", "x".repeat(SAID_CHARS_MAX));
        let short = said(long.as_bytes());
        assert!(
            short.starts_with("...xxx") && short.ends_with("xwhy"),
            "{short}"
        );
        assert_eq!(short.chars().count(), SAID_CHARS_MAX + 3);
    }
}
