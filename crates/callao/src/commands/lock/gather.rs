//! Looks all files up, several side by side: what is here is not fetched again. Each thread has its own connections;
//! cache, catalogue and output are shared.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use callao_content::Cid;
use callao_content::digest::Algorithm;
use callao_content::profile::Profile;

use super::names::{self, Names, Question};
use super::work::Work;
use crate::app::App;
use crate::cli::SourceArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::plan::Want;
use crate::get::run::{self, Job};
use crate::get::sources::Places;
use crate::output::json;

/// Files on their way at the same time: beyond that, servers see too many connections of one client.
const FETCHES_COUNT_MAX: usize = 3;

/// A file that is here now.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) got: json::Got,
    pub(super) names: Names,
}

/// What came of one group.
pub(super) type Answer = Result<Facts, CommandError>;

/// Looks up every group of `work`; the answers are in the order of the groups.
///
/// # Errors
/// What ends everything: an interrupt, the disk, a lock that somebody keeps.
pub(super) fn all(
    app: &App,
    sources: &SourceArgs,
    work: &Work,
    profile: Profile,
) -> Result<Vec<Answer>, CommandError> {
    let count = work.groups.len();
    let answers: Mutex<Vec<Option<Answer>>> = Mutex::new(vec![None; count]);
    let next = AtomicUsize::new(0);
    let stop = Mutex::new(None);
    // Wrong flags are told once, and before anything is fetched.
    let mut all_places = Vec::new();
    for _ in 0..count.clamp(1, FETCHES_COUNT_MAX) {
        all_places.push(Places::new(app, sources, &[])?);
    }
    let one_after_the_other = |places: Places| {
        let mut job = Job::new(app, places, None, false);
        job.teaches_to_lock = false;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count || lock(&stop).is_some() {
                break;
            }
            let answer = one(&job, work, index, profile);
            match answer {
                Err(error) if ends_everything(&error) => {
                    lock(&stop).get_or_insert(error);
                }
                answer => lock(&answers)[index] = Some(answer),
            }
        }
    };
    thread::scope(|scope| {
        for places in all_places {
            scope.spawn(|| one_after_the_other(places));
        }
    });
    if let Some(error) = lock(&stop).take() {
        return Err(error);
    }
    let answers = std::mem::take(&mut *lock(&answers));
    let lost = || CommandError::new(ExitCode::Unexpected, "a file was not looked up");
    answers
        .into_iter()
        .map(|answer| answer.ok_or_else(lost))
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next file would meet the same.
fn ends_everything(error: &CommandError) -> bool {
    matches!(
        error.kind,
        ExitCode::Interrupted | ExitCode::Disk | ExitCode::Locked | ExitCode::Unexpected
    )
}

fn one(job: &Job<'_>, work: &Work, index: usize, profile: Profile) -> Answer {
    let want = &work.groups[index];
    let got = match run::get(job, want) {
        // The wanted bytes are not here. If others are, under the same location, the entry does not name those.
        Err(error) if job.places.offline() && error.kind == ExitCode::NotFound => {
            names::under_location(job.app, want)?.ok_or(error)?
        }
        got => got?,
    };
    job.app.interrupt.check()?;
    let question = question(work, index, profile);
    let names = names::of(job.app, want, &got, &question)?;
    Ok(Facts { got, names })
}

/// Everything that the entries of a group say or lack.
fn question(work: &Work, index: usize, profile: Profile) -> Question {
    let members = || work.items.iter().filter(|item| item.group == Some(index));
    let mut algorithms: Vec<Algorithm> = Vec::new();
    let mut claims: Vec<Cid> = Vec::new();
    for item in members() {
        let algorithm = item
            .entry
            .digest
            .map_or(Algorithm::Sha256, |digest| digest.algorithm());
        if !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
        if let Some(listed) = &item.listed
            && !algorithms.contains(&listed.digest.algorithm())
        {
            algorithms.push(listed.digest.algorithm());
        }
        claims.extend(item.entry.cid);
        claims.extend(cid_in_location(&item.want));
    }
    claims.dedup();
    Question {
        algorithms,
        profile,
        claims,
    }
}

/// The CID of an `ipfs://` location that has to be that of the file.
fn cid_in_location(want: &Want) -> Option<Cid> {
    let address = want.locations.first()?.address()?;
    address.path.is_empty().then_some(address.cid)
}
