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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::host;

    const URL: &str = "https://images.example/a.img";

    fn settings() -> ServeSettings {
        ServeSettings {
            gateway: SocketAddr::from(([127, 0, 0, 1], 0)),
            listen: Vec::new(),
            lan: None,
            enabled: true,
            upload_rate_max: None,
            upload_slots: 1,
            private_origins: false,
        }
    }

    #[test]
    fn a_host_has_a_name_where_others_get_what_it_fetches() {
        let dir = tempfile::tempdir().expect("a directory");
        let host = Host::with_variables([("XDG_STATE_HOME", dir.path().to_str().expect("text"))]);
        let cache = Path::new("/cache");
        let own = |cache: &Path| OwnDaemon {
            host: host.clone(),
            places: Places::new(cache),
            cache_dir: cache.to_owned(),
            found: OnceCell::new(),
        };
        let staged = Places::new(cache).staging_part("k");
        let name = |daemon: &OwnDaemon| daemon.swarm_name(&settings(), &staged, URL);
        assert_eq!(name(&own(cache)), "", "no daemon");

        let state = dir.path().join("callao/daemon.json");
        let held = host::lock_file(&state).expect("it can be made");
        let held = held.expect("nobody has it");
        let mut running = Running::new("http://127.0.0.1:1".into(), "t".into(), cache.into());
        running.peer_id = Some("12D3Koo".into());
        let tell = |running: &Running| {
            let text = serde_json::to_vec(running).expect("JSON");
            held.write(&text).expect("written");
        };
        tell(&running);
        assert_eq!(name(&own(cache)), "", "it has no gateway for the network");
        assert_eq!(own(cache).ourselves().as_deref(), Some("12D3Koo"));

        running.lan = Some("http://192.168.1.7:22554".into());
        tell(&running);
        let daemon = own(cache);
        assert_eq!(name(&daemon), "12D3Koo");
        let private = daemon.swarm_name(&settings(), &staged, "http://10.0.0.1/a.img");
        assert_eq!(private, "", "it is not given to anybody");
        let allowed = ServeSettings {
            private_origins: true,
            ..settings()
        };
        let private = daemon.swarm_name(&allowed, &staged, "http://10.0.0.1/a.img");
        assert_eq!(private, "12D3Koo");
        let off = ServeSettings {
            enabled: false,
            ..settings()
        };
        assert_eq!(daemon.swarm_name(&off, &staged, URL), "");
        let beside = Path::new("/elsewhere/k.part");
        assert_eq!(daemon.swarm_name(&settings(), beside, URL), "");
        let other = own(Path::new("/other"));
        assert_eq!((name(&other), other.ourselves()), (String::new(), None));
    }
}
