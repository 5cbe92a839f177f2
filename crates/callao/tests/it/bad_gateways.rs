//! Bad days of gateways, kubo daemons and block stores, and CIDs that lie.

use std::fs;

use callao_content::cid;
use callao_testkit::gateway::{CarEnd, Gateway, GatewayBehaviour, Which};
use callao_testkit::kubo::{FakeKubo, KuboBehaviour};
use callao_testkit::origin::{Behaviour, Origin};
use insta::assert_snapshot;

use crate::env::{Run, Sample, TestEnvironment};

const SIZE: usize = 3 * 1024 * 1024 + 17;

/// One get by CID from one gateway that behaves like this.
fn get_from(behaviour: GatewayBehaviour) -> (TestEnvironment, Run) {
    let (env, sample) = (TestEnvironment::new(), Sample::random(40, SIZE));
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), behaviour);
    let run = env.run(&[
        "get",
        &format!("ipfs://{}/a.img", sample.cid()),
        "--gateway",
        &gateway.url(),
    ]);
    env.assert_nothing_false_in_lima(&sample);
    (env, run)
}

fn good(behaviour: GatewayBehaviour) {
    let (_, run) = get_from(behaviour);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

fn bad(behaviour: GatewayBehaviour, code: i32) -> String {
    let (env, run) = get_from(behaviour);
    assert_eq!(run.code, Some(code), "{}", run.stderr);
    env.told(&run)
}

#[test]
fn raw_blocks_are_enough() {
    good(GatewayBehaviour {
        car: false,
        ..GatewayBehaviour::default()
    });
}

#[test]
fn blocks_in_another_order_are_the_same_blocks() {
    good(GatewayBehaviour {
        shuffled: true,
        ..GatewayBehaviour::default()
    });
}

#[test]
fn truncated_cars_are_continued() {
    for end in [CarEnd::Cut, CarEnd::Marker, CarEnd::Clean] {
        good(GatewayBehaviour {
            car_ends_after: Some((3, end)),
            ..GatewayBehaviour::default()
        });
    }
}

#[test]
fn a_busy_gateway_is_asked_again() {
    good(GatewayBehaviour {
        busy: Some((1, Some(1))),
        ..GatewayBehaviour::default()
    });
}

#[test]
fn a_wrong_block_bans_the_gateway() {
    assert_snapshot!(bad(GatewayBehaviour { wrong: Some(Which::EveryRaw), ..GatewayBehaviour::default() }, 5), @r##"
    exit 5
    Attempting to download the image  location="ipfs://bafybeigzl65.../a.img"
    Downloading the image (a.img)
    warning: gateway http://127.0.0.1:PORT is not to be trusted: sent false bytes: the 262144 bytes given for 
          block bafkreifenpo... do not have its hash
    error: failed to download the image `ipfs://bafybeigzl65.../a.img`: no source could deliver the image
      gateway http://127.0.0.1:PORT: sent false bytes: the 262144 bytes given for block bafkreifenpo... do not 
          have its hash
    "##);
}

#[test]
fn a_block_of_3_mib_is_refused() {
    let told = bad(
        GatewayBehaviour {
            oversize: Some(Which::Nth(0)),
            ..GatewayBehaviour::default()
        },
        4,
    );
    assert!(
        told.contains("2 MiB") || told.contains("2097152") || told.contains("large"),
        "{told}"
    );
}

#[test]
fn a_web_page_is_no_block() {
    let told = bad(
        GatewayBehaviour {
            html: true,
            ..GatewayBehaviour::default()
        },
        4,
    );
    assert!(
        told.contains("HTML") || told.contains("text/html"),
        "{told}"
    );
}

#[test]
fn a_gateway_without_the_file_has_exit_code_3() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(41, SIZE));
    let gateway = Gateway::start(Vec::new(), Vec::new(), GatewayBehaviour::default());
    let run = env.run(&["get", &sample.cid(), "--gateway", &gateway.url()]);
    assert_snapshot!(env.told(&run), @r##"
    exit 3
    Attempting to download the file  cid="bafybeiec7gl..."  location="ipfs://bafybeiec7gl..."
    Downloading the file (bafybeiec7gl...)
    error: failed to download the file `ipfs://bafybeiec7gl...`: no source could deliver the file
      gateway http://127.0.0.1:PORT: does not have it: HTTP 404 Not Found
    "##);
}

#[test]
fn a_second_place_takes_over() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(42, SIZE));
    let lies = GatewayBehaviour {
        wrong: Some(Which::EveryRaw),
        ..GatewayBehaviour::default()
    };
    let liar = Gateway::start(vec![sample.file()], Vec::new(), lies);
    let honest = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    env.succeed(&[
        "get",
        &sample.cid(),
        "--gateway",
        &liar.url(),
        &honest.url(),
    ]);
    env.assert_nothing_false_in_lima(&sample);
}

#[test]
fn a_daemon_that_dies_in_the_middle_leaves_a_part() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(43, SIZE));
    let behaviour = KuboBehaviour {
        dies_after: Some(1_500_000),
        ..KuboBehaviour::default()
    };
    let kubo = FakeKubo::start(vec![sample.file()], Vec::new(), behaviour);
    let run = env.run(&["get", &sample.cid(), "--kubo", &kubo.url()]);
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    assert!(run.stderr.contains("are kept"), "{}", run.stderr);
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    let again = env.succeed(&["get", &sample.cid(), "--gateway", &gateway.url(), "--json"]);
    assert!(again.last("result")["resumed"].as_u64() > Some(0));
}

#[test]
fn the_digest_decides_when_the_cid_names_other_bytes() {
    let (env, sample, other) = (
        TestEnvironment::new(),
        Sample::random(44, SIZE),
        Sample::random(45, SIZE),
    );
    let origin = Origin::start(
        sample.bytes.clone(),
        Behaviour {
            rate: Some(4_000_000),
            ..Behaviour::default()
        },
    );
    let gateway = Gateway::start(vec![other.file()], Vec::new(), GatewayBehaviour::default());
    let (url, digest, wrong) = (origin.url(), sample.digest.to_string(), other.cid());
    let line = [
        "get",
        &url,
        "--digest",
        &digest,
        "--cid",
        &wrong,
        "--gateway",
        &gateway.url(),
    ];
    let strict = env.run(&[&line[..], &["--strict"]].concat());
    assert_eq!(strict.code, Some(5), "{}", strict.stderr);
    let run = env.succeed(&line);
    assert!(run.stderr.contains("the digest decides"), "{}", run.stderr);
    env.assert_nothing_false_in_lima(&sample);
    assert!(fs::read(env.entry(&url).join("data")).expect("data") == *sample.bytes);
}

#[test]
fn a_damaged_car_is_told_apart_from_a_missing_block() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(46, SIZE));
    env.write("a.img", &sample.bytes);
    env.succeed(&["add", "--only-hash", "a.img", "--car", "a.car"]);
    let mut car = fs::read(env.path("a.car")).expect("the CAR");
    let middle = car.len() / 2;
    car[middle] ^= 1;
    env.write("a.car", &car);
    let run = env.run(&["get", &sample.cid(), "--car", "a.car"]);
    assert!(matches!(run.code, Some(3 | 5)), "{}", run.stderr);
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    let mended = env.succeed(&[
        "get",
        &sample.cid(),
        "--car",
        "a.car",
        "--gateway",
        &gateway.url(),
    ]);
    assert_eq!(mended.code, Some(0));
    env.write("b.car", "not a CAR");
    assert_eq!(
        env.run(&["get", &sample.cid(), "--car", "b.car"]).code,
        Some(5)
    );
}

#[test]
fn a_directory_is_resolved_and_a_wrong_name_is_said() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(47, SIZE));
    let (directory, block) = directory_of("disk.img", &sample);
    let root = cid::text(&directory);
    let gateway = Gateway::start(
        vec![sample.file()],
        vec![(directory, block)],
        GatewayBehaviour::default(),
    );
    env.succeed(&[
        "get",
        &format!("ipfs://{root}/disk.img"),
        "--gateway",
        &gateway.url(),
    ]);
    env.assert_nothing_false_in_lima(&sample);
    let run = env.run(&[
        "get",
        &format!("ipfs://{root}/other.img"),
        "--gateway",
        &gateway.url(),
    ]);
    assert_snapshot!(env.told(&run), @r##"
    exit 3
    Attempting to download the image  location="ipfs://bafybeiajdci.../other.img"
    error: failed to download the image `ipfs://bafybeiajdci.../other.img`: directory bafybeiajdci... has no 
          entry `other.img`
    "##);
    let whole = env.run(&["get", &root, "--gateway", &gateway.url()]);
    assert_snapshot!(env.told(&whole), @r##"
    exit 2
    Attempting to download the file  cid="bafybeiajdci..."  location="ipfs://bafybeiajdci..."
    Downloading the file (bafybeiajdci...)
    error: failed to download the file `ipfs://bafybeiajdci...`: bafybeiajdci... is a directory, not a file
    hint: name a file in it: ipfs://CID/NAME
    "##);
}

/// A UnixFS directory with one file.
fn directory_of(name: &str, sample: &Sample) -> (callao_content::Cid, Vec<u8>) {
    use callao_content::dag_pb::{Link, Node, encode};
    let link = Link {
        cid: *sample.layout.root(),
        name: name.as_bytes(),
        tsize: Some(sample.layout.size()),
    };
    let block = encode(&Node {
        links: vec![link],
        data: Some(&[8, 1]),
    });
    (dag_pb_cid(&block), block)
}

fn dag_pb_cid(block: &[u8]) -> callao_content::Cid {
    let raw = cid::raw_sha256(callao_content::hash::sha256(block));
    callao_content::Cid::new_v1(cid::DAG_PB, raw.hash().to_owned())
}

#[test]
fn a_unixfs_bomb_is_refused_before_a_byte_is_written() {
    let env = TestEnvironment::new();
    // Each node repeats the one below 1000 times: 256 KiB become exabytes in a few blocks.
    let leaf = vec![7; 256 * 1024];
    let mut below = (
        cid::raw_sha256(callao_content::hash::sha256(&leaf)),
        leaf.len() as u64,
    );
    let mut blocks = vec![(below.0, leaf)];
    for _ in 0..4 {
        let block = repeated(&below.0, below.1, 1000);
        below = (dag_pb_cid(&block), below.1 * 1000);
        blocks.push((below.0, block));
    }
    let gateway = Gateway::start(Vec::new(), blocks, GatewayBehaviour::default());
    let run = env.run(&["get", &cid::text(&below.0), "--gateway", &gateway.url()]);
    assert_eq!(run.code, Some(5), "{}", run.stderr);
}

/// A file node with the same child many times.
fn repeated(child: &callao_content::Cid, size: u64, times: usize) -> Vec<u8> {
    use callao_content::dag_pb::{Link, Node, encode};
    let varint = |mut value: u64| {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    };
    let mut data = vec![8, 2, 0x18];
    data.extend(varint(size * times as u64));
    for _ in 0..times {
        data.push(0x20);
        data.extend(varint(size));
    }
    let link = || Link {
        cid: *child,
        name: b"",
        tsize: Some(size),
    };
    encode(&Node {
        links: (0..times).map(|_| link()).collect(),
        data: Some(&data),
    })
}

#[test]
fn a_file_below_a_directory_is_not_fetched_again() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(48, SIZE));
    let (directory, block) = directory_of("disk.img", &sample);
    let root = cid::text(&directory);
    let blocks = vec![(directory, block)];
    let gateway = Gateway::start(vec![sample.file()], blocks, GatewayBehaviour::default());
    let location = format!("ipfs://{root}/disk.img");
    env.succeed(&["get", &location, "--gateway", &gateway.url()]);
    let sent = gateway.bytes_sent();
    let again = env.succeed(&["get", &location, "--offline", "--json"]);
    assert_eq!(again.last("result")["from"], "cache");
    // Under its own CID it is the same file.
    let own = env.succeed(&["get", &sample.cid(), "--gateway", &gateway.url(), "--json"]);
    assert_eq!(own.last("result")["from"], "link");
    assert_eq!(gateway.bytes_sent(), sent);
}
