//! kubo as a peer: which transports it offers, whom it connects to, how it finds others, and what it fetches and counts.
//!
//! It listens on loopback alone, knows no router but the one it is given, and asks nobody by itself.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::Kubo;

/// How two peers talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP, and TLS 1.3 in it: what kubo chooses where it can.
    Tls,
    /// TCP, and noise in it.
    Noise,
    /// QUIC.
    Quic,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tls, Self::Noise, Self::Quic];

    /// Where to listen on loopback, at any free port.
    pub fn listen(self) -> &'static str {
        match self {
            Self::Tls | Self::Noise => "/ip4/127.0.0.1/tcp/0",
            Self::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
        }
    }
}

impl Kubo {
    /// Offers this transport alone. Only while no daemon runs.
    pub fn offer(&self, transport: Transport) {
        let tcp = transport != Transport::Quic;
        self.configure(&[
            ("/Addresses/Swarm", json!([transport.listen()])),
            (
                "/Swarm/Transports",
                json!({
                    "Network": { "TCP": tcp, "QUIC": !tcp, "Websocket": false, "WebTransport": false, "Relay": false },
                    "Security": {
                        "TLS": if transport == Transport::Noise { json!(false) } else { json!(100) },
                        "Noise": if transport == Transport::Tls { json!(false) } else { json!(200) },
                    },
                }),
            ),
        ]);
    }

    /// Finds providers through this server of `/routing/v1` (`http://127.0.0.1:PORT`) and no other. Only while no daemon
    /// runs.
    pub fn ask_router(&self, url: &str) {
        self.configure(&[(
            "/Routing",
            json!({ "Type": "delegated", "DelegatedRouters": [url] }),
        )]);
    }

    /// Finds peers by mDNS, listening everywhere. Only while no daemon runs, and only in a network namespace.
    pub fn find_by_mdns(&self) {
        self.configure(&[
            ("/Discovery/MDNS/Enabled", json!(true)),
            ("/Addresses/Swarm", json!(["/ip4/0.0.0.0/tcp/0"])),
        ]);
    }

    /// The peer ID and the addresses of the running daemon, each ending in `/p2p/ID`.
    ///
    /// # Panics
    /// When no daemon runs.
    pub fn identity(&self) -> (String, Vec<String>) {
        let text = self.run(&["id"]);
        let id: Value = serde_json::from_str(&text).expect("ipfs id prints JSON");
        let peer = id["ID"].as_str().expect("an ID").to_owned();
        let addresses = id["Addresses"].as_array().cloned().unwrap_or_default();
        let addresses = addresses
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        (peer, addresses)
    }

    /// The first address of the running daemon.
    ///
    /// # Panics
    /// When no daemon runs, or it listens nowhere.
    pub fn address(&self) -> String {
        let (_, addresses) = self.identity();
        addresses
            .into_iter()
            .next()
            .expect("the daemon listens somewhere")
    }

    /// The TCP address of the running daemon's swarm.
    ///
    /// # Panics
    /// When it has none.
    pub fn tcp_address(&self) -> SocketAddr {
        let (_, addresses) = self.identity();
        addresses
            .iter()
            .find_map(|address| super::tcp_of(address))
            .expect("the daemon listens on TCP")
    }

    /// `ipfs swarm connect` to an address that ends in `/p2p/ID`.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub fn connect(&self, address: &str) {
        self.run(&["swarm", "connect", address]);
    }

    /// IDs of the peers that it is connected to.
    pub fn peers(&self) -> Vec<String> {
        let text = self.run(&["swarm", "peers"]);
        let id = |line: &str| {
            line.rsplit_once("/p2p/")
                .map(|(_, id)| id.trim().to_owned())
        };
        text.lines().filter_map(id).collect()
    }

    /// `ipfs get -o FILE` of a CID or path, which fails after `seconds`.
    pub fn get(&self, what: &str, file: &Path, seconds: u32) -> Command {
        let mut command = self.command();
        command
            .arg("get")
            .arg(format!("--timeout={seconds}s"))
            .arg("-o")
            .arg(file)
            .arg(what);
        command
    }

    /// `ipfs dag import` of a CAR; the text of its roots.
    pub fn import(&self, car: &Path) -> Vec<String> {
        let text = self.run(&["dag", "import", &car.to_string_lossy()]);
        // `Pinned root CID success`
        let root = |line: &str| Some(line.split_whitespace().nth(2)?.to_owned());
        text.lines()
            .filter(|line| line.contains("root"))
            .filter_map(root)
            .collect()
    }

    /// `ipfs dag export` into a file.
    ///
    /// # Panics
    /// When it fails.
    pub fn export(&self, cid: &str, car: &Path) {
        let file = std::fs::File::create(car).expect("a file for the CAR");
        let mut command = self.command();
        command.args(["dag", "export", "--progress=false", cid]);
        let status = command.stdout(file).status().expect("ipfs starts");
        assert!(status.success(), "ipfs dag export {cid}");
    }

    /// What bitswap received from and sent to others, in bytes.
    pub fn bitswap_bytes(&self) -> (u64, u64) {
        let text = self.run(&["bitswap", "stat"]);
        let number = |name: &str| {
            let line = text.lines().find(|line| line.trim().starts_with(name))?;
            line.rsplit_once(':')?.1.trim().parse().ok()
        };
        (
            number("data received").unwrap_or(0),
            number("data sent").unwrap_or(0),
        )
    }

    /// Bytes that the repository takes on disk.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn disk_bytes(&self) -> u64 {
        let output = Command::new("du")
            .args(["-s", "-B1"])
            .arg(self.repository())
            .output()
            .expect("du starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = text.split_whitespace().next().unwrap_or_default();
        number.parse().expect("du prints a number")
    }
}
