//! What is said about a lock: a line for each entry, the list of what is wrong, and the same as JSON. Decides nothing.

use callao_content::cid;
use callao_template::edit::FileEntry;
use serde::Serialize;
use similar::TextDiff;

use super::gather::Facts;
use super::judge::Verdict;
use super::sums::Listed;
use super::work::Item;
use crate::app::App;
use crate::error::CommandError;
use crate::output::json::From;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// Digest and CID are there and name the bytes.
    Right,
    /// Something was missing; `changed` says what is written.
    Locked,
    /// Something is missing (`--check`).
    Incomplete,
    /// It does not name its bytes.
    Wrong,
    /// Nobody could deliver it.
    Failed,
    /// Neither digest nor CID, and nobody asked to look it up.
    LeftAlone,
    /// Not here (`--offline`), so not compared.
    NotChecked,
}

/// One entry as an object of `--json`.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    what: &'static str,
    line: usize,
    location: &'a str,
    arch: Option<&'static str>,
    status: Status,
    /// What it is now, or would be.
    digest: Option<String>,
    cid: Option<String>,
    /// What it was before.
    was: Was,
    changed: &'a [&'static str],
    faults: &'a [String],
    /// Where the bytes came from, and where they are.
    from: Option<From>,
    path: Option<&'a str>,
    size: Option<u64>,
    /// What the checksums of the origin say.
    sums: Option<&'a Listed>,
}

#[derive(Serialize)]
struct Was {
    digest: Option<String>,
    cid: Option<String>,
}

/// The text of a template, or a diff of it.
#[derive(Serialize)]
struct Text<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
}

/// Tells about one entry.
pub(super) fn entry(
    app: &App,
    item: &Item,
    facts: Option<&Facts>,
    verdict: &Verdict,
    status: Status,
) {
    let entry = &item.entry;
    let changed: &[&'static str] = match status {
        Status::Locked => &verdict.lacks,
        _ => &[],
    };
    app.output.json(&Line {
        kind: "result",
        what: item.want.noun.bare(),
        line: entry.line,
        location: &entry.location,
        arch: entry.arch.map(|arch| arch.name()),
        status,
        digest: verdict.digest.map(|digest| digest.to_string()),
        cid: verdict.cid.as_ref().map(cid::text),
        was: Was {
            digest: entry.digest.map(|digest| digest.to_string()),
            cid: entry.cid.as_ref().map(cid::text),
        },
        changed,
        faults: &verdict.faults,
        from: facts.map(|facts| facts.got.from),
        path: facts.map(|facts| facts.got.path.as_str()),
        size: facts.map(|facts| facts.got.size),
        sums: item.listed.as_ref(),
    });
    match status {
        Status::Right => app.output.detail(format!("{}: locked", place(entry))),
        Status::Locked => {
            let added = changed.join(" and ");
            app.output.info(format!("{}: {added} added", place(entry)));
        }
        Status::LeftAlone => app.output.warning(format!(
            "{} has neither digest nor CID and is left alone; --pin-latest locks it to what it is now",
            place(entry)
        )),
        Status::NotChecked => app
            .output
            .warning(format!("{} is not here, so it was not checked", place(entry))),
        Status::Incomplete | Status::Wrong | Status::Failed => {}
    }
}

/// An entry that had neither is locked from now on.
pub(super) fn pinned_latest(app: &App, item: &Item) {
    let witness = match &item.listed {
        Some(listed) => match &listed.signed_by {
            Some(signer) => format!("which is what {} lists, signed by {signer}", listed.url),
            None => format!("which is what {} lists", listed.url),
        },
        None => "which nobody has verified".to_owned(),
    };
    app.output.warning(format!(
        "{} had neither digest nor CID: it is locked to what was fetched now, {witness}",
        place(&item.entry)
    ));
}

/// `line 3, https://host/a.img`.
pub(super) fn place(entry: &FileEntry) -> String {
    format!("line {}, {}", entry.line, entry.location)
}

/// A fault or a failure as lines of an error: the first one with the place.
pub(super) fn detail(entry: &FileEntry, error: &CommandError) -> String {
    let mut text = format!("{}: {}", place(entry), error.message);
    for line in &error.details {
        text.extend(["\n  ", line]);
    }
    text
}

/// The change as a unified diff on stdout.
pub(super) fn diff(app: &App, name: &str, before: &str, after: &str) {
    let diff = TextDiff::from_lines(before, after);
    let text = diff.unified_diff().header(name, name).to_string();
    if app.output.style().json {
        app.output.json(&Text {
            kind: "diff",
            text: &text,
        });
    } else if !text.is_empty() {
        app.output.result(text.trim_end_matches('\n'));
    }
}

/// The text of a template that goes to stdout, with `--json`.
pub(super) fn text(app: &App, text: &str) {
    app.output.json(&Text {
        kind: "template",
        text,
    });
}
