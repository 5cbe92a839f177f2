//! The running `callao serve` of this user, as far as it matters to a fetch: whether it gives others what the fetch brings,
//! and by which name others know it. Starts none and asks it nothing.

use std::cell::OnceCell;
use std::path::Path;

use callao_store::places::Places;
use callao_store::shelf::Policy;

use crate::app::App;
use crate::daemon::state::{self, Running};
use crate::host::Host;
use crate::settings::serve::ServeSettings;

/// It, looked for when it first matters.
pub(crate) struct OwnDaemon {
    host: Host,
    places: Places,
    cache_dir: std::path::PathBuf,
    found: OnceCell<Option<Running>>,
}

impl OwnDaemon {
    pub(crate) fn new(app: &App) -> Self {
        OwnDaemon {
            host: app.host.clone(),
            places: app.places.clone(),
            cache_dir: app.settings.cache_dir.clone(),
            found: OnceCell::new(),
        }
    }

    /// The daemon that serves the cache of this command.
    fn of_this_cache(&self) -> Option<&Running> {
        self.running()
            .filter(|daemon| daemon.cache_dir == self.cache_dir)
    }

    /// A file that says nothing is as good as none: a fetch does without a daemon.
    fn running(&self) -> Option<&Running> {
        let look = || state::running(&self.host).ok().flatten();
        self.found.get_or_init(look).as_ref()
    }

    /// The peer that has only what is here already.
    pub(crate) fn ourselves(&self) -> Option<String> {
        self.of_this_cache()?.peer_id.clone()
    }

    /// What the other hosts of a swarm know this one by; empty if they get nothing of this fetch: no daemon gives the
    /// local network what lies in `staging`, or not what came from `location`.
    pub(crate) fn swarm_name(
        &self,
        settings: &ServeSettings,
        staging: &Path,
        location: &str,
    ) -> String {
        let policy = Policy {
            private_origins: settings.private_origins,
            nothing: !settings.enabled,
        };
        if !staging.starts_with(self.places.staging()) || !policy.allows(location) {
            return String::new();
        }
        let daemon = self.of_this_cache().filter(|daemon| daemon.lan.is_some());
        daemon
            .and_then(|daemon| daemon.peer_id.clone())
            .unwrap_or_default()
    }
}
