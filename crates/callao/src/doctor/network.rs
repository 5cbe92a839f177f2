//! Facts about the places that `get` would ask with the same flags: all of them at once, for a file that everybody has.

use std::path::Path;

use callao_content::{Cid, cid};
use callao_store::foreign::flatfs::Flatfs;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::facts::{ClockFacts, NetworkFacts, RepositoryFacts};
use crate::app::App;
use crate::cli::SourceArgs;
use crate::error::CommandError;
use crate::explain::ask::{self, Asked, AskedRouter};
use crate::get::peers::Names;
use crate::get::plan::{Noun, Want};
use crate::get::run;
use crate::get::sources::Places;
use crate::host::{self, FileKind};

/// The empty file, whose CID holds all of it: the trustless gateway specification names it for probes.
const EMPTY_FILE: &str = "bafkqaaa";
/// The empty directory: countless nodes have it.
const EMPTY_DIRECTORY: &str = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";
const SMALL_FILE_BYTES_MAX: u64 = 4096;
/// Peers that are told of.
const PEERS_COUNT_MAX: usize = 16;

/// Asks everybody whom the settings and flags allow.
///
/// # Errors
/// No runtime can be started.
pub(crate) fn network(app: &App, args: &SourceArgs) -> Result<NetworkFacts, CommandError> {
    let mut facts = NetworkFacts {
        discovery: app.settings.discovery,
        offline: app.settings.offline,
        unusable: None,
        sources: Vec::new(),
        routers: Vec::new(),
        clock: ClockFacts::default(),
    };
    let asked = match Places::new(app, args, &[]) {
        Ok(places) => run::new_runtime()?.block_on(ask_all(app, &places)),
        Err(error) => Err(error),
    };
    match asked {
        Ok((sources, routers)) => (facts.sources, facts.routers) = (sources, routers),
        Err(error) => facts.unusable = Some(error.message),
    }
    facts.clock = clock(&facts.sources);
    Ok(facts)
}

async fn ask_all(
    app: &App,
    places: &Places,
) -> Result<(Vec<Asked>, Vec<AskedRouter>), CommandError> {
    let wait = app.settings.connect + app.settings.answer;
    let (file, directory) = (constant(EMPTY_FILE)?, constant(EMPTY_DIRECTORY)?);
    let nothing = Want {
        noun: Noun::File,
        arch: None,
        locations: Vec::new(),
        digest: None,
        cid: Some(file),
    };
    let mut sources = JoinSet::new();
    for (index, source) in places
        .sources(app, &nothing, Some(file))?
        .into_iter()
        .enumerate()
    {
        sources.spawn(async move { (index, ask::ask(&source, Some(file), wait, None).await) });
    }
    let (found, late) = mpsc::channel(PEERS_COUNT_MAX);
    let names = Names {
        root: Some(file),
        digest: None,
    };
    // Whom routers name for a directory that countless nodes have is of no interest here.
    drop(places.look_for_peers(names, found)?);
    let mut routers = JoinSet::new();
    for (index, search) in places.searches(Some(directory))?.into_iter().enumerate() {
        routers.spawn(async move { (index, ask::router(search, wait, None).await.0) });
    }
    let peers = ask::peers(late, Some(file), wait);
    let (sources, routers, peers) = tokio::join!(sources.join_all(), routers.join_all(), peers);
    let sources = in_order(sources).into_iter().chain(peers);
    Ok((sources.collect(), in_order(routers)))
}

fn in_order<T>(mut all: Vec<(usize, T)>) -> Vec<T> {
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, one)| one).collect()
}

fn constant(text: &str) -> Result<Cid, CommandError> {
    cid::parse(text).map_err(|error| CommandError::usage(error.to_string()))
}

fn clock(sources: &[Asked]) -> ClockFacts {
    let now = host::unix_now();
    let heard = sources.iter().filter_map(|asked| {
        let date = asked.abilities.date_unix?;
        Some((asked.source.place.clone(), now - date))
    });
    ClockFacts {
        now,
        ahead: heard.collect(),
    }
}

/// The kubo repository that is looked at unasked, or that the environment names.
pub(crate) fn repository(app: &App) -> RepositoryFacts {
    let Some(dir) = &app.settings.kubo_repository else {
        return RepositoryFacts::Unknown;
    };
    let path = dir.display().to_string();
    if host::kind_of(dir) != Some(FileKind::Directory) {
        return RepositoryFacts::Missing(path);
    }
    RepositoryFacts::Found {
        path,
        version: line(dir, "version"),
        unreadable: Flatfs::open(dir).err().map(|error| error.to_string()),
        api: line(dir, "api"),
    }
}

fn line(dir: &Path, name: &str) -> Option<String> {
    let bytes = host::read_small_file(&dir.join(name), SMALL_FILE_BYTES_MAX).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_string();
    Some(text).filter(|text| !text.is_empty())
}
