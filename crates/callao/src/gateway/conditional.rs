//! Etags and ranges: which of 200, 206, 304 and 416 a request gets, and which bytes. Pure (RFC 9110, sections 13 and 14).

use std::ops::Range;

/// What is sent of something that has `size` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it: 200.
    Whole,
    /// These bytes: 206.
    Range(Range<u64>),
    /// There are no such bytes: 416.
    Unsatisfiable,
}

/// Whether `If-None-Match` says that the client has it already: 304. Compared weakly, as for GET and HEAD.
pub(super) fn is_known(if_none_match: Option<&str>, etag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Some(tags) = if_none_match else {
        return false;
    };
    tags.trim() == "*" || tags.split(',').any(|tag| strong(tag) == strong(etag))
}

/// Which part is wanted. Of several ranges the first one counts, as in kubo; a unit that is not bytes is passed over;
/// `If-Range` with anything but the strong Etag makes it the whole. An empty file is always whole, as in Go.
pub(super) fn part(range: Option<&str>, if_range: Option<&str>, etag: &str, size: u64) -> Part {
    let Some(text) = range.and_then(|range| range.trim().strip_prefix("bytes=")) else {
        return Part::Whole;
    };
    let is_same = |tag: &str| tag.trim() == etag && !etag.starts_with("W/");
    if size == 0 || if_range.is_some_and(|tag| !is_same(tag)) {
        return Part::Whole;
    }
    let first = text.split(',').next().unwrap_or_default().trim();
    one(first, size).map_or(Part::Unsatisfiable, Part::Range)
}

fn one(text: &str, size: u64) -> Option<Range<u64>> {
    // `parse` would take a plus sign.
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // More digits than fit mean a position beyond everything.
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let (start, end) = text.split_once('-')?;
    if start.is_empty() {
        let count = number(end).filter(|count| *count > 0)?;
        return Some(size.saturating_sub(count)..size);
    }
    let start = number(start).filter(|start| *start < size)?;
    if end.is_empty() {
        return Some(start..size);
    }
    let end = number(end).filter(|end| *end >= start)?;
    Some(start..end.saturating_add(1).min(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_etag_is_not_sent_again() {
        for (header, known) in [
            (None, false),
            (Some("\"a\""), true),
            (Some("W/\"a\""), true),
            (Some("\"b\", \"a\""), true),
            (Some("*"), true),
            (Some("\"b\""), false),
            (Some("a"), false),
            (Some(""), false),
        ] {
            assert_eq!(is_known(header, "\"a\""), known, "{header:?}");
            assert_eq!(is_known(header, "W/\"a\""), known, "{header:?}");
        }
    }

    #[test]
    fn ranges() {
        let bytes = |start: u64, end: u64| Part::Range(start..end);
        for (header, wanted) in [
            ("bytes=0-0", bytes(0, 1)),
            ("bytes=0-", bytes(0, 100)),
            ("bytes=10-19", bytes(10, 20)),
            ("bytes=10-1000", bytes(10, 100)),
            ("bytes=10-99999999999999999999999", bytes(10, 100)),
            ("bytes=-10", bytes(90, 100)),
            ("bytes=-1000", bytes(0, 100)),
            ("bytes=99-", bytes(99, 100)),
            // kubo serves the first one only.
            ("bytes=0-1, 5-6", bytes(0, 2)),
            (" bytes=0-1", bytes(0, 2)),
            ("lines=0-1", Part::Whole),
            ("", Part::Whole),
            ("bytes", Part::Whole),
            ("bytes=", Part::Unsatisfiable),
            ("bytes=-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=100-", Part::Unsatisfiable),
            ("bytes=99999999999999999999999-", Part::Unsatisfiable),
            ("bytes=20-10", Part::Unsatisfiable),
            ("bytes=a-b", Part::Unsatisfiable),
            ("bytes=+1-2", Part::Unsatisfiable),
            ("bytes=1--2", Part::Unsatisfiable),
            ("bytes=--2", Part::Unsatisfiable),
            ("bytes=1", Part::Unsatisfiable),
            ("bytes=\u{0}-", Part::Unsatisfiable),
        ] {
            assert_eq!(part(Some(header), None, "\"e\"", 100), wanted, "{header}");
        }
        assert_eq!(part(None, None, "\"e\"", 100), Part::Whole);
        assert_eq!(part(Some("bytes=0-"), None, "\"e\"", 0), Part::Whole);
    }

    #[test]
    fn a_range_of_something_else_becomes_the_whole() {
        for (tag, etag, wanted) in [
            ("\"e\"", "\"e\"", Part::Range(0..1)),
            ("\"x\"", "\"e\"", Part::Whole),
            ("W/\"e\"", "\"e\"", Part::Whole),
            ("W/\"e\"", "W/\"e\"", Part::Whole),
            ("Tue, 24 Nov 2026 00:00:00 GMT", "\"e\"", Part::Whole),
        ] {
            assert_eq!(part(Some("bytes=0-0"), Some(tag), etag, 9), wanted, "{tag}");
        }
    }
}
