//! Asks everybody whom `get` would ask, all at once and with a deadline: each source for the file, each router for
//! further ones. Fetches no more than the root's block or one byte from each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use callao_content::Cid;
use callao_fetch::engine;
use callao_fetch::probe::{Probe, probe};
use callao_fetch::source::{Abilities, Source, SourceError, SourceId, SourceKind};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::app::App;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::blobs::{self, Blob, Failure};
use crate::get::peers::{Names, Told};
use crate::get::plan::{Location, Want};
use crate::get::run;
use crate::get::sources::{Places, Search, tell_through};

/// Gateways of one router that are asked.
const FOUND_COUNT_MAX: usize = 8;

/// What one source said.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Asked {
    pub(crate) source: SourceId,
    pub(crate) answer: Answer,
    /// Why not, in its words or ours.
    pub(crate) reason: Option<String>,
    pub(crate) latency_ms: u64,
    /// Length of the file, as it says.
    pub(crate) size: Option<u64>,
    /// The length is that of a block which its hash proves.
    pub(crate) size_proven: bool,
    /// Whether that is the length that the file is known to have.
    pub(crate) size_agrees: Option<bool>,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    #[serde(flatten)]
    pub(crate) abilities: Abilities,
    /// The router that knew of it.
    pub(crate) found_by: Option<String>,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// It has the file.
    HasIt,
    /// It does not.
    NotFound,
    /// Later, it says.
    Busy,
    /// No connection, no answer, an error of its own.
    Network,
    /// It answered something that is of no use.
    Refused,
    /// It sent a block that does not fit its hash.
    Lied,
    /// What the CID names is no file.
    NoFile,
}

/// What one router said.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AskedRouter {
    pub(crate) place: String,
    /// Peers that can be asked; `None`: it could not be asked.
    pub(crate) providers: Option<usize>,
    /// Addresses of a private network that it named: they are not dialled.
    pub(crate) refused: usize,
    pub(crate) reason: Option<String>,
    pub(crate) latency_ms: u64,
}

/// All answers about one file.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// The CID of the file, given or found.
    pub(crate) root: Option<Cid>,
    /// Why the path of its IPFS address could not be followed.
    pub(crate) not_followed: Option<String>,
    pub(crate) sources: Vec<Asked>,
    pub(crate) routers: Vec<AskedRouter>,
}

/// Asks about all files; the answers come in their order.
///
/// # Errors
/// A place that was named and cannot be used.
pub(crate) async fn about(
    app: &App,
    places: &Places,
    wants: &[Want],
) -> Result<Vec<Answers>, CommandError> {
    let wait = app.settings.connect + app.settings.answer;
    let mut all = follow(app, places, wants, wait).await?;
    let mut tasks = JoinSet::new();
    for (index, want) in wants.iter().enumerate() {
        // A directory's own block tells at least who has that.
        let root = all[index].root.or_else(|| address_cid(want));
        let mut sources = places.sources(app, want, root)?;
        let followed = blobs::ask(app, places, want).await?;
        sources.extend(followed.blobs.iter().filter_map(Blob::source));
        all[index].sources = followed.failures.iter().map(unusable).collect();
        for (position, source) in sources.into_iter().enumerate() {
            tasks.spawn(async move {
                let asked = ask(&source, root, wait, None).await;
                (index, position, vec![asked], None)
            });
        }
        let (found, late) = mpsc::channel(FOUND_COUNT_MAX);
        let digest = want.digest;
        let told = places.look_for_peers(Names { root, digest }, found)?;
        for (position, search) in places.searches(root)?.into_iter().enumerate() {
            let told = told.clone();
            tasks.spawn(async move {
                let (router, found) = look(search, root, wait, told.as_ref()).await;
                (index, position, found, Some(router))
            });
        }
        tasks.spawn(async move { (index, usize::MAX, peers(late, root, wait).await, None) });
    }
    let mut answers = tasks.join_all().await;
    answers.sort_by_key(|(_, position, _, router)| (router.is_some(), *position));
    for (index, _, asked, router) in answers {
        all[index].sources.extend(asked);
        all[index].routers.extend(router);
    }
    Ok(all)
}

/// A registry whose manifest does not lead to the file.
fn unusable(failure: &Failure) -> Asked {
    Asked {
        source: SourceId {
            kind: SourceKind::Oci,
            place: failure.location.clone(),
        },
        answer: match failure.error.kind {
            ExitCode::NotFound => Answer::NotFound,
            ExitCode::Network => Answer::Network,
            _ => Answer::Refused,
        },
        reason: Some(failure.error.message.clone()),
        latency_ms: 0,
        size: None,
        size_proven: false,
        size_agrees: None,
        etag: None,
        last_modified: None,
        abilities: Abilities::default(),
        found_by: None,
    }
}

/// The CID of each file, where a path has to be followed to it.
async fn follow(
    app: &App,
    places: &Places,
    wants: &[Want],
    wait: Duration,
) -> Result<Vec<Answers>, CommandError> {
    let mut all = Vec::new();
    let mut tasks = JoinSet::new();
    for (index, want) in wants.iter().enumerate() {
        let root = run::root_without_asking(app, want);
        all.push(Answers {
            root,
            ..Answers::default()
        });
        let Some(address) = want.locations.iter().find_map(Location::address) else {
            continue;
        };
        if root.is_some() {
            continue;
        }
        let sources = places.sources(app, want, Some(address.cid))?;
        let sources: Vec<_> = sources
            .into_iter()
            .filter(|source| source.traits().blocks)
            .collect();
        let (address, token) = (address.clone(), app.interrupt.token().clone());
        let names = Names {
            root: Some(address.cid),
            digest: None,
        };
        let late = places.late(names)?;
        tasks.spawn(async move {
            let (late, _looking) =
                late.map_or((None, None), |late| (Some(late.sources), Some(late.tasks)));
            let resolved = engine::resolve(&address, &sources, late, &token);
            let followed = match tokio::time::timeout(wait, resolved).await {
                Ok(Ok(target)) => Ok(target.cid),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("nobody answered in time".into()),
            };
            (index, followed)
        });
    }
    for (index, followed) in tasks.join_all().await {
        match followed {
            Ok(root) => all[index].root = Some(root),
            Err(why) => all[index].not_followed = Some(why),
        }
    }
    Ok(all)
}

fn address_cid(want: &Want) -> Option<Cid> {
    let address = want.locations.iter().find_map(Location::address);
    address.map(|address| address.cid)
}

/// Asks one source.
pub(crate) async fn ask(
    source: &Arc<dyn Source>,
    root: Option<Cid>,
    wait: Duration,
    found_by: Option<String>,
) -> Asked {
    let Probe {
        answer,
        latency,
        abilities,
    } = probe(&**source, root.as_ref(), wait).await;
    let mut asked = Asked {
        source: source.id().clone(),
        answer: Answer::HasIt,
        reason: None,
        latency_ms: milliseconds(latency),
        size: None,
        size_proven: false,
        size_agrees: None,
        etag: None,
        last_modified: None,
        abilities,
        found_by,
    };
    match answer {
        Ok(had) => {
            asked.size = had.size;
            asked.size_proven = had.proven;
            asked.etag = had.etag;
            asked.last_modified = had.last_modified;
            if let Some(what) = had.no_file {
                asked.answer = Answer::NoFile;
                asked.reason = Some(format!("the CID is that of a {what}"));
            }
        }
        Err(error) => {
            asked.answer = answer_of(&error);
            asked.reason = Some(error.to_string());
        }
    }
    asked
}

fn answer_of(error: &SourceError) -> Answer {
    match error {
        SourceError::NotFound(_) => Answer::NotFound,
        SourceError::Busy { .. } => Answer::Busy,
        SourceError::Network(_) => Answer::Network,
        SourceError::False(_) => Answer::Lied,
        SourceError::Protocol(_)
        | SourceError::Changed(_)
        | SourceError::NoRanges
        | SourceError::Unsupported(_) => Answer::Refused,
    }
}

/// Asks the peers that are found within `wait`.
pub(crate) async fn peers(
    mut late: mpsc::Receiver<Arc<dyn Source>>,
    root: Option<Cid>,
    wait: Duration,
) -> Vec<Asked> {
    let mut tasks = JoinSet::new();
    let end = tokio::time::sleep(wait);
    tokio::pin!(end);
    loop {
        tokio::select! {
            source = late.recv() => match source {
                Some(source) if tasks.len() < FOUND_COUNT_MAX => {
                    tasks.spawn(async move { ask(&source, root, wait, None).await });
                }
                Some(_) => {}
                None => break,
            },
            () = &mut end => break,
        }
    }
    let mut asked = tasks.join_all().await;
    asked.sort_by(|one, other| one.source.place.cmp(&other.source.place));
    asked
}

/// Asks a router; answers also with the gateways that it names. Peers are handed on to whoever dials them.
pub(crate) async fn router(
    search: Search,
    wait: Duration,
    told: Option<&mpsc::Sender<Told>>,
) -> (AskedRouter, Vec<Arc<dyn Source>>) {
    let place = search.place().trim_end_matches('/').to_owned();
    let begun = Instant::now();
    let mut found: Vec<Arc<dyn Source>> = Vec::new();
    let mut take = |source| {
        if found.len() < FOUND_COUNT_MAX {
            found.push(source);
        }
    };
    let mut tell = tell_through(told);
    let said = match tokio::time::timeout(wait, search.run(&mut take, &mut tell)).await {
        Ok(said) => said.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} ms", wait.as_millis())),
    };
    let router = AskedRouter {
        place,
        providers: said.as_ref().ok().map(|answered| answered.providers),
        refused: said.as_ref().map_or(0, |answered| answered.refused),
        reason: said.err(),
        latency_ms: milliseconds(begun.elapsed()),
    };
    (router, found)
}

/// Asks a router, then those whom it names.
async fn look(
    search: Search,
    root: Option<Cid>,
    wait: Duration,
    told: Option<&mpsc::Sender<Told>>,
) -> (AskedRouter, Vec<Asked>) {
    let (router, found) = router(search, wait, told).await;
    let mut tasks = JoinSet::new();
    for source in found {
        let place = router.place.clone();
        tasks.spawn(async move { ask(&source, root, wait, Some(place)).await });
    }
    let mut asked = tasks.join_all().await;
    asked.sort_by(|one, other| one.source.place.cmp(&other.source.place));
    (router, asked)
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
