//! `callao cache prune`: makes room. Never takes what somebody works on or an instance needs, nor a file of the user's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use callao_content::Cid;
use callao_store::catalogue::Held;
use callao_store::disk::Stamp;
use callao_store::gc::{self, Removal};
use callao_store::{lima, proof};
use serde::Serialize;

use super::items;
use crate::app::App;
use crate::cli::PruneArgs;
use crate::error::CommandError;
use crate::host;
use crate::output::human;
use choice::{Candidate, Rules};
use referred::References;

mod choice;
mod leftovers;
mod referred;

/// One entry that is looked at.
struct Entry {
    dir: PathBuf,
    url: Option<String>,
    stamp: Option<Stamp>,
    candidate: Candidate,
    /// Roots whose proofs are of no use without it.
    roots: Vec<Cid>,
}

/// What became of an entry, as `--json` has it.
#[derive(Debug, Serialize)]
struct Pruned<'a> {
    #[serde(rename = "type")]
    event: &'static str,
    path: &'a Path,
    url: Option<&'a str>,
    size: u64,
    /// Since its last use, in seconds.
    unused_seconds: u64,
    /// `removed`, `would_be_removed`, `kept`.
    outcome: &'static str,
    /// Why it was kept though the conditions let it go.
    reason: Option<&'a str>,
}

/// The last line of `--json`.
#[derive(Debug, Serialize)]
struct Summary {
    #[serde(rename = "type")]
    event: &'static str,
    dry_run: bool,
    entries: usize,
    freed_bytes: u64,
    left_bytes: u64,
    fetches: usize,
    forgotten: usize,
}

pub(super) fn run(app: &App, args: &PruneArgs) -> Result<(), CommandError> {
    let age = args.older_than.as_deref().map(age).transpose()?;
    let rules = rules(args, age)?;
    let entries = entries(app, args, &rules)?;
    let candidates: Vec<Candidate> = entries
        .iter()
        .map(|entry| entry.candidate.clone())
        .collect();
    let chosen = choice::choose(&candidates, &rules);
    if !rules.let_anything_go() {
        app.output.info(
            "No entry is removed: --older-than, --keep-referred and --space-budget say which may go",
        );
    }
    let mut gone = vec![false; entries.len()];
    for (index, entry) in entries.iter().enumerate() {
        app.interrupt.check()?;
        if chosen[index] {
            gone[index] = args.dry_run || remove(app, entry)?;
            if gone[index] {
                tell_removed(app, entry, args.dry_run);
            }
        }
    }
    let swept = leftovers::sweep(app, age, args.dry_run)?;
    let left = entries
        .iter()
        .zip(&gone)
        .filter(|(_, gone)| !**gone)
        .map(|(entry, _)| &entry.candidate);
    let summary = Summary {
        event: "summary",
        dry_run: args.dry_run,
        entries: gone.iter().filter(|gone| **gone).count(),
        freed_bytes: freed(&entries, &gone) + swept.bytes,
        left_bytes: choice::total_bytes(left),
        fetches: swept.fetches,
        forgotten: swept.forgotten,
    };
    tell_summary(app, &summary, &rules);
    Ok(())
}

fn rules(args: &PruneArgs, age: Option<Duration>) -> Result<Rules, CommandError> {
    let budget = args.space_budget.as_deref().map(|text| {
        human::parse_size(text).ok_or_else(|| {
            CommandError::usage(format!("--space-budget: `{text}` is not a size"))
                .hint("write it as 500MiB or 20GiB")
        })
    });
    let seconds = age.map(|age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    Ok(Rules {
        unused_since: seconds.map(|seconds| host::unix_now().saturating_sub(seconds)),
        keep_referred: args.keep_referred,
        budget_bytes: budget.transpose()?,
    })
}

fn age(text: &str) -> Result<Duration, CommandError> {
    human::parse_age(text).ok_or_else(|| {
        CommandError::usage(format!("--older-than: `{text}` is not an age"))
            .hint("write it as 30d, 12h or 2w")
    })
}

/// All entries, with what the choice depends on. Nothing refers to anything where no entry can go.
fn entries(app: &App, args: &PruneArgs, rules: &Rules) -> Result<Vec<Entry>, CommandError> {
    let references = match rules.let_anything_go() {
        true => referred::read(app, args)?,
        false => References::default(),
    };
    let mut held: BTreeMap<PathBuf, Held> = items::listed(app)?
        .into_iter()
        .map(|held| (held.file.path.clone(), held))
        .collect();
    let mut entries = Vec::new();
    for entry in lima::list_entries(&*app.disk, &app.places)? {
        let held = held.remove(&entry.path);
        let Some(dir) = entry.path.parent() else {
            continue;
        };
        let noted = host::last_use(&entry.path).or_else(|| host::last_use(dir));
        let used = held.as_ref().map(|held| held.used_at_unix);
        let key = dir
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        entries.push(Entry {
            candidate: Candidate {
                inode: entry.stamp.map(|stamp| (stamp.dev, stamp.inode)),
                size: entry.stamp.map_or(0, |stamp| stamp.size),
                used_unix: noted.max(used).unwrap_or(0),
                needed_by: references.needed_by(&key),
                referred_by: references.referred_by(&key),
            },
            dir: dir.to_owned(),
            url: entry.url,
            stamp: entry.stamp,
            roots: held.map(|held| held.object.roots).unwrap_or_default(),
        });
    }
    Ok(entries)
}

/// `false`: it stays, and why was said.
fn remove(app: &App, entry: &Entry) -> Result<bool, CommandError> {
    let removal = gc::remove_entry(&*app.disk, &entry.dir, entry.stamp.as_ref())?;
    let reason = match &removal {
        Removal::Gone | Removal::Emptied(_) => None,
        Removal::Busy => Some("another process works on it"),
        Removal::Changed => Some("it was renewed a moment ago"),
    };
    if let Some(reason) = reason {
        app.output
            .info(format!("Kept `{}`: {reason}", entry.dir.display()));
        app.output.json(&pruned(entry, "kept", Some(reason)));
        return Ok(false);
    }
    if let Removal::Emptied(names) = removal {
        app.output.info(format!(
            "`{}` is empty but for what is not of Lima: `{}`",
            entry.dir.display(),
            names.join("`, `")
        ));
    }
    forget(app, entry)?;
    Ok(true)
}

/// The row, and the proofs that are of no use to any other file.
fn forget(app: &App, entry: &Entry) -> Result<(), CommandError> {
    let Some(catalogue) = app.catalogue() else {
        return Ok(());
    };
    catalogue.forget(&entry.dir.join("data"))?;
    for root in &entry.roots {
        if catalogue.find_root(root)?.is_empty() {
            proof::remove(&*app.disk, &app.places, root)?;
        }
    }
    Ok(())
}

fn pruned<'a>(entry: &'a Entry, outcome: &'static str, reason: Option<&'a str>) -> Pruned<'a> {
    let unused = host::unix_now() - entry.candidate.used_unix;
    Pruned {
        event: "pruned",
        path: &entry.dir,
        url: entry.url.as_deref(),
        size: entry.candidate.size,
        unused_seconds: u64::try_from(unused).unwrap_or(0),
        outcome,
        reason,
    }
}

fn tell_removed(app: &App, entry: &Entry, dry_run: bool) {
    let outcome = if dry_run {
        "would_be_removed"
    } else {
        "removed"
    };
    let pruned = pruned(entry, outcome, None);
    app.output.json(&pruned);
    app.output.result(format!(
        "{}  {}  unused for {}  {}",
        if dry_run { "would remove" } else { "removed" },
        human::bytes(pruned.size),
        human::duration(Duration::from_secs(pruned.unused_seconds)),
        pruned
            .url
            .map_or_else(|| entry.dir.display().to_string(), str::to_string)
    ));
}

/// Bytes on disk that belong to no name any more: hard links elsewhere keep theirs.
fn freed(entries: &[Entry], gone: &[bool]) -> u64 {
    let mut names: BTreeMap<(u64, u64), (u64, &Stamp)> = BTreeMap::new();
    for (entry, _) in entries.iter().zip(gone).filter(|(_, gone)| **gone) {
        if let Some(stamp) = &entry.stamp {
            names
                .entry((stamp.dev, stamp.inode))
                .or_insert((0, stamp))
                .0 += 1;
        }
    }
    names
        .values()
        .filter(|(count, stamp)| *count >= stamp.nlink)
        .map(|(_, stamp)| stamp.blocks.saturating_mul(512))
        .sum()
}

fn tell_summary(app: &App, summary: &Summary, rules: &Rules) {
    app.output.json(summary);
    let freed = human::bytes(summary.freed_bytes);
    let (would, will) = match summary.dry_run {
        true => ("Would remove", format!("{freed} would be freed")),
        false => ("Removed", format!("{freed} freed")),
    };
    app.output.info(format!(
        "{would} {} entries and {} unfinished fetches: {will}, {} left in Lima's cache",
        summary.entries,
        summary.fetches,
        human::bytes(summary.left_bytes)
    ));
    if summary.forgotten > 0 {
        app.output.info(format!(
            "{} {} files that are gone",
            if summary.dry_run {
                "Would forget"
            } else {
                "Forgot"
            },
            summary.forgotten
        ));
    }
    if let Some(budget) = rules
        .budget_bytes
        .filter(|budget| summary.left_bytes > *budget)
    {
        app.output.warning(format!(
            "what is left does not fit into {}: the rest is in use, or the other conditions keep it",
            human::bytes(budget)
        ));
    }
}
