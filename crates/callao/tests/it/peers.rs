//! Peers that are named: they are asked by bitswap, beside all other places, and each that is of no use says why.

use std::fs;
use std::sync::Arc;

use callao_p2p::NodeOptions;
use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::lan::{LanBehaviour, LanPeer};
use callao_testkit::origin::{Behaviour, Origin, Status, Times};
use callao_testkit::real::Kubo;
use callao_testkit::router::{Router, RouterBehaviour, bitswap_record};
use insta::assert_snapshot;
use serde_json::Value;

use crate::env::{Run, Sample, TestEnvironment};
use crate::holder::Holder;

const SIZE: usize = 3 * 1024 * 1024 + 17;
/// Nobody's.
const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

/// Kind and bytes of every source that gave any.
fn shares(run: &Run) -> Vec<(String, u64)> {
    let result = run.last("result");
    let shares = result["sources"].as_array().expect("sources");
    let share = |value: &Value| {
        let kind = value["source"]["kind"].as_str().expect("a kind");
        (kind.to_owned(), value["bytes"].as_u64().expect("bytes"))
    };
    shares.iter().map(share).collect()
}

/// An address with its port and the peer's ID replaced.
fn without_ids(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive(['/', '`', ' ', '\n', ':']) {
        let bare = word.trim_end_matches(['/', '`', ' ', '\n', ':']);
        let ending = &word[bare.len()..];
        let is_port = bare.len() > 1 && bare.bytes().all(|byte| byte.is_ascii_digit());
        match (bare.starts_with("12D3Koo"), is_port) {
            (true, _) => out.extend(["PEER", ending]),
            (_, true) => out.extend(["PORT", ending]),
            _ => out.push_str(word),
        }
    }
    out
}

#[test]
fn a_named_peer_gives_the_whole_file_by_bitswap() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(700, SIZE));
    let holder = Holder::start(vec![sample.file()]);
    let run = env.succeed(&[
        "get",
        &sample.cid(),
        "--peer",
        &holder.address(),
        "--only",
        "bitswap,lan",
        "--json",
    ]);
    assert_eq!(shares(&run), [("bitswap".to_owned(), SIZE as u64)]);
    let place = &run.last("result")["sources"][0]["source"]["place"];
    assert_eq!(place, &Value::from(holder.peer_id()));
    assert!(holder.sent_bytes() >= SIZE as u64);
    env.assert_nothing_false_in_lima(&sample);
}

#[test]
fn peers_of_the_settings_are_asked_whatever_the_discovery() {
    let (mut env, sample) = (TestEnvironment::new(), Sample::random(701, SIZE));
    let holder = Holder::start(vec![sample.file()]);
    env.set_peers(&format!("connect = [\"{}\"]\n", holder.address()));
    let run = env.succeed(&["get", &sample.cid(), "--json"]);
    assert_eq!(shares(&run), [("bitswap".to_owned(), SIZE as u64)]);
}

#[test]
fn a_peer_helps_an_origin() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(702, SIZE));
    let holder = Holder::start(vec![sample.file()]);
    let slow = Behaviour {
        rate: Some(200_000),
        ..Behaviour::default()
    };
    let origin = Origin::start(sample.bytes.clone(), slow);
    let (digest, cid) = (sample.digest.to_string(), sample.cid());
    let run = env.succeed(&[
        "get",
        &origin.url(),
        "--digest",
        &digest,
        "--cid",
        &cid,
        "--peer",
        &holder.address(),
        "--json",
    ]);
    let all = shares(&run);
    assert_eq!(all[0].0, "bitswap", "{all:?}");
    assert_eq!(all.iter().map(|(_, bytes)| bytes).sum::<u64>(), SIZE as u64);
}

#[test]
fn a_kubo_gives_files_and_what_is_in_directories() {
    let env = TestEnvironment::new();
    let Some(kubo) = Kubo::init(&env.path("repository"), &[]) else {
        return;
    };
    let sample = Sample::random(703, SIZE);
    fs::create_dir(env.path("images")).expect("a directory");
    let file = env.write("images/a.img", &sample.bytes);
    let (file, dir) = (
        kubo.add(&file, &["--cid-version=1"]),
        kubo.add(&env.path("images"), &["-r", "--cid-version=1"]),
    );
    let _daemon = kubo.daemon(false);
    let peer = kubo.address();
    let flags = [
        "--peer", &*peer, "--only", "bitswap", "--json", "-o", "x.img",
    ];
    for what in [file, format!("ipfs://{dir}/a.img")] {
        let run = env.succeed(&[&["get", &*what], &flags[..]].concat());
        assert_eq!(shares(&run), [("bitswap".to_owned(), SIZE as u64)]);
        assert!(fs::read(env.path("x.img")).expect("the file") == *sample.bytes);
        fs::remove_file(env.path("x.img")).expect("it is removed");
        fs::remove_dir_all(env.cache_dir()).expect("the cache is removed");
    }
}

#[test]
fn a_peer_that_is_no_peer_is_told_of_and_holds_nothing_up() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(704, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let other = Holder::start(Vec::new());
    let (place, _) = other.address().rsplit_once('/').map_or_else(
        || panic!("an ID"),
        |(place, id)| (place.to_owned(), id.to_owned()),
    );
    let impostor = format!("{place}/{PEER}");
    let dead = format!("/ip4/127.0.0.1/tcp/1/p2p/{PEER}");
    let (digest, cid) = (sample.digest.to_string(), sample.cid());
    let url = origin.url();
    let run = env.succeed(&[
        "get", &url, "--digest", &digest, "--cid", &cid, "--peer", &impostor, &dead, "--json",
    ]);
    assert_eq!(shares(&run)[0].0, "http");
    let run = env.run(&[
        "get",
        &cid,
        "--cache-dir",
        "other",
        "--peer",
        &impostor,
        &dead,
    ]);
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    let text = without_ids(&env.steady(&run.stderr).replace("\n      ", ""));
    for line in [
        "peer `/ip4/127.0.0.1/tcp/PORT/p2p/PEER`: cannot be reached: another peer answers there: PEER",
        "bitswap /ip4/127.0.0.1/tcp/PORT/p2p/PEER: cannot be reached: another peer answers there: PEER",
        "peer `/ip4/127.0.0.1/tcp/1/p2p/PEER`: cannot be reached: Connection refused (os error 111)",
        "bitswap /ip4/127.0.0.1/tcp/1/p2p/PEER: cannot be reached: Connection refused (os error 111)",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn a_peer_that_lacks_the_file_is_told_of() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(705, SIZE));
    let holder = Holder::start(Vec::new());
    let run = env.run(&["get", &sample.cid(), "--peer", &holder.address()]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let text = without_ids(&env.steady(&run.stderr).replace("\n      ", ""));
    assert!(
        text.contains("bitswap PEER: does not have it: block bafybei"),
        "{text}"
    );
}

#[test]
fn a_peer_must_be_a_multiaddr() {
    let mut env = TestEnvironment::new();
    let sample = Sample::random(706, 1);
    let run = env.run(&["get", &sample.cid(), "--peer", "127.0.0.1:4001"]);
    assert_snapshot!(env.told(&run), @r#"
    exit 2
    error: --peer: not a multiaddr (invalid multiaddr): `127.0.0.1:PORT`
    hint: a peer is named by a multiaddr, such as /ip4/192.168.1.7/tcp/4001/p2p/12D3Koo...
    "#);
    let run = env.run(&["get", &sample.cid(), "--peer", &format!("/p2p/{PEER}")]);
    assert_snapshot!(without_ids(&env.told(&run)), @r#"
    exit 2
    error: --peer: a peer ID without an address: `/p2p/PEER`
    hint: a peer is named by a multiaddr, such as /ip4/192.168.1.7/tcp/PORT/p2p/PEER
    "#);
    env.set_peers("connect = [\"nas\"]\n");
    let run = env.run(&["get", &sample.cid()]);
    assert_snapshot!(env.told(&run), @r#"
    exit 2
    error: peers.connect in the settings: not a multiaddr (invalid multiaddr): `nas`
    hint: a peer is named by a multiaddr, such as /ip4/192.168.1.7/tcp/4001/p2p/12D3Koo...
    "#);
    env.set_peers("bootstrap = [\"/ip4/127.0.0.1/udp/x\"]\n");
    let run = env.run(&["get", &sample.cid(), "--discovery", "public"]);
    assert_snapshot!(env.told(&run), @r#"
    exit 2
    error: peers.bootstrap in the settings: not a multiaddr (failed to parse: invalid digit found in string): 
          `/ip4/127.0.0.1/udp/x`
    hint: a peer is named by a multiaddr, such as /ip4/192.168.1.7/tcp/4001/p2p/12D3Koo...
    "#);
}

#[test]
fn only_decides_about_peers() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(707, SIZE));
    let holder = Holder::start(vec![sample.file()]);
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    let places = ["--peer", &*holder.address(), "--gateway", &*gateway.url()].map(str::to_owned);
    let get = |only: &str, dir: &str| {
        let cid = sample.cid();
        let mut all = vec!["get", &*cid, "--json", "--only", only, "--cache-dir", dir];
        all.extend(places.iter().map(String::as_str));
        env.run(&all)
    };
    let run = get("gateway", "one");
    assert_eq!((run.code, holder.sent_bytes()), (Some(0), 0));
    let asked = gateway.requests().len();
    let run = get("bitswap", "two");
    assert_eq!((run.code, gateway.requests().len()), (Some(0), asked));
    // It has no gateway of its own.
    let run = get("lan", "three");
    assert_eq!((run.code, gateway.requests().len()), (Some(3), asked));
}

#[test]
fn nobody_is_asked_for_what_is_here_or_when_offline() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(708, SIZE));
    let holder = Holder::start(vec![sample.file()]);
    let (peer, cid) = (holder.address(), sample.cid());
    let run = env.run(&["get", &cid, "--peer", &peer, "--offline"]);
    assert_eq!((run.code, holder.connected()), (Some(3), 0));
    env.succeed(&["get", &cid, "--peer", &peer]);
    let sent = holder.sent_bytes();
    let dead = format!("/ip4/127.0.0.1/tcp/1/p2p/{PEER}");
    let run = env.succeed(&["get", &cid, "--peer", &dead]);
    assert!(!run.stderr.contains("peer"), "{}", run.stderr);
    assert_eq!(holder.sent_bytes(), sent);
}

#[test]
fn peers_that_a_router_names_at_private_addresses_are_not_dialled() {
    let (mut env, sample) = (TestEnvironment::new(), Sample::random(709, SIZE));
    let holder = Holder::start(vec![sample.file()]);
    let router = Router::start(RouterBehaviour {
        records: vec![bitswap_record(&holder.peer_id(), &[&holder.address()])],
        ..RouterBehaviour::default()
    });
    env.set(&format!(
        "gateways = []\nrouters = [\"{}\"]\n",
        router.url()
    ));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let (url, digest, cid) = (origin.url(), sample.digest.to_string(), sample.cid());
    let run = env.succeed(&[
        "get",
        "-v",
        &url,
        "--digest",
        &digest,
        "--cid",
        &cid,
        "--discovery",
        "public",
    ]);
    let asked = &router.requests()[0].path;
    let filter = "?filter-protocols=unknown,transport-bitswap,transport-ipfs-gateway-http";
    assert!(asked.ends_with(filter), "{asked}");
    let told = env.steady(&run.stderr);
    assert!(
        told.contains("named 1 addresses of a private network: they are not dialled"),
        "{told}"
    );
    assert_eq!((holder.connected(), holder.sent_bytes()), (0, 0));
}

#[test]
fn a_callao_with_a_gateway_is_asked_by_http_and_by_nothing_but_a_digest() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(711, SIZE));
    let layout = Arc::new(sample.layout.clone());
    let host = LanPeer::start(sample.bytes.clone(), layout, LanBehaviour::default());
    let port = host.url();
    let port = port.rsplit(':').next().expect("a port");
    let holder = Holder::serving(
        vec![sample.file()],
        NodeOptions {
            http: vec![format!("/ip4/127.0.0.1/tcp/{port}/http")],
            ..Holder::options()
        },
    );
    let (peer, digest, cid) = (holder.address(), sample.digest.to_string(), sample.cid());
    let run = env.succeed(&[
        "get",
        &cid,
        "--peer",
        &peer,
        "--only",
        "bitswap,lan",
        "--json",
    ]);
    assert_eq!(shares(&run), [("lan".to_owned(), SIZE as u64)]);
    // Nobody has said what its CID is.
    let gone = Origin::start(sample.bytes.clone(), refusing(404));
    let (url, places) = (
        gone.url(),
        ["--digest", &*digest, "--peer", &*peer, "--json"],
    );
    let elsewhere = ["--cache-dir", "other"];
    let run = env.succeed(&[&["get", &*url], &places[..], &elsewhere[..]].concat());
    assert_eq!(shares(&run), [("lan".to_owned(), SIZE as u64)]);
    // The root itself, which is a small block: a question whether it is there is answered by it.
    assert!(holder.sent_bytes() < 1024, "{}", holder.sent_bytes());
}

fn refusing(code: u16) -> Behaviour {
    Behaviour {
        status: Some(Status {
            code,
            retry_after: None,
            times: Times::Always,
        }),
        ..Behaviour::default()
    }
}

#[test]
fn explain_and_doctor_ask_peers_too() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(710, SIZE));
    let holder = Holder::start(vec![sample.file()]);
    let dead = format!("/ip4/127.0.0.1/tcp/1/p2p/{PEER}");
    let run = env.run(&["explain", &sample.cid(), "--peer", &holder.address(), &dead]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let text = without_ids(&env.steady(&run.stdout).replace("\n      ", ""));
    for line in [
        // Its version follows if it has said who it is by then.
        "bitswap PEER: has it (N ms); 3.00 MiB, ranges, blocks",
        "bitswap /ip4/127.0.0.1/tcp/1/p2p/PEER: cannot be reached: Connection refused (os error 111) (N ms)",
    ] {
        assert!(text.contains(line), "{text}");
        assert_eq!(text.matches("has it").count(), 1, "{text}");
    }
    let run = env.run(&["doctor", "--json", "--peer", &holder.address(), &dead]);
    let findings = run.json();
    let peers: Vec<_> = findings
        .iter()
        .filter(|one| one["name"] == "peer")
        .collect();
    assert_eq!(peers.len(), 2, "{}", run.stdout);
}
