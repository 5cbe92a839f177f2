//! The real server with the real dashboard, in this process, and a status that the test decides.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use callao::app::App;
use callao::cli::Common;
use callao::dashboard::Dashboard;
use callao::gateway::{Backend, Body, Client, Counters, Held, HeldFile, Options, Pages, Server};
use callao::host::Host;
use callao::output::{Output, Style, Verbosity};
use callao::settings::Overrides;
use callao_content::digest::Digest;
use callao_content::{Cid, cid};
use callao_store::served::Served;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const STATUS: &str = "/callao/v1/status";

/// A daemon as a browser sees it.
pub(crate) struct Stand {
    pub(crate) address: SocketAddr,
    /// What the status says, without the files that came by the dashboard.
    pub(crate) status: Arc<Mutex<Value>>,
    app: Arc<App>,
    running: Option<(CancellationToken, JoinHandle<()>)>,
    dir: TempDir,
}

impl Stand {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let place = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let host = Host::with_variables([
            ("HOME", place("home").as_str()),
            ("XDG_CACHE_HOME", place("cache").as_str()),
            ("XDG_DATA_HOME", place("data").as_str()),
        ]);
        let output = Arc::new(Output::new(Style {
            verbosity: Verbosity::Quiet,
            json: false,
            progress: false,
            terminal: false,
            colours: false,
        }));
        let app = App::new(host, &Common::default(), &Overrides::default(), &output);
        let mut stand = Stand {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            status: Arc::new(Mutex::new(nothing())),
            app: Arc::new(app.unwrap_or_else(|error| panic!("{error}"))),
            running: None,
            dir,
        };
        stand.start();
        stand
    }

    /// Listens, on the port of before if there was one.
    pub(crate) fn start(&mut self) {
        let dashboard = Dashboard::new(&self.app).unwrap_or_else(|error| panic!("{error}"));
        let pages = Daemon {
            dashboard,
            app: Arc::clone(&self.app),
            status: Arc::clone(&self.status),
        };
        let backend = Arc::new(Backend {
            shelf: Arc::new(Nothing),
            fetcher: None,
            router: None,
            names: None,
            pages: Some(Arc::new(pages)),
            rate: None,
            counters: Arc::new(Counters::default()),
            options: Options {
                shutdown_grace: Duration::from_millis(100),
                ..Options::default()
            },
        });
        let (sender, receiver) = std::sync::mpsc::channel();
        let shutdown = CancellationToken::new();
        let (token, address) = (shutdown.clone(), self.address);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let server = Server::bind(&[address], backend).expect("it listens");
                sender.send(server.addresses()[0]).expect("the test waits");
                server.run(token).await;
            });
        });
        self.address = receiver.recv().expect("it listens");
        self.running = Some((shutdown, thread));
    }

    /// Ends; the port refuses from then on.
    pub(crate) fn stop(&mut self) {
        if let Some((shutdown, thread)) = self.running.take() {
            shutdown.cancel();
            thread.join().expect("it ends well");
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where files go that are dropped.
    pub(crate) fn added(&self) -> PathBuf {
        self.dir.path().join("data/callao/added")
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.added()) else {
            return Vec::new();
        };
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            let name = entry.expect("an entry").file_name();
            name.into_string().expect("text")
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    /// Writes a file that a browser can send.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    /// Sends this text and reads until the end.
    pub(crate) fn say(&self, text: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(text.as_bytes()).expect("it is sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        let limit = Some(Duration::from_secs(60));
        stream.set_read_timeout(limit).expect("a deadline");
        stream
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A daemon that has just started.
pub(crate) fn nothing() -> Value {
    json!({
        "v": 1, "version": "0.1.0", "peer_id": "12D3KooWGjMCwvfZ6EY8Vb7pXkUqRkQ5bHhTn8pHqB8gXmJx2yTd",
        "addresses": ["/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWGj", "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWGj"],
        "gateway": "http://127.0.0.1:8080", "uptime_seconds": 3725,
        "settings": {"discovery": "lan", "upload_rate_max": 20971520, "private_origins": false},
        "files": [], "fetches": [], "clients": [], "peers": [],
        "totals": {"sent_bytes": 0, "received_bytes": 0}
    })
}

/// A daemon that does everything at once.
pub(crate) fn busy() -> Value {
    let root = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
    let digest = format!("sha256:{}", "9f86d081".repeat(8));
    let file = |name: &str, kind: &str, complete: bool, why: Option<&str>| {
        json!({
            "name": name, "size": 4 << 20, "roots": [root], "digests": [digest], "kind": kind, "complete": complete,
            "url": (kind == "lima").then(|| format!("https://images.example/{name}")),
            "path": format!("/data/{name}"), "served": why.is_none(), "why_not": why
        })
    };
    let mut status = nothing();
    status["files"] = json!([
        file("noble-amd64.img", "lima", true, None),
        file(
            "secret.img",
            "lima",
            true,
            Some("its origin is a private address")
        ),
        file("site.car", "car", true, None),
        file("half.qcow2", "fetching", false, None),
    ]);
    status["fetches"] = json!([{
        "id": 1, "name": "half.qcow2", "root": root, "size": 4 << 20, "have_bytes": 2 << 20, "rate_bytes_s": 1 << 20,
        "sources": [
            {"kind": "http", "place": "https://images.example", "bytes": 1 << 20},
            {"kind": "lan", "place": "http://192.0.2.34:8080", "bytes": 512 << 10}
        ]
    }]);
    status["clients"] = json!([
        {"who": "192.0.2.34", "kind": "http", "bytes": 40 << 20, "rate_bytes_s": 3 << 20},
        {"who": "12D3KooWRkQ5bHhTn8pHqB8gXmJx2yTdGjMCwvfZ6EY8Vb7pXkUq", "kind": "bitswap", "bytes": 7, "rate_bytes_s": 0}
    ]);
    status["peers"] = json!([
        {"peer_id": "12D3KooWRkQ5bHhTn8pHqB8gXmJx2yTdGjMCwvfZ6EY8Vb7pXkUq", "address": "/ip4/192.0.2.34/tcp/4001",
         "agent": "callao/0.1.0", "lan": true, "rtt_ms": 0.4, "sent_bytes": 1, "received_bytes": 2,
         "http": "http://192.0.2.34:8080"},
        {"peer_id": "12D3KooWZzz5bHhTn8pHqB8gXmJx2yTdGjMCwvfZ6EY8Vb7pXkUq", "address": "/ip4/203.0.113.9/udp/4001/quic-v1",
         "agent": "kubo/0.43.0", "lan": false, "rtt_ms": null, "sent_bytes": 0, "received_bytes": 0, "http": null}
    ]);
    status
}

/// A shelf with nothing on it.
#[derive(Debug)]
struct Nothing;

impl Served for Nothing {
    fn length(&self, _: &Cid) -> Option<u32> {
        None
    }

    fn read(&self, _: &Cid, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        false
    }
}

impl Held for Nothing {
    fn file(&self, _: &Cid) -> Option<Arc<dyn HeldFile>> {
        None
    }

    fn with_digest(&self, _: &Digest) -> Vec<Cid> {
        Vec::new()
    }
}

/// The dashboard, and the status beside it.
struct Daemon {
    dashboard: Dashboard,
    app: Arc<App>,
    status: Arc<Mutex<Value>>,
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Daemon")
    }
}

impl Daemon {
    /// The status with what the catalogue has: files that were added.
    fn status(&self) -> Value {
        let mut status = self.status.lock().expect("a status").clone();
        let held = self.app.catalogue().map(|catalogue| catalogue.list());
        let files = status["files"].as_array_mut().expect("files");
        for held in held.expect("a catalogue").expect("a list") {
            let path = &held.file.path;
            files.push(json!({
                "name": path.file_name().map(|name| name.to_string_lossy()), "size": held.object.size,
                "roots": held.object.roots.iter().map(cid::text).collect::<Vec<_>>(),
                "digests": held.object.digests.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "url": null, "path": path, "kind": "user", "complete": true, "served": true, "why_not": null
            }));
        }
        status
    }
}

impl Pages for Daemon {
    fn has(&self, method: &Method, path: &str) -> bool {
        path == STATUS || self.dashboard.has(method, path)
    }

    fn answer(&self, client: Client, request: Request<Incoming>) -> BoxFuture<'_, Response<Body>> {
        if request.uri().path() != STATUS {
            return self.dashboard.answer(client, request);
        }
        let text = self.status().to_string();
        let body = http_body_util::Full::new(text.into()).map_err(|never| match never {});
        let mut answer = Response::new(body.boxed_unsync());
        let kind = hyper::header::HeaderValue::from_static("application/json");
        answer.headers_mut().insert("content-type", kind);
        Box::pin(async move { answer })
    }
}
