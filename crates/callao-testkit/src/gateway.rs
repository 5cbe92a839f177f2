//! A trustless gateway: raw blocks, CARs, and plain ranges of a file if asked to; honest and quick unless told otherwise.
//!
//! Follows the behaviour observed of kubo 0.43: statuses, headers, and the text with which a CAR ends cleanly though
//! blocks are missing. Verifies nothing.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callao_content::layout::Layout;
use callao_content::{Cid, cid};

use crate::blocks::{BlockSet, Found};
use crate::dag;
use crate::http::{Handler, Logged, Next, Reply, Request, Server, percent_decode};

/// What kubo writes in place of the blocks that it could not find.
const TRUNCATED: &[u8] = b"\n[Gateway Error: CAR stream truncated, response is incomplete]\n";
/// What [`GatewayBehaviour::html`] sends.
const HTML: &[u8] =
    b"<!DOCTYPE html><html><body>This gateway has moved to another page.</body></html>\n";
/// Size of the block that no client may take.
const OVERSIZE_BYTES: usize = 3 * 1024 * 1024;

/// Which block a fault is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The n-th block that is sent, from 0, over all answers (raw and CAR together).
    Nth(u64),
    /// This block, each time.
    Block(Cid),
    /// Every leaf: each block whose codec is raw.
    EveryRaw,
}

/// How a CAR ends too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarEnd {
    /// The connection is closed within the chunked body, in mid-block.
    Cut,
    /// The chunked body ends well, with kubo's text in place of the blocks.
    Marker,
    /// The chunked body ends well after a whole block, as if nothing more had been asked for.
    Clean,
}

/// What the gateway does; the default is an honest one that knows raw and CAR.
#[derive(Clone, Debug)]
pub struct GatewayBehaviour {
    /// Whether `format=car` is known (otherwise 406).
    pub car: bool,
    /// Whether `format=raw` is known (otherwise 406).
    pub raw: bool,
    /// Whether `/ipfs/CID` without a format gives the file, with ranges (otherwise 406).
    pub plain: bool,
    /// Blocks of a CAR in a shuffled order, which the content type then says (`order=unk`).
    pub shuffled: bool,
    /// One byte in the middle of this block is inverted.
    pub wrong: Option<Which>,
    /// This block is replaced by 3 MiB.
    pub oversize: Option<Which>,
    /// CARs end after so many blocks.
    pub car_ends_after: Option<(u64, CarEnd)>,
    /// 429 with so many seconds of `Retry-After`, for the first so many requests (`None`: no header).
    pub busy: Option<(u64, Option<u64>)>,
    /// 200 and a web page instead of any block.
    pub html: bool,
    /// Blocks that are not here.
    pub missing: Vec<Cid>,
    /// After so many body bytes in all, nothing more comes and connections stay open.
    pub stall_after: Option<u64>,
    /// After so many body bytes in all, everything is closed and refused.
    pub stop_after_total: Option<u64>,
    /// Bytes per second per connection.
    pub rate: Option<u64>,
    /// Wait before each answer.
    pub first_byte_delay: Option<Duration>,
}

impl Default for GatewayBehaviour {
    fn default() -> Self {
        Self {
            car: true,
            raw: true,
            plain: false,
            shuffled: false,
            wrong: None,
            oversize: None,
            car_ends_after: None,
            busy: None,
            html: false,
            missing: Vec::new(),
            stall_after: None,
            stop_after_total: None,
            rate: None,
            first_byte_delay: None,
        }
    }
}

/// A running gateway; ends when dropped.
#[derive(Debug)]
pub struct Gateway {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    blocks: BlockSet,
    behaviour: Mutex<GatewayBehaviour>,
    refused: AtomicU64,
    sent_blocks: AtomicU64,
}

impl Gateway {
    /// Starts a gateway that has whole files and single blocks (directories, for one).
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub fn start(
        files: Vec<(Layout, Arc<[u8]>)>,
        extra: Vec<(Cid, Vec<u8>)>,
        behaviour: GatewayBehaviour,
    ) -> Self {
        let shared = Arc::new(Shared {
            blocks: BlockSet::new(files, extra),
            behaviour: Mutex::new(behaviour),
            refused: AtomicU64::new(0),
            sent_blocks: AtomicU64::new(0),
        });
        let server = Server::start("fake-gateway", Blocks(Arc::clone(&shared)));
        Self { server, shared }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.server.base()
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Logged> {
        self.server.requests()
    }

    /// Body bytes sent so far, over all answers.
    pub fn bytes_sent(&self) -> u64 {
        self.server.bytes_sent()
    }

    /// Blocks sent so far, raw and in CARs.
    pub fn blocks_sent(&self) -> u64 {
        self.shared.sent_blocks.load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.server.connections()
    }

    /// From now on it behaves like this; requests that were refused as busy are counted anew.
    pub fn set_behaviour(&self, behaviour: GatewayBehaviour) {
        self.shared.refused.store(0, Ordering::SeqCst);
        *self.shared.behaviour() = behaviour;
    }

    /// Closes everything; the port refuses from then on.
    pub fn stop(&mut self) {
        self.server.stop();
    }
}

impl Shared {
    fn behaviour(&self) -> MutexGuard<'_, GatewayBehaviour> {
        self.behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The block as this gateway sends it: missing, wrong, or right.
    fn block(&self, how: &GatewayBehaviour, block_cid: &Cid) -> Option<Vec<u8>> {
        if how
            .missing
            .iter()
            .any(|missing| cid::same_block(missing, block_cid))
        {
            return None;
        }
        let mut block = self.blocks.get(block_cid)?;
        let number = self.sent_blocks.fetch_add(1, Ordering::SeqCst);
        let meant = |which: Option<Which>| match which {
            None => false,
            Some(Which::Nth(n)) => n == number,
            Some(Which::Block(wanted)) => cid::same_block(&wanted, block_cid),
            Some(Which::EveryRaw) => block_cid.codec() == cid::RAW,
        };
        if meant(how.oversize) {
            return Some(vec![0x5a; OVERSIZE_BYTES]);
        }
        if meant(how.wrong) {
            let middle = block.len() / 2;
            if let Some(byte) = block.get_mut(middle) {
                *byte = !*byte;
            }
        }
        Some(block)
    }

    fn has(&self, how: &GatewayBehaviour, block_cid: &Cid) -> bool {
        self.blocks.get(block_cid).is_some()
            && !how
                .missing
                .iter()
                .any(|missing| cid::same_block(missing, block_cid))
    }
}

struct Blocks(Arc<Shared>);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Raw,
    Car,
    Plain,
}

impl Handler for Blocks {
    async fn answer(&self, request: Request, reply: &mut Reply) -> io::Result<Next> {
        let how = self.0.behaviour().clone();
        reply.set_rate(how.rate);
        if let Some(delay) = how.first_byte_delay {
            tokio::time::sleep(delay).await;
        }
        if let Some((times, seconds)) = how.busy
            && self.0.refused.fetch_add(1, Ordering::SeqCst) < times
        {
            let wait: Vec<_> = seconds
                .map(|seconds| ("Retry-After", seconds.to_string()))
                .into_iter()
                .collect();
            return reply
                .whole(&request, 429, &wait, b"too many requests\n")
                .await;
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return reply.whole(&request, 405, &[], b"").await;
        }
        let Some((root, names)) = address(request.path()) else {
            return reply
                .whole(&request, 404, &[], b"404 page not found\n")
                .await;
        };
        let format = format(&request);
        let known = match format {
            Format::Raw => how.raw,
            Format::Car => how.car,
            Format::Plain => how.plain,
        };
        let probe = root.hash().code() == cid::IDENTITY;
        if !known && !probe || format == Format::Raw && !names.is_empty() {
            return reply.whole(&request, 406, &[], b"not acceptable\n").await;
        }
        if how.html && !probe {
            return reply
                .whole(
                    &request,
                    200,
                    &[("Content-Type", "text/html".to_owned())],
                    HTML,
                )
                .await;
        }
        if !self.0.has(&how, &root) {
            let only_local = request
                .header("cache-control")
                .is_some_and(|value| value.contains("only-if-cached"));
            return reply
                .whole(
                    &request,
                    if only_local { 412 } else { 404 },
                    &[],
                    b"not here\n",
                )
                .await;
        }
        match format {
            Format::Raw => self.raw(&how, &request, &root, reply).await,
            Format::Car => self.car(&how, &request, &root, &names, reply).await,
            Format::Plain => self.plain(&how, &request, &root, &names, reply).await,
        }
    }
}

impl Blocks {
    async fn raw(
        &self,
        how: &GatewayBehaviour,
        request: &Request,
        root: &Cid,
        reply: &mut Reply,
    ) -> io::Result<Next> {
        let headers = [
            ("Content-Type", "application/vnd.ipld.raw".to_owned()),
            ("Etag", format!("\"{}.raw\"", cid::text(root))),
            (
                "Cache-Control",
                "public, max-age=29030400, immutable".to_owned(),
            ),
            ("X-Content-Type-Options", "nosniff".to_owned()),
        ];
        if request.method == "HEAD" {
            let length = self.0.blocks.get(root).map_or(0, |block| block.len());
            let mut all = vec![("Content-Length", length.to_string())];
            all.extend(headers);
            reply.head(200, &all).await?;
            return Ok(Next::KeepAlive);
        }
        let Some(block) = self.0.block(how, root) else {
            return reply.whole(request, 404, &[], b"not here\n").await;
        };
        let mut all = vec![("Content-Length", block.len().to_string())];
        all.extend(headers);
        reply.head(200, &all).await?;
        send(how, reply, &block, false).await
    }

    async fn car(
        &self,
        how: &GatewayBehaviour,
        request: &Request,
        root: &Cid,
        names: &[String],
        reply: &mut Reply,
    ) -> io::Result<Next> {
        let Some((way, target)) = self.0.blocks.resolve(root, names) else {
            return reply.whole(request, 404, &[], b"no link named\n").await;
        };
        let accept = request.header("accept").unwrap_or_default();
        let dups = request.query("car-dups").as_deref() == Some("y") || accept.contains("dups=y");
        let order = if how.shuffled { "unk" } else { "dfs" };
        let kind = format!(
            "application/vnd.ipld.car; version=1; order={order}; dups={}",
            if dups { "y" } else { "n" }
        );
        let headers = [
            ("Content-Type", kind),
            ("Accept-Ranges", "none".to_owned()),
            ("Transfer-Encoding", "chunked".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
        ];
        reply.head(200, &headers).await?;
        if request.method == "HEAD" {
            return Ok(Next::KeepAlive);
        }
        let Some(cids) = self.car_order(request, how, &way, &target, dups) else {
            return Ok(Next::Close);
        };
        reply.chunk(&dag::car_header(root)).await?;
        for (count, block_cid) in (0_u64..).zip(cids) {
            let ends = how
                .car_ends_after
                .filter(|(after, _)| count >= *after)
                .map(|(_, end)| end);
            let block = self.0.block(how, &block_cid);
            match (ends, block) {
                (None, Some(block)) => {
                    let section = dag::car_section(&block_cid, &block);
                    if send(how, reply, &section, true).await? == Next::Close {
                        return Ok(Next::Close);
                    }
                }
                (Some(CarEnd::Cut), Some(block)) => {
                    let section = dag::car_section(&block_cid, &block);
                    reply.chunk(&section[..section.len() / 2]).await?;
                    return Ok(Next::Close);
                }
                (Some(CarEnd::Clean), _) => break,
                (Some(CarEnd::Marker), _) | (_, None) => {
                    reply.chunk(TRUNCATED).await?;
                    break;
                }
            }
        }
        reply.chunk(b"").await?;
        Ok(Next::KeepAlive)
    }

    /// The CIDs of a CAR in the order in which they are sent.
    fn car_order(
        &self,
        request: &Request,
        how: &GatewayBehaviour,
        way: &[Cid],
        target: &Cid,
        dups: bool,
    ) -> Option<Vec<Cid>> {
        let scope = request
            .query("dag-scope")
            .unwrap_or_else(|| "all".to_owned());
        let size = self.size(target);
        let (wanted, scope) = match request.query("entity-bytes") {
            None => (0..u64::MAX, scope),
            Some(text) => (entity_bytes(&text, size)?, "entity".to_owned()),
        };
        let below: Vec<Cid> = if scope == "block" {
            vec![*target]
        } else {
            let found = self.0.blocks.walk(target, &wanted, scope == "all");
            found
                .into_iter()
                .map(|found| match found {
                    Found::Here(at, _) | Found::Missing(at) => at,
                })
                .collect()
        };
        let mut cids: Vec<Cid> = way.iter().copied().chain(below).collect();
        // Identity blocks are in their CID and never in a CAR.
        cids.retain(|at| at.hash().code() != cid::IDENTITY);
        if !dups {
            let mut seen = std::collections::HashSet::new();
            cids.retain(|at| seen.insert(at.hash().to_bytes()));
        }
        if how.shuffled {
            shuffle(&mut cids);
        }
        Some(cids)
    }

    fn size(&self, target: &Cid) -> u64 {
        let Some(block) = self.0.blocks.get(target) else {
            return 0;
        };
        if target.codec() == cid::RAW {
            return block.len() as u64;
        }
        dag::read(&block).map_or(0, |node| node.file_size)
    }

    async fn plain(
        &self,
        how: &GatewayBehaviour,
        request: &Request,
        root: &Cid,
        names: &[String],
        reply: &mut Reply,
    ) -> io::Result<Next> {
        let target = if self.0.blocks.file(root).is_some() && names.is_empty() {
            Some(*root)
        } else {
            self.0.blocks.resolve(root, names).map(|(_, target)| target)
        };
        let Some((target, bytes)) =
            target.and_then(|target| Some((target, self.0.blocks.file(&target)?)))
        else {
            return reply.whole(request, 404, &[], b"no link named\n").await;
        };
        let total = bytes.len() as u64;
        let mut headers = vec![
            ("Etag", format!("\"{}\"", cid::text(&target))),
            ("Accept-Ranges", "bytes".to_owned()),
        ];
        let mut span = 0..total;
        let mut status = 200;
        if let Some((first, last)) = request
            .header("range")
            .and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
        {
            let first: u64 = first.parse().unwrap_or(0);
            let end = last
                .parse::<u64>()
                .map_or(total, |last| total.min(last.saturating_add(1)));
            if first >= end {
                headers.push(("Content-Range", format!("bytes */{total}")));
                return reply.whole(request, 416, &headers, b"").await;
            }
            headers.push((
                "Content-Range",
                format!("bytes {first}-{}/{total}", end - 1),
            ));
            (span, status) = (first..end, 206);
        }
        headers.push(("Content-Length", (span.end - span.start).to_string()));
        reply.head(status, &headers).await?;
        if request.method == "HEAD" {
            return Ok(Next::KeepAlive);
        }
        let mut part = bytes[span.start as usize..span.end as usize].to_vec();
        if matches!(how.wrong, Some(Which::EveryRaw)) {
            let middle = part.len() / 2;
            part[middle] = !part[middle];
        }
        send(how, reply, &part, false).await
    }
}

/// Sends bytes, minding the limits at which the gateway stalls or dies.
async fn send(
    how: &GatewayBehaviour,
    reply: &mut Reply,
    bytes: &[u8],
    chunked: bool,
) -> io::Result<Next> {
    let left =
        |limit: Option<u64>| limit.map(|limit| limit.saturating_sub(reply.server_sent()) as usize);
    let (stall, stop) = (left(how.stall_after), left(how.stop_after_total));
    let end = stall
        .into_iter()
        .chain(stop)
        .min()
        .map_or(bytes.len(), |left| left.min(bytes.len()));
    if chunked && end > 0 {
        reply.chunk(&bytes[..end]).await?;
    } else if !chunked {
        reply.body(&bytes[..end]).await?;
    }
    if end == bytes.len() {
        return Ok(Next::KeepAlive);
    }
    if stop.is_some_and(|left| left <= end) {
        reply.stop_server();
        return Ok(Next::Close);
    }
    reply.stall().await
}

fn address(path: &str) -> Option<(Cid, Vec<String>)> {
    let mut segments = path
        .strip_prefix("/ipfs/")?
        .split('/')
        .filter(|segment| !segment.is_empty());
    let root = cid::parse(segments.next()?).ok()?;
    Some((root, segments.map(percent_decode).collect()))
}

/// `format=` wins over `Accept`.
fn format(request: &Request) -> Format {
    let accept = request.header("accept").unwrap_or_default();
    match request.query("format").as_deref() {
        Some("raw") => Format::Raw,
        Some("car") => Format::Car,
        _ if accept.contains("application/vnd.ipld.raw") => Format::Raw,
        _ if accept.contains("application/vnd.ipld.car") => Format::Car,
        _ => Format::Plain,
    }
}

/// `from:to`, both inclusive, `*` the end, negative numbers from the end.
fn entity_bytes(text: &str, size: u64) -> Option<std::ops::Range<u64>> {
    let (from, to) = text.split_once(':')?;
    let place = |text: &str| {
        let number: i64 = text.parse().ok()?;
        Some(if number < 0 {
            size.saturating_sub(number.unsigned_abs())
        } else {
            number.unsigned_abs()
        })
    };
    let end = if to == "*" {
        size
    } else {
        place(to)?.saturating_add(1)
    };
    Some(place(from)?..end.min(size))
}

/// A fixed shuffle: the same order each time.
fn shuffle(cids: &mut [Cid]) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for index in (1..cids.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        cids.swap(index, (state % (index as u64 + 1)) as usize);
    }
}
