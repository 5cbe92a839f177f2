//! The real kubo and the real program, both ways: from a kubo into Lima's cache, and from there to another kubo that has
//! no other way to it. Skipped where there is no kubo.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use callao_testkit::delay::Delay;
use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::image::Image;
use callao_testkit::real::kubo::peer::Transport;
use callao_testkit::real::{Daemon, Kubo, Serve};
use serde_json::json;

use crate::env::{Sample, TestEnvironment};
use crate::serve_world::{serve, served};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const LEAF: usize = 256 * KIB;
/// Longer than one inner node of 174 links holds.
const LARGE: usize = 46 * MIB + 7;
/// Small files of the directory that is sharded. kubo asks for them one after the other, each 20 ms after the last.
const ENTRIES_COUNT: usize = 300;
/// No `ipfs get` takes longer.
const GET_SECONDS: u32 = 60;
/// Half of a round trip to a peer far away.
const ONE_WAY: Duration = Duration::from_millis(30);

const V0: &[&str] = &["--cid-version=0"];
const V1: &[&str] = &["--cid-version=1"];
/// What the profile `unixfs-v1-2025` is.
const V1_1M: &[&str] = &[
    "--cid-version=1",
    "--chunker=size-1048576",
    "--max-file-links=1024",
];

/// How `ipfs add` is told to import, and files of which sizes.
type Rows = &'static [(&'static [&'static str], &'static [usize])];

const EVERYTHING: Rows = &[
    (V1, &[0, 1, LEAF - 1, LEAF, LEAF + 1, LARGE]),
    (V0, &[0, 1, LEAF - 1, LEAF, LEAF + 1, LARGE]),
    (V1_1M, &[0, 1, MIB - 1, MIB, MIB + 1, LARGE]),
];
const SOME: Rows = &[
    (V1, &[1, LARGE]),
    (V0, &[3 * MIB + 1]),
    (V1_1M, &[3 * MIB + 1]),
];

/// A kubo in the working directory of a test that offers this transport alone.
fn kubo(env: &TestEnvironment, name: &str, transport: Transport) -> Option<Kubo> {
    let kubo = Kubo::init(&env.path(name), &[])?;
    kubo.offer(transport);
    Some(kubo)
}

/// From now on these peers are asked, and nobody else.
fn ask_only(env: &mut TestEnvironment, peers: &[&str]) {
    let peers = json!(peers);
    env.set_peers(&format!(
        "mdns = false\nbootstrap = []\nconnect = {peers}\n"
    ));
}

/// Adds a file of each kind to a kubo; their bytes, by what kubo calls them.
fn add_all(env: &TestEnvironment, kubo: &Kubo, rows: Rows) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for (how, sizes) in rows {
        for size in *sizes {
            let bytes = Image::Random(*size as u64).bytes(*size);
            let path = env.write("to-add.img", &bytes);
            files.insert(kubo.add(&path, how), bytes);
        }
    }
    files
}

/// A daemon that listens on every transport.
fn serve_everywhere(env: &TestEnvironment) -> Serve {
    serve(env, &["--listen", "/ip4/127.0.0.1/udp/0/quic-v1"])
}

/// The address of a daemon for this transport.
fn address(serve: &Serve, transport: Transport) -> String {
    serve.address(match transport {
        Transport::Quic => "/quic-v1",
        Transport::Tls | Transport::Noise => "/tcp/",
    })
}

/// `ipfs get`.
fn ipfs_get(kubo: &Kubo, what: &str, out: &Path) {
    let run = kubo.get(what, out, GET_SECONDS).output();
    let run = run.expect("ipfs starts");
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "ipfs get {what}: {told}");
}

/// Fetches these from the peers that the settings name, by bitswap alone, in one run; the files, in this order.
fn by_bitswap(env: &TestEnvironment, whats: &[&str]) -> Vec<Vec<u8>> {
    let line = [&["get"], whats, &["--only", "bitswap", "--json"]].concat();
    let run = env.succeed(&line);
    let results = run.json().into_iter();
    let results = results.filter(|value| value["type"] == "result");
    let path = |value: serde_json::Value| value["path"].as_str().expect("a path").to_owned();
    results
        .map(|value| fs::read(path(value)).expect("the file"))
        .collect()
}

/// Puts a file into Lima's cache, as one that everybody could have.
fn into_limas_cache(env: &TestEnvironment, sample: &Sample) {
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    env.succeed(&["get", &sample.cid(), "--gateway", &gateway.url()]);
}

/// Every file below a directory, and what is in it.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let name = path.strip_prefix(dir).expect("it is below");
            let name = name.to_string_lossy().into_owned();
            files.insert(name, fs::read(&path).expect("a file"));
        }
    }
    files
}

/// Files go from one kubo into Lima's cache, and from there to another one.
fn through_limas_cache(transport: Transport, rows: Rows) {
    let mut env = TestEnvironment::new();
    let Some(giver) = kubo(&env, "giver", transport) else {
        return;
    };
    let files = add_all(&env, &giver, rows);
    let daemon = giver.daemon(false);
    ask_only(&mut env, &[&giver.address()]);
    let cids: Vec<&str> = files.keys().map(String::as_str).collect();
    let got = by_bitswap(&env, &cids);
    assert_eq!(got.len(), files.len());
    for ((cid, bytes), got) in files.iter().zip(got) {
        assert!(*bytes == got, "{cid} over {transport:?}");
    }
    drop(daemon);

    ask_only(&mut env, &[]);
    let serve = serve_everywhere(&env);
    let taker = kubo(&env, "taker", transport).expect("there was one");
    let _daemon = taker.daemon(false);
    taker.connect(&address(&serve, transport));
    assert_eq!(taker.peers(), [serve.peer_id()]);
    let out = env.path("out.img");
    for (cid, bytes) in &files {
        ipfs_get(&taker, cid, &out);
        let got = fs::read(&out).expect("the file");
        assert!(*bytes == got, "{cid} over {transport:?}");
        fs::remove_file(&out).expect("it is removed");
    }
}

#[test]
fn files_of_every_kind_go_from_kubo_to_limas_cache_and_from_there_to_kubo() {
    through_limas_cache(Transport::Tls, EVERYTHING);
}

#[test]
fn so_they_do_over_noise_and_quic() {
    through_limas_cache(Transport::Noise, SOME);
    through_limas_cache(Transport::Quic, SOME);
}

/// A kubo with a tree of files, one directory of which is sharded; its root in two versions.
fn forest(env: &TestEnvironment) -> Option<(Kubo, [String; 2])> {
    let kubo = kubo(env, "giver", Transport::Tls)?;
    let sharded = json!({ "UnixFSHAMTDirectorySizeThreshold": "2KiB" });
    kubo.configure(&[("/Import", sharded)]);
    let dir = env.path("tree");
    for sub in ["sub dir", "many"] {
        fs::create_dir_all(dir.join(sub)).expect("a directory");
    }
    let image = |seed, size| Image::Random(seed).bytes(size);
    fs::write(dir.join("a.img"), image(1, 2 * LEAF + 5)).expect("a file");
    fs::write(dir.join("sub dir/é %41.img"), image(2, 10)).expect("a file");
    fs::write(dir.join("many/large.img"), image(3, 2 * LEAF)).expect("a file");
    for number in 0..ENTRIES_COUNT {
        let name = format!("many/{number}.txt");
        fs::write(dir.join(name), format!("{number}\n")).expect("a file");
    }
    let roots = [V0, V1].map(|how| kubo.add(&dir, &[how, &["-r"]].concat()));
    for root in &roots {
        // Data of a node of a HAMT begins with the bytes 8 and 5.
        let many = kubo.run(&["dag", "get", &format!("{root}/many")]);
        assert!(many.contains("\"bytes\":\"CAUS"), "{many}");
    }
    Some((kubo, roots))
}

#[test]
fn directories_and_their_shards_go_both_ways() {
    let mut env = TestEnvironment::new();
    let Some((giver, roots)) = forest(&env) else {
        return;
    };
    let wanted = tree(&env.path("tree"));
    let daemon = giver.daemon(false);
    ask_only(&mut env, &[&giver.address()]);
    for root in &roots {
        for (path, name) in [
            ("a.img", "a.img"),
            ("sub%20dir/%C3%A9%20%2541.img", "sub dir/é %41.img"),
            ("many/large.img", "many/large.img"),
            ("many/123.txt", "many/123.txt"),
        ] {
            let got = by_bitswap(&env, &[&format!("ipfs://{root}/{path}")]);
            assert!(got == [wanted[name].clone()], "{root}/{path}");
        }
    }
    for (number, root) in roots.iter().enumerate() {
        giver.export(root, &env.path(&format!("{number}.car")));
    }
    drop(daemon);

    ask_only(&mut env, &[]);
    env.succeed(&["add", "0.car", "1.car"]);
    let serve = serve_everywhere(&env);
    let taker = kubo(&env, "taker", Transport::Tls).expect("there was one");
    let _daemon = taker.daemon(false);
    taker.connect(&address(&serve, Transport::Tls));
    for root in &roots {
        let many = format!("{root}/many");
        let many = taker.run(&["ls", "--size=false", "--resolve-type=false", &many]);
        assert_eq!(many.lines().count(), ENTRIES_COUNT + 1, "{many}");
    }
    let [v0, v1] = roots;
    ipfs_get(&taker, &v1, &env.path("all"));
    assert!(tree(&env.path("all")) == wanted);
    let one = env.path("large.img");
    ipfs_get(&taker, &format!("/ipfs/{v0}/many/large.img"), &one);
    assert!(fs::read(&one).expect("the file") == wanted["many/large.img"]);
}

#[test]
fn kubo_finds_a_file_of_limas_cache_by_the_router_of_callao() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(1201, 3 * MIB + 5));
    let Some(kubo) = kubo(&env, "taker", Transport::Tls) else {
        return;
    };
    into_limas_cache(&env, &sample);
    let serve = serve_everywhere(&env);
    let cid = sample.cid();
    served(&serve, &cid);
    kubo.ask_router(&serve.gateway());
    let _daemon = kubo.daemon(false);
    assert!(kubo.peers().is_empty());
    let found = kubo.run(&["routing", "findprovs", &cid]);
    assert_eq!(found, serve.peer_id());
    let addresses = kubo.run(&["routing", "findpeer", &serve.peer_id()]);
    let own = address(&serve, Transport::Tls);
    let (own, _) = own.split_once("/p2p/").expect("an ID");
    assert!(addresses.lines().any(|line| line == own), "{addresses}");
    let out = env.path("out.img");
    ipfs_get(&kubo, &cid, &out);
    assert!(fs::read(&out).expect("the file") == *sample.bytes);
    assert!(kubo.bitswap_bytes().0 > 3 * MIB as u64);
}

/// A proxy that makes a peer seem far away, and the peer's address behind it.
fn far(near: &str, tcp: std::net::SocketAddr) -> (Delay, String) {
    let delay = Delay::start(tcp, ONE_WAY);
    let (_, id) = near.split_once("/p2p/").expect("an ID");
    let address = format!("{}/p2p/{id}", delay.multiaddr());
    (delay, address)
}

#[test]
fn a_kubo_far_away_gives_and_gets_the_same_bytes() {
    let mut env = TestEnvironment::new();
    let Some(giver) = kubo(&env, "giver", Transport::Tls) else {
        return;
    };
    let files = add_all(&env, &giver, &[(V1, &[12 * MIB + 1]), (V0, &[6 * MIB])]);
    let daemon: Daemon = giver.daemon(false);
    let (delay, address) = far(&giver.address(), giver.tcp_address());
    ask_only(&mut env, &[&address]);
    let cids: Vec<&str> = files.keys().map(String::as_str).collect();
    assert!(by_bitswap(&env, &cids) == files.values().cloned().collect::<Vec<_>>());
    assert!(delay.bytes() > 18 * MIB as u64, "it went another way");
    drop((daemon, delay));

    ask_only(&mut env, &[]);
    let serve = serve_everywhere(&env);
    let taker = kubo(&env, "taker", Transport::Tls).expect("there was one");
    let _daemon = taker.daemon(false);
    let (delay, address) = far(&serve.address("/tcp/"), serve.tcp_address());
    taker.connect(&address);
    for (cid, bytes) in &files {
        let out = env.path(cid);
        ipfs_get(&taker, cid, &out);
        assert!(fs::read(&out).expect("the file") == *bytes, "{cid}");
    }
    assert!(delay.bytes() > 18 * MIB as u64, "it went another way");
}
