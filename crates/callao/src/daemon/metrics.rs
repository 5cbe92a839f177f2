//! `/metrics` in the OpenMetrics text format. The numbers are those of the status; they are looked up when they are asked
//! for.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::World;

type Labels = Vec<(&'static str, String)>;

impl World {
    /// The text.
    pub(super) fn metrics(&self) -> String {
        let mut registry = Registry::with_prefix("callao");
        self.about_itself(&mut registry);
        self.about_files(&mut registry);
        self.about_traffic(&mut registry);
        let mut text = String::new();
        // Writing into a String cannot fail.
        encode(&mut text, &registry).unwrap_or(());
        text
    }

    fn about_itself(&self, registry: &mut Registry) {
        let version = [(vec![("version", env!("CARGO_PKG_VERSION").into())], 1)];
        gauges(registry, "build", "The version of callao", version);
        let uptime = self.begun.elapsed().as_secs();
        gauge(registry, "uptime_seconds", "Time since the start", uptime);
        let fetches = self.fetches.all(std::time::Instant::now()).len() as u64;
        gauge(
            registry,
            "fetches",
            "Fetches under way, of this process and of others",
            fetches,
        );
    }

    fn about_files(&self, registry: &mut Registry) {
        let files = self.shelf.all();
        let (served, kept): (Vec<_>, Vec<_>) =
            files.iter().partition(|file| file.why_not.is_none());
        let label = |served: bool| vec![("served", served.to_string())];
        let counts = [
            (label(true), served.len() as u64),
            (label(false), kept.len() as u64),
        ];
        gauges(registry, "files", "Files that are here", counts);
        let bytes = |files: &[&callao_store::shelf::Listed]| -> u64 {
            files.iter().map(|file| file.have_bytes).sum()
        };
        let bytes = [(label(true), bytes(&served)), (label(false), bytes(&kept))];
        gauges(
            registry,
            "files_bytes",
            "Bytes of files that are here",
            bytes,
        );
    }

    fn about_traffic(&self, registry: &mut Registry) {
        let node = self.node.get();
        let peers = node.map(|node| node.peers()).unwrap_or_default();
        let on_lan = peers.iter().filter(|peer| peer.lan).count() as u64;
        let net = |name: &str| vec![("network", name.to_string())];
        let counts = [
            (net("lan"), on_lan),
            (net("wide"), peers.len() as u64 - on_lan),
        ];
        gauges(registry, "peers", "Peers that are connected", counts);
        let connections = self.counters.connections();
        gauge(
            registry,
            "http_connections",
            "Connections of the gateway",
            connections,
        );
        let answers = self.counters.answers();
        let answers =
            answers.map(|(class, count)| (vec![("class", format!("{}xx", class / 100))], count));
        counters(registry, "http_answers", "Answers of the gateway", answers);
        let bitswap = node.map(|node| node.totals()).unwrap_or_default();
        let way = |name: &str| vec![("way", name.to_string())];
        let sent = [
            (way("bitswap"), bitswap.sent_bytes),
            (way("http"), self.counters.sent()),
        ];
        counters(
            registry,
            "sent_bytes",
            "Bytes given to others, and to programs of this computer",
            sent,
        );
        let received = [
            (way("bitswap"), bitswap.received_bytes),
            (way("fetch"), self.fetches.received()),
        ];
        counters(
            registry,
            "received_bytes",
            "Bytes taken from others",
            received,
        );
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(signed(value));
    registry.register(name, help, gauge);
}

fn gauges<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    values: [(Labels, u64); N],
) {
    let family: Family<Labels, Gauge> = Family::default();
    for (labels, value) in values {
        family.get_or_create(&labels).set(signed(value));
    }
    registry.register(name, help, family);
}

fn counters<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    values: [(Labels, u64); N],
) {
    let family: Family<Labels, Counter> = Family::default();
    for (labels, value) in values {
        family.get_or_create(&labels).inc_by(value);
    }
    registry.register(name, help, family);
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
