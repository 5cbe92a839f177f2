//! A real kubo: repositories that know no network, their daemon, and the commands that tests need.
//!
//! Nothing it starts reaches beyond loopback: no bootstrap, no routing, no mDNS, no automatic configuration or telemetry.

pub mod peer;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::process::{Process, until};
use super::{KUBO_VARIABLE, Network, find};

/// How long a daemon may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Where the gateway of a daemon on a host of a network listens: no two do on one.
const HOST_GATEWAY_PORT: u16 = 8080;

/// One repository.
#[derive(Clone, Debug)]
pub struct Kubo {
    binary: PathBuf,
    repository: PathBuf,
}

impl Kubo {
    /// Makes a repository in `directory`, which must not exist or be empty, with these of kubo's profiles
    /// (`unixfs-v1-2025`, `pebbleds`, ...) besides `test`. `None` when there is no kubo, which has then been said.
    ///
    /// # Panics
    /// When kubo is there and fails; and as [`super::skip`] does.
    pub fn init(directory: &Path, profiles: &[&str]) -> Option<Self> {
        let kubo = Self {
            binary: find("ipfs", KUBO_VARIABLE)?,
            repository: directory.to_owned(),
        };
        fs::create_dir_all(directory).expect("a directory for the repository");
        let all: Vec<_> = ["test"].iter().chain(profiles).copied().collect();
        kubo.run(&[
            "init",
            "--empty-repo",
            &format!("--profile={}", all.join(",")),
        ]);
        kubo.isolate();
        Some(kubo)
    }

    /// `$IPFS_PATH`.
    pub fn repository(&self) -> &Path {
        &self.repository
    }

    /// An `ipfs` command for this repository.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env("IPFS_PATH", &self.repository)
            .env("HOME", &self.repository)
            .env("IPFS_TELEMETRY", "off")
            .stdin(Stdio::null());
        command
    }

    /// Where the program is.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Runs a command that must succeed; its stdout without the last newline.
    ///
    /// # Panics
    /// When it fails, with its stderr.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ipfs {arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// Runs a command, whatever comes of it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command()
            .args(arguments)
            .output()
            .expect("ipfs starts")
    }

    /// `ipfs add -Q` with more arguments (`--cid-version=1`, `--only-hash`); the CID's text.
    pub fn add(&self, file: &Path, arguments: &[&str]) -> String {
        let mut all = vec!["add", "-Q"];
        all.extend(arguments);
        let file = file.to_string_lossy();
        all.push(&file);
        self.run(&all)
    }

    /// `ipfs cat`.
    ///
    /// # Panics
    /// When it fails, with its stderr.
    pub fn cat(&self, cid: &str) -> Vec<u8> {
        let output = self.output(&["cat", "--offline", cid]);
        assert!(
            output.status.success(),
            "ipfs cat {cid}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// The flatfs file of the block that a CID (any version) names.
    pub fn block_file(&self, cid: &callao_content::Cid) -> PathBuf {
        let key = callao_content::cid::multihash_base32_upper(cid);
        let shard = &key[key.len() - 3..key.len() - 1];
        self.repository
            .join("blocks")
            .join(shard)
            .join(format!("{key}.data"))
    }

    /// Changes settings: pointers such as `/Gateway/NoFetch` and their values. Only while no daemon runs.
    ///
    /// # Panics
    /// When the configuration cannot be read or written.
    pub fn configure(&self, settings: &[(&str, Value)]) {
        let path = self.repository.join("config");
        let text = fs::read_to_string(&path).expect("a repository has a configuration");
        let mut config: Value = serde_json::from_str(&text).expect("the configuration is JSON");
        for (pointer, value) in settings {
            let mut at = &mut config;
            for name in pointer.split('/').skip(1) {
                at = &mut at[name];
            }
            *at = value.clone();
        }
        fs::write(path, config.to_string()).expect("the configuration can be written");
    }

    /// Starts the daemon and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn daemon(&self, offline: bool) -> Daemon {
        // A client learns the gateway's address from these settings, as with any daemon: no port 0 here.
        let gateway = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let answers = |url: &str| {
            std::net::TcpStream::connect(url.strip_prefix("http://")?)
                .ok()
                .map(drop)
        };
        let mut command = self.command();
        command.arg("daemon").args(offline.then_some("--offline"));
        self.started(command, gateway, answers)
    }

    /// The same on a host of a network, with a gateway for all hosts of it.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn daemon_on(&self, network: &Network, host: u8) -> Daemon {
        let gateway = SocketAddr::from((network.address(host), HOST_GATEWAY_PORT));
        let mut command = network.moved(host, &self.command());
        command.args(["daemon", "--offline"]).stdin(Stdio::null());
        // Only the host itself can see its ports; it listens before it writes down where.
        self.started(command, gateway, |_| Some(()))
    }

    fn started(
        &self,
        mut command: Command,
        gateway: SocketAddr,
        answers: impl Fn(&str) -> Option<()>,
    ) -> Daemon {
        // Left behind by a daemon that was killed, they would be read as those of the new one.
        for name in ["api", "gateway"] {
            drop(fs::remove_file(self.repository.join(name)));
        }
        let gateway = json!(format!("/ip4/{}/tcp/{}", gateway.ip(), gateway.port()));
        self.configure(&[("/Addresses/Gateway", gateway)]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process::start(&mut command).expect("ipfs starts");
        let stdout = process.child().stdout.take().expect("stdout was piped");
        // Reads on for as long as the daemon lives: a full pipe would stop it.
        std::thread::spawn(move || {
            BufReader::new(stdout)
                .lines()
                .map_while(Result::ok)
                .for_each(drop)
        });
        let read = |name: &str| {
            let text = fs::read_to_string(self.repository.join(name)).ok()?;
            (!text.is_empty()).then_some(text)
        };
        let ready = until(&mut process, START_LIMIT, || {
            let (api, gateway) = (read("api")?, read("gateway")?);
            answers(&api_url(&api)?).and_then(|()| answers(&gateway))?;
            Some((api, gateway))
        });
        let (multiaddr, gateway_url) = ready.expect("the daemon becomes ready");
        let api_url = api_url(&multiaddr).expect("the API has a TCP address");
        Daemon {
            process,
            api_url,
            gateway_url,
            multiaddr,
        }
    }

    fn isolate(&self) {
        self.configure(&[
            ("/Bootstrap", json!([])),
            ("/AutoConf", json!({ "Enabled": false })),
            ("/AutoTLS", json!({ "Enabled": false })),
            ("/DNS", json!({ "Resolvers": {} })),
            ("/Ipns/DelegatedPublishers", json!([])),
            (
                "/Routing",
                json!({ "Type": "none", "DelegatedRouters": [] }),
            ),
            ("/Discovery/MDNS/Enabled", json!(false)),
            ("/Provide", json!({ "Enabled": false })),
            ("/Version", json!({ "SwarmCheckEnabled": false })),
            ("/Swarm/DisableNatPortMap", json!(true)),
            ("/Swarm/RelayClient", json!({ "Enabled": false })),
            ("/Swarm/RelayService", json!({ "Enabled": false })),
            ("/Addresses/Swarm", json!(["/ip4/127.0.0.1/tcp/0"])),
            ("/Addresses/API", json!("/ip4/127.0.0.1/tcp/0")),
            ("/Addresses/Gateway", json!("/ip4/127.0.0.1/tcp/0")),
        ]);
    }
}

/// A running daemon; ends when dropped.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    api_url: String,
    gateway_url: String,
    multiaddr: String,
}

impl Daemon {
    /// Its process id.
    pub fn pid(&mut self) -> u32 {
        self.process.child().id()
    }

    /// `http://127.0.0.1:PORT` of the RPC API.
    pub fn api_url(&self) -> &str {
        &self.api_url
    }

    /// `http://127.0.0.1:PORT` of the gateway.
    pub fn gateway_url(&self) -> &str {
        &self.gateway_url
    }

    /// `/ip4/127.0.0.1/tcp/PORT` of the RPC API.
    pub fn multiaddr(&self) -> &str {
        &self.multiaddr
    }

    /// Ends it politely.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// SIGKILL: `api`, `gateway` and the lock stay behind.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

fn api_url(multiaddr: &str) -> Option<String> {
    Some(format!("http://{}", tcp_of(multiaddr)?))
}

/// Address and port of `/ip4/ADDRESS/tcp/PORT...`.
pub(crate) fn tcp_of(multiaddr: &str) -> Option<SocketAddr> {
    let rest = multiaddr.trim().strip_prefix("/ip4/")?;
    let (host, rest) = rest.split_once("/tcp/")?;
    let port = rest.split('/').next()?;
    format!("{host}:{port}").parse().ok()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
    listener.local_addr().expect("it is bound").port()
}
