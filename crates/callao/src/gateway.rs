//! The HTTP server of `callao serve`: trustless and path gateway, delegated routing, callao's own API, and the pages of the
//! daemon. This file says what it needs of others ([`Backend`] and the traits in it).
//!
//! Must not know libp2p, settings, or where a file lies; it reads through [`Held`], and fetches through [`Fetcher`].

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callao_content::Cid;
use callao_content::digest::Digest;
use callao_content::ipns::Record;
use callao_content::layout::Layout;
use callao_store::served::Served;
use futures::future::BoxFuture;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use serde::Serialize;

mod answer;
mod blocks;
mod body;
mod buffers;
mod car;
mod car_walk;
mod conditional;
pub mod counters;
mod filters;
mod format;
mod guard;
mod held;
mod ipfs;
mod ipns;
mod listing;
mod media;
mod path;
mod patience;
mod peer;
mod resolve;
mod route;
mod routing;
mod server;
mod trustless;

pub use counters::Counters;
pub use server::{BindError, Server};

/// The body of every answer. An error ends the connection without the end of the body, so that the client sees that it is cut.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Everything that the server works with.
#[derive(Debug, Clone)]
pub struct Backend {
    /// What may be served.
    pub shelf: Arc<dyn Held>,
    /// Fetches what is not here, for clients on this computer. `None`: nothing is fetched.
    pub fetcher: Option<Arc<dyn Fetcher>>,
    /// Who has what, for `/routing/v1`. `None`: that part answers 501.
    pub router: Option<Arc<dyn Providers>>,
    /// Records of `/ipns` names. `None`: that part answers 501.
    pub names: Option<Arc<dyn Names>>,
    /// Pages for this computer alone.
    pub pages: Option<Arc<dyn Pages>>,
    /// What clients outside of this computer may take. `None`: as fast as it goes.
    pub rate: Option<Arc<dyn RateLimit>>,
    /// What was asked and sent.
    pub counters: Arc<Counters>,
    /// Bounds.
    pub options: Options,
}

/// Bounds that the settings decide.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections at the same time, from everywhere.
    pub connections_max: usize,
    /// Answers with bodies to clients outside of this computer at the same time; one more gets 429.
    pub lan_answers_max: usize,
    /// How long a client on this computer waits for the first byte, and for each further one, of what is fetched: then 504,
    /// or the end of the connection.
    pub retrieval_timeout: Duration,
    /// How long answers under way may take to end after the shutdown was asked for.
    pub shutdown_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            connections_max: 1024,
            lan_answers_max: 64,
            retrieval_timeout: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

/// What may be served: blocks by CID ([`Served`]), and files by root. Every method may be called at any time from any
/// thread; [`Served::read`] and [`HeldFile::read_leaves`] touch the disk.
pub trait Held: Served {
    /// A file that is here, wholly or in part, and may be served.
    fn file(&self, root: &Cid) -> Option<Arc<dyn HeldFile>>;

    /// The roots of the files whose whole bytes have this digest.
    fn with_digest(&self, digest: &Digest) -> Vec<Cid>;
}

/// One file under one layout.
pub trait HeldFile: Send + Sync + Debug {
    /// What it is made of.
    fn layout(&self) -> &Arc<Layout>;

    /// Its name, for the user; may be empty.
    fn name(&self) -> String;

    /// The proven bytes: sorted ranges that neither touch nor overlap; one range over all when it is complete.
    fn have(&self) -> Vec<Range<u64>>;

    /// Replaces the buffer's contents by the bytes of these leaves, hashed again. `false` (and the buffer empty) if one of
    /// them is not here or is no longer what it was.
    fn read_leaves(&self, leaves: Range<usize>, buffer: &mut Vec<u8>) -> bool;
}

/// Fetches what is not here. Only for clients on this computer.
pub trait Fetcher: Send + Sync + Debug {
    /// Begins to fetch a file, or joins the fetch that is under way. Answers when [`Held::file`] knows the root (perhaps
    /// without one leaf of it), or when it is clear that nothing will come.
    fn file(&self, root: Cid) -> BoxFuture<'_, Result<Arc<dyn Fetch>, NotFetched>>;

    /// One block (of a directory, or one that is no file), proven. Not kept.
    fn block(&self, cid: Cid) -> BoxFuture<'_, Result<Bytes, NotFetched>>;
}

/// A fetch under way. Dropping the last one does not end the fetch.
pub trait Fetch: Send + Sync + Debug {
    /// Waits until the leaf that holds the first byte of the range is proven and [`HeldFile::read_leaves`] of what
    /// [`Held::file`] then gives can read it. Answers with the end (exclusive, at most that of the range) of the proven
    /// bytes from there on. The first byte is what is needed next: whoever fetches may prefer it.
    fn wait(&self, range: Range<u64>) -> BoxFuture<'_, Result<u64, NotFetched>>;
}

/// Why there is nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFetched {
    /// There is nobody to ask.
    #[error("it is not here, and there is nobody to ask")]
    Nobody,
    /// The CID is that of something else than a file.
    #[error("it is not a file")]
    NotAFile,
    /// Everybody was asked.
    #[error("{0}")]
    Failed(String),
}

/// Who has what, for `/routing/v1` (Delegated Routing V1).
pub trait Providers: Send + Sync + Debug {
    /// Ourselves, with the addresses that others may dial; `None` while there is no node.
    fn own(&self) -> Option<Peer>;

    /// Others that are known or found to have the CID. The caller bounds the time.
    fn providers(&self, cid: Cid) -> BoxFuture<'_, Vec<Peer>>;

    /// Addresses of a peer (its ID in base58btc, `12D3Koo...` or `Qm...`); `None` if it is not known.
    fn peer(&self, id: String) -> BoxFuture<'_, Option<Peer>>;
}

/// Signed records of names, for `/ipns`.
pub trait Names: Send + Sync + Debug {
    /// The newest record that was ever seen; it may have expired. Touches no disk.
    fn held(&self, name: &Cid) -> Option<Record>;

    /// The record that counts now: what is held while it is fresh, or what others have. The caller bounds the time.
    fn find(&self, name: Cid) -> BoxFuture<'_, Result<Record, NoRecord>>;
}

/// Why there is no record that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRecord {
    /// Nobody who was asked has one.
    #[error("there is no record of this name")]
    Nobody,
    /// The newest one does not count any more.
    #[error("the newest record of this name has expired")]
    Expired,
    /// Others have one that was replaced, as a record shows that was seen here.
    #[error("the record that others have is older than one that was seen here, which has expired")]
    Older,
    /// What others have is no record of this name: what is wrong.
    #[error("what others have is not good: {0}")]
    Bad(String),
}

/// A record of the schema `peer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Peer {
    /// Base58btc.
    #[serde(rename = "ID")]
    pub id: String,
    /// Multiaddrs, with or without `/p2p/ID` at the end.
    pub addrs: Vec<String>,
    /// `transport-bitswap`, `transport-ipfs-gateway-http`.
    pub protocols: Vec<String>,
}

/// More pages, for clients on this computer alone: the server refuses everybody else, and requests with a foreign `Host`,
/// `Origin` or `Sec-Fetch-Site`, before it asks here.
pub trait Pages: Send + Sync + Debug {
    /// Whether this path (not decoded, without the query) is one of its pages, whatever the method.
    fn has(&self, method: &Method, path: &str) -> bool;

    /// Answers a request for which [`Pages::has`] said yes.
    fn answer(&self, client: Client, request: Request<Incoming>) -> BoxFuture<'_, Response<Body>>;
}

/// How fast bytes may leave.
pub trait RateLimit: Send + Sync + Debug {
    /// Waits until so many bytes (at most 2 MiB) may leave.
    fn take(&self, bytes: u64) -> BoxFuture<'_, ()>;
}

/// Whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: SocketAddr,
    /// The port of ours that it is connected to.
    pub port: u16,
}

impl Client {
    /// Its IP address; an IPv4 address inside of IPv6 is that IPv4 address.
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }

    /// Whether it is on this computer.
    pub fn is_local(&self) -> bool {
        self.ip().is_loopback()
    }
}
