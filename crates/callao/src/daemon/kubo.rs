//! A kubo of this computer announces what it has and the daemon serves: kubo is connected to more of the network, and
//! stays when the daemon ends. Of what kubo does not have it says so itself, since an announcement leads to kubo and not to
//! us. Must not know how we announce.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use callao_content::{Cid, cid};
use callao_fetch::kubo_add::KuboDaemon;
use callao_fetch::source::SourceError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::World;
use crate::cli::Discovery;
use crate::error::CommandError;
use crate::get::sources;
use crate::http;

/// How often it is looked for files that came, and for a kubo that was started.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// After this a root is announced again: kubo does so every 22 hours, and records are kept for 48.
const AGAIN: Duration = Duration::from_secs(22 * 3600);
/// After this kubo is asked again about a root that it did not announce.
const RETRY: Duration = Duration::from_secs(600);

/// Has kubo announce roots.
pub(super) struct Herald {
    world: Arc<World>,
    client: reqwest::Client,
    /// When kubo is to be asked again.
    due: HashMap<Cid, Instant>,
}

impl Herald {
    /// `None` where nothing may be announced.
    pub(super) fn new(world: &Arc<World>) -> Result<Option<Self>, CommandError> {
        let settings = &world.app.settings;
        if !settings.serve.enabled || settings.discovery != Discovery::Public {
            return Ok(None);
        }
        Ok(Some(Herald {
            world: Arc::clone(world),
            client: http::direct(settings)?,
            due: HashMap::new(),
        }))
    }

    /// Announces until the daemon ends.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.announce() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    /// One after the other: each of them has kubo talk to some twenty peers.
    async fn announce(&mut self) {
        let roots = self.world.shelf.roots();
        self.due.retain(|root, _| roots.contains(root));
        let Some(kubo) = self.kubo() else { return };
        for root in roots {
            let now = Instant::now();
            if self.due.get(&root).is_some_and(|due| now < *due) {
                continue;
            }
            let text = cid::text(&root);
            let wait = match kubo.provide(&root).await {
                Ok(()) => {
                    tracing::info!(root = text, "announced by kubo");
                    AGAIN
                }
                // It is not running: nothing is known of the others either.
                Err(SourceError::Network(why)) => {
                    tracing::debug!(%why, "kubo is not asked");
                    return;
                }
                Err(why) => {
                    tracing::debug!(root = text, %why, "not announced by kubo");
                    RETRY
                }
            };
            self.due.insert(root, now + wait);
        }
    }

    fn kubo(&self) -> Option<KuboDaemon> {
        let app = &self.world.app;
        let (api, _) = sources::kubo_api(app)?;
        let waits = http::waits(&app.settings);
        Some(KuboDaemon::new(self.client.clone(), api, waits))
    }
}
