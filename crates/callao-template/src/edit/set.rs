//! One key of a file's entry: a new value in its place, or a new key behind those that it belongs to.
//! It must not know what the value means.

use super::source::{Cut, Quotes, is_merged};
use super::{Document, Part};
use crate::error::Error;
use crate::tree::{Entry, Node, Value};

/// Gives `key` of a file this value.
pub(super) fn value(
    document: &Document<'_>,
    part: Part,
    key: &'static str,
    value: &str,
) -> Result<Cut, Error> {
    let (node, _) = document.find(part)?;
    let Value::Map(entries) = &node.value else {
        return Err(document.refusal(node.line, &part.field(), "it is not a mapping"));
    };
    match entries.iter().find(|entry| entry.key == key) {
        Some(entry) => replaced(document, part, entry, entries, value),
        None => added(document, part, node, entries, key, value),
    }
}

fn replaced(
    document: &Document<'_>,
    part: Part,
    entry: &Entry,
    entries: &[Entry],
    value: &str,
) -> Result<Cut, Error> {
    let source = &document.source;
    let refuse =
        |why| document.refusal(entry.line, &format!("{}.{}", part.field(), entry.key), why);
    if is_merged(entry) {
        return Err(refuse(
            "it comes from a merged mapping; write it into the entry",
        ));
    }
    if entry.value.is_alias {
        return Err(refuse(
            "it is an alias; write the value itself in its place",
        ));
    }
    let behind_colon = source.behind_colon(entry);
    let (Some(span), Some(behind_colon)) = (entry.value.span.clone(), behind_colon) else {
        return Err(refuse("its place in the text is not known"));
    };
    let is_nothing = source.piece(span.clone()).trim().is_empty();
    if matches!(entry.value.value, Value::Null) && (is_nothing || span.start < behind_colon) {
        let new = format!(" {}", siblings(document, entries, &entry.key).around(value));
        return Ok(Cut {
            range: behind_colon..behind_colon,
            new,
        });
    }
    if !matches!(entry.value.value, Value::Null | Value::Scalar { .. }) {
        return Err(refuse("it is not a text"));
    }
    let new = source.quotes(&entry.value).around(value);
    Ok(Cut { range: span, new })
}

fn added(
    document: &Document<'_>,
    part: Part,
    node: &Node,
    entries: &[Entry],
    key: &'static str,
    value: &str,
) -> Result<Cut, Error> {
    let source = &document.source;
    let refuse = |why| document.refusal(node.line, &part.field(), why);
    let own: Vec<&Entry> = entries.iter().filter(|entry| !is_merged(entry)).collect();
    let (Some(anchor), Some(start)) =
        (anchor(&own, key), node.span.as_ref().map(|span| span.start))
    else {
        return Err(refuse("it has no key of its own"));
    };
    let (Some(key_span), Some(end)) = (anchor.span.clone(), source.end_of(anchor)) else {
        return Err(refuse("its place in the text is not known"));
    };
    let name = match source.piece(key_span.clone()).chars().next() {
        Some('"') => format!("\"{key}\""),
        Some('\'') => format!("'{key}'"),
        _ => key.to_owned(),
    };
    let new = format!("{name}: {}", siblings(document, entries, key).around(value));
    if source.starts_with(start, '{') {
        return Ok(Cut {
            range: end..end,
            new: format!(", {new}"),
        });
    }
    let rest = source.rest_of_line(end).trim_start();
    if !rest.is_empty() && !rest.starts_with('#') {
        return Err(refuse("something follows a value in its line"));
    }
    let indent = " ".repeat(source.before(key_span.start).chars().count());
    let eol = source.line_end(end);
    Ok(match source.next_line(end) {
        Some(next) => Cut {
            range: next..next,
            new: format!("{indent}{new}{eol}"),
        },
        None => Cut {
            range: source.end()..source.end(),
            new: format!("{eol}{indent}{new}"),
        },
    })
}

/// The key that a new one comes behind: `cid` behind `digest`, both behind `location` and `arch`.
fn anchor<'e>(own: &[&'e Entry], key: &str) -> Option<&'e Entry> {
    let find = |key: &str| own.iter().find(|entry| entry.key == key).copied();
    if key == "cid"
        && let Some(digest) = find("digest")
    {
        return Some(digest);
    }
    let start = |entry: &&Entry| entry.span.as_ref().map_or(0, |span| span.start);
    let last = [find("location"), find("arch")];
    last.into_iter()
        .flatten()
        .max_by_key(start)
        .or_else(|| own.last().copied())
}

/// Quotes of a new value: a CID as the other CIDs of the template have them, everything else as in the same entry.
fn siblings(document: &Document<'_>, entries: &[Entry], key: &str) -> Quotes {
    let source = &document.source;
    if key == "cid"
        && let Some(quotes) = quotes_of_cids(document)
    {
        return quotes;
    }
    let sibling = ["digest", "location"].iter().find_map(|name| {
        let has = |entry: &&Entry| {
            entry.key == *name && *name != key && matches!(entry.value.value, Value::Scalar { .. })
        };
        entries.iter().find(has).filter(|entry| !is_merged(entry))
    });
    match sibling {
        Some(entry) if !entry.value.is_alias => source.quotes(&entry.value),
        _ => Quotes::Double,
    }
}

fn quotes_of_cids(document: &Document<'_>) -> Option<Quotes> {
    let mut with_cid = document.files.iter().filter(|file| file.cid.is_some());
    with_cid.find_map(|file| {
        let (node, _) = document.find(file.part).ok()?;
        let Value::Map(entries) = &node.value else {
            return None;
        };
        let cid = entries.iter().find(|entry| entry.key == "cid")?;
        (!cid.value.is_alias).then(|| document.source.quotes(&cid.value))
    })
}
