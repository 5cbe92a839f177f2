//! A real nginx that serves a directory on loopback.
//!
//! It keeps its configuration, log and temporary files in a directory of its own and runs as whoever runs the test.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::process::{Process, until};
use super::{NGINX_VARIABLE, Network, find};

/// How long nginx may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Where it listens on a host of a network: no two do on one.
const HOST_PORT: u16 = 8000;
/// How often another port is tried.
const TRIES: u32 = 5;

/// How nginx serves.
#[derive(Clone, Debug, Default)]
pub struct NginxOptions {
    /// Bytes per second of each answer (`limit_rate`: nginx sends one second's worth at once when an answer begins).
    pub rate: Option<u64>,
    /// More lines for the `server` block.
    pub extra: String,
}

/// One line of the access log.
#[derive(Clone, Debug)]
pub struct Access {
    /// `GET`, `HEAD`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Status that was answered.
    pub status: u16,
    /// Body bytes handed to the socket.
    pub sent: u64,
    /// The `Range` header, if there was one.
    pub range: Option<String>,
}

/// A running nginx; ends when dropped.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    address: SocketAddr,
    files: TempDir,
    root: PathBuf,
}

impl Nginx {
    /// Serves the files below `root`. `None` when there is no nginx, which has then been said.
    ///
    /// # Panics
    /// When nginx is there and does not start; and as [`super::skip`] does.
    pub fn start(root: &Path, options: &NginxOptions) -> Option<Self> {
        let binary = find("nginx", NGINX_VARIABLE)?;
        let mut trouble = String::new();
        for _ in 0..TRIES {
            match Self::try_start(&binary, root, options) {
                Ok(nginx) => return Some(nginx),
                // Most likely somebody took the port between our look and nginx's.
                Err(error) => trouble = error,
            }
        }
        panic!("{} does not start: {trouble}", binary.display());
    }

    fn try_start(binary: &Path, root: &Path, options: &NginxOptions) -> Result<Self, String> {
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .map_err(|error| error.to_string())?;
        let listens = || TcpStream::connect(address).is_ok();
        Self::started(Command::new(binary), root, options, address, listens)
    }

    /// The same on a host of a network, which reaches it as `http://ADDRESS:8000`.
    ///
    /// # Panics
    /// When nginx is there and does not start; and as [`super::skip`] does.
    pub fn start_on(
        network: &Network,
        host: u8,
        root: &Path,
        options: &NginxOptions,
    ) -> Option<Self> {
        let binary = find("nginx", NGINX_VARIABLE)?;
        let address = SocketAddr::from((network.address(host), HOST_PORT));
        let command = network.command(host, binary);
        // Only the host itself can see its ports.
        let listens = || {
            let look = network.command(host, "ss").args(["-Hlnt"]).output();
            look.is_ok_and(|look| {
                String::from_utf8_lossy(&look.stdout).contains(&address.to_string())
            })
        };
        match Self::started(command, root, options, address, listens) {
            Ok(nginx) => Some(nginx),
            Err(trouble) => panic!("nginx does not start: {trouble}"),
        }
    }

    fn started(
        mut command: Command,
        root: &Path,
        options: &NginxOptions,
        address: SocketAddr,
        listens: impl Fn() -> bool,
    ) -> Result<Self, String> {
        let files = tempfile::Builder::new()
            .prefix("callao-nginx-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        let conf = files.path().join("nginx.conf");
        fs::write(&conf, configuration(root, files.path(), address, options))
            .map_err(|error| error.to_string())?;
        let errors = files.path().join("error.log");
        let mut process = Process::start(
            command
                .arg("-p")
                .arg(files.path())
                .arg("-e")
                .arg(&errors)
                .arg("-c")
                .arg(&conf)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )
        .map_err(|error| error.to_string())?;
        let listens = until(&mut process, START_LIMIT, || listens().then_some(()));
        if listens.is_none() || process.ended().is_some() {
            return Err(fs::read_to_string(errors).unwrap_or_default());
        }
        Ok(Self {
            process,
            address,
            files,
            root: root.to_owned(),
        })
    }

    /// The URL of a file below the root.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// What is served.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The access log so far; an answer is in it once it has ended.
    pub fn log(&self) -> Vec<Access> {
        let text = fs::read_to_string(self.files.path().join("access.log")).unwrap_or_default();
        text.lines().filter_map(parse).collect()
    }

    /// Body bytes of all answers that have ended.
    pub fn bytes_sent(&self) -> u64 {
        self.log().iter().map(|access| access.sent).sum()
    }

    /// Ends it; the port refuses from then on. Its log stays readable.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Kills it in the middle of whatever it sends.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

fn configuration(root: &Path, files: &Path, address: SocketAddr, options: &NginxOptions) -> String {
    let files = files.display();
    let rate = options
        .rate
        .map(|rate| format!("limit_rate {rate};"))
        .unwrap_or_default();
    format!(
        "daemon off;
master_process off;
pid {files}/nginx.pid;
error_log {files}/error.log;
worker_rlimit_nofile 4096;
events {{ worker_connections 1024; }}
http {{
    log_format sent '$request_method $request_uri $status $body_bytes_sent $http_range';
    access_log {files}/access.log sent;
    client_body_temp_path {files}/body;
    proxy_temp_path {files}/proxy;
    fastcgi_temp_path {files}/fastcgi;
    uwsgi_temp_path {files}/uwsgi;
    scgi_temp_path {files}/scgi;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000;
    server {{
        listen {address};
        root \"{}\";
        {rate}
        {}
    }}
}}
",
        root.display(),
        options.extra
    )
}

fn parse(line: &str) -> Option<Access> {
    let mut words = line.split(' ');
    Some(Access {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        status: words.next()?.parse().ok()?,
        sent: words.next()?.parse().ok()?,
        range: words
            .next()
            .filter(|range| *range != "-")
            .map(str::to_owned),
    })
}
