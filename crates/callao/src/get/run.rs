//! One file, from what is wanted to a path: held already, linked, or fetched and published.

use std::cell::{OnceCell, RefCell};
use std::path::PathBuf;
use std::sync::Arc;

use callao_content::address::IpfsAddress;
use callao_content::{Cid, cid};
use callao_fetch::engine::{self, Fetch, Finished};
use callao_fetch::event::Observer;
use callao_fetch::request::Wanted;
use callao_fetch::source::Source;
use callao_store::proof;
use callao_store::staging::{About, Staging};
use tokio::runtime::Runtime;

use super::blobs;
use super::held;
use super::peers::Names;
use super::plan::{Location, Noun, Place, Want};
use super::{fresh, publish, report, sources, unpack};
use crate::app::App;
use crate::daemon::report::Reporter;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::history::{Both, InsteadOf, Recorder};
use crate::host::{self, FileKind};
use crate::output::json;
use crate::output::progress::Shown;

/// What all files of one command share.
pub(crate) struct Job<'a> {
    pub(crate) app: &'a App,
    pub(crate) places: sources::Places,
    /// `-o`.
    pub(crate) output: Option<PathBuf>,
    pub(crate) strict: bool,
    /// Entries that were tried before the one that is tried now, for the history.
    pub(crate) instead_of: RefCell<Vec<InsteadOf>>,
    /// Whether a user who gets bytes that nothing vouches for is told how to lock them.
    pub(crate) teaches_to_lock: bool,
    /// Also told how far it is. `None`: the running daemon, if there is one.
    pub(crate) watcher: Option<Arc<dyn Observer>>,
    runtime: OnceCell<Runtime>,
}

impl<'a> Job<'a> {
    /// A job; the runtime is made when something has to be fetched.
    pub(crate) fn new(
        app: &'a App,
        places: sources::Places,
        output: Option<PathBuf>,
        strict: bool,
    ) -> Self {
        Job {
            app,
            places,
            output,
            strict,
            instead_of: RefCell::default(),
            teaches_to_lock: true,
            watcher: None,
            runtime: OnceCell::new(),
        }
    }

    /// One runtime for all files: the HTTP clients keep their connections on it.
    pub(super) fn runtime(&self) -> Result<&Runtime, CommandError> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = new_runtime()?;
        Ok(self.runtime.get_or_init(|| runtime))
    }
}

/// A runtime on this thread.
pub(crate) fn new_runtime() -> Result<Runtime, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(|error| {
        CommandError::new(ExitCode::Unexpected, format!("failed to start: {error}"))
    })
}

/// Gets one file and says what came of it.
///
/// # Errors
/// Everything that section "exit codes" of the manual lists.
pub(crate) fn get(job: &Job<'_>, want: &Want) -> Result<json::Got, CommandError> {
    report::attempt(job.app, want);
    job.app.interrupt.check()?;
    if let Some(got) = from_here(job, want)? {
        return Ok(got);
    }
    let named = ordered_local(want);
    if !named.is_empty()
        && want
            .locations
            .iter()
            .all(|location| matches!(location.place, Place::Local(_)))
    {
        return Err(CommandError::new(
            ExitCode::NotFound,
            format!("there is no file `{}`", named.join("`, `")),
        ));
    }
    let recorder = Recorder::new(job.instead_of.borrow().clone());
    let ended = fetch(job, want, &recorder);
    recorder.ended(job.app, want, &ended);
    ended
}

/// Everything that needs no source.
pub(super) fn from_here(job: &Job<'_>, want: &Want) -> Result<Option<json::Got>, CommandError> {
    let app = job.app;
    if let Some(path) = local_path(app, want) {
        let found = held::local(app, want, &path)?;
        return publish::local(job, want, found).map(Some);
    }
    if let Some(found) = held::in_entry(app, want)? {
        return publish::cached(job, want, found).map(Some);
    }
    match held::elsewhere(app, want)? {
        Some(found) => publish::linked(job, want, found).map(Some),
        None => Ok(None),
    }
}

/// The first local location that exists.
fn local_path(app: &App, want: &Want) -> Option<PathBuf> {
    let paths = want
        .locations
        .iter()
        .filter_map(|location| match &location.place {
            Place::Local(text) => Some(app.host.path(text)),
            _ => None,
        });
    paths
        .into_iter()
        .find(|path| matches!(host::kind_of(path), Some(FileKind::File { .. })))
}

fn ordered_local(want: &Want) -> Vec<&str> {
    want.locations
        .iter()
        .filter(|location| matches!(location.place, Place::Local(_)))
        .map(|location| location.text.as_str())
        .collect()
}

fn fetch(job: &Job<'_>, want: &Want, recorder: &Arc<Recorder>) -> Result<json::Got, CommandError> {
    let app = job.app;
    let runtime = job.runtime()?;
    let _guard = app.interrupt.guard();
    let root = root_of(job, want, runtime)?;
    if want.cid.is_none() && root.is_some() {
        // The address has been followed: now it is known what to look for.
        let followed = Want {
            cid: root,
            ..want.clone()
        };
        if let Some(got) = from_here(job, &followed)? {
            return Ok(got);
        }
    }
    let followed = blobs::follow(job, want, runtime)?;
    // What a manifest says about the file, beside what is said by whoever wants it.
    let described = Want {
        digest: want.digest.or(followed.digest(job, want)),
        ..want.clone()
    };
    if described.digest != want.digest
        && let Some(got) = from_here(job, &described)?
    {
        return Ok(got);
    }
    if !described.is_pinned()
        && followed.blobs.is_empty()
        && let Some(found) = runtime.block_on(fresh::cached(job, want))?
    {
        return publish::cached(job, want, found);
    }
    let mut sources = job.places.sources(app, want, root)?;
    let size = followed.size().filter(|_| sources.is_empty());
    sources.extend(followed.sources());
    let names = Names {
        root,
        digest: described.digest,
    };
    let may_find = job.places.may_find(names)?;
    if sources.is_empty() && (followed.packed().is_some() || !may_find) {
        return match followed.packed() {
            Some(blob) => unpack::get(job, want, blob, runtime, recorder),
            None => Err(followed
                .failure()
                .unwrap_or_else(|| nobody_to_ask(job, want, root))),
        };
    }
    for failure in &followed.failures {
        app.output.warning(failure.told().to_string());
    }
    let fetched = Ask {
        want,
        described: &described,
        root,
        sources,
        size,
        recorder,
    }
    .fetch(job, runtime);
    match (fetched, followed.packed()) {
        (Err(error), Some(blob))
            if matches!(error.kind, ExitCode::NotFound | ExitCode::Network) =>
        {
            app.output
                .warning(format!("{}; unpacking it from a registry", error.message));
            unpack::get(job, want, blob, runtime, recorder)
        }
        (fetched, _) => fetched,
    }
}

/// A file that somebody has to be asked for.
struct Ask<'a> {
    want: &'a Want,
    /// With what became known on the way.
    described: &'a Want,
    root: Option<Cid>,
    sources: Vec<Arc<dyn Source>>,
    size: Option<u64>,
    recorder: &'a Arc<Recorder>,
}

impl Ask<'_> {
    fn fetch(self, job: &Job<'_>, runtime: &Runtime) -> Result<json::Got, CommandError> {
        let (app, want, root, recorder) = (job.app, self.want, self.root, self.recorder);
        let staging = open_staging(job, self.described, root)?;
        if staging.waited() {
            // The other process has probably done the work.
            if let Some(got) = from_here(job, self.described)? {
                if let Some(staging) = Arc::into_inner(staging) {
                    staging.discard()?;
                }
                return Ok(got);
            }
        }
        report::downloading(app, want);
        let shown = Shown::new(Arc::clone(&app.output), want.location(), want.noun.text());
        let watching = Both(Arc::clone(&shown) as _, Arc::clone(recorder) as _);
        let told = job.watcher.clone().unwrap_or_else(|| {
            Reporter::begin(
                runtime,
                &app.host,
                want.base_name(),
                root.as_ref().map(cid::text),
            )
        });
        let watching = Arc::new(Both(Arc::new(watching), told));
        let mut fetch = order(job, self.described, root, self.sources, &staging, watching);
        fetch.wanted.size = self.size;
        let ended = run_engine(job, runtime, root, fetch);
        shown.finish();
        let finished = match ended {
            Ok(finished) => finished,
            Err(error) => {
                leave(app, staging);
                return Err(explained(error, want, root));
            }
        };
        let staging = Arc::into_inner(staging).ok_or_else(|| {
            CommandError::new(ExitCode::Unexpected, "the staging file is still in use")
        })?;
        recorder.report(&finished.report);
        complete(job, want, finished, staging)
    }
}

/// After a fetch that failed: what it brought stays for the next one. If that is nothing, nothing stays.
fn leave(app: &App, staging: Arc<Staging>) {
    if let Some(staging) = Arc::into_inner(staging).filter(Staging::is_untouched)
        && let Err(error) = staging.discard()
    {
        // It costs some room, that is all.
        app.output
            .detail(format!("A staging file is left: {error}"));
    }
}

/// Runs the engine, with what routers and peers bring meanwhile.
pub(super) fn run_engine(
    job: &Job<'_>,
    runtime: &Runtime,
    root: Option<Cid>,
    fetch: Fetch,
) -> Result<Finished, CommandError> {
    let names = Names {
        root,
        digest: fetch.wanted.digest,
    };
    runtime.block_on(async {
        let late = job.places.late(names)?;
        let (late, _looking) =
            late.map_or((None, None), |late| (Some(late.sources), Some(late.tasks)));
        engine::run(Fetch { late, ..fetch })
            .await
            .map_err(|error| match error {
                callao_fetch::error::Error::NoSource { .. } => nobody_found(),
                other => other.into(),
            })
    })
}

/// Peers and routers were asked, and there is no place that could be asked without them.
fn nobody_found() -> CommandError {
    CommandError::new(ExitCode::NotFound, "nobody was found who has it")
        .hint("name a place or a peer that has it (--gateway, --kubo, --car, --peer)")
}

/// What the engine is asked for.
pub(super) fn order(
    job: &Job<'_>,
    want: &Want,
    root: Option<Cid>,
    sources: Vec<Arc<dyn Source>>,
    staging: &Arc<Staging>,
    observer: Arc<dyn Observer>,
) -> Fetch {
    let app = job.app;
    let layout = root.and_then(|root| proof::load(&*app.disk, &app.places, &root));
    let own_daemon = job.places.own_daemon();
    Fetch {
        wanted: Wanted {
            name: want.noun.text().into(),
            digest: want.digest,
            cid: root,
            size: None,
            strict: job.strict,
        },
        staging: Arc::clone(staging),
        layout: layout.map(Arc::new),
        sources,
        late: None,
        host: own_daemon.swarm_name(&app.settings.serve, staging.path(), want.location()),
        observer,
        cancel: app.interrupt.token().clone(),
    }
}

/// Publishes what was fetched and tells about it.
fn complete(
    job: &Job<'_>,
    want: &Want,
    finished: Finished,
    staging: Staging,
) -> Result<json::Got, CommandError> {
    let Finished { report, layout } = finished;
    let got = publish::fetched(job, want, &report, &layout, staging)?;
    report::fetched(job, want, &report, &layout);
    Ok(got)
}

pub(super) fn open_staging(
    job: &Job<'_>,
    want: &Want,
    root: Option<Cid>,
) -> Result<Arc<Staging>, CommandError> {
    let about = About {
        name: want.base_name().into(),
        digest: want.digest.map(|digest| digest.to_string()),
        cid: root.as_ref().map(cid::text),
        url: Some(want.location().into()),
        ..About::default()
    };
    let key = staging_key(want, root.as_ref());
    staging(job, &key, &about)
}

/// A staging file, once no other process works on it.
pub(super) fn staging(
    job: &Job<'_>,
    key: &str,
    about: &About,
) -> Result<Arc<Staging>, CommandError> {
    let app = job.app;
    let places = publish::staging_places(job)?;
    let opened = Staging::open(
        Arc::clone(&app.disk),
        &places,
        key,
        about,
        &mut app.lock_waiter(),
    );
    let staging = opened.map_err(|error| {
        if app.interrupt.is_set() {
            CommandError::interrupted()
        } else {
            error.into()
        }
    })?;
    Ok(Arc::new(staging))
}

/// The name of a file's staging file.
pub(crate) fn staging_key(want: &Want, root: Option<&Cid>) -> String {
    match (&want.digest, root) {
        (Some(digest), _) => format!("{}-{}", digest.algorithm().name(), digest.hex()),
        (None, Some(root)) => cid::text(root),
        (None, None) => format!("url-{}", callao_store::places::lima_key(want.location())),
    }
}

/// The CID of the file itself, as far as it is known without asking anybody.
pub(crate) fn root_without_asking(app: &App, want: &Want) -> Option<Cid> {
    let address = || want.locations.iter().find_map(Location::address);
    let of_a_file = |address: &&IpfsAddress| address.path.is_empty() || is_known_file(app, address);
    want.cid
        .or_else(|| address().filter(of_a_file).map(|address| address.cid))
}

/// The CID of the file itself: given, or found by following the path of an IPFS address.
pub(super) fn root_of(
    job: &Job<'_>,
    want: &Want,
    runtime: &Runtime,
) -> Result<Option<Cid>, CommandError> {
    if let Some(root) = root_without_asking(job.app, want) {
        return Ok(Some(root));
    }
    let Some(address) = want.locations.iter().find_map(Location::address) else {
        return Ok(None);
    };
    let sources: Vec<Arc<dyn Source>> = job
        .places
        .sources(job.app, want, Some(address.cid))?
        .into_iter()
        .filter(|source| source.traits().blocks)
        .collect();
    let only_ipfs = want
        .locations
        .iter()
        .all(|location| !matches!(location.place, Place::Http(_)));
    let names = Names {
        root: Some(address.cid),
        digest: None,
    };
    if sources.is_empty() && !job.places.may_find(names)? {
        return if only_ipfs {
            Err(nobody_to_ask(job, want, Some(address.cid)))
        } else {
            Ok(None)
        };
    }
    let resolve = async {
        let late = job.places.late(names)?;
        let (late, _looking) =
            late.map_or((None, None), |late| (Some(late.sources), Some(late.tasks)));
        let resolved = engine::resolve(address, &sources, late, app_token(job)).await;
        resolved.map_err(CommandError::from)
    };
    if only_ipfs {
        let target = runtime
            .block_on(resolve)
            .map_err(|error| explained(error, want, Some(address.cid)))?;
        return Ok(Some(target.cid));
    }
    // The plain URLs need no CID: they are not kept waiting for one.
    let limit = job.app.settings.connect;
    let resolved = runtime.block_on(async { tokio::time::timeout(limit, resolve).await });
    match resolved {
        Ok(Ok(target)) => Ok(Some(target.cid)),
        Ok(Err(error)) if error.kind == ExitCode::Interrupted => Err(error),
        Ok(Err(error)) => {
            job.app
                .output
                .detail(format!("The IPFS address is not used: {}", error.message));
            Ok(None)
        }
        Err(_) => {
            job.app
                .output
                .detail("The IPFS address is not used: nobody answered in time");
            Ok(None)
        }
    }
}

fn app_token<'a>(job: &'a Job<'_>) -> &'a tokio_util::sync::CancellationToken {
    job.app.interrupt.token()
}

/// `ipfs://CID/name`, where a proof on disk says that the CID is that of a file.
fn is_known_file(app: &App, address: &IpfsAddress) -> bool {
    proof::load(&*app.disk, &app.places, &address.cid).is_some()
}

/// Why there is no source, and what can be done.
pub(super) fn nobody_to_ask(job: &Job<'_>, want: &Want, root: Option<Cid>) -> CommandError {
    let what = format!("{} `{}`", want.noun.text(), want.location());
    if job.places.offline() {
        return CommandError::new(
            ExitCode::NotFound,
            format!("{what} is not here, and --offline allows no source to be asked"),
        )
        .hint(
            "run it once without --offline, or name a CAR (--car) or a kubo repository (--kubo)",
        );
    }
    let error = CommandError::new(
        ExitCode::NotFound,
        format!("there is no source to ask for {what}"),
    );
    match want.locations.first().map(|location| &location.place) {
        Some(Place::Other(scheme)) => error.hint(format!("{scheme}:// cannot be fetched")),
        _ if root.is_some() => error.hint(
            "name a place that has it (--gateway, --kubo, --car, --peer), or allow more (--discovery, --only)",
        ),
        _ => error.hint("--only excludes the places that could have it"),
    }
}

/// Says which file it was about.
pub(super) fn explained(error: CommandError, want: &Want, root: Option<Cid>) -> CommandError {
    if error.kind == ExitCode::Interrupted {
        return error;
    }
    let error = error.context(format!(
        "failed to download {} `{}`",
        want.noun.text(),
        want.location()
    ));
    match (error.kind, root) {
        (ExitCode::NotFound, None) if want.noun != Noun::File => {
            error.hint("images of a distribution are often moved after some months")
        }
        _ => error,
    }
}
