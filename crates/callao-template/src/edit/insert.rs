//! A new entry in front of another one of the same list, which repeats everything but the location and the CID.
//! It must not know why.

use super::source::{Cut, Quotes, is_merged};
use super::{Document, Part};
use crate::error::Error;
use crate::tree::{Entry, Node, Value};

const UNKNOWN: &str = "its place in the text is not known";

/// Where an entry of a block list begins, and what stands in front of its first key.
struct Head {
    /// Start of the line with the dash.
    at: usize,
    /// From there to the first key.
    prefix: String,
    /// In front of each further key.
    indent: String,
}

/// Puts an entry with this location in front of `part`.
pub(super) fn in_front(document: &Document<'_>, part: Part, location: &str) -> Result<Cut, Error> {
    let (node, list) = document.find(part)?;
    let refuse = |why| document.refusal(node.line, &part.field(), why);
    let source = &document.source;
    let Value::Map(entries) = &node.value else {
        return Err(refuse("it is not a mapping"));
    };
    let (Some(start), Some(list_start)) = (start_of(node), start_of(list)) else {
        return Err(refuse(UNKNOWN));
    };
    let fields = fields(document, entries, location).map_err(refuse)?;
    let is_flow = source.starts_with(start, '{');
    if source.starts_with(list_start, '[') {
        let before = source.piece(0..start).trim_end();
        if !before.ends_with(['[', ',']) {
            return Err(refuse("it has an anchor or a tag"));
        }
        let own = source.before(start);
        let gap = match own.trim().is_empty() {
            true => format!("{}{own}", source.line_end(start)),
            false => " ".to_owned(),
        };
        return Ok(Cut {
            range: start..start,
            new: format!("{},{gap}", braces(document, start, &fields)),
        });
    }
    let head = head(document, start, is_flow).map_err(refuse)?;
    let eol = source.line_end(start);
    let body = match is_flow {
        true => braces(document, start, &fields),
        false => fields.join(&format!("{eol}{}", head.indent)),
    };
    Ok(Cut {
        range: head.at..head.at,
        new: format!("{}{body}{eol}", head.prefix),
    })
}

fn start_of(node: &Node) -> Option<usize> {
    node.span.as_ref().map(|span| span.start)
}

/// `{a: b, c: d}`, with blanks inside if the original has them.
fn braces(document: &Document<'_>, start: usize, fields: &[String]) -> String {
    let blank = match document.source.starts_with(start + 1, ' ') {
        true => " ",
        false => "",
    };
    format!("{{{blank}{}{blank}}}", fields.join(", "))
}

/// Keys and values as they stand in the text, with another location and without `cid`.
fn fields(
    document: &Document<'_>,
    entries: &[Entry],
    location: &str,
) -> Result<Vec<String>, &'static str> {
    let source = &document.source;
    let mut fields = Vec::new();
    for entry in entries.iter().filter(|entry| entry.key != "cid") {
        if is_merged(entry) {
            let Value::Scalar {
                text,
                boolean: None,
            } = &entry.value.value
            else {
                return Err("it has a part that comes from a merged mapping");
            };
            let text = if entry.key == "location" {
                location
            } else {
                text
            };
            fields.push(format!("{}: {}", entry.key, Quotes::Double.around(text)));
            continue;
        }
        let (Some(key), Some(end)) = (entry.span.clone(), source.end_of(entry)) else {
            return Err(UNKNOWN);
        };
        fields.push(if entry.key == "location" {
            let quotes = match entry.value.is_alias {
                true => Quotes::Double,
                false => source.quotes(&entry.value),
            };
            format!("{}: {}", source.piece(key), quotes.around(location))
        } else {
            source.piece(key.start..end).to_owned()
        });
    }
    Ok(fields)
}

fn head(document: &Document<'_>, start: usize, is_flow: bool) -> Result<Head, &'static str> {
    let source = &document.source;
    let before = source.before(start);
    let trimmed = before.trim_start();
    let blanks = |text: &str| " ".repeat(text.chars().count());
    if let Some(after_dash) = trimmed.strip_prefix('-') {
        let margin = &before[..before.len() - trimmed.len()];
        let prefix = match after_dash.trim() {
            "" => before.to_owned(),
            // An anchor or a tag belongs to the entry that has it.
            mark if is_flow && mark.starts_with(['&', '!']) => format!("{margin}- "),
            _ => return Err("its list is written in a way that is not understood"),
        };
        return Ok(Head {
            at: source.line_start(start),
            indent: blanks(before),
            prefix,
        });
    }
    if !trimmed.is_empty() {
        return Err("its list is written in a way that is not understood");
    }
    // The dash is alone in a line above.
    let mut at = source.line_start(start);
    while at > 0 {
        at = source.line_start(at - 1);
        let line = source.rest_of_line(at);
        let text = line.trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let margin = &line[..line.len() - text.len()];
        let after_dash = text.strip_prefix('-').map(str::trim_start);
        let is_alone = |rest: &str| rest.is_empty() || rest.starts_with(['#', '&', '!']);
        if !after_dash.is_some_and(is_alone) {
            break;
        }
        return Ok(Head {
            at,
            prefix: format!("{margin}-{}{before}", source.line_end(at)),
            indent: before.to_owned(),
        });
    }
    Err("its list is written in a way that is not understood")
}
