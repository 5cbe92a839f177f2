//! A directory as a plain page: names, sizes, CIDs. No script, no style from elsewhere.

use std::fmt::Write as _;

use callao_content::cid::Cid;
use callao_content::unixfs::{self, Kind};
use callao_content::{Error, dag_pb};
use hyper::{Response, StatusCode, header};
use url::form_urlencoded::byte_serialize;

use super::Body;
use super::answer::{self, Refusal, put};
use super::conditional;
use super::ipfs::Found;
use super::resolve::unreadable;
use super::route::Ask;

/// Entries on a page; a sharded directory may have millions.
const ENTRIES_COUNT_MAX: usize = 10_000;
/// The page may change with callao. The numbers are kubo's: a week, and a month.
pub(super) const CACHED: &str = "public, max-age=604800, stale-while-revalidate=2678400";

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    cid: Cid,
    size: Option<u64>,
}

/// The page of the directory that the path names.
pub(super) async fn answer(ask: &Ask, found: &Found) -> Result<Response<Body>, Refusal> {
    let end = found.way.end();
    let etag = format!("\"DirIndex-1_CID-{end}\"");
    let mut answer = if conditional::is_known(ask.header(header::IF_NONE_MATCH), &etag) {
        answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        let (entries, all) = entries(found, end).await?;
        let page = page(&ask.path, &entries, all);
        answer::bytes(StatusCode::OK, "text/html; charset=utf-8", page.into())
    };
    put(&mut answer, header::ETAG, etag);
    put(&mut answer, header::CACHE_CONTROL, CACHED);
    Ok(answer)
}

/// The entries, by name, and whether these are all.
async fn entries(found: &Found, root: Cid) -> Result<(Vec<Entry>, bool), Refusal> {
    let (mut entries, mut shards, mut read) = (Vec::new(), vec![root], 0);
    while let Some(cid) = shards.pop() {
        read += 1;
        if entries.len() >= ENTRIES_COUNT_MAX || read > ENTRIES_COUNT_MAX {
            entries.truncate(ENTRIES_COUNT_MAX);
            return Ok((entries, false));
        }
        let block = found.blocks.get(&cid).await?;
        read_node(&block, &mut entries, &mut shards).map_err(|error| unreadable(&error))?;
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let all = entries.len() <= ENTRIES_COUNT_MAX;
    entries.truncate(ENTRIES_COUNT_MAX);
    Ok((entries, all))
}

/// What one block of a directory says. The name of an entry of a shard has its index in front.
fn read_node(block: &[u8], entries: &mut Vec<Entry>, shards: &mut Vec<Cid>) -> Result<(), Error> {
    let node = dag_pb::decode(block)?;
    let data = unixfs::decode(node.data.unwrap_or_default())?;
    let digits = match data.kind {
        Kind::HamtShard => {
            let last = data.fanout.unwrap_or_default().saturating_sub(1);
            format!("{last:X}").len()
        }
        _ => 0,
    };
    for link in &node.links {
        match link.name.get(digits..) {
            Some([]) if digits > 0 => shards.push(link.cid),
            Some(name) => entries.push(Entry {
                name: String::from_utf8_lossy(name).into_owned(),
                cid: link.cid,
                size: link.tsize,
            }),
            None => {}
        }
    }
    Ok(())
}

fn page(path: &str, entries: &[Entry], all: bool) -> String {
    let title = format!("Index of {}", escaped(path));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n<body>\n\
         <h1>{title}</h1>\n<table>\n<thead><tr><th scope=\"col\">Name</th><th scope=\"col\">Bytes</th>\
         <th scope=\"col\">CID</th></tr></thead>\n<tbody>\n"
    );
    if path.trim_matches('/').split('/').count() > 2 {
        page.push_str("<tr><td><a href=\"..\">..</a></td><td></td><td></td></tr>\n");
    }
    for entry in entries {
        // The slash keeps a name with a colon from being read as a scheme.
        let link = byte_serialize(entry.name.as_bytes())
            .collect::<String>()
            .replace('+', "%20");
        let size = entry.size.map(|size| size.to_string()).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = writeln!(
            page,
            "<tr><td><a href=\"./{link}\">{}</a></td><td>{size}</td><td><a href=\"/ipfs/{cid}\">{cid}</a></td></tr>",
            escaped(&entry.name),
            cid = entry.cid,
        );
    }
    page.push_str("</tbody>\n</table>\n");
    if !all {
        let _ = writeln!(
            page,
            "<p>There are more entries; these are {ENTRIES_COUNT_MAX} of them.</p>"
        );
    }
    page.push_str("</body></html>\n");
    page
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            char if char.is_control() => out.push('\u{fffd}'),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place_on_the_page() {
        let cid = callao_content::cid::parse("bafkqaaa").expect("a CID");
        let entry = |name: &str| Entry {
            name: name.to_owned(),
            cid,
            size: Some(5),
        };
        let entries = [
            entry("<script>alert(1)</script>"),
            entry("javascript:x"),
            entry("a b\"'&\n"),
        ];
        let page = page("/ipfs/bafkqaaa/\"><b>/", &entries, false);
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("<b>"), "{page}");
        assert!(page.contains("href=\"./javascript%3Ax\""), "{page}");
        assert!(
            page.contains("href=\"./a%20b%22%27%26%0A\">a b&quot;&#39;&amp;\u{fffd}<"),
            "{page}"
        );
        assert!(page.contains("these are 10000 of them"), "{page}");
        assert!(page.contains("<a href=\"..\">"), "{page}");
    }
}
