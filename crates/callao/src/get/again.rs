//! A damaged file, completed: where its layout is known only the pieces that are wrong are asked for. Publishes nothing
//! and writes to nothing but a staging file.

use std::path::Path;
use std::sync::Arc;

use callao_fetch::engine::Finished;
use callao_store::staging::Staging;

use super::blobs;
use super::peers::Names;
use super::plan::Want;
use super::report;
use super::run::{self, Job};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::history::{Both, Recorder};
use crate::output::progress::Shown;

/// Fetches what is missing of a file; `damaged` is what is there of it.
///
/// # Errors
/// Those of `get`; what arrived is kept for the next run.
pub(crate) fn complete(
    job: &Job<'_>,
    want: &Want,
    damaged: Option<&Path>,
) -> Result<(Finished, Staging), CommandError> {
    let runtime = job.runtime()?;
    let _guard = job.app.interrupt.guard();
    let root = run::root_of(job, want, runtime)?;
    let mut sources = job.places.sources(job.app, want, root)?;
    let followed = blobs::follow(job, want, runtime)?;
    sources.extend(followed.sources());
    // If only something is too much, nobody has to be asked.
    let names = Names {
        root,
        digest: want.digest,
    };
    let nobody = sources.is_empty() && !job.places.may_find(names)?;
    if nobody && (damaged.is_none() || root.is_none()) {
        let failure = followed.failure();
        return Err(failure.unwrap_or_else(|| run::nobody_to_ask(job, want, root)));
    }
    let staging = run::open_staging(job, want, root)?;
    // Without a root nothing can tell good pieces from bad ones. What an earlier run left is further than the file.
    if let Some(path) = damaged.filter(|_| root.is_some() && !staging.is_resumed()) {
        staging.take_over(path)?;
    }
    let shown = Shown::new(
        Arc::clone(&job.app.output),
        want.location(),
        want.noun.text(),
    );
    let recorder = Recorder::new(Vec::new());
    let watching = Both(Arc::clone(&shown) as _, Arc::clone(&recorder) as _);
    let fetch = run::order(job, want, root, sources, &staging, Arc::new(watching));
    let ended = run::run_engine(job, runtime, root, fetch);
    shown.finish();
    remember(job, want, &recorder, &ended, staging.path());
    let finished = ended.map_err(|error| match nobody && error.kind == ExitCode::NotFound {
        true => run::nobody_to_ask(job, want, root),
        false => run::explained(error, want, root),
    })?;
    let staging = Arc::into_inner(staging).ok_or_else(|| {
        CommandError::new(ExitCode::Unexpected, "the staging file is still in use")
    })?;
    Ok((finished, staging))
}

/// For the history: this was a fetch as any other.
fn remember(
    job: &Job<'_>,
    want: &Want,
    recorder: &Recorder,
    ended: &Result<Finished, CommandError>,
    path: &Path,
) {
    let ended = match ended {
        Ok(finished) => {
            recorder.report(&finished.report);
            Ok(report::got(want, &finished.report, path))
        }
        Err(error) => Err(error.clone()),
    };
    recorder.ended(job.app, want, &ended);
}
