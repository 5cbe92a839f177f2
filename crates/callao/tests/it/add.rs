//! `callao add`: digest, CID and what a template takes; registered in place.

use std::fs;

use insta::assert_snapshot;

use crate::env::{Sample, TestEnvironment};

const SIZE: usize = 2 * 1024 * 1024 + 5;

#[test]
fn it_prints_what_a_template_takes() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(20, SIZE));
    env.write("disk amd64.img", &sample.bytes);
    let run = env.succeed(&["add", "disk amd64.img"]);
    assert_snapshot!(env.steady(&run.stdout), @r##"
    ipfs://bafybeiaskn4.../disk%20amd64.img
    - location: "ipfs://bafybeiaskn4.../disk%20amd64.img"
      arch: "x86_64"
      digest: "sha256:4eedfc0467a1..."
      cid: bafybeiaskn4...
    "##);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    disk amd64.img: 2.00 MiB, profile kubo-cid-v1
    "##);
    assert!(run.stdout.contains(&sample.cid()) && run.stdout.contains(&sample.digest.to_string()));
}

#[test]
fn json_has_exactly_the_documented_keys() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(21, SIZE));
    env.write("a.img", &sample.bytes);
    let result = env
        .succeed(&["add", "--only-hash", "--json", "a.img"])
        .last("result");
    assert_eq!(result["path"], "a.img");
    assert_eq!(result["size"], SIZE);
    assert_eq!(result["digest"], sample.digest.to_string());
    assert_eq!(result["cid"], sample.cid());
    assert_eq!(result["profile"], "kubo-cid-v1");
}

#[test]
fn profiles_and_shapes() {
    let env = TestEnvironment::new();
    env.write("hello", "hello world\n");
    let cases: [(&[&str], &str); 4] = [
        (
            &["--profile", "unixfs-v0-2015"],
            "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o",
        ),
        (
            &["--profile", "kubo-cid-v1"],
            "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4",
        ),
        (
            &["--profile", "unixfs-v1-2025"],
            "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4",
        ),
        (
            &["--chunk-size", "65536", "--width", "10"],
            "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4",
        ),
    ];
    for (flags, cid) in cases {
        let mut line = vec!["add", "--only-hash", "--json", "hello"];
        line.extend(flags);
        assert_eq!(env.succeed(&line).last("result")["cid"], cid, "{flags:?}");
    }
    for flags in [
        ["--chunk-size", "0"],
        ["--chunk-size", "99999999"],
        ["--width", "1"],
    ] {
        assert_eq!(
            env.run(&[&["add", "--only-hash", "hello"], &flags[..]].concat())
                .code,
            Some(2),
            "{flags:?}"
        );
    }
}

#[test]
fn an_added_file_is_used_by_digest_and_cid_from_then_on() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(22, SIZE));
    env.write("a.img", &sample.bytes);
    env.succeed(&["add", "a.img"]);
    let location = "https://host.invalid/a.img";
    let run = env.succeed(&[
        "get",
        location,
        "--digest",
        &sample.digest.to_string(),
        "--offline",
        "--json",
    ]);
    assert_eq!(run.last("result")["from"], "link");
    assert!(fs::read(env.entry(location).join("data")).expect("data") == *sample.bytes);
    // The user writes to the file: it is not what was added any more.
    env.write("a.img", "something else");
    let gone = env.run(&[
        "get",
        "https://host.invalid/b.img",
        "--cid",
        &sample.cid(),
        "--offline",
        "--json",
    ]);
    assert_eq!(gone.code, Some(0), "the entry is still there");
    assert!(
        fs::read(env.entry(location).join("data")).expect("data") == *sample.bytes,
        "and was never the user's inode"
    );
}

#[test]
fn only_hash_registers_nothing() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(23, SIZE));
    env.write("a.img", &sample.bytes);
    env.succeed(&["add", "--only-hash", "a.img"]);
    assert!(!env.cache_dir().exists());
    assert_eq!(env.run(&["get", &sample.cid(), "--offline"]).code, Some(3));
}

#[test]
fn an_empty_file_and_one_byte() {
    let env = TestEnvironment::new();
    env.write("empty", "");
    env.write("one", "x");
    let run = env.succeed(&[
        "add",
        "--only-hash",
        "--json",
        "empty",
        "one",
        "--profile",
        "unixfs-v0-2015",
    ]);
    let cids: Vec<_> = run
        .json()
        .iter()
        .map(|value| value["cid"].as_str().expect("a CID").to_string())
        .collect();
    assert_eq!(cids[0], "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH");
    env.succeed(&["add", "empty", "--car", "empty.car"]);
    assert!(env.path("empty.car").exists());
}

#[test]
fn a_car_is_registered_with_all_its_blocks() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(22, SIZE));
    env.write("a.img", &sample.bytes);
    env.succeed(&["add", "--only-hash", "--car", "a.car", "a.img"]);
    fs::remove_file(env.path("a.img")).expect("the file goes");
    let run = env.succeed(&["add", "a.car"]);
    assert_snapshot!(env.steady(&run.stdout), @"ipfs://bafybeibigu2...");
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    a.car: 2.00 MiB, 10 blocks, 1 root
      bafybeibigu2... is a file, 2.00 MiB
    "##);
    let result = env.succeed(&["add", "--json", "a.car"]).last("result");
    assert_eq!(
        (&result["blocks"], &result["truncated"]),
        (&10.into(), &false.into())
    );
    assert_eq!(result["roots"][0]["is"], "file");
    assert_eq!(result["roots"][0]["size"], SIZE);
    let listed = env.succeed(&["cache", "list"]);
    assert!(listed.stdout.contains("a.car") && listed.stdout.contains(&sample.cid()));
    env.succeed(&["get", &sample.cid(), "--offline", "-o", "again.img"]);
    assert!(fs::read(env.path("again.img")).expect("it was written") == *sample.bytes);
}

#[test]
fn a_damaged_car_is_not_registered() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(23, SIZE));
    env.write("a.img", &sample.bytes);
    env.succeed(&["add", "--only-hash", "--car", "a.car", "a.img"]);
    let mut car = fs::read(env.path("a.car")).expect("the CAR");
    let last = car.len() - 1;
    car[last] ^= 1;
    env.write("bad.car", &car);
    env.write("none.car", b"this is no CAR");
    assert_snapshot!(env.told(&env.run(&["add", "bad.car"])), @r##"
    exit 5
    error: `bad.car`: 1 of its 10 blocks are not what their CIDs say
    hint: make the CAR again, or fetch it again: nothing of it was registered
    "##);
    let none = env.run(&["add", "none.car"]);
    let told = env.told(&none);
    assert!(told.starts_with("exit 5"), "{told}");
    assert!(
        told.contains("none.car is not a usable CAR file: its header is longer than it may be"),
        "{told}"
    );
    assert!(
        told.contains("hint: to add it as a file of any kind, give it another name"),
        "{told}"
    );
    assert_snapshot!(env.told(&env.run(&["add", "--car", "b.car", "a.car"])), @r##"
    exit 2
    error: --car writes a CAR of a file, not of a CAR
    "##);
    assert!(env.succeed(&["cache", "list"]).stdout.is_empty());
}
