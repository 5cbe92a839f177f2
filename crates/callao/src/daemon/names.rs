//! Records of `/ipns` names: looked for where the settings allow, the newest ones kept in memory and in the cache. Which of
//! several records counts is decided in `newest`. Must not know HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use callao_content::ipns::Record;
use callao_content::{Cid, peer_id};
use callao_fetch::names::Records;
use callao_fetch::source::SourceError;
use callao_store::limits::NAMES_COUNT_MAX;
use callao_store::names;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::cli::SourceArgs;
use crate::error::CommandError;
use crate::gateway::{Names, NoRecord};
use crate::get::sources::Places;

mod newest;

use newest::{Verdict, judge};

/// Names that are looked for at the same time.
const LOOKS_COUNT_MAX: usize = 16;
/// How long all places together may take: a kubo asks the DHT.
const ASK_MAX: Duration = Duration::from_secs(15);
/// How long the others have when the first record is there.
const SETTLE_MAX: Duration = Duration::from_secs(1);
/// A record whose time to live is shorter is not looked for more often than this.
const FRESH_MIN: Duration = Duration::from_secs(1);

/// All records that were seen.
pub(super) struct All {
    app: Arc<App>,
    kept: Mutex<HashMap<Cid, Kept>>,
    /// One look for each name at a time: whoever comes later finds what it brought.
    looks: Mutex<HashMap<Cid, Arc<tokio::sync::Mutex<()>>>>,
    seats: Semaphore,
}

impl std::fmt::Debug for All {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "All({} names)", lock(&self.kept).len())
    }
}

#[derive(Debug, Clone)]
struct Kept {
    record: Record,
    /// When others confirmed last that there is no newer one; `None`: not since the start.
    confirmed: Option<Instant>,
}

impl All {
    /// Reads what the cache has.
    pub(super) fn new(app: &Arc<App>) -> Self {
        let disk = &*app.disk;
        let known = names::list(disk, &app.places).unwrap_or_else(|error| {
            tracing::warn!(%error, "records of names cannot be read");
            Vec::new()
        });
        let load = |name: Cid| {
            let record = names::load(disk, &app.places, &name)?;
            let confirmed = None;
            Some((name, Kept { record, confirmed }))
        };
        let kept = known.into_iter().filter_map(load).take(NAMES_COUNT_MAX);
        All {
            app: Arc::clone(app),
            kept: Mutex::new(kept.collect()),
            looks: Mutex::default(),
            seats: Semaphore::new(LOOKS_COUNT_MAX),
        }
    }

    async fn newest(&self, name: Cid) -> Result<Record, NoRecord> {
        if let Some(record) = self.fresh(&name) {
            return Ok(record);
        }
        let look = Arc::clone(lock(&self.looks).entry(name).or_default());
        let looked = async {
            let _mine = look.lock().await;
            match self.fresh(&name) {
                Some(record) => Ok(record),
                None => self.look(name).await,
            }
        }
        .await;
        drop(look);
        lock(&self.looks).retain(|_, look| Arc::strong_count(look) > 1);
        looked
    }

    /// What is held, if it need not be looked for again.
    fn fresh(&self, name: &Cid) -> Option<Record> {
        let kept = lock(&self.kept).get(name)?.clone();
        let age = kept.confirmed?.elapsed();
        let is_fresh = age < kept.record.ttl().max(FRESH_MIN);
        let counts = is_fresh && !kept.record.is_expired(SystemTime::now());
        counts.then_some(kept.record)
    }

    /// Asks everybody, and decides.
    async fn look(&self, name: Cid) -> Result<Record, NoRecord> {
        let _seat = self.seats.acquire().await.map_err(|_| NoRecord::Nobody)?;
        let asked = self.ask(name).await;
        let held = self.held(&name);
        let verdict = judge(held.as_ref(), asked.best.as_ref(), SystemTime::now());
        let text = peer_id::name_text(&name);
        match verdict {
            Verdict::Found(record) => {
                self.keep(record.clone(), held.as_ref()).await;
                Ok(record)
            }
            Verdict::Held(record) => {
                for why in &asked.wrong {
                    tracing::warn!(name = text, %why, "a record is not used");
                }
                Ok(record)
            }
            Verdict::Nothing if asked.wrong.is_empty() => Err(NoRecord::Nobody),
            Verdict::Nothing => Err(NoRecord::Bad(asked.wrong.join("; "))),
            Verdict::Expired => {
                // It still shows that older ones are older.
                let newest = asked
                    .best
                    .filter(|best| held.is_none_or(|held| best.replaces(&held)));
                if let Some(newest) = newest {
                    self.keep(newest, None).await;
                }
                Err(NoRecord::Expired)
            }
            Verdict::Older => Err(NoRecord::Older),
        }
    }

    async fn ask(&self, name: Cid) -> Asked {
        let mut asked = Asked::default();
        let app = Arc::clone(&self.app);
        let places = tokio::task::spawn_blocking(move || -> Result<_, CommandError> {
            Places::new(&app, &SourceArgs::default(), &[])?.records()
        });
        let places = match places.await {
            Ok(Ok(places)) => places,
            Ok(Err(error)) => return asked.failed(error.to_string()),
            Err(error) => return asked.failed(error.to_string()),
        };
        let ask = |place: Records| async move {
            let answer = place.ask(&name).await;
            (place.place().to_owned(), answer)
        };
        let mut answers: FuturesUnordered<_> = places.into_iter().map(ask).collect();
        let mut until = Instant::now() + ASK_MAX;
        while let Ok(Some((place, answer))) = timeout_at(until, answers.next()).await {
            match answer {
                Ok(Some(record)) => {
                    until = until.min(Instant::now() + SETTLE_MAX);
                    if asked.best.as_ref().is_none_or(|best| record.replaces(best)) {
                        asked.best = Some(record);
                    }
                }
                Ok(None) => {}
                Err(SourceError::False(why)) => asked.wrong.push(format!("{place}: {why}")),
                // It may know nothing of names, or not be there.
                Err(error) => tracing::debug!(place, %error, "no record"),
            }
        }
        asked
    }

    async fn keep(&self, record: Record, before: Option<&Record>) {
        let kept = Kept {
            confirmed: Some(Instant::now()),
            record: record.clone(),
        };
        {
            let mut all = lock(&self.kept);
            all.insert(*record.name(), kept);
            if all.len() > NAMES_COUNT_MAX {
                let others = all.iter().filter(|(name, _)| *name != record.name());
                let oldest = others.min_by_key(|(_, kept)| kept.confirmed);
                let oldest = oldest.map(|(name, _)| *name);
                oldest.and_then(|name| all.remove(&name));
            }
        }
        if before == Some(&record) {
            return;
        }
        let app = Arc::clone(&self.app);
        let saved =
            tokio::task::spawn_blocking(move || names::save(&*app.disk, &app.places, &record));
        // It is in memory: the next start does not know it, that is all.
        if let Ok(Err(error)) = saved.await {
            tracing::warn!(%error, "a record of a name is not kept");
        }
    }
}

impl Names for All {
    fn held(&self, name: &Cid) -> Option<Record> {
        lock(&self.kept).get(name).map(|kept| kept.record.clone())
    }

    fn find(&self, name: Cid) -> BoxFuture<'_, Result<Record, NoRecord>> {
        Box::pin(self.newest(name))
    }
}

/// What others said.
#[derive(Debug, Default)]
struct Asked {
    /// The newest record among them.
    best: Option<Record>,
    /// What came that is no record of the name.
    wrong: Vec<String>,
}

impl Asked {
    fn failed(mut self, why: String) -> Self {
        self.wrong.push(why);
        self
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
