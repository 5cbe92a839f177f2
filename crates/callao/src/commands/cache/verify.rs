//! `callao cache verify`: whether files are still what they were, and which of their bytes are not. Changes no file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use callao_content::digest::{Algorithm, Digest};
use callao_store::catalogue::Kind;
use callao_store::check;
use callao_store::disk::Stamp;
use serde::Serialize;

use super::items::{self, Item};
use super::layouts;
use crate::app::App;
use crate::cli::VerifyArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::output::{human, progress};
use crate::record::{self, Known, Where};

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

pub(super) fn run(app: &App, args: &VerifyArgs) -> Result<(), CommandError> {
    let mut bad = 0;
    for item in items::chosen(app, &args.what)? {
        app.interrupt.check()?;
        let verdict = judge(app, &item)?;
        app.output.json(&verdict);
        app.output.result(text(&verdict));
        bad += usize::from(!verdict.good);
    }
    if bad == 0 {
        return Ok(());
    }
    Err(CommandError::new(
        ExitCode::Integrity,
        format!("{bad} of the files are not what they should be"),
    )
    .hint("callao cache repair fetches the damaged pieces again"))
}

fn text(verdict: &Verdict) -> String {
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
    let mut verdict = Verdict {
        event: "verdict",
        path: item.path.clone(),
        good: false,
        problem: None,
        bad_ranges: Vec::new(),
        digest: None,
        size: item.stamp.map_or(0, |stamp| stamp.size),
    };
    if item.stamp.is_none() {
        verdict.problem = Some("the file is missing, and a digest file speaks for it".into());
        return Ok(verdict);
    }
    let expected = item.expected();
    let (digests, stamp) = hash(app, &item.path, &algorithms_of(&expected))?;
    let wrong = expected.iter().find(|digest| !digests.contains(digest));
    verdict.digest = digests.first().map(ToString::to_string);
    verdict.good = wrong.is_none() && item.unusable.is_empty();
    verdict.problem = problem(item, &expected, &digests);
    match wrong {
        None if !expected.is_empty() => remember(app, item, &stamp)?,
        None => {}
        Some(_) => {
            if let Some(held) = item.trusted() {
                record::distrust(app, held)?;
            }
            verdict.bad_ranges = layouts::of_held(app, item.known())
                .map(|layout| check::bad_ranges(&*app.disk, &item.path, &layout))
                .transpose()?
                .unwrap_or_default()
                .iter()
                .map(|range: &Range<u64>| [range.start, range.end])
                .collect();
        }
    }
    Ok(verdict)
}

/// What there is to say, if it is not only good.
fn problem(item: &Item, expected: &[Digest], actual: &[Digest]) -> Option<String> {
    if let Some(wrong) = expected.iter().find(|digest| !actual.contains(digest)) {
        let got = actual
            .iter()
            .find(|digest| digest.algorithm() == wrong.algorithm());
        return Some(format!(
            "expected digest `{wrong}`, got `{}`",
            got.map(ToString::to_string).unwrap_or_default()
        ));
    }
    if let Some(algorithm) = item.unusable.first() {
        return Some(format!(
            "its {}.digest says no digest, so limactl refuses it",
            algorithm.name()
        ));
    }
    expected
        .is_empty()
        .then(|| "nothing says what its bytes should be".into())
}

/// Reads a whole file; a bar shows how far, where there is one.
pub(super) fn hash(
    app: &App,
    path: &Path,
    algorithms: &[Algorithm],
) -> Result<(Vec<Digest>, Stamp), CommandError> {
    let size = app.disk.stat(path).ok().flatten().map_or(0, |now| now.size);
    let bar = progress::reading_bar(&app.output, size);
    let hashed = check::hash_file(&*app.disk, path, algorithms, &|position| {
        bar.set_position(position)
    });
    bar.finish_and_clear();
    Ok(hashed?)
}

/// The algorithms of these digests, each once; sha256 if there are none.
pub(super) fn algorithms_of(digests: &[Digest]) -> Vec<Algorithm> {
    let mut algorithms: Vec<Algorithm> = Vec::new();
    for algorithm in digests.iter().map(Digest::algorithm) {
        if !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
    }
    if algorithms.is_empty() {
        algorithms.push(Algorithm::Sha256);
    }
    algorithms
}

/// A file that was found to be good is trusted again, whatever was done to it meanwhile.
pub(super) fn remember(app: &App, item: &Item, stamp: &Stamp) -> Result<(), CommandError> {
    let Some(held) = item.known() else {
        return Ok(());
    };
    let known = Known::of_held(held);
    let proof = record::proof_of(held.object.verified);
    match item.owner {
        Kind::User => record::user_file(app, &item.path, stamp, &known, proof),
        Kind::Lima => record::entry(
            app,
            &Where {
                path: &item.path,
                stamp,
                url: item.url.as_deref(),
            },
            &known,
            proof,
        ),
    }
}
