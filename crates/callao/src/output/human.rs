//! Numbers, times and errors as people read them. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use callao_fetch::source::{SourceId, SourceKind};

use crate::error::CommandError;

/// An error with details and hints, as several lines without the last line end.
pub fn error(error: &CommandError, label: &str, hint_label: &str) -> String {
    let mut text = format!("{label} {}", error.message);
    for line in error.details.iter().flat_map(|detail| detail.lines()) {
        // Writing into a String cannot fail.
        write!(text, "\n  {line}").unwrap_or(());
    }
    for hint in &error.hints {
        write!(text, "\n{hint_label} {hint}").unwrap_or(());
    }
    text
}

/// A source as people know it: a URL speaks for itself.
pub fn source(id: &SourceId) -> String {
    match id.kind {
        SourceKind::Http | SourceKind::File | SourceKind::Oci => id.place.clone(),
        _ => id.to_string(),
    }
}

/// `453.00 MiB`, in powers of 1024.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.995 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2} {}", UNITS[unit])
}

/// `4GiB`, `512MiB`: as a user writes it, if it is a round number; `453.00MiB` otherwise.
pub fn short_bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    let round = UNITS
        .iter()
        .find(|(_, unit)| count >= *unit && count.is_multiple_of(*unit));
    match round {
        Some((name, unit)) => format!("{}{name}", count / unit),
        None => bytes(count).replace(' ', ""),
    }
}

/// Bytes per second.
pub fn rate(count: u64, elapsed: Duration) -> String {
    let per_second = count as f64 / elapsed.as_secs_f64().max(1e-6);
    format!("{}/s", bytes(per_second as u64))
}

/// `1.25 s`, `2 min 5 s`, `3 h 1 min`, `4 d`.
pub fn duration(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{:.2} s", span.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A percentage without decimals, rounded down: 100 % means all.
pub fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        100
    } else {
        (u128::from(part) * 100 / u128::from(whole)) as u64
    }
}

/// The size that a user writes: `256MiB`, `1G`, `4096`. All units are powers of 1024, as in Lima.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits_end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits_end].parse().ok()?;
    let unit = match text[digits_end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// The span that a user writes: `30d`, `12h`, `2w`, `90m`, `10s`.
pub fn parse_age(text: &str) -> Option<Duration> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits_end].parse().ok()?;
    let unit = match text[digits_end..].trim().to_ascii_lowercase().as_str() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    number.checked_mul(unit).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (475_004_928, "453.00 MiB"),
            (1 << 30, "1.00 GiB"),
        ];
        for (count, want) in cases {
            assert_eq!(bytes(count), want);
        }
        assert_eq!(bytes((1 << 20) - 1), "1.00 MiB");
        assert_eq!(parse_size("256MiB"), Some(256 << 20));
        assert_eq!(parse_size("4g"), Some(4 << 30));
        assert_eq!(parse_size("4096"), Some(4096));
        assert_eq!(parse_size("1 MiB"), Some(1 << 20));
        assert_eq!(
            (
                parse_size(""),
                parse_size("MiB"),
                parse_size("1x"),
                parse_size("99999999T")
            ),
            (None, None, None, None)
        );
    }

    #[test]
    fn ages_read_as_people_write_them() {
        let seconds = |text| parse_age(text).map(|age| age.as_secs());
        assert_eq!(seconds("30d"), Some(30 * 86_400));
        assert_eq!(seconds("2w"), Some(14 * 86_400));
        assert_eq!(seconds("12 h"), Some(12 * 3600));
        assert_eq!((seconds("90m"), seconds("0s")), (Some(5400), Some(0)));
        for wrong in ["", "30", "d", "1y", "-1d", "1.5d", "99999999999999999999d"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_and_shares() {
        assert_eq!(duration(Duration::from_millis(1250)), "1.25 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 5 s");
        assert_eq!(duration(Duration::from_secs(3700)), "1 h 1 min");
        assert_eq!(duration(Duration::from_secs(4 * 86_400)), "4 d");
        assert_eq!(
            (percent(999, 1000), percent(1000, 1000), percent(0, 0)),
            (99, 100, 100)
        );
    }

    #[test]
    fn an_error_has_details_and_hints() {
        let failed = CommandError::usage("it failed")
            .detail("one\ntwo")
            .hint("try again");
        assert_eq!(
            error(&failed, "error:", "hint:"),
            "error: it failed\n  one\n  two\nhint: try again"
        );
    }
}
