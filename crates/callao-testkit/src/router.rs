//! A delegated router (`/routing/v1/providers/CID`, `/routing/v1/peers/ID`) that gives the records it was given.
//!
//! Records are JSON text and pass unread, so that a test can give nonsense.

use std::io;

use crate::http::{Handler, Logged, Next, Reply, Request, Server};

/// How the router answers.
#[derive(Clone, Debug, Default)]
pub struct RouterBehaviour {
    /// JSON records, such as `{"Schema":"peer","ID":"12D3..","Addrs":["/ip4/127.0.0.1/tcp/80/http"]}`; the same for
    /// every CID.
    pub records: Vec<String>,
    /// Records about peers; the same for every ID.
    pub peers: Vec<String>,
    /// Peer IDs are taken in the form of a CID only, as one js server does (422 otherwise).
    pub peer_ids_as_cids: bool,
    /// Another body than records, as JSON.
    pub body: Option<&'static str>,
    /// Whether NDJSON is sent to those who accept it (otherwise JSON always, as servers may).
    pub ndjson: bool,
    /// Another status than 200, with `Retry-After` in seconds for 429.
    pub status: Option<(u16, Option<u64>)>,
    /// The request is read and never answered.
    pub never_answer: bool,
}

/// A running router; ends when dropped.
#[derive(Debug)]
pub struct Router {
    server: Server,
}

impl Router {
    /// Starts a router.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub fn start(behaviour: RouterBehaviour) -> Self {
        Self {
            server: Server::start("fake-router", Records(behaviour)),
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.server.base()
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Logged> {
        self.server.requests()
    }
}

/// A provider record of a peer that speaks bitswap at these multiaddrs; without any, it has no `Addrs` at all.
pub fn bitswap_record(peer: &str, addresses: &[&str]) -> String {
    let mut record = serde_json::json!({
        "Schema": "peer",
        "ID": peer,
        "Protocols": ["transport-bitswap"],
    });
    if !addresses.is_empty() {
        record["Addrs"] = serde_json::json!(addresses);
    }
    record.to_string()
}

/// A provider record of a trustless gateway at `url` (`http://127.0.0.1:PORT`).
pub fn gateway_record(url: &str) -> String {
    let port = url.rsplit(':').next().unwrap_or_default();
    serde_json::json!({
        "Schema": "peer",
        "ID": "12D3KooWM8sovaEGU1bmiWGWAzvs47DEcXKZZTuJnpQyVTkRs2Vn",
        "Addrs": [format!("/ip4/127.0.0.1/tcp/{port}/http")],
        "Protocols": ["transport-ipfs-gateway-http"],
    })
    .to_string()
}

struct Records(RouterBehaviour);

impl Handler for Records {
    async fn answer(&self, request: Request, reply: &mut Reply) -> io::Result<Next> {
        if self.0.never_answer {
            return reply.stall().await;
        }
        if let Some((status, wait)) = self.0.status {
            let wait: Vec<_> = wait
                .map(|seconds| ("Retry-After", seconds.to_string()))
                .into_iter()
                .collect();
            return reply.whole(&request, status, &wait, b"no\n").await;
        }
        let (field, records) = if request.path().starts_with("/routing/v1/providers/") {
            ("Providers", &self.0.records)
        } else if let Some(id) = request.path().strip_prefix("/routing/v1/peers/") {
            if self.0.peer_ids_as_cids && !id.starts_with("baf") {
                return reply.whole(&request, 422, &[], b"not a CID\n").await;
            }
            ("Peers", &self.0.peers)
        } else {
            return reply
                .whole(&request, 404, &[], b"404 page not found\n")
                .await;
        };
        let ndjson = self.0.ndjson
            && request
                .header("accept")
                .is_some_and(|accept| accept.contains("x-ndjson"));
        let (kind, body) = if ndjson {
            (
                "application/x-ndjson",
                records.iter().map(|record| format!("{record}\n")).collect(),
            )
        } else {
            (
                "application/json",
                format!(r#"{{"{field}":[{}]}}"#, records.join(",")),
            )
        };
        let body = self.0.body.map_or(body, str::to_owned);
        reply
            .whole(
                &request,
                200,
                &[("Content-Type", kind.to_owned())],
                body.as_bytes(),
            )
            .await
    }
}
