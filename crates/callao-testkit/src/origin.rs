//! A web server with one file, well-behaved like nginx unless told otherwise.
//!
//! Every path gives the same file, so that one server can be several URLs of the same bytes. Knows no CID.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::body::Body;
use crate::http::{Handler, Logged, Next, Reply, Request, Server};

/// Bytes read from the body at once.
const PIECE_BYTES: u64 = 256 * 1024;
/// What [`Behaviour::html`] sends.
const HTML: &str =
    "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n";

/// How often a fault shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// In the first so many answers that it applies to.
    First(u64),
    /// In every answer.
    Always,
}

/// What the server does with a `Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// 206 with exactly what was asked for; 416 past the end.
    Honour,
    /// 200 and the whole body.
    Ignore,
    /// 416 always.
    Refuse,
    /// 206, the right bytes, and a `Content-Range` that begins so many bytes later than asked.
    LieAboutStart(u64),
    /// 206, the right bytes, and this as the total in `Content-Range`.
    LieAboutTotal(u64),
    /// 206 with a `Content-Range` as asked for, but the bytes come from so many bytes later (wrapping at the end).
    ShiftedBytes(u64),
}

/// Where the server redirects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// From any path to another path of its own, without end.
    Loop,
    /// Any request to this URL.
    To(String),
    /// The first so many requests to another path of its own, then the file.
    Hops(u64),
}

/// A status instead of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Such as 404, 429, 500, 503.
    pub code: u16,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
    /// How often.
    pub times: Times,
}

/// A body that ends, or stalls, too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Early {
    /// Body bytes of the answer that still come.
    pub after: u64,
    /// How often (an answer shorter than `after` does not count).
    pub times: Times,
}

/// The file becomes another one.
#[derive(Clone, Debug)]
pub struct Change {
    /// Requests that still see the old file.
    pub after_requests: u64,
    /// The new file; `None`: the same bytes under another `ETag` and `Last-Modified`.
    pub body: Option<Body>,
}

/// What the server does; the default is a static file as nginx serves it.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// `ETag` with its quotes.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// What a `Range` gives.
    pub ranges: Ranges,
    /// The connection is closed in mid-body.
    pub cut: Option<Early>,
    /// The body stops in the middle, the connection stays open.
    pub stall: Option<Early>,
    /// The file changes.
    pub change: Option<Change>,
    /// Redirects instead of the file.
    pub redirect: Option<Redirect>,
    /// `Content-Encoding: gzip` is claimed.
    pub gzip: bool,
    /// Bytes that `Content-Length` is larger (positive: body shorter than announced, then closed) or smaller (body longer
    /// than announced, then closed) than the body sent.
    pub length_lie: i64,
    /// Offsets in the file of bytes that are sent inverted.
    pub flipped: Vec<u64>,
    /// A status instead of the file.
    pub status: Option<Status>,
    /// 200 and a web page instead of the file.
    pub html: bool,
    /// Chunked transfer, no `Content-Length`.
    pub chunked: bool,
    /// Bytes per second per connection.
    pub rate: Option<u64>,
    /// Wait before the head of each answer.
    pub first_byte_delay: Option<Duration>,
    /// Requests are read and never answered.
    pub never_answer: bool,
    /// After so many body bytes in all, everything is closed and refused.
    pub stop_after_total: Option<u64>,
    /// Whether connections stay open after an answer.
    pub keep_alive: bool,
    /// Whether `HEAD` is answered (405 otherwise).
    pub head: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            etag: Some("\"6562a5d0-1c200000\"".to_owned()),
            last_modified: Some("Sun, 26 Nov 2023 01:56:00 GMT".to_owned()),
            content_type: Some("application/octet-stream".to_owned()),
            ranges: Ranges::Honour,
            cut: None,
            stall: None,
            change: None,
            redirect: None,
            gzip: false,
            length_lie: 0,
            flipped: Vec::new(),
            status: None,
            html: false,
            chunked: false,
            rate: None,
            first_byte_delay: None,
            never_answer: false,
            stop_after_total: None,
            keep_alive: true,
            head: true,
        }
    }
}

impl Behaviour {
    /// Without `ETag` and `Last-Modified`.
    pub fn without_validators(self) -> Self {
        Self {
            etag: None,
            last_modified: None,
            ..self
        }
    }
}

/// A running server; ends when dropped.
#[derive(Debug)]
pub struct Origin {
    server: Server,
    shared: std::sync::Arc<Shared>,
}

impl Origin {
    /// Starts a server of `body`.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub fn start(body: impl Into<Body>, behaviour: Behaviour) -> Self {
        let shared = std::sync::Arc::new(Shared {
            body: body.into(),
            behaviour: Mutex::new(behaviour),
            requests: AtomicU64::new(0),
            statuses: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            hops: AtomicU64::new(0),
        });
        let server = Server::start("fake-origin", Files(std::sync::Arc::clone(&shared)));
        Self { server, shared }
    }

    /// `http://127.0.0.1:PORT/image.img`.
    pub fn url(&self) -> String {
        self.url_of("/image.img")
    }

    /// The same file under another path, which begins with a slash.
    pub fn url_of(&self, path: &str) -> String {
        format!("{}{path}", self.server.base())
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Logged> {
        self.server.requests()
    }

    /// Body bytes sent so far, over all answers.
    pub fn bytes_sent(&self) -> u64 {
        self.server.bytes_sent()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.server.connections()
    }

    /// Whether it no longer listens, by [`Behaviour::stop_after_total`] or [`Origin::stop`].
    pub fn is_stopped(&self) -> bool {
        self.server.is_stopped()
    }

    /// From now on it behaves like this; what was counted for [`Times`] starts again, the number of requests does not.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        for counter in [
            &self.shared.statuses,
            &self.shared.cuts,
            &self.shared.stalls,
            &self.shared.hops,
        ] {
            counter.store(0, Ordering::SeqCst);
        }
        *self.shared.behaviour() = behaviour;
    }

    /// Closes everything; the port refuses from then on.
    pub fn stop(&mut self) {
        self.server.stop();
    }
}

#[derive(Debug)]
struct Shared {
    body: Body,
    behaviour: Mutex<Behaviour>,
    requests: AtomicU64,
    statuses: AtomicU64,
    cuts: AtomicU64,
    stalls: AtomicU64,
    hops: AtomicU64,
}

impl Shared {
    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a fault that shows itself `times` does so now; counts if so.
fn due(times: Times, counter: &AtomicU64) -> bool {
    match times {
        Times::Always => true,
        Times::First(limit) => counter.fetch_add(1, Ordering::SeqCst) < limit,
    }
}

struct Files(std::sync::Arc<Shared>);

impl Handler for Files {
    async fn answer(&self, request: Request, reply: &mut Reply) -> io::Result<Next> {
        let number = self.0.requests.fetch_add(1, Ordering::SeqCst);
        let how = self.0.behaviour().clone();
        reply.set_rate(how.rate);
        if how.never_answer {
            return reply.stall().await;
        }
        if let Some(delay) = how.first_byte_delay {
            tokio::time::sleep(delay).await;
        }
        if let Some(next) = self.instead(&how, &request, reply).await? {
            return Ok(if how.keep_alive { next } else { Next::Close });
        }
        let entity = Entity::new(&self.0.body, &how, number);
        self.file(&how, &entity, &request, reply).await
    }
}

impl Files {
    /// Answers that are not the file.
    async fn instead(
        &self,
        how: &Behaviour,
        request: &Request,
        reply: &mut Reply,
    ) -> io::Result<Option<Next>> {
        if let Some(location) = self.location(how, request) {
            return reply
                .whole(request, 302, &[("Location", location)], b"")
                .await
                .map(Some);
        }
        if let Some(status) = how
            .status
            .filter(|status| due(status.times, &self.0.statuses))
        {
            let wait: Vec<_> = status
                .retry_after
                .map(|seconds| ("Retry-After", seconds.to_string()))
                .into_iter()
                .collect();
            return reply
                .whole(request, status.code, &wait, b"not now\n")
                .await
                .map(Some);
        }
        if how.html {
            let html = [("Content-Type", "text/html; charset=utf-8".to_owned())];
            return reply
                .whole(request, 200, &html, HTML.as_bytes())
                .await
                .map(Some);
        }
        if request.method == "HEAD" && !how.head
            || !matches!(request.method.as_str(), "GET" | "HEAD")
        {
            return reply.whole(request, 405, &[], b"").await.map(Some);
        }
        Ok(None)
    }

    fn location(&self, how: &Behaviour, request: &Request) -> Option<String> {
        let elsewhere = if request.path() == "/a" { "/b" } else { "/a" };
        match how.redirect.as_ref()? {
            Redirect::Loop => Some(elsewhere.to_owned()),
            Redirect::To(url) => Some(url.clone()),
            Redirect::Hops(limit) => {
                due(Times::First(*limit), &self.0.hops).then(|| elsewhere.to_owned())
            }
        }
    }

    async fn file(
        &self,
        how: &Behaviour,
        entity: &Entity,
        request: &Request,
        reply: &mut Reply,
    ) -> io::Result<Next> {
        let mut headers = entity.headers(how);
        if entity.unchanged(request) {
            reply.head(304, &headers).await?;
            return Ok(Next::KeepAlive);
        }
        let total = entity.body.len();
        let (status, span) = match entity.wanted(how, request) {
            Wanted::Whole => (200, 0..total),
            Wanted::Part(span) => (206, span),
            Wanted::Nothing => {
                headers.push(("Content-Range", format!("bytes */{total}")));
                return reply.whole(request, 416, &headers, b"").await;
            }
        };
        if status == 206 {
            headers.push(("Content-Range", content_range(how.ranges, &span, total)));
        }
        if how.chunked {
            headers.push(("Transfer-Encoding", "chunked".to_owned()));
        } else {
            let length = (span.end - span.start).saturating_add_signed(how.length_lie);
            headers.push(("Content-Length", length.to_string()));
        }
        if !how.keep_alive {
            headers.push(("Connection", "close".to_owned()));
        }
        reply.head(status, &headers).await?;
        if request.method == "HEAD" {
            return Ok(if how.keep_alive {
                Next::KeepAlive
            } else {
                Next::Close
            });
        }
        self.send(how, entity, span, reply).await
    }

    async fn send(
        &self,
        how: &Behaviour,
        entity: &Entity,
        span: Range<u64>,
        reply: &mut Reply,
    ) -> io::Result<Next> {
        let length = span.end - span.start;
        let early = |fault: Option<Early>, counter| {
            fault
                .filter(|fault| fault.after < length && due(fault.times, counter))
                .map(|fault| fault.after)
        };
        let cut = early(how.cut, &self.0.cuts);
        let stall = early(how.stall, &self.0.stalls);
        let end = span.start + cut.into_iter().chain(stall).min().unwrap_or(length);
        let shift = if let Ranges::ShiftedBytes(by) = how.ranges {
            by
        } else {
            0
        };
        let mut at = span.start;
        while at < end {
            let mut piece_end = end.min(at + PIECE_BYTES);
            let mut stopping = false;
            if let Some(limit) = how.stop_after_total {
                let left = limit.saturating_sub(reply.server_sent());
                stopping = left <= piece_end - at;
                piece_end = piece_end.min(at + left);
            }
            let piece = entity.read(at, piece_end, shift, &how.flipped)?;
            if how.chunked {
                if !piece.is_empty() {
                    reply.chunk(&piece).await?;
                }
            } else {
                reply.body(&piece).await?;
            }
            if stopping {
                reply.stop_server();
                return Ok(Next::Close);
            }
            at = piece_end;
        }
        if stall.is_some_and(|after| span.start + after == end) {
            return reply.stall().await;
        }
        if cut.is_some() {
            return Ok(Next::Close);
        }
        if how.chunked {
            reply.chunk(b"").await?;
        }
        Ok(if how.keep_alive && how.length_lie == 0 {
            Next::KeepAlive
        } else {
            Next::Close
        })
    }
}

/// The file as it is at one request.
struct Entity {
    body: Body,
    etag: Option<String>,
    last_modified: Option<String>,
}

enum Wanted {
    Whole,
    Part(Range<u64>),
    Nothing,
}

impl Entity {
    fn new(body: &Body, how: &Behaviour, number: u64) -> Self {
        match how
            .change
            .as_ref()
            .filter(|change| number >= change.after_requests)
        {
            None => Self {
                body: body.clone(),
                etag: how.etag.clone(),
                last_modified: how.last_modified.clone(),
            },
            Some(change) => Self {
                body: change.body.as_ref().unwrap_or(body).clone(),
                etag: how.etag.as_ref().map(|_| "\"77777777-changed\"".to_owned()),
                last_modified: how
                    .last_modified
                    .as_ref()
                    .map(|_| "Mon, 27 Nov 2023 02:00:00 GMT".to_owned()),
            },
        }
    }

    fn headers(&self, how: &Behaviour) -> Vec<(&'static str, String)> {
        let mut headers = vec![("Server", "nginx".to_owned())];
        let optional = [
            ("ETag", self.etag.clone()),
            ("Last-Modified", self.last_modified.clone()),
            ("Content-Type", how.content_type.clone()),
            ("Content-Encoding", how.gzip.then(|| "gzip".to_owned())),
            (
                "Accept-Ranges",
                (how.ranges != Ranges::Ignore).then(|| "bytes".to_owned()),
            ),
        ];
        headers.extend(
            optional
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        headers
    }

    fn unchanged(&self, request: &Request) -> bool {
        match (
            request.header("if-none-match"),
            request.header("if-modified-since"),
        ) {
            (Some(etag), _) => self.etag.as_deref() == Some(etag),
            (None, Some(time)) => self.last_modified.as_deref() == Some(time),
            (None, None) => false,
        }
    }

    fn wanted(&self, how: &Behaviour, request: &Request) -> Wanted {
        let Some(range) = request.header("range") else {
            return Wanted::Whole;
        };
        let fits = |validator: &str| {
            self.etag.as_deref() == Some(validator)
                || self.last_modified.as_deref() == Some(validator)
        };
        if how.ranges == Ranges::Ignore || !request.header("if-range").is_none_or(fits) {
            return Wanted::Whole;
        }
        if how.ranges == Ranges::Refuse {
            return Wanted::Nothing;
        }
        parse_range(range, self.body.len())
    }

    fn read(&self, from: u64, to: u64, shift: u64, flipped: &[u64]) -> io::Result<Vec<u8>> {
        let mut piece = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
        if shift == 0 {
            self.body.read(from, &mut piece)?;
        } else {
            let total = self.body.len();
            for (at, byte) in (from..).zip(piece.iter_mut()) {
                self.body
                    .read((at + shift) % total, std::slice::from_mut(byte))?;
            }
        }
        for offset in flipped.iter().filter(|offset| (from..to).contains(offset)) {
            let byte = &mut piece[(offset - from) as usize];
            *byte = !*byte;
        }
        Ok(piece)
    }
}

/// One range; several, or anything that is not understood, is answered with everything, as servers may.
fn parse_range(range: &str, total: u64) -> Wanted {
    let parsed = range
        .strip_prefix("bytes=")
        .and_then(|spec| spec.split_once('-'));
    let span = match parsed {
        Some(("", last)) => last
            .parse::<u64>()
            .ok()
            .map(|count| total.saturating_sub(count)..total),
        Some((first, "")) => first.parse().ok().map(|first| first..total),
        Some((first, last)) => match (first.parse(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) => Some(first..total.min(last.saturating_add(1))),
            _ => None,
        },
        None => None,
    };
    match span {
        None => Wanted::Whole,
        Some(span) if span.is_empty() => Wanted::Nothing,
        Some(span) => Wanted::Part(span),
    }
}

fn content_range(ranges: Ranges, span: &Range<u64>, total: u64) -> String {
    let (start, last) = (span.start, span.end - 1);
    match ranges {
        Ranges::LieAboutStart(by) => format!("bytes {}-{}/{total}", start + by, last + by),
        Ranges::LieAboutTotal(lie) => format!("bytes {start}-{last}/{lie}"),
        _ => format!("bytes {start}-{last}/{total}"),
    }
}
