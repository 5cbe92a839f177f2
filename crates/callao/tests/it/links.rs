//! Networks that fail: links that are cut without a word, no network at all, and guests on a real interface. Each in network
//! namespaces of its own; needs root and iproute2.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command};

use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::real::{Network, Serve};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::env::{Run, Sample, TestEnvironment};
use crate::gateway_world;
use crate::serve_world::{LINE, get, serve_with, status, until};

const MIB: usize = 1 << 20;
/// Nobody's.
const NOBODY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
/// The daemon of which connections are lost.
const OURS: u8 = 0;
/// Its peer, which the cable is pulled from.
const LOST: u8 = 1;
/// The other source.
const OTHER: u8 = 2;

/// A daemon on a host, for everybody on the network.
fn serve_on(network: &Network, host: u8, env: &TestEnvironment, more: &[&str]) -> Serve {
    let everywhere = ["--lan", "0.0.0.0:0", "--listen", "/ip4/0.0.0.0/tcp/0"];
    let line = [&LINE[..4], &everywhere, more].concat();
    network.on(host, || serve_with(&mut env.command(&line)))
}

/// A daemon that holds a file and gives it away slowly.
fn holder_on(network: &Network, host: u8, sample: &Sample) -> (TestEnvironment, Serve) {
    let mut env = TestEnvironment::new();
    env.set_section("\n[serve]\nupload_rate_max = \"4MiB\"\n");
    env.write("disk.img", &sample.bytes);
    env.succeed(&["add", "disk.img"]);
    let serve = serve_on(network, host, &env, &[]);
    (env, serve)
}

fn status_on(network: &Network, host: u8, serve: &Serve) -> Value {
    network.on(host, || status(serve))
}

fn sent_bytes(network: &Network, host: u8, serve: &Serve) -> u64 {
    let status = status_on(network, host, serve);
    status["totals"]["sent_bytes"].as_u64().expect("bytes")
}

/// The address for others on the network.
fn address(network: &Network, host: u8, serve: &Serve) -> String {
    serve.address(&format!("/ip4/{}/", network.address(host)))
}

/// Waits until it has ended.
fn ended(mut child: Child) -> Run {
    until("it ends", || child.try_wait().expect("a child"));
    Run::of(child.wait_with_output().expect("it has ended"))
}

#[test]
fn a_cut_link_takes_its_source_away_and_its_peer_is_found_again() {
    let Some(network) = Network::start(3) else {
        return;
    };
    let sample = Sample::random(1301, 24 * MIB);
    let cid = sample.cid();
    let (_lost_env, lost) = holder_on(&network, LOST, &sample);
    let (_other_env, other) = holder_on(&network, OTHER, &sample);
    let peer = address(&network, LOST, &lost);
    let second = address(&network, OTHER, &other);
    let peers = [&*peer, &*second];
    let env = TestEnvironment::new();
    let ours = serve_on(&network, OURS, &env, &["--peer", &peer]);
    let connected = || {
        let status = status_on(&network, OURS, &ours);
        let peers = status["peers"].as_array().expect("peers").iter();
        let ids: Vec<String> = peers.map(|peer| peer["peer_id"].to_string()).collect();
        ids.contains(&format!("\"{}\"", lost.peer_id()))
    };
    until("the peer is connected", || connected().then_some(()));

    for kind in ["lan", "bitswap"] {
        let before = sent_bytes(&network, LOST, &lost);
        let out = format!("{kind}.img");
        let places = ["--only", kind, "--cache-dir", kind, "-o", &*out];
        let line = [&["get", &*cid, "--peer"], &peers[..], &places[..]].concat();
        let child = network.on(OURS, || env.start(&line));
        until("the source gives something", || {
            (sent_bytes(&network, LOST, &lost) > before + MIB as u64).then_some(())
        });
        network.unplug(LOST);
        let run = ended(child);
        assert_eq!(run.code, Some(0), "{kind}: {}", run.stderr);
        assert!(fs::read(env.path(&out)).expect("the file") == *sample.bytes);
        if kind == "lan" {
            network.plug(LOST);
        }
    }
    // Nothing told the system that the other end is gone.
    until("the dead connection is closed", || {
        (!connected()).then_some(())
    });
    network.plug(LOST);
    until("the peer is connected again", || connected().then_some(()));
}

/// Programs are told from where they are asked; these are asked from another host.
fn ask_from(
    network: &Network,
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> gateway_world::Reply {
    network.on(1, || gateway_world::ask(address, method, target, headers))
}

#[test]
fn guests_on_a_real_interface_get_what_is_here_and_nothing_else() {
    let Some(network) = Network::start(2) else {
        return;
    };
    let env = TestEnvironment::new();
    let (here, far) = (Sample::random(1302, 2 * MIB), Sample::random(1303, MIB));
    env.write("disk.img", &here.bytes);
    env.succeed(&["add", "disk.img"]);
    let files = vec![far.file()];
    let gateway = network.on(0, || {
        Gateway::start(files, Vec::new(), GatewayBehaviour::default())
    });
    let mut command = env.command(&[&LINE[..], &["--lan", "0.0.0.0:0"]].concat());
    command.env("IPFS_GATEWAY", gateway.url());
    let serve = network.on(0, || serve_with(&mut command));
    let lan = serve.ready()["lan"].as_str().expect("a gateway");
    let port = lan.rsplit(':').next().and_then(|port| port.parse().ok());
    let address = SocketAddr::from((network.address(0), port.expect("a port")));
    let ask = |method: &str, target: &str, headers: &[(&str, &str)]| {
        ask_from(&network, address, method, target, headers)
    };

    let target = format!("/ipfs/{}", here.cid());
    assert!(ask("GET", &target, &[]).body == *here.bytes);
    let part = ask("GET", &target, &[("Range", "bytes=1000000-1999999")]);
    assert_eq!(part.status, 206);
    assert!(part.body == here.bytes[1_000_000..2_000_000]);

    // What the owner may do is not for guests, whatever they call this computer.
    let loopback = format!("127.0.0.1:{}", address.port());
    let far_target = format!("/ipfs/{}", far.cid());
    for host in ["localhost", &loopback, &address.to_string()] {
        let headers = [("Host", host)];
        assert_eq!(ask("GET", &far_target, &headers).status, 404, "{host}");
        let router = ask(
            "GET",
            &format!("/routing/v1/providers/{}", far.cid()),
            &headers,
        );
        assert_eq!(router.text(), "{\"Providers\":[]}", "{host}");
        for page in ["/", "/callao/v1/status", "/metrics"] {
            assert_eq!(ask("GET", page, &headers).status, 403, "{page} {host}");
        }
        for page in ["/callao/v1/add?name=x.img", "/callao/v1/progress"] {
            let headers = [("Host", host), ("Content-Length", "0")];
            assert_eq!(ask("POST", page, &headers).status, 403, "{page} {host}");
        }
    }
    assert!(gateway.requests().is_empty(), "it was looked for");
    let fetches = &status_on(&network, 0, &serve)["fetches"];
    assert_eq!(fetches, &json!([]));

    hostile(&target, ask);
    assert!(ask("GET", &target, &[]).body == *here.bytes);
    // Its owner gets the other file, and then it is here.
    let owner = network.on(0, || get(serve.gateway_address(), &far_target));
    assert!(owner.body == *far.bytes, "{}", owner.head);
    until("it is here", || {
        (ask("GET", &far_target, &[]).status == 200).then_some(())
    });
}

/// Requests that nobody sends in good faith: each is refused, and none gives anything away.
fn hostile(target: &str, ask: impl Fn(&str, &str, &[(&str, &str)]) -> gateway_world::Reply) {
    let long = format!("/ipfs/{}", "a".repeat(70_000));
    for path in [
        "/ipfs/../../../../etc/passwd",
        "/ipfs/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/ipfs/..%2f..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/ipfs/",
        "/ipfs/%00",
        "/ipfs/%ff%fe",
        "/ipfs/%",
        "*",
        "http://evil.example/etc/passwd",
        &*format!("{target}/../../../etc/passwd"),
        &*long,
    ] {
        let reply = ask("GET", path, &[]);
        let shown: String = path.chars().take(60).collect();
        // 0: closed without an answer.
        let refused = reply.status == 0 || (300..500).contains(&reply.status);
        assert!(refused, "{shown}: {} {}", reply.status, reply.text());
        assert!(!reply.text().contains("root:"), "{shown}");
    }
    for (range, statuses) in [
        ("bytes=5-1", &[200, 400, 416][..]),
        ("bytes=99999999999999999999-", &[200, 400, 416]),
        ("bytes=4000000-", &[416]),
        ("bytes=-0", &[200, 400, 416]),
        ("lines=0-1", &[200]),
        ("bytes=0-0,2-2", &[200, 206, 416]),
    ] {
        let reply = ask("HEAD", target, &[("Range", range)]);
        assert!(
            statuses.contains(&reply.status),
            "{range}: {}",
            reply.status
        );
    }
}

/// Changes something about the devices of a host.
fn ip_on(network: &Network, line: &str) {
    let status = network.on(0, || Command::new("ip").args(line.split(' ')).status());
    assert!(status.expect("ip runs").success(), "ip {line}");
}

#[test]
fn without_any_network_it_says_so_and_hangs_nowhere() {
    let Some(network) = Network::start(1) else {
        return;
    };
    ip_on(&network, "link set lo down");
    ip_on(&network, "link set eth0 down");
    ip_on(&network, "addr flush dev eth0");
    let mut env = TestEnvironment::new();
    // Nobody answers there even if something gets out.
    env.set_peers(&format!(
        "bootstrap = [\"/ip4/10.199.0.9/tcp/1/p2p/{NOBODY}\"]\n"
    ));
    let sample = Sample::random(1304, MIB);
    let (cid, digest) = (sample.cid(), sample.digest.to_string());
    let url = "https://images.example/a.img";
    let line = ["get", url, "--digest", &digest, "--cid", &cid];
    let public = ["--discovery", "public"];
    let run = ended(network.on(0, || env.start(&[&line[..], &public].concat())));
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    assert!(run.stderr.contains("no connection"), "{}", run.stderr);

    let log = env.path("log");
    let everywhere = ["--listen", "/ip4/0.0.0.0/tcp/0", "--discovery", "public"];
    let mut command = env.command(&[&LINE[..4], &everywhere].concat());
    command.stderr(fs::File::create(&log).expect("a log"));
    let mut serve = network.on(0, || Serve::start(&mut command));
    let said = fs::read_to_string(&log).expect("the log");
    assert!(
        said.contains("this computer has no address on any network"),
        "{said}"
    );
    ip_on(&network, "link set lo up");
    let answer = network.on(0, || get(serve.gateway_address(), &format!("/ipfs/{cid}")));
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(answer.text().contains("no connection"), "{}", answer.text());
    // The network comes later.
    ip_on(&network, "link set eth0 up");
    ip_on(
        &network,
        &format!("addr add {}/24 dev eth0", network.address(0)),
    );
    let own = format!("/ip4/{}/", network.address(0));
    until("it is there", || {
        let addresses = status_on(&network, 0, &serve)["addresses"].to_string();
        addresses.contains(&own).then_some(())
    });
    let pid = Pid::from_raw(i32::try_from(serve.pid()).expect("a pid")).expect("a pid");
    kill_process(pid, Signal::TERM).expect("a signal is sent");
    let status = until("it ends", || serve.ended());
    assert_eq!(status.code(), Some(0));
}
