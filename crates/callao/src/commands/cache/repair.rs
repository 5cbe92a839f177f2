//! `callao cache repair`: reads everything again, and puts right what is damaged.

use std::path::PathBuf;

use callao_content::cid;
use callao_store::catalogue::Kind;
use serde::Serialize;

use super::items::{self, Item};
use crate::app::App;
use crate::cli::RepairArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::run::Job;
use crate::get::sources::Places;
use crate::output::human;

mod mend;
mod republish;

/// One file under all its names in Lima's cache, or one of the user's. Never empty.
pub(super) struct Names(Vec<Item>);

impl Names {
    /// The name that is talked about.
    fn first(&self) -> &Item {
        &self.0[0]
    }
}

/// How it ended for one file.
#[derive(Debug)]
enum Outcome {
    /// It is what it should be.
    Good,
    /// The bytes were right, the files that speak for them were not.
    Marked,
    /// Another file here has the bytes.
    Copied { from: PathBuf },
    /// The damaged pieces were fetched, or the whole file.
    Fetched { fetched: u64, kept: u64 },
    /// Nothing says what its bytes should be.
    Unknown,
    /// It is damaged still.
    Failed(String),
}

/// One file, as `--json` has it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    event: &'static str,
    paths: Vec<&'a PathBuf>,
    urls: Vec<&'a str>,
    cids: Vec<String>,
    size: u64,
    /// `good`, `repaired`, `unknown`, `failed`.
    outcome: &'static str,
    /// Bytes that came from sources.
    fetched_bytes: u64,
    /// Bytes of the damaged file that were good.
    kept_bytes: u64,
    reason: Option<String>,
}

pub(super) fn run(app: &App, args: &RepairArgs) -> Result<(), CommandError> {
    let chosen = items::chosen(app, &args.what)?;
    let files = under_all_names(items::all(app)?, &chosen);
    if !args.mirror.is_empty() && files.len() != 1 {
        return Err(CommandError::usage(format!(
            "--mirror is for a single file, and {} are meant",
            files.len()
        ))
        .hint("name the file: callao cache repair WHAT --mirror URL"));
    }
    let places = Places::new(app, &args.sources, &args.mirror)?;
    let job = Job::new(app, places, None, false);
    let mut failures = Vec::new();
    for file in &files {
        app.interrupt.check()?;
        let outcome = mend::file(&job, file)?;
        tell(app, file, &outcome);
        if let Outcome::Failed(reason) = outcome {
            failures.push(format!("`{}`: {reason}", file.first().path.display()));
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let mut error = CommandError::new(
        ExitCode::Integrity,
        format!("{} of the files could not be repaired", failures.len()),
    );
    error.details = failures;
    Err(error.hint("other places can be named with --mirror, --gateway, --kubo and --car"))
}

/// A file is repaired under all its names, whichever of them was meant.
fn under_all_names(all: Vec<Item>, chosen: &[Item]) -> Vec<Names> {
    let inode = |item: &Item| item.stamp.map(|stamp| (stamp.dev, stamp.inode));
    let is_meant = |item: &Item| {
        chosen.iter().any(|chosen| {
            chosen.path == item.path || (inode(item).is_some() && inode(chosen) == inode(item))
        })
    };
    let mut files: Vec<Names> = Vec::new();
    for item in all.into_iter().filter(|item| is_meant(item)) {
        let same = |file: &&mut Names| {
            let first = file.first();
            item.owner == Kind::Lima
                && first.owner == Kind::Lima
                && inode(&item).is_some()
                && inode(first) == inode(&item)
        };
        match files.iter_mut().find(same) {
            Some(file) => file.0.push(item),
            None => files.push(Names(vec![item])),
        }
    }
    files
}

fn tell(app: &App, file: &Names, outcome: &Outcome) {
    let (word, fetched, kept, reason) = match outcome {
        Outcome::Good => ("good", 0, 0, None),
        Outcome::Marked => (
            "repaired",
            0,
            0,
            Some("the bytes are right; a digest file that disagreed was put right".to_string()),
        ),
        Outcome::Copied { from } => (
            "repaired",
            0,
            0,
            Some(format!("`{}` has the same bytes", from.display())),
        ),
        Outcome::Fetched { fetched, kept } => (
            "repaired",
            *fetched,
            *kept,
            Some(format!(
                "{} fetched, {} kept",
                human::bytes(*fetched),
                human::bytes(*kept)
            )),
        ),
        Outcome::Unknown => (
            "unknown",
            0,
            0,
            Some("nothing says what its bytes should be".to_string()),
        ),
        Outcome::Failed(reason) => ("failed", 0, 0, Some(reason.clone())),
    };
    let first = file.first();
    let mut text = format!("{word:<8}  {}", first.path.display());
    if let Some(reason) = &reason {
        text.extend(["\n  ", reason]);
    }
    app.output.result(text);
    let held = first.known();
    app.output.json(&Line {
        event: "repair",
        paths: file.0.iter().map(|item| &item.path).collect(),
        urls: file
            .0
            .iter()
            .filter_map(|item| item.url.as_deref())
            .collect(),
        cids: held
            .map(|held| held.object.roots.iter().map(cid::text).collect())
            .unwrap_or_default(),
        size: first.stamp.map_or(0, |stamp| stamp.size),
        outcome: word,
        fetched_bytes: fetched,
        kept_bytes: kept,
        reason,
    });
}
