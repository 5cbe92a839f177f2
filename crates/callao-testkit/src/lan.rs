//! Another callao on the local network, as its peers see it (`/callao/v1/...` and ranges of `/ipfs/ROOT`): it may have only
//! parts of its file, get more of it, lie, name a false root, or disappear.
//!
//! Checks nothing: what it says that it has and what it sends may differ.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use callao_content::cid;
use callao_content::layout::Layout;

use crate::dag::{car_header, car_section};
use crate::http::{Handler, Logged, Next, Reply, Request, Server};

/// How the peer behaves. It can be changed while it runs.
#[derive(Clone, Debug, Default)]
pub struct LanBehaviour {
    /// What it says that it has; `None`: everything.
    pub have: Option<Vec<Range<u64>>>,
    /// Offsets of bytes that it sends inverted.
    pub flipped: Vec<u64>,
    /// Bytes per second of each connection.
    pub rate: Option<u64>,
    /// It knows nothing of the file.
    pub unknown: bool,
    /// It ends after so many bytes of the file.
    pub stop_after: Option<u64>,
    /// Requests for bytes are read and never answered.
    pub silent: bool,
    /// It gives no skeleton, only single blocks.
    pub no_skeleton: bool,
}

/// A running peer; ends when dropped.
#[derive(Debug)]
pub struct LanPeer {
    server: Server,
    behaviour: Arc<Mutex<LanBehaviour>>,
}

impl LanPeer {
    /// A peer that has `image` under `layout`, and names its root for every digest.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub fn start(image: Arc<[u8]>, layout: Arc<Layout>, behaviour: LanBehaviour) -> Self {
        let behaviour = Arc::new(Mutex::new(behaviour));
        let peer = Peer {
            image,
            layout,
            behaviour: Arc::clone(&behaviour),
        };
        Self {
            server: Server::start("fake-lan-peer", peer),
            behaviour,
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

    /// Bytes of the file that were sent so far.
    pub fn file_bytes_sent(&self) -> u64 {
        let requests = self.requests().into_iter();
        let of_file = requests.filter(|request| request.range.is_some());
        of_file.map(|request| request.sent).sum()
    }

    /// From now on it behaves like this.
    pub fn set_behaviour(&self, behaviour: LanBehaviour) {
        *self
            .behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// It disappears: every connection is closed, new ones are refused.
    pub fn stop(&mut self) {
        self.server.stop();
    }
}

struct Peer {
    image: Arc<[u8]>,
    layout: Arc<Layout>,
    behaviour: Arc<Mutex<LanBehaviour>>,
}

impl Peer {
    fn skeleton(&self) -> Vec<u8> {
        let mut car = car_header(self.layout.root());
        for node in self.layout.nodes() {
            car.extend(car_section(&node.cid, &node.bytes));
        }
        car
    }

    fn have(&self, behaviour: &LanBehaviour) -> Vec<u8> {
        let size = self.layout.size();
        let ranges: Vec<[u64; 2]> = match &behaviour.have {
            Some(ranges) => ranges
                .iter()
                .map(|range| [range.start, range.end])
                .collect(),
            None => vec![[0, size]],
        };
        let complete = behaviour.have.is_none();
        serde_json::json!({"v": 1, "size": size, "complete": complete, "ranges": ranges})
            .to_string()
            .into_bytes()
    }

    async fn bytes(
        &self,
        request: &Request,
        behaviour: &LanBehaviour,
        reply: &mut Reply,
    ) -> io::Result<Next> {
        if behaviour.silent {
            return reply.stall().await;
        }
        let size = self.layout.size();
        let asked = request.header("range").and_then(|text| {
            let (from, last) = text.strip_prefix("bytes=")?.split_once('-')?;
            let (from, last): (u64, u64) = (from.parse().ok()?, last.parse().ok()?);
            (from <= last && last < size).then_some(from..last + 1)
        });
        let held = |asked: &Range<u64>| {
            behaviour.have.as_ref().is_none_or(|have| {
                have.iter()
                    .any(|held| held.start <= asked.start && asked.end <= held.end)
            })
        };
        let Some(range) = asked.filter(held) else {
            return reply.whole(request, 416, &[], b"").await;
        };
        let mut body = self.image[range.start as usize..range.end as usize].to_vec();
        for at in behaviour.flipped.iter().filter(|at| range.contains(at)) {
            body[(at - range.start) as usize] ^= 0xff;
        }
        reply.set_rate(behaviour.rate);
        let said = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        let headers = [
            ("Content-Length", body.len().to_string()),
            ("Content-Range", said),
        ];
        reply.head(206, &headers).await?;
        for slice in body.chunks(64 * 1024) {
            if behaviour
                .stop_after
                .is_some_and(|most| reply.server_sent() >= most)
            {
                reply.stop_server();
                return Ok(Next::Close);
            }
            reply.body(slice).await?;
        }
        Ok(Next::KeepAlive)
    }
}

impl Handler for Peer {
    async fn answer(&self, request: Request, reply: &mut Reply) -> io::Result<Next> {
        let behaviour = self
            .behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let root = cid::text(self.layout.root());
        let json = [("Content-Type", "application/json".to_owned())];
        let path = request.path().to_owned();
        if path.starts_with("/callao/v1/digest/") {
            let roots: Vec<&String> = (!behaviour.unknown).then_some(&root).into_iter().collect();
            let body = serde_json::json!({"v": 1, "roots": roots}).to_string();
            return reply.whole(&request, 200, &json, body.as_bytes()).await;
        }
        if behaviour.unknown {
            return reply.whole(&request, 404, &[], b"").await;
        }
        if path == format!("/callao/v1/have/{root}") {
            let body = self.have(&behaviour);
            return reply.whole(&request, 200, &json, &body).await;
        }
        if path == format!("/callao/v1/skeleton/{root}") && !behaviour.no_skeleton {
            let body = self.skeleton();
            return reply.whole(&request, 200, &[], &body).await;
        }
        if request.query("format").as_deref() == Some("raw") {
            let nodes = self.layout.nodes();
            let wanted = |cid: &callao_content::Cid| path == format!("/ipfs/{}", cid::text(cid));
            let body = match nodes.iter().find(|node| wanted(&node.cid)) {
                Some(node) => node.bytes.to_vec(),
                None if nodes.is_empty() && wanted(self.layout.root()) => self.image.to_vec(),
                None => return reply.whole(&request, 404, &[], b"").await,
            };
            return reply.whole(&request, 200, &[], &body).await;
        }
        if path == format!("/ipfs/{root}") {
            return self.bytes(&request, &behaviour, reply).await;
        }
        reply.whole(&request, 404, &[], b"").await
    }
}
