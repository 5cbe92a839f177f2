//! From `/ipfs/CID/a/b` to the block that it names, through directories, shards and dag-cbor. Knows no format.

use callao_content::address::IpfsAddress;
use callao_content::cid::{self, Cid};
use callao_content::path::Resolve;
use callao_content::{Error, dag_cbor};
use hyper::StatusCode;

use super::answer::Refusal;
use super::blocks::Blocks;
use super::format::quoted;

/// Codec of dag-cbor.
pub(super) const DAG_CBOR: u64 = 0x71;
/// Most segments of a path.
const SEGMENTS_COUNT_MAX: usize = 64;

/// What a path names, and the way there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// The root, and what each segment leads to: the last one is what is named.
    pub(super) roots: Vec<Cid>,
    /// The blocks that were read on the way, in order, without the last one.
    pub(super) passed: Vec<Cid>,
}

impl Way {
    /// What the path names.
    pub(super) fn end(&self) -> Cid {
        // There is always the root.
        self.roots.last().copied().unwrap_or_default()
    }
}

/// The root and the segments of what follows `/ipfs/`, percent-decoded one by one. A segment `..` is a name like any other.
pub(super) fn split(path: &str) -> Result<(Cid, Vec<String>), Refusal> {
    let (root, rest) = first(path)?;
    let root = cid::parse(&root).map_err(|error| Refusal::bad(clean(&error.to_string())))?;
    Ok((root, segments(rest)?))
}

/// The first segment, percent-decoded, and what follows it.
pub(super) fn first(path: &str) -> Result<(String, &str), Refusal> {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    Ok((decoded(first)?, rest))
}

/// Segments, percent-decoded.
pub(super) fn segments(path: &str) -> Result<Vec<String>, Refusal> {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let segments: Vec<String> = segments.map(decoded).collect::<Result<_, _>>()?;
    check_depth(&segments)?;
    Ok(segments)
}

/// Whether a path may be so long.
pub(super) fn check_depth(segments: &[String]) -> Result<(), Refusal> {
    match segments.len() {
        0..=SEGMENTS_COUNT_MAX => Ok(()),
        _ => Err(Refusal::bad(format!(
            "the path has more than {SEGMENTS_COUNT_MAX} segments"
        ))),
    }
}

/// Follows the segments.
pub(super) async fn follow(
    blocks: &Blocks,
    root: Cid,
    segments: &[String],
) -> Result<Way, Refusal> {
    let mut way = Way {
        roots: vec![root],
        passed: Vec::new(),
    };
    let mut rest = segments;
    while let Some(segment) = rest.first() {
        let at = way.end();
        let used = if at.codec() == DAG_CBOR {
            through_cbor(blocks, &mut way, at, rest).await?
        } else {
            through_unixfs(blocks, &mut way, at, segment).await?;
            1
        };
        rest = rest.get(used..).unwrap_or_default();
    }
    Ok(way)
}

async fn through_unixfs(
    blocks: &Blocks,
    way: &mut Way,
    at: Cid,
    segment: &str,
) -> Result<(), Refusal> {
    let no_link = || Refusal::not_found(format!("no link named {} under {at}", quoted(segment)));
    let mut resolve = Resolve::new(IpfsAddress {
        cid: at,
        path: vec![segment.to_owned()],
    });
    while let Some(wanted) = resolve.wants() {
        let block = blocks.get(&wanted).await?;
        resolve
            .supply(&wanted, &block)
            .map_err(|error| match error {
                Error::NoSuchName { .. } | Error::PathThroughFile { .. } => no_link(),
                // A symlink is not followed; what lies behind one is not a path of this root.
                Error::NotAFile { .. } => no_link(),
                other => unreadable(&other),
            })?;
        way.passed.push(wanted);
    }
    match resolve.done() {
        // A file has no names; callao's own addresses may have one after it, paths of a gateway do not.
        Some(target) if target.cid != at => {
            way.roots.push(target.cid);
            Ok(())
        }
        _ => Err(no_link()),
    }
}

/// How many segments one dag-cbor block takes.
async fn through_cbor(
    blocks: &Blocks,
    way: &mut Way,
    at: Cid,
    segments: &[String],
) -> Result<usize, Refusal> {
    let block = blocks.get(&at).await?;
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    match dag_cbor::follow(&block, &path).map_err(|error| unreadable(&error))? {
        Some((target, used)) => {
            way.passed.push(at);
            way.roots.push(target);
            Ok(used)
        }
        None => Err(Refusal::not_found(format!(
            "no link at {} in {at}",
            quoted(&path.join("/"))
        ))),
    }
}

/// What is here cannot be read as what it should be.
pub(super) fn unreadable(error: &Error) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, clean(&error.to_string()))
}

/// Percent-decodes one segment.
fn decoded(segment: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = (byte == b'%').then(|| code(after)).flatten();
        if byte == b'%' && code.is_none() {
            return Err(Refusal::bad(
                "a percent sign without two hexadecimal digits",
            ));
        }
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).map_err(|_| Refusal::bad("the path is not UTF-8"))
}

/// The byte that two hexadecimal digits spell.
fn code(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

/// The message of an error, without control characters that its foreign text may have.
fn clean(message: &str) -> String {
    message.chars().filter(|char| !char.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "bafkqaaa";

    #[test]
    fn paths_are_cut_into_segments() {
        for (path, wanted) in [
            (EMPTY.to_owned(), vec![]),
            (format!("{EMPTY}/"), vec![]),
            (format!("{EMPTY}/a/b"), vec!["a", "b"]),
            (format!("{EMPTY}//a///b/"), vec!["a", "b"]),
            (format!("{EMPTY}/a%20b/%C3%A9"), vec!["a b", "\u{e9}"]),
            (format!("{EMPTY}/%2525"), vec!["%25"]),
            (format!("{EMPTY}/a+b"), vec!["a+b"]),
            // Names, not steps: nothing here is a file system.
            (
                format!("{EMPTY}/../../etc/passwd"),
                vec!["..", "..", "etc", "passwd"],
            ),
            (format!("{EMPTY}/%2e%2e%2fetc"), vec!["../etc"]),
            (format!("{EMPTY}/a%00b"), vec!["a\u{0}b"]),
            ("b%61fkqaaa/x".to_owned(), vec!["x"]),
        ] {
            let (root, segments) = split(&path).expect("a path");
            assert_eq!(cid::text(&root), EMPTY);
            assert_eq!(segments, wanted, "{path}");
        }
    }

    #[test]
    fn paths_that_are_refused() {
        let deep = format!("{EMPTY}{}", "/x".repeat(65));
        for (path, message) in [
            ("", "`` is not a CID: too short"),
            (
                "nonsense",
                "`nonsense` is not a CID: unknown multibase prefix",
            ),
            (
                "bafkqaaa/%",
                "a percent sign without two hexadecimal digits",
            ),
            (
                "bafkqaaa/%zz",
                "a percent sign without two hexadecimal digits",
            ),
            (
                "bafkqaaa/%+1",
                "a percent sign without two hexadecimal digits",
            ),
            ("bafkqaaa/%ff", "the path is not UTF-8"),
            ("..", "`..` is not a CID: unknown multibase prefix"),
            ("%0d%0a", "`` is not a CID: unknown multibase prefix"),
            (&deep, "the path has more than 64 segments"),
        ] {
            let refusal = split(path).expect_err(path);
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
            assert_eq!(refusal.message, message, "{path}");
        }
    }
}
