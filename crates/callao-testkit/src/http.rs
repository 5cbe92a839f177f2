//! A small HTTP/1.1 server on loopback whose every byte the caller decides, so that every fault can be made.
//!
//! Reads requests, logs them, counts bytes, paces writing; knows no resource and no status of its own. Deliberately not
//! built on an HTTP library: those refuse to send what a broken server sends.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Longest request head that is read.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest request body that is read.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes handed to the socket at once.
const SLICE_BYTES: usize = 64 * 1024;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `HEAD`, `POST`.
    pub method: String,
    /// Path and query, not decoded.
    pub target: String,
    /// Names in lower case, in the order sent.
    pub headers: Vec<(String, String)>,
    /// Empty without a `Content-Length`.
    pub body: Vec<u8>,
}

impl Request {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&self.target, |(path, _)| path)
    }

    /// The first value of a query parameter, percent-decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| percent_decode(value))
        })
    }

    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// One request in a server's log.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Number of the connection, from 0.
    pub connection: u64,
    /// `GET`, `HEAD`, `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The `Range` header, if there was one.
    pub range: Option<String>,
    /// Status that was answered; 0 if none was.
    pub status: u16,
    /// Body bytes handed to the socket so far.
    pub sent: u64,
}

impl Logged {
    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next request may follow.
    KeepAlive,
    /// Closed.
    Close,
}

/// Answers requests; one value serves all connections.
pub trait Handler: Send + Sync + 'static {
    /// Answers `request` through `reply`.
    fn answer(
        &self,
        request: Request,
        reply: &mut Reply,
    ) -> impl Future<Output = io::Result<Next>> + Send;
}

/// What a server has seen, shared with its connections.
#[derive(Debug, Default)]
struct Log {
    requests: Mutex<Vec<Logged>>,
    connections: AtomicU64,
    sent: AtomicU64,
}

/// A server on `127.0.0.1`, on a port that the system picked; ends when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    log: Arc<Log>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on a thread called `name`.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub fn start<H: Handler>(name: &str, handler: H) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        socket
            .set_nonblocking(true)
            .expect("a socket can be made non-blocking");
        let address = socket.local_addr().expect("a bound socket has an address");
        let (log, stop) = (Arc::new(Log::default()), CancellationToken::new());
        let (thread_log, thread_stop) = (Arc::clone(&log), stop.clone());
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime starts");
                // Dropping the runtime drops every connection.
                runtime.block_on(accept(socket, Arc::new(handler), thread_log, thread_stop));
            })
            .expect("a thread starts");
        Self {
            address,
            log,
            stop,
            thread: Some(thread),
        }
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Logged> {
        lock(&self.log.requests).clone()
    }

    /// Body bytes of all answers so far.
    pub fn bytes_sent(&self) -> u64 {
        self.log.sent.load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.log.connections.load(Ordering::SeqCst)
    }

    /// Whether it no longer listens.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Closes every connection and the listening socket; returns when that is done.
    pub fn stop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic of the handler has been printed by its own thread.
            drop(thread.join());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn accept<H: Handler>(
    socket: std::net::TcpListener,
    handler: Arc<H>,
    log: Arc<Log>,
    stop: CancellationToken,
) {
    let listener = TcpListener::from_std(socket).expect("the runtime takes a listening socket");
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
        };
        // Delay of small answers would be measured as our own.
        drop(stream.set_nodelay(true));
        let number = log.connections.fetch_add(1, Ordering::SeqCst);
        let reply = Reply {
            stream,
            log: Arc::clone(&log),
            stop: stop.clone(),
            connection: number,
            entry: 0,
            pace: None,
            next_at: Instant::now(),
        };
        tokio::spawn(connection(Arc::clone(&handler), reply));
    }
}

async fn connection<H: Handler>(handler: Arc<H>, mut reply: Reply) {
    let mut buffer = Vec::new();
    // An error means that the client went away or spoke nonsense: the log has what happened until then.
    while let Ok(Some(request)) = read_request(&mut reply.stream, &mut buffer).await {
        reply.begin(&request);
        match handler.answer(request, &mut reply).await {
            Ok(Next::KeepAlive) => {}
            Ok(Next::Close) | Err(_) => break,
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target)) = (first.next(), first.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = header(&headers, "content-length")
        .and_then(|value| value.parse().ok())
        .unwrap_or(0);
    if length > BODY_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = buffer.drain(..length).collect();
    Ok(Some(Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body,
    }))
}

/// The answering side of one connection.
#[derive(Debug)]
pub struct Reply {
    stream: TcpStream,
    log: Arc<Log>,
    stop: CancellationToken,
    connection: u64,
    entry: usize,
    pace: Option<u64>,
    next_at: Instant,
}

impl Reply {
    fn begin(&mut self, request: &Request) {
        let mut requests = lock(&self.log.requests);
        self.entry = requests.len();
        requests.push(Logged {
            connection: self.connection,
            method: request.method.clone(),
            path: request.target.clone(),
            headers: request.headers.clone(),
            range: request.header("range").map(str::to_owned),
            status: 0,
            sent: 0,
        });
    }

    /// Limits this connection to so many bytes per second, without bursts; `None` lifts the limit.
    pub fn set_rate(&mut self, bytes_per_second: Option<u64>) {
        self.pace = bytes_per_second.filter(|rate| *rate > 0);
    }

    /// Body bytes of all answers of the server so far.
    pub fn server_sent(&self) -> u64 {
        self.log.sent.load(Ordering::SeqCst)
    }

    /// Sends a status line and headers, then the empty line.
    ///
    /// # Errors
    /// When the client has gone.
    pub async fn head(&mut self, status: u16, headers: &[(&str, String)]) -> io::Result<()> {
        let mut text = format!("HTTP/1.1 {status} {}\r\n", reason(status));
        for (name, value) in headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("\r\n");
        if let Some(logged) = lock(&self.log.requests).get_mut(self.entry) {
            logged.status = status;
        }
        self.stream.write_all(text.as_bytes()).await
    }

    /// Sends bytes of the body, at the pace that was set.
    ///
    /// # Errors
    /// When the client has gone.
    pub async fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        for slice in bytes.chunks(self.slice_bytes()) {
            if let Some(rate) = self.pace {
                tokio::time::sleep_until(self.next_at).await;
                let from = self.next_at.max(Instant::now() - Duration::from_millis(50));
                self.next_at = from + Duration::from_secs_f64(slice.len() as f64 / rate as f64);
            }
            self.stream.write_all(slice).await?;
            self.log
                .sent
                .fetch_add(slice.len() as u64, Ordering::SeqCst);
            if let Some(logged) = lock(&self.log.requests).get_mut(self.entry) {
                logged.sent += slice.len() as u64;
            }
        }
        Ok(())
    }

    /// Sends one chunk of a chunked body; an empty one ends it.
    ///
    /// # Errors
    /// When the client has gone.
    pub async fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let size = format!("{:x}\r\n", bytes.len());
        self.stream.write_all(size.as_bytes()).await?;
        self.body(bytes).await?;
        self.stream.write_all(b"\r\n").await
    }

    /// Sends a whole answer with a `Content-Length`; to a `HEAD` only its head.
    ///
    /// # Errors
    /// When the client has gone.
    pub async fn whole(
        &mut self,
        request: &Request,
        status: u16,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> io::Result<Next> {
        let mut all = vec![("Content-Length", body.len().to_string())];
        all.extend(headers.iter().cloned());
        self.head(status, &all).await?;
        if request.method != "HEAD" {
            self.body(body).await?;
        }
        Ok(Next::KeepAlive)
    }

    /// Waits until the server is stopped: a peer that accepts and then says nothing.
    pub async fn stall(&mut self) -> io::Result<Next> {
        self.stop.cancelled().await;
        Ok(Next::Close)
    }

    /// Ends the whole server: all connections are closed, new ones refused.
    pub fn stop_server(&self) {
        self.stop.cancel();
    }

    fn slice_bytes(&self) -> usize {
        let paced = self.pace.map_or(SLICE_BYTES as u64, |rate| rate / 50);
        usize::try_from(paced)
            .unwrap_or(SLICE_BYTES)
            .clamp(512, SLICE_BYTES)
    }
}

/// Decodes `%XX`; anything else stays as it is.
pub fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                out.push(byte);
                rest = &tail[2..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
