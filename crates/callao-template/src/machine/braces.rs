//! Cuts a text at Go's double braces (`text/template`): what is between them, quotes and trim markers heeded. It must not
//! know what stands in the braces.

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    /// Outside of braces.
    Text(&'t str),
    /// Braces.
    Action {
        /// With the braces.
        whole: &'t str,
        /// Without the braces, the trim markers and the white space.
        inner: &'t str,
    },
    /// Braces that are not closed, and the rest.
    Open(&'t str),
}

/// All pieces. White space that trim markers take away is not in them.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trims = false;
    while let Some(at) = rest.find("{{") {
        let before = trimmed_start(&rest[..at], trims);
        let Some(length) = closed(&rest[at + 2..]) else {
            pieces.push(Piece::Text(before));
            pieces.push(Piece::Open(&rest[at..]));
            return pieces;
        };
        let end = at + 2 + length;
        let (inner, trims_before, trims_after) = marked(&rest[at + 2..end]);
        pieces.push(Piece::Text(if trims_before {
            before.trim_end()
        } else {
            before
        }));
        pieces.push(Piece::Action {
            whole: &rest[at..end + 2],
            inner,
        });
        rest = &rest[end + 2..];
        trims = trims_after;
    }
    pieces.push(Piece::Text(trimmed_start(rest, trims)));
    pieces
}

fn trimmed_start(text: &str, trims: bool) -> &str {
    if trims { text.trim_start() } else { text }
}

/// Without white space and trim markers; whether the white space before and after the braces goes as well.
fn marked(inner: &str) -> (&str, bool, bool) {
    let is_space = |c: char| c.is_ascii_whitespace();
    let start = inner
        .strip_prefix('-')
        .filter(|rest| rest.starts_with(is_space));
    let inner = start.unwrap_or(inner);
    let end = inner
        .strip_suffix('-')
        .filter(|rest| rest.ends_with(is_space));
    (end.unwrap_or(inner).trim(), start.is_some(), end.is_some())
}

/// Where the braces close, not looking into quoted texts.
fn closed(text: &str) -> Option<usize> {
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '`') => quote = Some(c),
            None if text[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

/// `.Name` or `.Param.key`, without the first point.
pub(super) fn path_of(inner: &str) -> Option<&str> {
    let path = inner.strip_prefix('.')?;
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    path.split('.').all(is_name).then_some(path)
}

/// A text in backquotes, or in double quotes if nothing is escaped in it.
pub(super) fn literal_of(inner: &str) -> Option<&str> {
    let raw = inner
        .strip_prefix('`')
        .and_then(|rest| rest.strip_suffix('`'))
        .filter(|text| !text.contains('`'));
    let quoted = inner
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|text| !text.contains(['"', '\\', '\n']));
    raw.or(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_braces() {
        let text = Piece::Text;
        let action = |whole, inner| Piece::Action { whole, inner };
        let cases = [
            ("", vec![text("")]),
            ("a } b", vec![text("a } b")]),
            (
                "a{{ b }}",
                vec![text("a"), action("{{ b }}", "b"), text("")],
            ),
            (
                "a {{- b -}} c",
                vec![text("a"), action("{{- b -}}", "b"), text("c")],
            ),
            (
                "{{-b-}} ",
                vec![text(""), action("{{-b-}}", "-b-"), text(" ")],
            ),
            (
                r#"{{"}}\"}}"}}{{`}}`}}"#,
                vec![
                    text(""),
                    action(r#"{{"}}\"}}"}}"#, r#""}}\"}}""#),
                    text(""),
                    action("{{`}}`}}", "`}}`"),
                    text(""),
                ],
            ),
            ("a{{b", vec![text("a"), Piece::Open("{{b")]),
            ("{{\"}}", vec![text(""), Piece::Open("{{\"}}")]),
        ];
        for (whole, expected) in cases {
            assert_eq!(pieces(whole), expected, "{whole:?}");
        }
    }
}
