//! A kubo daemon's RPC API, as far as a client that only reads needs it.
//!
//! Real kubo is in [`crate::real`]; this one can die at a chosen byte. Answers as observed of kubo 0.43.

use std::io;
use std::sync::Arc;

use callao_content::layout::Layout;
use callao_content::{Cid, cid};

use crate::blocks::BlockSet;
use crate::http::{Handler, Logged, Next, Reply, Request, Server};

/// Bytes per chunk of a `cat`.
const CHUNK_BYTES: usize = 256 * 1024;

/// What the daemon does; the default is an honest one without a gateway.
#[derive(Clone, Debug)]
pub struct KuboBehaviour {
    /// The `Version` it claims.
    pub version: String,
    /// What `config Addresses.Gateway` says, a multiaddr such as `/ip4/127.0.0.1/tcp/8080`.
    pub gateway: Option<String>,
    /// After so many body bytes in all, everything is closed and refused.
    pub dies_after: Option<u64>,
    /// Blocks that it does not have.
    pub missing: Vec<Cid>,
    /// This block is sent with one byte inverted.
    pub wrong: Option<Cid>,
}

impl Default for KuboBehaviour {
    fn default() -> Self {
        Self {
            version: "0.43.1".to_owned(),
            gateway: None,
            dies_after: None,
            missing: Vec::new(),
            wrong: None,
        }
    }
}

/// A running RPC API; ends when dropped.
#[derive(Debug)]
pub struct FakeKubo {
    server: Server,
}

impl FakeKubo {
    /// Starts an API that has whole files and single blocks.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub fn start(
        files: Vec<(Layout, Arc<[u8]>)>,
        extra: Vec<(Cid, Vec<u8>)>,
        behaviour: KuboBehaviour,
    ) -> Self {
        let api = Api {
            blocks: BlockSet::new(files, extra),
            how: behaviour,
        };
        Self {
            server: Server::start("fake-kubo", api),
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.server.base()
    }

    /// The API's address as kubo writes it: `/ip4/127.0.0.1/tcp/PORT`.
    pub fn multiaddr(&self) -> String {
        format!("/ip4/127.0.0.1/tcp/{}", self.server.address().port())
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Logged> {
        self.server.requests()
    }

    /// Body bytes sent so far.
    pub fn bytes_sent(&self) -> u64 {
        self.server.bytes_sent()
    }

    /// Closes everything; the port refuses from then on.
    pub fn stop(&mut self) {
        self.server.stop();
    }
}

struct Api {
    blocks: BlockSet,
    how: KuboBehaviour,
}

impl Handler for Api {
    async fn answer(&self, request: Request, reply: &mut Reply) -> io::Result<Next> {
        if request.method != "POST" {
            return reply
                .whole(&request, 405, &[], b"405 - Method Not Allowed\n")
                .await;
        }
        let agent = request.header("user-agent").unwrap_or_default();
        if agent.starts_with("Mozilla")
            || request.header("origin").is_some()
            || request.header("referer").is_some()
        {
            return reply.whole(&request, 403, &[], b"403 - Forbidden\n").await;
        }
        match request.path().strip_prefix("/api/v0/") {
            Some("version") => {
                let text = format!(
                    r#"{{"Version":"{}","Commit":"","Repo":"18","System":"amd64/linux","Golang":"go1.26.8"}}"#,
                    self.how.version
                );
                json(reply, &request, 200, &text).await
            }
            Some("config") => match &self.how.gateway {
                Some(gateway) if request.query("arg").as_deref() == Some("Addresses.Gateway") => {
                    let text = format!(r#"{{"Key":"Addresses.Gateway","Value":"{gateway}"}}"#);
                    json(reply, &request, 200, &text).await
                }
                _ => refuse(reply, &request, "key not found").await,
            },
            Some("block/get") => self.block(&request, reply, true).await,
            Some("block/stat") => self.block(&request, reply, false).await,
            Some("cat") => self.cat(&request, reply).await,
            _ => {
                reply
                    .whole(&request, 404, &[], b"404 page not found\n")
                    .await
            }
        }
    }
}

impl Api {
    async fn block(&self, request: &Request, reply: &mut Reply, whole: bool) -> io::Result<Next> {
        let Some(wanted) = argument(request) else {
            return refuse(
                reply,
                request,
                "invalid path: path does not have enough components",
            )
            .await;
        };
        let missing = self
            .how
            .missing
            .iter()
            .any(|missing| cid::same_block(missing, &wanted));
        let Some(mut block) = self.blocks.get(&wanted).filter(|_| !missing) else {
            return refuse(
                reply,
                request,
                "block was not found locally (offline): ipld: could not find CID",
            )
            .await;
        };
        if !whole {
            let text = format!(
                r#"{{"Key":"{}","Size":{}}}"#,
                cid::text(&wanted),
                block.len()
            );
            return json(reply, request, 200, &text).await;
        }
        if self
            .how
            .wrong
            .is_some_and(|wrong| cid::same_block(&wrong, &wanted))
        {
            let middle = block.len() / 2;
            block[middle] = !block[middle];
        }
        let headers = [
            ("Content-Type", "application/vnd.ipld.raw".to_owned()),
            ("X-Content-Length", block.len().to_string()),
            ("Transfer-Encoding", "chunked".to_owned()),
        ];
        self.stream(reply, &headers, &block).await
    }

    async fn cat(&self, request: &Request, reply: &mut Reply) -> io::Result<Next> {
        let Some(bytes) = argument(request).and_then(|wanted| self.blocks.file(&wanted)) else {
            return refuse(
                reply,
                request,
                "block was not found locally (offline): ipld: could not find CID",
            )
            .await;
        };
        let number = |name| {
            request
                .query(name)
                .and_then(|text| text.parse::<usize>().ok())
        };
        let start = number("offset").unwrap_or(0).min(bytes.len());
        let end = number("length").map_or(bytes.len(), |length| {
            bytes.len().min(start.saturating_add(length))
        });
        let headers = [
            ("Content-Type", "text/plain".to_owned()),
            ("X-Content-Length", (end - start).to_string()),
            ("Transfer-Encoding", "chunked".to_owned()),
        ];
        self.stream(reply, &headers, &bytes[start..end]).await
    }

    async fn stream(
        &self,
        reply: &mut Reply,
        headers: &[(&str, String)],
        bytes: &[u8],
    ) -> io::Result<Next> {
        reply.head(200, headers).await?;
        for piece in bytes.chunks(CHUNK_BYTES) {
            let left = self
                .how
                .dies_after
                .map_or(u64::MAX, |limit| limit.saturating_sub(reply.server_sent()));
            let end = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if end > 0 {
                reply.chunk(&piece[..end]).await?;
            }
            if end < piece.len() {
                reply.stop_server();
                return Ok(Next::Close);
            }
        }
        reply.chunk(b"").await?;
        Ok(Next::KeepAlive)
    }
}

fn argument(request: &Request) -> Option<Cid> {
    let text = request.query("arg")?;
    let text = text
        .trim_start_matches("ipfs://")
        .trim_start_matches("/ipfs/");
    cid::parse(text).ok()
}

async fn json(reply: &mut Reply, request: &Request, status: u16, text: &str) -> io::Result<Next> {
    reply
        .whole(
            request,
            status,
            &[("Content-Type", "application/json".to_owned())],
            text.as_bytes(),
        )
        .await
}

async fn refuse(reply: &mut Reply, request: &Request, message: &str) -> io::Result<Next> {
    json(
        reply,
        request,
        500,
        &format!(r#"{{"Message":"{message}","Code":0,"Type":"error"}}"#),
    )
    .await
}
