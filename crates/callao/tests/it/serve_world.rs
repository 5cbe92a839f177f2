//! A real `callao serve` in the world of a test, and a client that speaks plain HTTP/1.1 to it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use callao_testkit::real::serve::Serve;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::env::TestEnvironment;

/// No test waits longer for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// What a daemon of a test is started with: on this computer alone, wherever there is room.
pub(crate) const LINE: [&str; 6] = [
    "serve",
    "--json",
    "--gateway",
    "127.0.0.1:0",
    "--listen",
    "/ip4/127.0.0.1/tcp/0",
];

/// Starts a daemon.
pub(crate) fn serve(env: &TestEnvironment, more: &[&str]) -> Serve {
    serve_with(&mut command(env, more))
}

/// The command of a daemon.
pub(crate) fn command(env: &TestEnvironment, more: &[&str]) -> Command {
    env.command(&[&LINE, more].concat())
}

/// Starts a daemon by a command of its own. What it logs is not looked at.
pub(crate) fn serve_with(command: &mut Command) -> Serve {
    Serve::start(command.stderr(Stdio::null()))
}

/// Sends a signal to a daemon.
pub(crate) fn send(serve: &mut Serve, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(serve.pid()).expect("a pid")).expect("a pid");
    kill_process(pid, signal).expect("a signal is sent");
}

/// Looks again and again until there is something.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < LIMIT, "waited in vain: {what}");
        std::thread::sleep(LOOK);
    }
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// As far as it came.
    pub(crate) body: Vec<u8>,
    /// Whether all of it came.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// `GET`, on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, "", b"")
}

/// One request; `lines` are more lines of its head.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    lines: &str,
    body: &[u8],
) -> Answer {
    let mut stream = open(address, method, path, lines, body);
    let mut bytes = Vec::new();
    // A connection that breaks ends the answer.
    let ended = stream.read_to_end(&mut bytes);
    answer(bytes, ended.is_ok())
}

/// Sends a request; the answer is not read.
pub(crate) fn open(
    address: SocketAddr,
    method: &str,
    path: &str,
    lines: &str,
    body: &[u8],
) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a gateway");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n{lines}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(body).expect("sent");
    stream
}

/// Takes the bytes of a connection apart.
pub(crate) fn answer(bytes: Vec<u8>, ended: bool) -> Answer {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("the head of an answer");
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: Option<usize> = length.and_then(|text| text.parse().ok());
    let body = bytes[end + 4..].to_vec();
    Answer {
        status: status.expect("a status"),
        whole: ended && length.is_none_or(|length| length == body.len()),
        head,
        body,
    }
}

/// The daemon's status.
pub(crate) fn status(serve: &Serve) -> Value {
    let answer = get(serve.gateway_address(), "/callao/v1/status");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Waits until this file is served.
pub(crate) fn served(serve: &Serve, cid: &str) -> Value {
    until("the file is served", || {
        let status = status(serve);
        let files = status["files"].as_array().expect("files");
        let is_it = |file: &&Value| {
            let roots = file["roots"].as_array().expect("roots");
            file["served"] == true && roots.iter().any(|root| root == cid)
        };
        files.iter().find(is_it).cloned()
    })
}
