//! A small HTTP/1.1 server on loopback: one thread a connection, GET and HEAD, keep-alive. For the demo only; knows no
//! file and no CID: a handler answers.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A request line and the headers of one request together.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How often a waiting connection looks whether the server has ended.
const POLL: Duration = Duration::from_millis(100);
const PIECE_BYTES: usize = 256 * 1024;

/// A request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) range: Option<String>,
    pub(crate) accept: String,
}

impl Request {
    /// A parameter of the query, as it stands.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

/// The bytes of an answer: `length` of them, read piece by piece so that no answer is held in memory.
pub(crate) struct Body {
    pub(crate) length: u64,
    /// Fills a buffer from a position in the body on; every call fills it whole, except at the end.
    pub(crate) read: Box<Read>,
}

type Read = dyn Fn(u64, &mut [u8]) -> io::Result<usize> + Send;

impl Body {
    /// Bytes that are in memory.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let read = move |position: u64, buffer: &mut [u8]| {
            let rest = bytes.get(position as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        };
        Body {
            length: 0,
            read: Box::new(read),
        }
    }
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
}

impl Answer {
    /// A short text, such as a refusal.
    pub(crate) fn text(status: &'static str, text: &str) -> Self {
        Answer::bytes(status, "text/plain", text.as_bytes().to_vec())
    }

    /// Bytes that are in memory.
    pub(crate) fn bytes(status: &'static str, kind: &str, bytes: Vec<u8>) -> Self {
        let length = bytes.len() as u64;
        let body = Body {
            length,
            ..Body::of(bytes)
        };
        Answer {
            status,
            headers: vec![("Content-Type", kind.to_string())],
            body,
        }
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

/// A running server; dropping it ends it and waits for its threads.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    handler: Box<Handler>,
    ended: AtomicBool,
    sent: AtomicU64,
    /// Bytes a second on each connection; 0: as fast as it goes.
    rate: AtomicU64,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

impl Server {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) fn start(
        name: &str,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            ended: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            connections: Mutex::default(),
        });
        let accepting = {
            let (shared, name) = (Arc::clone(&shared), name.to_string());
            std::thread::Builder::new()
                .name(name.clone())
                .spawn(move || accept(&listener, &shared, &name))?
        };
        Ok(Server {
            address,
            shared,
            accepting: Some(accepting),
        })
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Body bytes sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Bytes a second on each connection from now on; 0: as fast as it goes.
    pub(crate) fn set_rate(&self, bytes_per_second: u64) {
        self.shared.rate.store(bytes_per_second, Ordering::SeqCst);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; if this fails it has ended already.
        drop(TcpStream::connect(self.address));
        let connections = std::mem::take(
            &mut *self
                .shared
                .connections
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for thread in self.accepting.take().into_iter().chain(connections) {
            // A thread that panicked has printed why; there is nothing to add.
            thread.join().unwrap_or(());
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, name: &str) {
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let for_thread = Arc::clone(shared);
        // A connection that breaks is the client's matter; without a thread it is refused.
        let spawned = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || serve(&for_thread, &stream).unwrap_or(()));
        if let Ok(thread) = spawned {
            shared
                .connections
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(thread);
        }
    }
}

fn serve(shared: &Shared, stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(POLL))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut piece = vec![0; PIECE_BYTES];
    while let Some(request) = read_request(shared, &mut reader)? {
        let answer = (shared.handler)(&request);
        send(shared, stream, &request, &answer, &mut piece)?;
    }
    Ok(())
}

fn send(
    shared: &Shared,
    mut stream: &TcpStream,
    request: &Request,
    answer: &Answer,
    piece: &mut [u8],
) -> io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {}\r\nContent-Length: {}\r\n",
        answer.status, answer.body.length
    );
    for (name, value) in &answer.headers {
        head.extend([name, ": ", value.as_str(), "\r\n"]);
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    let (started, mut position) = (Instant::now(), 0);
    while position < answer.body.length {
        if shared.ended.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let want = (answer.body.length - position).min(piece.len() as u64) as usize;
        let count = (answer.body.read)(position, &mut piece[..want])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.write_all(&piece[..count])?;
        position += count as u64;
        shared.sent.fetch_add(count as u64, Ordering::SeqCst);
        let rate = shared.rate.load(Ordering::SeqCst);
        if rate > 0 {
            let due = Duration::from_secs_f64(position as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(started.elapsed()).min(POLL));
        }
    }
    Ok(())
}

/// The next request; `None` when the client has gone or the server ends.
fn read_request(
    shared: &Shared,
    reader: &mut BufReader<&TcpStream>,
) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match reader.read_until(b'\n', &mut head) {
            Ok(0) => return Ok(None),
            Ok(_) if head.len() > HEAD_BYTES_MAX => return Err(io::ErrorKind::InvalidData.into()),
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                if shared.ended.load(Ordering::SeqCst) {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(parse(&String::from_utf8_lossy(&head))))
}

fn parse(head: &str) -> Request {
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let method = first.next().unwrap_or_default().to_string();
    let target = first.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method,
        path: path.into(),
        query: query.into(),
        ..Request::default()
    };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.trim().into()),
            "accept" => request.accept = value.trim().into(),
            _ => {}
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_apart() {
        let request = parse(
            "GET /ipfs/bafy?format=car&entity-bytes=0:5 HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2\r\n\r\n",
        );
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("GET", "/ipfs/bafy")
        );
        assert_eq!(
            (
                request.parameter("format"),
                request.parameter("entity-bytes")
            ),
            (Some("car"), Some("0:5"))
        );
        assert_eq!(request.parameter("form"), None);
        assert_eq!(request.range.as_deref(), Some("bytes=1-2"));
    }

    #[test]
    fn a_server_answers_several_requests_on_a_connection_and_ends() {
        use std::io::Read;
        let server = Server::start("test", |request| Answer::text("200 OK", &request.path))
            .expect("a server");
        let mut client = TcpStream::connect(server.address).expect("a connection");
        for path in ["/a", "/bc"] {
            write!(client, "GET {path} HTTP/1.1\r\n\r\n").expect("sent");
            let mut got = Vec::new();
            while !got.ends_with(path.as_bytes()) {
                let mut byte = [0];
                client.read_exact(&mut byte).expect("an answer");
                got.push(byte[0]);
            }
            assert!(got.starts_with(b"HTTP/1.1 200 OK\r\n"));
        }
        // A byte is counted after it has been written: the last ones when the threads have ended.
        let shared = Arc::clone(&server.shared);
        drop(server);
        assert_eq!(shared.sent.load(Ordering::SeqCst), 5);
    }
}
