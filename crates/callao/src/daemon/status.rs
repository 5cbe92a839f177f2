//! The object of `GET /callao/v1/status`: shapes alone. What stands in it is looked up elsewhere.

use serde::{Deserialize, Serialize};

/// The version of the shapes.
pub const VERSION: u32 = 1;

/// Everything that the dashboard shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub v: u32,
    /// Of callao.
    pub version: String,
    /// Base58btc; `None` if this callao was built without peers.
    pub peer_id: Option<String>,
    /// Multiaddrs that end in `/p2p/ID`.
    pub addresses: Vec<String>,
    /// `http://127.0.0.1:PORT`
    pub gateway: String,
    /// Since the start.
    pub uptime_seconds: u64,
    /// What was decided by flags, environment and settings file.
    pub settings: Settings,
    /// Everything that is here, served or not.
    pub files: Vec<File>,
    /// Fetches under way, of this process and of others.
    pub fetches: Vec<Fetch>,
    /// Who has taken something.
    pub clients: Vec<Client>,
    /// Who is connected.
    pub peers: Vec<Peer>,
    /// Since the start.
    pub totals: Totals,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `public`, `lan` or `none`.
    pub discovery: String,
    /// Nothing is fetched.
    pub offline: bool,
    /// Whether others get anything.
    pub enabled: bool,
    /// Gateway for the local network, as `http://ADDRESS:PORT`.
    pub lan: Option<String>,
    /// Bytes in a second: for all peers of bitswap, and as much again for all guests of the gateway.
    pub upload_rate_max: Option<u64>,
    /// Others that are sent something at the same time.
    pub upload_slots: usize,
    /// Whether what came from a local network is given away.
    pub private_origins: bool,
    /// The settings file that was read.
    pub file: Option<String>,
    /// The directory that holds `lima/` and `callao/`.
    pub cache_dir: String,
}

/// A file that is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// For people.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// CIDs of its trees.
    pub roots: Vec<String>,
    /// `algo:hex` of the whole.
    pub digests: Vec<String>,
    /// The location that it came from.
    pub url: Option<String>,
    /// Where it lies.
    pub path: String,
    /// `lima`, `user`, `car` or `fetching`.
    pub kind: String,
    /// Whether all of it is here.
    pub complete: bool,
    /// Whether it may be given to others.
    pub served: bool,
    /// Why it is not.
    pub why_not: Option<String>,
}

/// A fetch under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Which one: unique while the daemon runs.
    pub id: String,
    /// For people.
    pub name: String,
    /// CID of the file, when it is known.
    pub root: Option<String>,
    /// Bytes, when that is known.
    pub size: Option<u64>,
    /// Bytes that are there.
    pub have_bytes: u64,
    /// Bytes in a second.
    pub rate_bytes_s: u64,
    /// Who gave how much.
    pub sources: Vec<Share>,
}

/// What a source gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// `http`, `gateway`, `bitswap`, ...
    pub kind: String,
    /// URL, peer ID or path.
    pub place: String,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Who has taken something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Peer ID or IP address.
    pub who: String,
    /// `bitswap` or `http`.
    pub kind: String,
    /// Bytes so far.
    pub bytes: u64,
    /// Bytes in a second.
    pub rate_bytes_s: u64,
}

/// A peer that is connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Base58btc.
    pub peer_id: String,
    /// Multiaddr of its first connection.
    pub address: String,
    /// What it says it is; empty until it has said so.
    pub agent: String,
    /// Whether it is on this computer or its network.
    pub lan: bool,
    /// The shortest round trip so far.
    pub rtt_ms: Option<f64>,
    /// Bytes of blocks sent to it.
    pub sent_bytes: u64,
    /// Bytes of blocks received from it.
    pub received_bytes: u64,
    /// Base URL of its gateway, if it is a callao that has one.
    pub http: Option<String>,
}

/// Since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// By bitswap and HTTP.
    pub sent_bytes: u64,
    /// By bitswap, and by the fetches of this process.
    pub received_bytes: u64,
}
