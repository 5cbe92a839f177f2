//! Looks what is in the cache, again and again: what `get`, `add` and limactl put there is served within seconds, and what
//! somebody changed is served no more. Knows nothing of how it is served.

use std::sync::Arc;
use std::time::Duration;

use callao_content::digest::Algorithm;
use callao_content::{Cid, cid};
use callao_store::shelf::{Change, What};
use tokio_util::sync::CancellationToken;

use super::World;

/// Pause between two looks while something happens.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Pause when nothing has happened for long.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Looks without a change until the pause gets longer.
const CALM_COUNT: u32 = 30;
/// How often a disk that fails is complained about.
const COMPLAINT_EVERY_COUNT: u32 = 60;

/// Looks.
pub(super) struct Keeper {
    world: Arc<World>,
    calm: u32,
    failures: u32,
}

impl Keeper {
    /// Looks for the first time.
    pub(super) async fn begin(world: Arc<World>) -> Self {
        let mut keeper = Keeper {
            world,
            calm: 0,
            failures: 0,
        };
        keeper.look().await;
        keeper
    }

    /// Looks until the daemon ends.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = match self.calm < CALM_COUNT {
                true => PAUSE_MIN,
                false => PAUSE_MAX,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.world.look.notified() => {}
            }
            if self.look().await {
                self.world.changed().await;
            }
        }
    }

    /// Looks once; whether something has changed.
    async fn look(&mut self) -> bool {
        let world = Arc::clone(&self.world);
        let looked =
            tokio::task::spawn_blocking(move || world.shelf.refresh(world.app.catalogue())).await;
        let changes = match looked {
            Ok(Ok(changes)) => changes,
            Ok(Err(error)) => {
                if self.failures.is_multiple_of(COMPLAINT_EVERY_COUNT) {
                    tracing::warn!(%error, "the cache cannot be looked at");
                }
                self.failures += 1;
                self.calm = CALM_COUNT;
                return false;
            }
            Err(error) => {
                tracing::error!(%error, "looking at the cache failed");
                return false;
            }
        };
        self.failures = 0;
        self.calm = match changes.is_empty() {
            true => self.calm.saturating_add(1),
            false => 0,
        };
        changes.iter().for_each(say);
        !changes.is_empty()
    }
}

impl World {
    /// Tells those who wait for something, and those who may look for it.
    async fn changed(&self) {
        if !self.app.settings.serve.enabled {
            return;
        }
        if let Some(node) = self.node.get() {
            node.offer();
        }
        self.announce().await;
    }

    /// Announces the roots of all files, and the CIDs of the files as single blocks, by which a digest alone finds them.
    pub(super) async fn announce(&self) {
        let Some(node) = self.node.get() else {
            return;
        };
        let mut all: Vec<Cid> = self.shelf.roots();
        for file in self.shelf.files().iter().filter(|file| file.is_complete()) {
            let sha256 = file
                .digests()
                .iter()
                .filter(|digest| digest.algorithm() == Algorithm::Sha256);
            let hashes = sha256.filter_map(|digest| digest.as_bytes().try_into().ok());
            all.extend(hashes.map(cid::raw_sha256));
        }
        all.sort();
        all.dedup();
        node.provide(all).await;
    }
}

fn say(change: &Change) {
    let path = change.path.display();
    match &change.what {
        What::Appeared(roots) => {
            let roots: Vec<String> = roots.iter().map(cid::text).collect();
            tracing::info!(%path, ?roots, "served");
        }
        What::Gone => tracing::info!(%path, "gone"),
        What::Retired(why) => tracing::warn!(%path, why, "not served any more"),
        What::Hashed => tracing::info!(%path, "hashed"),
    }
}
