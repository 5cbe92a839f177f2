//! The real peers start, serve, log and end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use callao_content::cid;
use callao_testkit::image::Image;
use callao_testkit::real::{Kubo, Nginx, NginxOptions};

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
