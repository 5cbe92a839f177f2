//! Files and blocks that are not here, for programs of this computer: fetched by the same engine as `callao get
//! ipfs://CID`, into Lima's cache, from peers by the daemon's own node. Several programs that want one file wait for one
//! fetch. Must not know HTTP.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use callao_content::{Cid, cid};
use callao_fetch::source::Source;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::{Semaphore, watch};

use super::World;
use super::fetches::Own;
use super::node::Node;
use crate::app::App;
use crate::cli::SourceArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::gateway::{self, NotFetched};
use crate::get::peers::Lent;
use crate::get::plan::{Location, Noun, Want};
use crate::get::run::{self, Job};
use crate::get::sources::Places;

/// How often whoever waits looks whether more is there.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long a file that was fetched may take to appear among those that are served.
const APPEAR_MAX: Duration = Duration::from_secs(10);
/// Single blocks that are asked for at the same time.
const BLOCKS_COUNT_MAX: usize = 16;
/// How long everybody may take for a single block.
const BLOCK_MAX: Duration = Duration::from_secs(20);

/// Fetches.
#[derive(Debug)]
pub(super) struct Fetcher {
    world: Weak<World>,
    running: Arc<Mutex<HashMap<Cid, Arc<Running>>>>,
    blocks: Semaphore,
}

/// How a fetch ended; `None`: it runs.
type End = Option<Result<(), NotFetched>>;

/// A fetch under way.
#[derive(Debug)]
struct Running {
    root: Cid,
    world: Weak<World>,
    end: watch::Receiver<End>,
}

impl Fetcher {
    pub(super) fn new(world: Weak<World>) -> Self {
        Fetcher {
            world,
            running: Arc::default(),
            blocks: Semaphore::new(BLOCKS_COUNT_MAX),
        }
    }

    /// Joins the fetch of this file, or begins one.
    fn join(&self, root: Cid) -> Result<Arc<Running>, NotFetched> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = running.get(&root).filter(|one| one.end.borrow().is_none()) {
            return Ok(Arc::clone(one));
        }
        let world = self.world.upgrade().ok_or(NotFetched::Nobody)?;
        let name = cid::text(&root);
        let Some(own) = world.fetches.begin(name.clone(), name) else {
            let why = "too many files are being fetched; ask again later";
            return Err(NotFetched::Failed(why.into()));
        };
        let (ended, end) = watch::channel(None);
        let (all, app) = (Arc::clone(&self.running), Arc::clone(&world.app));
        let lent = world.node.get().and_then(Node::lend);
        let work = move || {
            let result = fetch(&app, root, own, lent);
            if let Err(why) = &result {
                tracing::info!(root = cid::text(&root), %why, "not fetched");
            }
            ended.send_replace(Some(result));
            all.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&root);
        };
        std::thread::Builder::new()
            .name("fetch".into())
            .spawn(work)
            .map_err(|error| NotFetched::Failed(error.to_string()))?;
        tracing::info!(root = cid::text(&root), "fetching");
        let one = Arc::new(Running {
            root,
            world: self.world.clone(),
            end,
        });
        running.insert(root, Arc::clone(&one));
        Ok(one)
    }

    async fn find(&self, cid: Cid) -> Result<Bytes, NotFetched> {
        let _seat = self
            .blocks
            .acquire()
            .await
            .map_err(|_| NotFetched::Nobody)?;
        let world = self.world.upgrade().ok_or(NotFetched::Nobody)?;
        let app = Arc::clone(&world.app);
        let asked = tokio::task::spawn_blocking(move || block_of_places(&app, cid));
        let asked = asked.map(|block| block.ok().flatten());
        let peers = block_of_peers(&world, cid);
        futures::pin_mut!(asked, peers);
        let first = async {
            match futures::future::select(asked, peers).await {
                futures::future::Either::Left((Some(block), _))
                | futures::future::Either::Right((Some(block), _)) => Some(block),
                futures::future::Either::Left((None, peers)) => peers.await,
                futures::future::Either::Right((None, asked)) => asked.await,
            }
        };
        let found = tokio::time::timeout(BLOCK_MAX, first).await.ok().flatten();
        found.ok_or_else(|| NotFetched::Failed("nobody who was asked has it".into()))
    }
}

impl gateway::Fetcher for Fetcher {
    fn file(&self, root: Cid) -> BoxFuture<'_, Result<Arc<dyn gateway::Fetch>, NotFetched>> {
        Box::pin(async move {
            let one = self.join(root)?;
            one.until(|world| world.shelf.file(&root).map(|_| ()))
                .await?;
            Ok(one as Arc<dyn gateway::Fetch>)
        })
    }

    fn block(&self, cid: Cid) -> BoxFuture<'_, Result<Bytes, NotFetched>> {
        Box::pin(self.find(cid))
    }
}

impl gateway::Fetch for Running {
    fn wait(&self, range: Range<u64>) -> BoxFuture<'_, Result<u64, NotFetched>> {
        Box::pin(self.until(move |world| {
            let have = world.shelf.file(&self.root)?.have();
            let there = have.into_iter().find(|part| part.contains(&range.start))?;
            Some(there.end.min(range.end))
        }))
    }
}

impl Running {
    /// Waits until something is there.
    async fn until<T>(&self, look: impl Fn(&World) -> Option<T> + Send) -> Result<T, NotFetched>
    where
        T: Send,
    {
        let mut end = self.end.clone();
        let mut appear_by = None;
        loop {
            let ended = end.borrow_and_update().clone();
            let world = self.world.upgrade().ok_or(NotFetched::Nobody)?;
            if let Some(found) = look(&world) {
                return Ok(found);
            }
            match ended {
                Some(Err(why)) => return Err(why),
                Some(Ok(())) => {
                    let now = tokio::time::Instant::now();
                    if now > *appear_by.get_or_insert(now + APPEAR_MAX) {
                        let why = "it was fetched, and may not be served";
                        return Err(NotFetched::Failed(why.into()));
                    }
                }
                None => {}
            }
            world.look.notify_one();
            drop(world);
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                Ok(()) = end.changed() => {}
            }
        }
    }
}

/// Fetches a file as `callao get ipfs://CID` does, only that no node is started for it. Blocks.
fn fetch(app: &App, root: Cid, own: Arc<Own>, lent: Option<Lent>) -> Result<(), NotFetched> {
    let failed = |error: CommandError| match error.kind {
        ExitCode::Interrupted => NotFetched::Failed("the daemon ends".into()),
        // Nothing but the CID was said, and that is one: what it names is wrong for what was asked.
        ExitCode::Usage => NotFetched::NotAFile,
        _ => NotFetched::Failed(error.to_string()),
    };
    let mut places = Places::new(app, &SourceArgs::default(), &[]).map_err(failed)?;
    if let Some(lent) = lent {
        places.borrow_node(lent);
    }
    let mut job = Job::new(app, places, None, false);
    job.watcher = Some(own);
    run::get(&job, &want(root)).map(drop).map_err(failed)
}

/// What `callao get ipfs://CID` wants.
fn want(root: Cid) -> Want {
    Want {
        noun: Noun::File,
        arch: None,
        locations: vec![Location::read(&format!("ipfs://{}", cid::text(&root)))],
        digest: None,
        cid: Some(root),
    }
}

/// Asks the places of the settings for one block. Blocks.
fn block_of_places(app: &App, cid: Cid) -> Option<Bytes> {
    let places = Places::new(app, &SourceArgs::default(), &[]).ok()?;
    let sources = places.sources(app, &want(cid), Some(cid)).ok()?;
    let runtime = run::new_runtime().ok()?;
    let asked = async {
        let askable = sources.iter().filter(|source| source.traits().blocks);
        let mut asked: FuturesUnordered<_> =
            askable.map(|source| proven(&**source, &cid)).collect();
        while let Some(answer) = asked.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    };
    let asked = async { tokio::time::timeout(BLOCK_MAX, asked).await };
    runtime.block_on(asked).ok().flatten()
}

/// Asks connected peers for one block.
async fn block_of_peers(world: &World, cid: Cid) -> Option<Bytes> {
    let mut holders = world.node.get()?.holders(cid);
    while let Some(holder) = holders.recv().await {
        if let Some(block) = proven(&*holder, &cid).await {
            return Some(block);
        }
    }
    None
}

async fn proven(source: &dyn Source, wanted: &Cid) -> Option<Bytes> {
    let block = source.block(wanted).await.ok()?;
    cid::verify_block(wanted, &block).ok().map(|()| block)
}
