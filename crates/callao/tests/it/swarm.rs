//! Hosts of a network that want the same file at the same moment: network namespaces with a `callao serve` and a `callao
//! get` each, one that only fetches, and one that is the origin: a web server, and a kubo to which the file was published.
//! Needs root, iproute2, nginx and kubo.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use callao_testkit::real::{Daemon, Kubo, Network, Nginx, NginxOptions, Serve, say};
use serde_json::Value;

use crate::env::{Run, Sample, TestEnvironment};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 48 * MIB;
/// Hosts that serve what they fetch.
const HOSTS: u8 = 8;
/// One that does not.
const GUEST: u8 = HOSTS;
const ORIGIN: u8 = HOSTS + 1;
/// What the origin sends to all of them together, in bytes per second,
const ORIGIN_RATE: u64 = 4 * MIB;
/// and what each host sends and gets.
const LAN_RATE: u64 = 100 * MIB;
/// Of what the origin sends, in files.
const ORIGIN_SHARE_MAX: f64 = 1.5;

/// A host and what runs on it.
struct Host {
    env: TestEnvironment,
    number: u8,
    _serve: Option<Serve>,
}

/// The origin.
struct Origin {
    nginx: Nginx,
    kubo: Daemon,
    _files: TestEnvironment,
}

impl Origin {
    fn start(network: &Network, sample: &Sample) -> Option<Self> {
        let files = TestEnvironment::new();
        fs::create_dir(files.path("www")).expect("a directory");
        let file = files.write("www/a.img", &sample.bytes);
        let kubo = Kubo::init(&files.path("repository"), &[])?;
        assert_eq!(kubo.add(&file, &["--cid-version=1"]), sample.cid());
        let root = files.path("www");
        let nginx = Nginx::start_on(network, ORIGIN, &root, &NginxOptions::default())?;
        Some(Origin {
            nginx,
            kubo: kubo.daemon_on(network, ORIGIN),
            _files: files,
        })
    }
}

impl Host {
    fn start(network: &Network, number: u8, serves: bool) -> Self {
        let mut env = TestEnvironment::new();
        env.be_patient();
        env.set_peers("bootstrap = []\n");
        // Nobody else reaches the origin of this test, so what comes from it is public to them all.
        env.set_section("[serve]\nprivate_origins = true\n");
        let mut host = Host {
            env,
            number,
            _serve: None,
        };
        if serves {
            let line = "serve --json --gateway 127.0.0.1:0 --listen /ip4/0.0.0.0/tcp/0 --lan 0.0.0.0:22554";
            let mut command = host.command(network, &line.split(' ').collect::<Vec<_>>());
            host._serve = Some(Serve::start(command.stderr(Stdio::null())));
        }
        host
    }

    fn command(&self, network: &Network, line: &[&str]) -> Command {
        let mut command = self.env.command(line);
        command
            .env("CALLAO_DISCOVERY", "lan")
            .env("NO_PROXY", "127.0.0.1,10.199.0.0/24");
        network.moved(self.number, &command)
    }

    fn get(&self, network: &Network, origin: &Origin, sample: &Sample) -> Child {
        let (url, digest) = (origin.nginx.url("a.img"), sample.digest.to_string());
        let (cid, gateway) = (sample.cid(), origin.kubo.gateway_url());
        let line = [
            "get",
            &url,
            "--digest",
            &digest,
            "--cid",
            &cid,
            "--gateway",
            gateway,
            "--json",
        ];
        let mut command = self.command(network, &line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("it starts")
    }
}

#[test]
fn hosts_that_start_together_fetch_from_the_origin_about_once() {
    let Some(network) = Network::start(ORIGIN + 1) else {
        return;
    };
    let sample = Sample::random(730, SIZE as usize);
    let Some(origin) = Origin::start(&network, &sample) else {
        return;
    };
    let hosts: Vec<Host> = (0..=GUEST)
        .map(|number| Host::start(&network, number, number != GUEST))
        .collect();
    (0..=GUEST).for_each(|host| network.limit(host, LAN_RATE));
    network.limit(ORIGIN, ORIGIN_RATE);
    let (begun, before) = (Instant::now(), network.sent_bytes(ORIGIN));
    let fetching: Vec<Child> = hosts
        .iter()
        .map(|host| host.get(&network, &origin, &sample))
        .collect();
    let runs = fetching
        .into_iter()
        .map(|child| Run::of(child.wait_with_output().expect("it ends")));
    let runs: Vec<Run> = runs.collect();
    let (took, sent) = (begun.elapsed(), network.sent_bytes(ORIGIN) - before);
    let mut from_origin = 0;
    for (host, run) in hosts.iter().zip(&runs) {
        assert_eq!(run.code, Some(0), "host {}: {}", host.number, run.stderr);
        let result = run.last("result");
        assert_eq!(result["proof"], "digest_and_cid", "{result}");
        let path = result["path"].as_str().expect("a path");
        assert!(fs::read(path).expect("the file") == *sample.bytes);
        from_origin += shares(host, &network, &result);
    }
    let share = sent as f64 / SIZE as f64;
    told(&runs, took, share, from_origin);
    assert!(
        share <= ORIGIN_SHARE_MAX,
        "the origin sent {share:.2} of the file"
    );
}

/// Everybody gets something from the others, and nothing from itself; the bytes that were not theirs. How much is a matter
/// of how the origin's line happens to be shared: whoever is faster there brings more.
fn shares(host: &Host, network: &Network, result: &Value) -> u64 {
    let (mut lan, mut outside) = (0, 0);
    for share in result["sources"].as_array().expect("sources") {
        let bytes = share["bytes"].as_u64().expect("bytes");
        match share["source"]["kind"].as_str() {
            Some("lan") => lan += bytes,
            _ => outside += bytes,
        }
        let place = share["source"]["place"].as_str().expect("a place");
        let own = format!("//{}:", network.address(host.number));
        assert!(!place.contains(&own), "it was its own peer: {share}");
    }
    assert!(lan > 0, "host {}: {result}", host.number);
    outside
}

/// What was measured, which depends on the computer: for people.
fn told(runs: &[Run], took: Duration, share: f64, from_origin: u64) {
    let times = runs
        .iter()
        .map(|run| run.last("result")["elapsed_ms"].as_u64().unwrap_or(0));
    let slowest = times.max().unwrap_or(0) as f64 / 1000.0;
    let once = SIZE as f64 / ORIGIN_RATE as f64;
    say(&format!(
        "{} hosts: the origin sent {share:.2} of the file ({:.2} arrived and counted); the last fetch took {slowest:.1} s, \
         {:.2} of the {once:.1} s that the origin needs for one (all in all {:.1} s)",
        runs.len(),
        from_origin as f64 / SIZE as f64,
        slowest / once,
        took.as_secs_f64(),
    ));
}
