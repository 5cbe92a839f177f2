//! With the real nginx and kubo, where they are.

use std::fs;

use callao_content::cid;
use callao_testkit::origin::{Behaviour, Origin};
use callao_testkit::real::{Kubo, Nginx, NginxOptions};

use crate::env::{Sample, TestEnvironment};

const SIZE: usize = 5 * 1024 * 1024 + 17;

#[test]
fn nginx_as_origin() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(120, SIZE));
    let root = env.path("www");
    fs::create_dir(&root).expect("a root");
    fs::write(root.join("a.img"), &sample.bytes).expect("a file");
    let Some(nginx) = Nginx::start(&root, &NginxOptions::default()) else {
        return;
    };
    let url = nginx.url("a.img");
    env.succeed(&[
        "get",
        &url,
        "--digest",
        &sample.digest.to_string(),
        "--cid",
        &sample.cid(),
    ]);
    env.assert_nothing_false_in_lima(&sample);
    assert!(env.entry(&url).join("time").exists());
    assert_eq!(
        env.run(&[
            "get",
            &nginx.url("missing.img"),
            "--cid",
            &sample.cid(),
            "-o",
            "x",
            "--cache-dir",
            "other"
        ])
        .code,
        Some(3)
    );
}

#[test]
fn a_kubo_repository_is_read_without_a_daemon() {
    let env = TestEnvironment::new();
    let Some(kubo) = Kubo::init(&env.path("repository"), &[]) else {
        return;
    };
    for (seed, flags) in [
        (121, vec!["--cid-version=1"]),
        (122, vec![]),
        (123, vec!["--cid-version=1", "--chunker=size-1048576"]),
    ] {
        let sample = Sample::random(seed, SIZE);
        let root = kubo.add(&env.write("a.img", &sample.bytes), &flags);
        let location = format!("ipfs://{root}/a.img");
        let run = env.succeed(&[
            "get",
            &location,
            "--kubo",
            "repository",
            "--offline",
            "--json",
        ]);
        assert_eq!(
            run.last("result")["sources"][0]["source"]["kind"],
            "kubo_repo",
            "{flags:?}"
        );
        assert!(fs::read(env.entry(&location).join("data")).expect("data") == *sample.bytes);
    }
}

#[test]
fn the_same_cids_as_kubo() {
    let env = TestEnvironment::new();
    let Some(kubo) = Kubo::init(&env.path("repository"), &[]) else {
        return;
    };
    let sample = Sample::random(124, SIZE);
    let path = env.write("a.img", &sample.bytes);
    let pairs: [(&str, &[&str]); 3] = [
        ("unixfs-v0-2015", &["--only-hash"]),
        ("kubo-cid-v1", &["--only-hash", "--cid-version=1"]),
        ("kubo-raw-leaves", &["--only-hash", "--raw-leaves"]),
    ];
    for (profile, flags) in pairs {
        let ours = env
            .succeed(&[
                "add",
                "--only-hash",
                "--json",
                "--profile",
                profile,
                "a.img",
            ])
            .last("result");
        assert_eq!(ours["cid"], kubo.add(&path, flags), "{profile}");
    }
    // A CAR of ours is one that kubo takes.
    env.succeed(&["add", "--only-hash", "a.img", "--car", "a.car"]);
    kubo.run(&["dag", "import", &env.path("a.car").to_string_lossy()]);
    assert!(kubo.cat(&sample.cid()) == *sample.bytes);
}

#[test]
fn damaged_and_missing_blocks_of_a_repository_come_from_elsewhere() {
    let env = TestEnvironment::new();
    let Some(kubo) = Kubo::init(&env.path("repository"), &[]) else {
        return;
    };
    let sample = Sample::random(125, SIZE);
    let root = kubo.add(&env.write("a.img", &sample.bytes), &["--cid-version=1"]);
    let leaf = |index| kubo.block_file(&sample.layout.leaf_cid(index).expect("a leaf"));
    fs::write(leaf(3), "damaged").expect("damage");
    fs::remove_file(leaf(7)).expect("removed");
    let alone = env.run(&["get", &root, "--kubo", "repository"]);
    assert!(matches!(alone.code, Some(3 | 5)), "{}", alone.stderr);
    env.assert_nothing_false_in_lima(&sample);
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let run = env.succeed(&[
        "get",
        &root,
        "--kubo",
        "repository",
        "--mirror",
        &origin.url(),
        "--json",
    ]);
    assert_eq!(run.last("result")["proof"], "cid");
    env.assert_nothing_false_in_lima(&sample);
}

#[test]
fn a_running_kubo_is_asked() {
    let env = TestEnvironment::new();
    let Some(kubo) = Kubo::init(&env.path("repository"), &[]) else {
        return;
    };
    let sample = Sample::random(126, SIZE);
    let root = kubo.add(&env.write("a.img", &sample.bytes), &["--cid-version=1"]);
    assert_eq!(root, cid::text(sample.layout.root()));
    let daemon = kubo.daemon(true);
    let run = env.succeed(&["get", &root, "--kubo", daemon.api_url(), "--json"]);
    assert_eq!(run.last("result")["sources"][0]["source"]["kind"], "kubo");
    env.assert_nothing_false_in_lima(&sample);
    let by_gateway = env.succeed(&[
        "get",
        &root,
        "--gateway",
        daemon.gateway_url(),
        "-o",
        "b.img",
        "--cache-dir",
        "other",
    ]);
    assert_eq!(by_gateway.code, Some(0));
}
