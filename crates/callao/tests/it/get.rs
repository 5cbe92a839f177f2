//! `callao get` on good days: every kind of WHAT and of place, what is printed, and what is in Lima's cache then.

use std::fs;
use std::os::unix::fs::MetadataExt;

use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::kubo::{FakeKubo, KuboBehaviour};
use callao_testkit::origin::{Behaviour, Origin};
use insta::assert_snapshot;

use crate::env::{Sample, TestEnvironment};

const SIZE: usize = 3 * 1024 * 1024 + 17;

#[test]
fn a_url_with_a_digest_ends_in_limas_cache() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(1, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let run = env.succeed(&["get", &origin.url(), "--digest", &sample.digest.to_string()]);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    Attempting to download the image  digest="sha256:01ace864edfd..."  location="http://127.0.0.1:PORT/image.img"
    Downloading the image (image.img)
    Downloaded the image from `http://127.0.0.1:PORT/image.img`: 3.00 MiB in N s (N B/s), digest verified
      100%  http://127.0.0.1:PORT/image.img (3.00 MiB)
    "##);
    let entry = env.entry(&origin.url());
    assert_eq!(run.paths(), [entry.join("data")]);
    assert!(fs::read(entry.join("data")).expect("data") == *sample.bytes);
    assert_eq!(
        fs::read_to_string(entry.join("sha256.digest")).expect("a mark"),
        sample.digest.to_string()
    );
    assert_eq!(
        fs::read_to_string(entry.join("url")).expect("url"),
        origin.url()
    );
    assert_eq!(
        fs::read_to_string(entry.join("time")).expect("time"),
        "Sun, 26 Nov 2023 01:56:00 GMT"
    );
    assert_eq!(
        fs::read_to_string(entry.join("type")).expect("type"),
        "application/octet-stream"
    );
    assert_eq!(
        fs::metadata(&entry).expect("the entry").mode() & 0o777,
        0o700
    );
}

#[test]
fn the_second_get_asks_nobody() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(2, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let digest = sample.digest.to_string();
    let first = env.succeed(&["get", &origin.url(), "--digest", &digest]);
    let requests = origin.requests().len();
    let second = env.succeed(&["get", &origin.url(), "--digest", &digest]);
    assert_eq!(
        (first.stdout, origin.requests().len()),
        (second.stdout.clone(), requests)
    );
    assert_snapshot!(env.told(&second), @r##"
    exit 0
    Attempting to download the image  digest="sha256:70a0eb1ba9e4..."  location="http://127.0.0.1:PORT/image.img"
    Using cache `$DIR/cache/lima/download/by-url-sha256/KEY/data`
    "##);
    let offline = env.succeed(&["get", &origin.url(), "--digest", &digest, "--offline"]);
    assert_eq!(offline.stdout, second.stdout);
}

#[test]
fn the_same_bytes_under_another_url_are_a_hard_link() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(3, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let digest = sample.digest.to_string();
    let first = env.succeed(&["get", &origin.url(), "--digest", &digest]);
    let sent = origin.bytes_sent();
    let other = origin.url_of("/other.img");
    let run = env.succeed(&["get", &other, "--digest", &digest, "--json"]);
    assert_eq!(
        (origin.bytes_sent(), run.last("result")["from"].as_str()),
        (sent, Some("link"))
    );
    let inode = |path: &std::path::Path| fs::metadata(path).expect("data").ino();
    assert_eq!(
        inode(first.paths()[0]),
        inode(&env.entry(&other).join("data"))
    );
    let again = env.succeed(&["get", &origin.url(), "--digest", &digest, "--json"]);
    assert_eq!(
        again.last("result")["from"],
        "cache",
        "a link of our own costs no trust"
    );
}

#[test]
fn an_ipfs_address_comes_from_a_gateway() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(4, SIZE));
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    let location = format!("ipfs://{}/disk.img", sample.cid());
    let run = env.succeed(&["get", &location, "--gateway", &gateway.url()]);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    Attempting to download the image  location="ipfs://bafybeiaxh2y.../disk.img"
    Downloading the image (disk.img)
    Downloaded the image from `ipfs://bafybeiaxh2y.../disk.img`: 3.00 MiB in N s (N B/s), CID verified
      100%  gateway http://127.0.0.1:PORT (3.00 MiB)
    "##);
    let entry = env.entry(&location);
    assert!(fs::read(entry.join("data")).expect("data") == *sample.bytes);
    assert_eq!(
        fs::read_to_string(entry.join("sha256.digest")).expect("a mark"),
        sample.digest.to_string()
    );
    assert!(
        !fs::read_to_string(entry.join("time"))
            .expect("limactl wants some time")
            .is_empty()
    );
    let by_cid = env.succeed(&["get", &sample.cid(), "--offline", "--json"]);
    assert_eq!(by_cid.last("result")["from"], "link");
}

#[test]
fn a_gateways_url_is_proven_by_its_cid() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(5, SIZE));
    let behaviour = GatewayBehaviour {
        plain: true,
        ..GatewayBehaviour::default()
    };
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), behaviour);
    let url = format!("{}/ipfs/{}", gateway.url(), sample.cid());
    let run = env.succeed(&["get", &url, "--gateway", &gateway.url(), "--json"]);
    assert_eq!(run.last("result")["proof"], "cid");
}

#[test]
fn a_kubo_daemon_is_asked() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(6, SIZE));
    let kubo = FakeKubo::start(vec![sample.file()], Vec::new(), KuboBehaviour::default());
    for api in [kubo.url(), kubo.multiaddr()] {
        let run = env.succeed(&[
            "get",
            &sample.cid(),
            "--kubo",
            &api,
            "--json",
            "-o",
            &format!("{}.img", api.len()),
        ]);
        assert_eq!(run.last("result")["proof"], "cid");
    }
}

#[test]
fn a_car_is_enough_without_any_socket() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(7, SIZE));
    env.write("a.img", &sample.bytes);
    env.succeed(&["add", "--only-hash", "a.img", "--car", "a.car"]);
    let run = env.succeed(&[
        "get",
        "--car",
        "a.car",
        &sample.cid(),
        "-o",
        "b.img",
        "--offline",
    ]);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    Attempting to download the file  cid="bafybeifkfmd..."  location="ipfs://bafybeifkfmd..."
    Downloading the file (bafybeifkfmd...)
    Downloaded the file from `ipfs://bafybeifkfmd...`: 3.00 MiB in N s (N B/s), CID verified
      100%  car $DIR/in/a.car (3.00 MiB)
    "##);
    assert!(fs::read(env.path("b.img")).expect("the file") == *sample.bytes);
    assert_eq!(
        run.paths(),
        [fs::canonicalize(env.path("b.img")).expect("the file")]
    );
}

#[test]
fn a_local_file_is_verified_in_place() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(8, SIZE));
    let path = env.write("a.img", &sample.bytes);
    let run = env.succeed(&["get", "a.img", "--digest", &sample.digest.to_string()]);
    assert_eq!(run.paths(), [fs::canonicalize(&path).expect("the file")]);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    Attempting to download the image  digest="sha256:433d464ba043..."  location="a.img"
    Using `$DIR/in/a.img` as it stands: digest verified
    "##);
    let wrong = env.run(&[
        "get",
        "a.img",
        "--digest",
        &format!("sha256:{}", "0".repeat(64)),
    ]);
    assert_snapshot!(env.told(&wrong), @r##"
    exit 5
    Attempting to download the image  digest="sha256:000000000000..."  location="a.img"
    error: `$DIR/in/a.img`: expected digest `sha256:000000000000...`, got `sha256:433d464ba043...`
    "##);
    let unpinned = env.succeed(&["get", "a.img"]);
    assert_snapshot!(env.told(&unpinned), @r##"
    exit 0
    Attempting to download the image  location="a.img"
    Using `$DIR/in/a.img` as it stands: not verified
    warning: nothing says which bytes the image must have, so nobody could verify it. To lock it, add to its 
          entry:
        digest: "sha256:433d464ba043..."
        cid: bafybeif2dhr...
    "##);
}

#[test]
fn mirrors_and_the_origin_share_the_work() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(9, 12 * 1024 * 1024));
    let slow = Behaviour {
        rate: Some(8 * 1024 * 1024),
        ..Behaviour::default()
    };
    let (one, two) = (
        Origin::start(sample.bytes.clone(), slow.clone()),
        Origin::start(sample.bytes.clone(), slow),
    );
    let digest = sample.digest.to_string();
    let run = env.succeed(&[
        "get",
        &one.url(),
        "--mirror",
        &two.url(),
        "--digest",
        &digest,
        "--cid",
        &sample.cid(),
        "--json",
    ]);
    let sources = run.last("result")["sources"]
        .as_array()
        .expect("sources")
        .len();
    assert!(
        one.bytes_sent() > 0 && two.bytes_sent() > 0,
        "{sources} sources"
    );
}

#[test]
fn a_mirror_may_be_a_file_that_is_here() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(14, SIZE));
    env.write("copy.img", &sample.bytes);
    let run = env.succeed(&[
        "get",
        "--mirror",
        "copy.img",
        &sample.cid(),
        "--offline",
        "--json",
    ]);
    assert_eq!(run.last("result")["sources"][0]["source"]["kind"], "file");
    env.assert_nothing_false_in_lima(&sample);
}

#[test]
fn output_to_a_file_is_complete_or_absent() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(10, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    env.write("a.img", "older");
    let digest = sample.digest.to_string();
    let run = env.succeed(&["get", &origin.url(), "--digest", &digest, "-o", "a.img"]);
    assert_eq!(
        run.paths(),
        [fs::canonicalize(env.path("a.img")).expect("the file")]
    );
    assert!(fs::read(env.path("a.img")).expect("the file") == *sample.bytes);
    let names: Vec<_> = fs::read_dir(env.path(""))
        .expect("names")
        .map(|entry| entry.expect("one").file_name())
        .collect();
    assert_eq!(names, ["a.img"]);
    let other = env.run(&[
        "get",
        &origin.url(),
        "--digest",
        &format!("sha256:{}", "0".repeat(64)),
        "-o",
        "b.img",
    ]);
    assert_eq!((other.code, env.path("b.img").exists()), (Some(5), false));
    let link = env.succeed(&[
        "get",
        &origin.url_of("/x"),
        "--digest",
        &digest,
        "-o",
        "c.img",
        "--offline",
    ]);
    assert_eq!(link.code, Some(0));
    let inode = |name| fs::metadata(env.path(name)).expect("a file").ino();
    assert_ne!(
        inode("a.img"),
        inode("c.img"),
        "files of the user are never the same inode"
    );
}

#[test]
fn every_line_of_json_has_a_version() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(11, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let run = env.succeed(&[
        "get",
        &origin.url(),
        "--digest",
        &sample.digest.to_string(),
        "--cid",
        &sample.cid(),
        "--json",
    ]);
    assert!(
        run.json()
            .iter()
            .all(|value| value["v"] == 1 && value["type"].is_string()),
        "{}",
        run.stdout
    );
    let result = run.last("result");
    assert_eq!(result["size"], SIZE);
    assert_eq!(
        (result["digest"].as_str(), result["cid"].as_str()),
        (Some(&*sample.digest.to_string()), Some(&*sample.cid()))
    );
    assert_eq!(result["from"], "fetch");
    assert_eq!(result["sources"][0]["source"]["kind"], "http");
}

#[test]
fn nobody_to_ask_is_said() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(12, 1000));
    assert_snapshot!(env.told(&env.run(&["get", &sample.cid()])), @r##"
    exit 3
    Attempting to download the file  cid="bafkreih3vfh..."  location="ipfs://bafkreih3vfh..."
    error: there is no source to ask for the file `ipfs://bafkreih3vfh...`
    hint: name a place that has it (--gateway, --kubo, --car, --peer), or allow more (--discovery, --only)
    "##);
    assert_snapshot!(env.told(&env.run(&["get", "https://host.invalid/a.img", "--digest", &sample.digest.to_string(), "--offline"])), @r##"
    exit 3
    Attempting to download the image  digest="sha256:fba94fe6d0a7..."  location="https://host.invalid/a.img"
    error: the image `https://host.invalid/a.img` is not here, and --offline allows no source to be asked
    hint: run it once without --offline, or name a CAR (--car) or a kubo repository (--kubo)
    "##);
}

#[test]
fn only_excludes_all_other_kinds() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(13, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    env.succeed(&[
        "get",
        &origin.url(),
        "--cid",
        &sample.cid(),
        "--gateway",
        &gateway.url(),
        "--only",
        "gateway",
    ]);
    assert_eq!(origin.requests().len(), 0);
}
