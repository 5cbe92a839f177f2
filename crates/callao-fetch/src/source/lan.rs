//! Another callao on the local network, by its HTTP gateway: what it has at this moment, the inner nodes of a file in one
//! request, and byte ranges. Nothing that it says is believed: nodes and leaves are proven by whoever asked, a root that
//! it names for a digest is a claim. How such peers are found is not known here.
//!
//! ```text
//! GET /callao/v1/have/{root}          {"v":1,"size":N,"complete":bool,"ranges":[[from,to],...]}
//! GET /callao/v1/digest/{algo}:{hex}  {"v":1,"roots":["bafy...",...]}
//! GET /callao/v1/skeleton/{root}      CAR of the inner nodes
//! GET /ipfs/{root}  Range: bytes=     the bytes
//! ```

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use callao_content::digest::Digest;
use callao_content::{Cid, car, cid};
use futures::future::BoxFuture;
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::gateway::{Gateway, GatewayOptions};
use super::http::content_range;
use super::{Have, Source, SourceError, SourceId, SourceKind, Span, Traits};
use crate::answer::{self, Waits};
use crate::limits::{
    HAVE_BODY_BYTES_MAX, HAVE_ROOTS_COUNT_MAX, LAN_LANES_COUNT_MAX, LAN_TIMEOUT, SKELETON_BYTES_MAX,
};
use crate::sink::SpanSink;

/// What a file is called when a peer is asked for it. At least one of the two.
#[derive(Debug, Clone, Copy, Default)]
pub struct Names {
    /// Its root, where somebody has said it.
    pub root: Option<Cid>,
    /// Its whole digest.
    pub digest: Option<Digest>,
}

/// One peer, for one file.
pub struct Lan {
    id: SourceId,
    asker: Asker,
    host: String,
    names: Names,
    /// The root under which the peer has the file, as last heard.
    root: Mutex<Option<Cid>>,
    nodes: Arc<tokio::sync::Mutex<Nodes>>,
}

/// Inner nodes that came in one answer.
#[derive(Default)]
struct Nodes {
    asked_for: Vec<Cid>,
    blocks: HashMap<Vec<u8>, Bytes>,
}

/// Requests to one peer.
#[derive(Debug, Clone)]
struct Asker {
    client: Client,
    base: Url,
    waits: Waits,
}

#[derive(Debug, Deserialize)]
struct HaveJson {
    size: u64,
    complete: bool,
    #[serde(default)]
    ranges: Vec<[u64; 2]>,
}

#[derive(Debug, Deserialize)]
struct RootsJson {
    roots: Vec<String>,
}

impl Lan {
    /// The peer whose gateway is at `base` (`http://192.168.1.7:4080`), for the file that `names` name. `host` is what
    /// the hosts of a swarm know it by: its peer id, or anything else that is the same for all. `client` must use no
    /// proxy and follow no redirect ([`crate::client::lan`]).
    pub fn new(client: Client, base: Url, host: String, names: Names, waits: Waits) -> Self {
        let place = base.as_str().trim_end_matches('/').to_owned();
        Lan {
            id: SourceId {
                kind: SourceKind::Lan,
                place,
            },
            asker: Asker::new(client, base, waits),
            host,
            names,
            root: Mutex::new(names.root),
            nodes: Arc::default(),
        }
    }

    fn root(&self) -> MutexGuard<'_, Option<Cid>> {
        self.root.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_have(&self) -> Result<Have, SourceError> {
        let known = *self.root();
        if let Some(root) = known {
            match self.have_of(root).await {
                Err(SourceError::NotFound(_)) if self.names.digest.is_some() => {}
                other => return other,
            }
        }
        let Some(digest) = self.names.digest else {
            return Err(SourceError::NotFound("it has nothing of the file".into()));
        };
        let root = self.asker.roots(&digest).await?.into_iter().next();
        *self.root() = root.or(self.names.root);
        match root {
            Some(root) => self.have_of(root).await,
            None => Err(SourceError::NotFound("it has nothing of the file".into())),
        }
    }

    async fn have_of(&self, root: Cid) -> Result<Have, SourceError> {
        let path = format!("callao/v1/have/{}", cid::text(&root));
        let body = self.asker.json(&path).await?;
        let said: HaveJson = parse(&body)?;
        let mut ranges: Vec<Range<u64>> = said.ranges.iter().map(|[from, to]| *from..*to).collect();
        if said.complete {
            ranges = std::iter::once(0..said.size).collect();
        }
        ranges.retain(|range| range.start < range.end && range.end <= said.size);
        Ok(Have {
            host: self.host.clone(),
            size: said.size,
            complete: said.complete,
            ranges,
            root: Some(root),
        })
    }

    /// A node out of the answer that has all of them; a peer that gives no such answer is asked for the block alone.
    async fn node(&self, wanted: &Cid) -> Result<Bytes, SourceError> {
        let mut nodes = self.nodes.lock().await;
        let key = wanted.hash().to_bytes();
        if let Some(block) = nodes.blocks.get(&key) {
            return Ok(block.clone());
        }
        // Only a root has a skeleton, and the first block that is asked for is one.
        if nodes.blocks.is_empty() && !nodes.asked_for.contains(wanted) {
            nodes.asked_for.push(*wanted);
            nodes.blocks = self.asker.skeleton(wanted).await.unwrap_or_default();
            if let Some(block) = nodes.blocks.get(&key) {
                return Ok(block.clone());
            }
        }
        drop(nodes);
        let options = GatewayOptions {
            waits: self.asker.waits,
            lan: true,
            only_if_cached: true,
        };
        let gateway = Gateway::new(
            self.asker.client.clone(),
            self.asker.base.clone(),
            *wanted,
            options,
        );
        gateway.block(wanted).await
    }

    async fn deliver(&self, span: Span, sink: &mut SpanSink) -> Result<(), SourceError> {
        let layout = span.known_layout()?;
        // The peer may have the same bytes under another root: what they are is proven by our layout.
        let root = self.root().unwrap_or(*layout.root());
        let end = span.range.end.min(layout.size());
        while sink.position() < end && sink.wanted() > 0 {
            let from = sink.position();
            let mut response = self.asker.range(&root, from..end).await?;
            let to = check(&response, from..end, layout.size())?;
            let mut at = from;
            while at < to {
                let Some(bytes) = answer::next(&mut response, &self.asker.waits).await? else {
                    let why = format!("the answer ended {} bytes early", to - at);
                    return Err(SourceError::Network(why));
                };
                let count = (to - at).min(bytes.len() as u64);
                at += count;
                if sink.push(&bytes[..count as usize]).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl Source for Lan {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn traits(&self) -> Traits {
        Traits {
            lanes_max: LAN_LANES_COUNT_MAX,
            ..Traits::BY_LAYOUT
        }
    }

    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, SourceError>> {
        Box::pin(self.node(cid))
    }

    fn have(&self) -> Option<BoxFuture<'_, Result<Have, SourceError>>> {
        Some(Box::pin(self.ask_have()))
    }

    fn send<'a>(
        &'a self,
        span: Span,
        sink: &'a mut SpanSink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(self.deliver(span, sink))
    }
}

/// The roots that the callao at `base` knows for a digest, each of them a claim; none is not an error.
pub async fn roots_of(
    client: Client,
    base: Url,
    digest: &Digest,
    waits: Waits,
) -> Result<Vec<Cid>, SourceError> {
    Asker::new(client, base, waits).roots(digest).await
}

impl Asker {
    /// A peer that is near and says nothing for long is gone, however patient we are with others.
    fn new(client: Client, base: Url, waits: Waits) -> Self {
        let waits = Waits {
            connect: waits.connect.min(LAN_TIMEOUT),
            headers: waits.headers.min(LAN_TIMEOUT),
            stall: waits.stall.min(LAN_TIMEOUT),
        };
        Asker {
            client,
            base,
            waits,
        }
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/{path}"));
        url.set_query(None);
        url
    }

    async fn json(&self, path: &str) -> Result<Bytes, SourceError> {
        self.get(path, HAVE_BODY_BYTES_MAX).await
    }

    async fn get(&self, path: &str, bytes_max: usize) -> Result<Bytes, SourceError> {
        let mut response = answer::send(self.client.get(self.url(path)), &self.waits).await?;
        if response.status() != StatusCode::OK {
            return Err(answer::refused(response, &self.waits).await);
        }
        answer::body(&mut response, bytes_max, &self.waits).await
    }

    async fn roots(&self, digest: &Digest) -> Result<Vec<Cid>, SourceError> {
        let body = match self.json(&format!("callao/v1/digest/{digest}")).await {
            Err(SourceError::NotFound(_)) => return Ok(Vec::new()),
            other => other?,
        };
        let said: RootsJson = parse(&body)?;
        let usable = |text: &String| {
            let root = cid::parse(text).ok()?;
            cid::check_allowed(&root).ok().map(|()| root)
        };
        Ok(said
            .roots
            .iter()
            .take(HAVE_ROOTS_COUNT_MAX)
            .filter_map(usable)
            .collect())
    }

    /// The blocks of the answer by their hashes, not proven.
    async fn skeleton(&self, root: &Cid) -> Result<HashMap<Vec<u8>, Bytes>, SourceError> {
        let path = format!("callao/v1/skeleton/{}", cid::text(root));
        let body = self.get(&path, SKELETON_BYTES_MAX).await?;
        let mut reader = car::Reader::new();
        let bad = |error: callao_content::Error| SourceError::Protocol(error.to_string());
        let events = reader.push(&body).map_err(bad)?;
        reader.finish().map_err(bad)?;
        let block = |event| match event {
            car::Event::Block { cid, data, .. } => Some((cid.hash().to_bytes(), data)),
            car::Event::Header { .. } => None,
        };
        Ok(events.into_iter().filter_map(block).collect())
    }

    async fn range(&self, root: &Cid, range: Range<u64>) -> Result<Response, SourceError> {
        let asked = format!("bytes={}-{}", range.start, range.end - 1);
        let request = self
            .client
            .get(self.url(&format!("ipfs/{}", cid::text(root))))
            .header(RANGE, asked);
        let response = answer::send(request, &self.waits).await?;
        match response.status().as_u16() {
            200 | 206 => Ok(response),
            // It said that it has them: the file was changed or removed since. What it has now is asked in a moment.
            404 | 410 | 416 => Err(SourceError::Network(format!(
                "no longer has bytes {}-{}",
                range.start,
                range.end - 1
            ))),
            _ => Err(answer::refused(response, &self.waits).await),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, SourceError> {
    serde_json::from_slice(body)
        .map_err(|error| SourceError::Protocol(format!("not what a callao answers: {error}")))
}

/// Where the body ends: a peer that has not all of it may send less than was asked.
fn check(response: &Response, asked: Range<u64>, size: u64) -> Result<u64, SourceError> {
    if response.status() == StatusCode::OK {
        let whole = response.content_length() == Some(size) && asked.start == 0;
        return if whole {
            Ok(asked.end)
        } else {
            Err(SourceError::Protocol(
                "sent the whole file instead of a range".into(),
            ))
        };
    }
    let said = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    match content_range(said) {
        Some((from, to, total))
            if from == asked.start
                && to <= asked.end
                && total.is_none_or(|total| total == size) =>
        {
            Ok(to)
        }
        _ => Err(SourceError::Protocol(format!(
            "was asked for bytes {}-{} and sent `{said}`",
            asked.start,
            asked.end - 1
        ))),
    }
}
