//! Sizes as people write them: `4GiB`, `512M`, `1.5g`, bytes. It must not know what is that large.

/// Bytes of a size, by the rules of go-units' `RAMInBytes`, which Lima uses: every suffix counts in 1024s, in any case,
/// with or without `B` or `iB`, and perhaps after one space. `None`: not a size, or larger than any.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let after = text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '))? + 1;
    let (number, suffix) = text.split_at(after);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let factor = factor(&suffix.to_ascii_lowercase())?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).filter(|bytes| *bytes <= MAX);
    }
    let (whole, fraction) = number.split_once('.')?;
    let whole = match whole {
        "" if fraction.is_empty() => return None,
        "" => 0,
        digits => digits.parse::<u64>().ok()?,
    };
    let bytes = whole.checked_mul(factor)?;
    bytes
        .checked_add(part_of(fraction, factor)?)
        .filter(|bytes| *bytes <= MAX)
}

/// Go counts in signed numbers.
const MAX: u64 = i64::MAX as u64;

/// Digits of a fraction that can matter: 10^18 still fits a `u64`, and no suffix has more than 2^50.
const FRACTION_DIGITS: usize = 18;

/// Bytes of what follows the point, rounded down.
fn part_of(fraction: &str, factor: u64) -> Option<u64> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = &fraction[..fraction.len().min(FRACTION_DIGITS)];
    let numerator = digits
        .bytes()
        .fold(0u128, |sum, digit| sum * 10 + u128::from(digit - b'0'));
    let denominator = digits.bytes().fold(1u128, |product, _| product * 10);
    u64::try_from(numerator * u128::from(factor) / denominator).ok()
}

fn factor(suffix: &str) -> Option<u64> {
    let mut letters = suffix.chars();
    let exponent = match letters.next() {
        None => return Some(1),
        Some('b') if suffix.len() == 1 => return Some(1),
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        Some(_) => return None,
    };
    matches!(letters.as_str(), "" | "b" | "ib").then(|| 1024u64.pow(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// The cases of go-units' `size_test.go`, and more.
    #[test]
    fn sizes_are_those_of_go_units() {
        let cases = [
            ("32", Some(32)),
            ("32b", Some(32)),
            ("32B", Some(32)),
            ("32k", Some(32 << 10)),
            ("32K", Some(32 << 10)),
            ("32kb", Some(32 << 10)),
            ("32Kb", Some(32 << 10)),
            ("32KiB", Some(32 << 10)),
            ("32Mb", Some(32 << 20)),
            ("32Gb", Some(32 << 30)),
            ("32Tb", Some(32 << 40)),
            ("32Pb", Some(32 << 50)),
            ("32.3", Some(32)),
            ("4GiB", Some(4 * GIB)),
            ("1.5GiB", Some(GIB + GIB / 2)),
            (".5g", Some(GIB / 2)),
            ("1.g", Some(GIB)),
            ("1 GiB", Some(GIB)),
            ("5 ", Some(5)),
            ("0", Some(0)),
            ("0.1k", Some(102)),
            ("1.0000000000000000000000000000000000001k", Some(1024)),
            ("", None),
            ("hello", None),
            ("-32", None),
            (" 32 ", None),
            ("32m b", None),
            ("32bm", None),
            ("32bb", None),
            ("32kib.", None),
            ("32kibx", None),
            ("32x", None),
            ("GiB", None),
            ("1..5g", None),
            ("1.5.g", None),
            (".", None),
            ("1  g", None),
            ("1e3", None),
            ("8192p", None),
            ("8191p", Some(8191 << 50)),
            ("99999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(size(text), expected, "{text:?}");
        }
    }
}
