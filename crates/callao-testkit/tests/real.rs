//! The real peers start, serve, log and end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use callao_content::cid;
use callao_testkit::delay::Delay;
use callao_testkit::image::Image;
use callao_testkit::real::kubo::peer::Transport;
use callao_testkit::real::{Kubo, Network, Nginx, NginxOptions};

fn get(url: &str, headers: &str) -> Vec<u8> {
    let rest = url.strip_prefix("http://").expect("an http URL");
    let (host, path) = rest.split_at(rest.find('/').expect("a path"));
    let mut stream = TcpStream::connect(host).expect("it listens");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
    )
    .expect("it reads");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("it answers");
    all
}

#[test]
fn nginx_serves_and_counts() {
    let root = tempfile::tempdir().expect("a directory");
    let bytes = Image::Random(1).bytes(100_000);
    std::fs::write(root.path().join("image.img"), &bytes).expect("a file");
    let Some(mut nginx) = Nginx::start(root.path(), &NginxOptions::default()) else {
        return;
    };
    let whole = get(&nginx.url("image.img"), "");
    assert!(whole.starts_with(b"HTTP/1.1 200 OK\r\n") && whole.ends_with(&bytes[50_000..]));
    let part = get(&nginx.url("image.img"), "Range: bytes=0-9\r\n");
    assert!(part.starts_with(b"HTTP/1.1 206") && part.ends_with(&bytes[..10]));
    nginx.stop();
    assert_eq!(nginx.bytes_sent(), 100_010);
    assert_eq!(nginx.log()[1].range.as_deref(), Some("bytes=0-9"));
}

#[test]
fn kubo_adds_cats_and_serves() {
    let root = tempfile::tempdir().expect("a directory");
    let bytes = Image::Pattern.bytes(262_145);
    let file = root.path().join("image.img");
    std::fs::write(&file, &bytes).expect("a file");
    let Some(kubo) = Kubo::init(&root.path().join("repository"), &[]) else {
        return;
    };
    let text = kubo.add(&file, &["--cid-version=1"]);
    assert_eq!(
        text,
        "bafybeig6znqiybwijw5celqbrnzrcmtx7vjz35f6q7fas2xpgbuduy4vim"
    );
    assert_eq!(
        kubo.add(&file, &["--only-hash"]),
        "QmW54qrASwQDdCyE1ik8GjQzD2NBZkp6k3Gnu3wh7HoF71"
    );
    assert_eq!(kubo.cat(&text), bytes);
    let root_cid = cid::parse(&text).expect("kubo prints CIDs");
    assert!(kubo.block_file(&root_cid).is_file());
    let daemon = kubo.daemon(true);
    let answer = get(&format!("{}/ipfs/{text}", daemon.gateway_url()), "");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(&bytes[200_000..]));
    assert!(
        daemon.multiaddr().starts_with("/ip4/127.0.0.1/tcp/")
            && daemon.api_url().starts_with("http://127.0.0.1:")
    );
}

#[test]
fn two_kubos_fetch_from_each_other_over_every_transport_and_from_far_away() {
    let root = tempfile::tempdir().expect("a directory");
    let bytes = Image::Random(2).bytes(600_000);
    let file = root.path().join("image.img");
    std::fs::write(&file, &bytes).expect("a file");
    let Some(holder) = Kubo::init(&root.path().join("holder"), &[]) else {
        return;
    };
    let cid = holder.add(&file, &["--cid-version=1"]);
    for transport in Transport::ALL {
        let taker = Kubo::init(&root.path().join(format!("{transport:?}")), &[]).expect("kubo");
        holder.offer(transport);
        taker.offer(transport);
        let (_one, _other) = (holder.daemon(false), taker.daemon(false));
        let (peer, addresses) = holder.identity();
        let quic = addresses
            .iter()
            .all(|address| address.contains("/quic-v1/"));
        assert_eq!(quic, transport == Transport::Quic, "{addresses:?}");
        let delay = (!quic).then(|| Delay::start(holder.tcp_address(), Duration::from_millis(1)));
        let address = delay.as_ref().map_or_else(
            || holder.address(),
            |delay| format!("{}/p2p/{peer}", delay.multiaddr()),
        );
        taker.connect(&address);
        assert_eq!(taker.peers(), [peer]);
        let out = root.path().join(format!("out-{transport:?}"));
        let run = taker.get(&cid, &out, 30).output().expect("ipfs starts");
        assert!(run.status.success(), "{transport:?}: {run:?}");
        assert!(
            std::fs::read(out).expect("a file") == bytes,
            "{transport:?}"
        );
        assert!(taker.bitswap_bytes().0 > 600_000, "{transport:?}");
        assert!(taker.disk_bytes() > 600_000);
        assert!(delay.is_none_or(|delay| delay.bytes() > 600_000));
    }
    let car = root.path().join("image.car");
    holder.export(&cid, &car);
    let third = Kubo::init(&root.path().join("third"), &[]).expect("kubo");
    assert_eq!(third.import(&car), [cid]);
}

#[test]
fn hosts_of_a_network_see_each_other_and_are_gone_afterwards() {
    let Some(network) = Network::start(2) else {
        return;
    };
    let root = tempfile::tempdir().expect("a directory");
    let bytes = Image::Random(2).bytes(1 << 20);
    std::fs::write(root.path().join("f"), &bytes).expect("a file");
    let Some(nginx) = Nginx::start_on(&network, 0, root.path(), &NginxOptions::default()) else {
        return;
    };
    network.limit(0, 20 << 20);
    let got = network
        .command(1, "curl")
        .args(["-s", &nginx.url("f")])
        .output();
    assert!(got.expect("curl runs").stdout == bytes);
    assert_eq!(nginx.log()[0].sent, 1 << 20);
    let names = || {
        let list = std::process::Command::new("ip")
            .args(["netns", "list"])
            .output();
        String::from_utf8_lossy(&list.expect("ip runs").stdout).into_owned()
    };
    let mine = format!("callao{}-", std::process::id());
    assert_eq!(names().matches(&mine).count(), 3);
    drop((nginx, network));
    assert_eq!(names().matches(&mine).count(), 0);
}
