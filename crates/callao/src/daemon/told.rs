//! Puts the status together from what the parts know at this moment. Keeps nothing.

use std::time::Instant;

use callao_content::cid;
use callao_store::shelf::Listed;

use super::World;
use super::status::{Client, File, Peer, Settings, Status, Totals, VERSION};
use crate::cli::Discovery;

impl World {
    /// Everything that is known now.
    pub(super) fn status(&self) -> Status {
        let node = self.node.get();
        let peers = node.map(|node| node.peers()).unwrap_or_default();
        let totals = self.totals();
        Status {
            v: VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            peer_id: self.peer_id(),
            addresses: self.addresses(),
            gateway: self.gateway(),
            uptime_seconds: self.begun.elapsed().as_secs(),
            settings: self.settings(),
            files: self.shelf.all().into_iter().map(told).collect(),
            fetches: self.fetches.all(Instant::now()),
            clients: self.clients(&peers),
            peers,
            totals,
        }
    }

    /// By bitswap and HTTP together.
    pub(super) fn totals(&self) -> Totals {
        let bitswap = self
            .node
            .get()
            .map(|node| node.totals())
            .unwrap_or_default();
        Totals {
            sent_bytes: bitswap.sent_bytes + self.counters.sent(),
            received_bytes: bitswap.received_bytes + self.fetches.received(),
        }
    }

    fn clients(&self, peers: &[Peer]) -> Vec<Client> {
        let by_bitswap = peers.iter().filter(|peer| peer.sent_bytes > 0);
        let by_bitswap = by_bitswap.map(|peer| (peer.peer_id.clone(), "bitswap", peer.sent_bytes));
        let by_http = self.counters.clients().into_iter();
        let by_http = by_http.map(|client| (client.ip.to_string(), "http", client.bytes));
        let all: Vec<(String, &str, u64)> = by_bitswap.chain(by_http).collect();
        let bytes: Vec<(String, u64)> = all
            .iter()
            .map(|(who, _, bytes)| (who.clone(), *bytes))
            .collect();
        let rates = self.rates.of(&bytes, Instant::now());
        let client = |((who, kind, bytes), rate_bytes_s): ((String, &str, u64), u64)| Client {
            who,
            kind: kind.into(),
            bytes,
            rate_bytes_s,
        };
        all.into_iter().zip(rates).map(client).collect()
    }

    fn settings(&self) -> Settings {
        let settings = &self.app.settings;
        let serve = &settings.serve;
        Settings {
            discovery: match settings.discovery {
                Discovery::Public => "public",
                Discovery::Lan => "lan",
                Discovery::None => "none",
            }
            .into(),
            offline: settings.offline,
            enabled: serve.enabled,
            lan: self.lan.get().cloned(),
            upload_rate_max: serve.upload_rate_max,
            upload_slots: serve.upload_slots,
            private_origins: serve.private_origins,
            file: settings
                .file
                .as_ref()
                .map(|path| path.display().to_string()),
            cache_dir: settings.cache_dir.display().to_string(),
        }
    }
}

fn told(file: Listed) -> File {
    File {
        complete: file.have_bytes == file.size,
        served: file.why_not.is_none(),
        name: file.name,
        size: file.size,
        roots: file.roots.iter().map(cid::text).collect(),
        digests: file.digests.iter().map(ToString::to_string).collect(),
        url: file.url,
        path: file.path.display().to_string(),
        kind: file.owner.name().into(),
        why_not: file.why_not,
    }
}
