//! A running `callao serve`: started from a command that its caller made, known by the first line of its `--json`.
//!
//! Does not know how its caller keeps it away from the network.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use super::process::Process;

/// How long it may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A daemon; ends when dropped.
#[derive(Debug)]
pub struct Serve {
    process: Process,
    ready: Value,
}

impl Serve {
    /// Starts `command`, which is `callao serve --json` with what else it needs, and waits for its first line. Its stderr
    /// goes where the command sends it.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start(command: &mut Command) -> Self {
        let mut process = Process::start(command.stdout(Stdio::piped())).expect("callao starts");
        let stdout = process.child().stdout.take().expect("stdout was piped");
        let (first, ready) = mpsc::sync_channel(1);
        // Reads on for as long as the daemon lives: a full pipe would stop it.
        std::thread::spawn(move || {
            let mut first = Some(first);
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(first) = first.take() {
                    drop(first.send(line));
                }
            }
        });
        let line = ready
            .recv_timeout(START_LIMIT)
            .unwrap_or_else(|_| panic!("callao serve is not ready: {:?}", process.ended()));
        let ready: Value = serde_json::from_str(&line).expect("the first line is JSON");
        assert_eq!(ready["type"], "ready", "{line}");
        Self { process, ready }
    }

    /// The first line.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// Its process id.
    pub fn pid(&mut self) -> u32 {
        self.process.child().id()
    }

    /// Its peer ID.
    ///
    /// # Panics
    /// When it has said none.
    pub fn peer_id(&self) -> String {
        self.ready["peer_id"]
            .as_str()
            .expect("a peer ID")
            .to_owned()
    }

    /// All its addresses, each ending in `/p2p/ID`.
    pub fn addresses(&self) -> Vec<String> {
        let all = self.ready["addresses"].as_array();
        let texts = all.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    /// The first address with `part` in it (`/tcp/`, `/quic-v1`).
    ///
    /// # Panics
    /// When there is none.
    pub fn address(&self, part: &str) -> String {
        let found = self.addresses().into_iter().find(|all| all.contains(part));
        found.unwrap_or_else(|| panic!("no address with {part}: {}", self.ready))
    }

    /// Where its bitswap listens on TCP.
    ///
    /// # Panics
    /// When it does not.
    pub fn tcp_address(&self) -> SocketAddr {
        super::kubo::tcp_of(&self.address("/tcp/")).expect("an address and a port")
    }

    /// `http://127.0.0.1:PORT` of its gateway.
    ///
    /// # Panics
    /// When it has none.
    pub fn gateway(&self) -> String {
        let url = self.ready["gateway"].as_str().expect("a gateway");
        url.trim_end_matches('/').to_owned()
    }

    /// Where its gateway listens.
    ///
    /// # Panics
    /// When it has none.
    pub fn gateway_address(&self) -> SocketAddr {
        let url = self.gateway();
        let address = url.strip_prefix("http://").unwrap_or_default();
        address.parse().expect("an address and a port")
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Ends it politely.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
