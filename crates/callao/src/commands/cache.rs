//! `callao cache`: what is in Lima's cache and what was added, and whether it is still what it was.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_store::catalogue::{Catalogue, Held, Kind};
use callao_store::disk::Stamp;
use callao_store::{check, lima, proof};
use serde::Serialize;

use crate::app::App;
use crate::cli::{CacheCommand, VerifyArgs};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host;
use crate::output::{human, progress};
use crate::record::{self, Known, Where};

pub(crate) fn run(app: &App, command: &CacheCommand) -> Result<(), CommandError> {
    match command {
        CacheCommand::List => list(app),
        CacheCommand::Verify(args) => verify(app, args),
    }
}

/// One file that is in the cache, or known to it.
#[derive(Debug, Clone, Serialize)]
struct Item {
    #[serde(rename = "type")]
    event: &'static str,
    path: PathBuf,
    /// Every location under which the same file is in Lima's cache.
    urls: Vec<String>,
    size: u64,
    /// Since it was written, in seconds.
    age_seconds: u64,
    /// As computed by callao; for an entry that only limactl knows, what its digest files say.
    digests: Vec<String>,
    cids: Vec<String>,
    /// `digest`, `cid`, `both`, `content-only`; `no` if callao never verified this state of the file.
    verified: &'static str,
    owner: &'static str,
    #[serde(skip)]
    stamp: Stamp,
    #[serde(skip)]
    held: Option<Held>,
    #[serde(skip)]
    said: Vec<Digest>,
}

fn list(app: &App) -> Result<(), CommandError> {
    let items = items(app)?;
    for item in &items {
        app.output.json(item);
        app.output.result(item_text(item));
    }
    let total: u64 = by_inode(&items).values().sum();
    app.output.info(format!(
        "{} files, {} on disk",
        items.len(),
        human::bytes(total)
    ));
    Ok(())
}

/// Hard links count once.
fn by_inode(items: &[Item]) -> BTreeMap<(u64, u64), u64> {
    items
        .iter()
        .map(|item| ((item.stamp.dev, item.stamp.inode), item.size))
        .collect()
}

fn item_text(item: &Item) -> String {
    let age = human::duration(Duration::from_secs(item.age_seconds));
    let mut text = format!(
        "{}  {}  {age} old  verified: {}",
        item.path.display(),
        human::bytes(item.size),
        item.verified
    );
    let lines = [
        ("url", &item.urls),
        ("digest", &item.digests),
        ("cid", &item.cids),
    ];
    for (name, values) in lines {
        for value in values {
            text.extend(["\n  ", name, " ", value]);
        }
    }
    text
}

/// Everything: entries of Lima's cache, whoever made them, and files that were added.
fn items(app: &App) -> Result<Vec<Item>, CommandError> {
    let mut items = Vec::new();
    for entry in lima::list_entries(&*app.disk, &app.places)? {
        let Some(stamp) = entry.stamp else { continue };
        let held = known(app, &entry.path)?;
        items.push(item(
            entry.path,
            stamp,
            entry.url,
            held,
            entry.digests,
            "lima",
        ));
    }
    let users = app
        .catalogue()
        .map(Catalogue::list)
        .transpose()?
        .unwrap_or_default();
    for held in users
        .into_iter()
        .filter(|held| held.file.kind == Kind::User)
    {
        let path = held.file.path.clone();
        let stamp = app
            .disk
            .stat(&path)
            .map_err(|error| CommandError::io("look at", &path, &error))?;
        if let Some(stamp) = stamp {
            items.push(item(path, stamp, None, Some(held), Vec::new(), "user"));
        }
    }
    items.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(items)
}

fn known(app: &App, path: &Path) -> Result<Option<Held>, CommandError> {
    Ok(app
        .catalogue()
        .map(|catalogue| catalogue.by_path(path))
        .transpose()?
        .flatten())
}

fn item(
    path: PathBuf,
    stamp: Stamp,
    url: Option<String>,
    held: Option<Held>,
    said: Vec<Digest>,
    owner: &'static str,
) -> Item {
    let trusted = held
        .as_ref()
        .filter(|held| Catalogue::trusted(held, &stamp));
    let digests = match trusted {
        Some(held) => held
            .object
            .digests
            .iter()
            .map(ToString::to_string)
            .collect(),
        None => said.iter().map(ToString::to_string).collect(),
    };
    let written = stamp.mtime_ns / 1_000_000_000;
    Item {
        event: "item",
        urls: url.into_iter().collect(),
        size: stamp.size,
        age_seconds: u64::try_from(host::unix_now() - written).unwrap_or(0),
        digests,
        cids: trusted
            .map(|held| held.object.roots.iter().map(cid::text).collect())
            .unwrap_or_default(),
        verified: trusted.map_or("no", |held| held.object.verified.name()),
        owner,
        path,
        stamp,
        held,
        said,
    }
}

/// What `verify` found.
#[derive(Debug, Serialize)]
struct Verdict {
    #[serde(rename = "type")]
    event: &'static str,
    path: PathBuf,
    good: bool,
    /// What is wrong, if it is not byte ranges.
    problem: Option<String>,
    /// Half-open ranges `[from, to)` of bytes that are not what they should be.
    bad_ranges: Vec<[u64; 2]>,
    digest: Option<String>,
    size: u64,
}

fn verify(app: &App, args: &VerifyArgs) -> Result<(), CommandError> {
    let all = items(app)?;
    let chosen: Vec<&Item> = all
        .iter()
        .filter(|item| is_chosen(app, item, &args.what))
        .collect();
    if chosen.is_empty() && !args.what.is_empty() {
        return Err(CommandError::new(
            ExitCode::NotFound,
            format!("the cache has nothing of `{}`", args.what.join("`, `")),
        ));
    }
    let mut bad = 0;
    for item in chosen {
        app.interrupt.check()?;
        let verdict = judge(app, item)?;
        app.output.json(&verdict);
        app.output.result(verdict_text(&verdict));
        bad += usize::from(!verdict.good);
    }
    if bad == 0 {
        return Ok(());
    }
    Err(CommandError::new(
        ExitCode::Integrity,
        format!("{bad} of the files are not what they should be"),
    )
    .hint("callao get fetches a file again when its entry does not hold the wanted bytes"))
}

fn is_chosen(app: &App, item: &Item, what: &[String]) -> bool {
    let matches = |text: &String| {
        let path = app.host.path(text);
        item.path == path
            || item.path.parent() == Some(&path)
            || item.path == host::real_path(&path)
            || [&item.urls, &item.digests, &item.cids]
                .into_iter()
                .any(|values| values.contains(text))
    };
    what.is_empty() || what.iter().any(matches)
}

fn verdict_text(verdict: &Verdict) -> String {
    let state = if verdict.good { "good" } else { "BAD " };
    let mut text = format!(
        "{state}  {}  {}",
        verdict.path.display(),
        human::bytes(verdict.size)
    );
    if let Some(problem) = &verdict.problem {
        text.extend(["\n  ", problem]);
    }
    for [from, to] in &verdict.bad_ranges {
        text.extend([format!(
            "\n  bytes {from}-{} are wrong ({})",
            to - 1,
            human::bytes(to - from)
        )]);
    }
    text
}

/// Reads the file again, and says which bytes are wrong where a layout tells.
fn judge(app: &App, item: &Item) -> Result<Verdict, CommandError> {
    let expected = expected(item);
    let algorithms: Vec<Algorithm> = match expected.is_empty() {
        true => vec![Algorithm::Sha256],
        false => expected.iter().map(Digest::algorithm).collect(),
    };
    let bar = progress::reading_bar(&app.output, item.size);
    let hashed = check::hash_file(&*app.disk, &item.path, &algorithms, &|position| {
        bar.set_position(position)
    });
    bar.finish_and_clear();
    let (digests, stamp) = hashed?;
    let wrong = expected.iter().find(|digest| !digests.contains(digest));
    let mut verdict = Verdict {
        event: "verdict",
        path: item.path.clone(),
        good: wrong.is_none(),
        problem: None,
        bad_ranges: Vec::new(),
        digest: digests.first().map(ToString::to_string),
        size: item.size,
    };
    match wrong {
        None if expected.is_empty() => {
            verdict.problem = Some("nothing says what its bytes should be".into())
        }
        None => remember(app, item, &stamp)?,
        Some(wrong) => {
            verdict.bad_ranges = bad_ranges(app, item)?
                .iter()
                .map(|range| [range.start, range.end])
                .collect();
            let got = digests
                .iter()
                .find(|digest| digest.algorithm() == wrong.algorithm());
            verdict.problem = Some(format!(
                "expected digest `{wrong}`, got `{}`",
                got.map(ToString::to_string).unwrap_or_default()
            ));
        }
    }
    Ok(verdict)
}

/// What the file should be: as the catalogue knows it, and as its digest files say.
fn expected(item: &Item) -> Vec<Digest> {
    // Another inode: limactl has renewed the entry, and what callao knew was of the old bytes.
    let same_file = item
        .held
        .as_ref()
        .filter(|held| item.owner == "user" || held.file.stamp.same_file(&item.stamp));
    let mut expected = same_file
        .map(|held| held.object.digests.clone())
        .unwrap_or_default();
    for said in &item.said {
        if !expected.contains(said) {
            expected.push(*said);
        }
    }
    expected
}

/// A file that was found to be good is trusted again, whatever was done to it meanwhile.
fn remember(app: &App, item: &Item, stamp: &Stamp) -> Result<(), CommandError> {
    let Some(held) = &item.held else {
        return Ok(());
    };
    let known = Known::of_held(held);
    let proof = record::proof_of(held.object.verified);
    match item.owner {
        "user" => record::user_file(app, &item.path, stamp, &known, proof),
        _ => record::entry(
            app,
            &Where {
                path: &item.path,
                stamp,
                url: item.urls.first().map(String::as_str),
            },
            &known,
            proof,
        ),
    }
}

fn bad_ranges(app: &App, item: &Item) -> Result<Vec<Range<u64>>, CommandError> {
    let roots = item
        .held
        .as_ref()
        .map(|held| held.object.roots.clone())
        .unwrap_or_default();
    for root in roots {
        if let Some(layout) = proof::load(&*app.disk, &app.places, &root) {
            return Ok(check::bad_ranges(&*app.disk, &item.path, &layout)?);
        }
    }
    Ok(Vec::new())
}
