//! `callao publish` without `--to`: the file stays where it is, and a real `callao serve` serves it.

use std::fs;

use insta::assert_snapshot;
use serde_json::Value;

use crate::env::{Sample, TestEnvironment};
use crate::serve_world::{ask, get, serve};

const MIB: usize = 1 << 20;

#[test]
fn a_published_file_is_served_at_once_and_not_copied() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(701, 3 * MIB + 5));
    let serve = serve(&env, &[]);
    env.write("disk amd64.img", &sample.bytes);
    let run = env.succeed(&["publish", "disk amd64.img"]);
    let cid = sample.cid();
    let url = format!("ipfs://{cid}/disk%20amd64.img");
    let wanted = format!(
        "{url}\n- location: \"{url}\"\n  arch: \"x86_64\"\n  digest: \"{}\"\n  cid: {cid}\n",
        sample.digest
    );
    assert_eq!(run.stdout, wanted);
    let place = format!("{}/ipfs/{cid}?filename=disk%20amd64.img", serve.gateway());
    assert_eq!(run.stderr, format!("Served now: {place}\n"));
    let path = place.strip_prefix(&serve.gateway()).expect("the gateway");
    let answer = get(serve.gateway_address(), path);
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(answer.whole && answer.body == *sample.bytes);
    let lima = env.cache_dir().join("lima");
    assert!(!lima.exists(), "there is a copy in {}", lima.display());
    // Several at once, of another shape.
    let more = [Sample::random(702, MIB), Sample::random(703, 10)];
    for (number, sample) in more.iter().enumerate() {
        env.write(&format!("{number}.img"), &sample.bytes);
    }
    let line = [
        "publish",
        "0.img",
        "1.img",
        "--profile",
        "unixfs-v0-2015",
        "--json",
    ];
    let results = env.succeed(&line).json();
    assert_eq!(results.len(), 2);
    for (result, sample) in results.iter().zip(&more) {
        assert_eq!(result["to"], "serve");
        assert_eq!(result["gateway"], serve.gateway());
        assert_eq!(result["digest"], sample.digest.to_string());
        let cid = result["cid"].as_str().expect("a CID");
        assert!(cid.starts_with("Qm"), "{cid}");
        let answer = get(serve.gateway_address(), &format!("/ipfs/{cid}"));
        assert!(answer.body == *sample.bytes, "{}", answer.head);
    }
}

#[test]
fn a_car_is_served_with_all_its_blocks() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(704, MIB));
    let serve = serve(&env, &[]);
    env.write("a.img", &sample.bytes);
    env.succeed(&["add", "--only-hash", "--car", "a.car", "a.img"]);
    fs::remove_file(env.path("a.img")).expect("it was there");
    let run = env.succeed(&["publish", "a.car"]);
    let place = format!("/ipfs/{}", sample.cid());
    assert_eq!(run.stdout, format!("ipfs://{}\n", sample.cid()));
    let served = format!("Served now: {}{place}\n", serve.gateway());
    assert!(run.stderr.ends_with(&served), "{}", run.stderr);
    let answer = get(serve.gateway_address(), &place);
    assert!(answer.body == *sample.bytes, "{}", answer.head);
}

#[test]
fn without_a_daemon_the_file_is_known_and_a_later_one_serves_it() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(705, MIB));
    env.write("a.img", &sample.bytes);
    let run = env.succeed(&["publish", "a.img"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    No `callao serve` runs; when one does, it serves what is published here
    Start it with `callao serve`, or for good with `callao service install --now`
    "##);
    let result = env.succeed(&["publish", "a.img", "--json"]).last("result");
    assert_eq!(
        (&result["to"], &result["gateway"]),
        (&"serve".into(), &Value::Null)
    );
    let serve = serve(&env, &[]);
    let answer = get(serve.gateway_address(), &format!("/ipfs/{}", sample.cid()));
    assert!(answer.body == *sample.bytes, "{}", answer.head);
    // The same by its digest, for `get`.
    let there = env.succeed(&[
        "get",
        &format!("ipfs://{}", sample.cid()),
        "-o",
        "b.img",
        "--offline",
    ]);
    assert_eq!(there.code, Some(0));
    assert!(fs::read(env.path("b.img")).expect("it is there") == *sample.bytes);
}

#[test]
fn a_daemon_that_works_with_another_cache_is_named() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(706, MIB));
    let _serve = serve(&env, &[]);
    env.write("a.img", &sample.bytes);
    let other = env.path("other");
    let other = other.to_str().expect("text");
    let run = env.succeed(&["publish", "a.img", "--cache-dir", other]);
    let told = env.told(&run);
    let start = told.split("(process ").next().expect("a beginning");
    assert_snapshot!(start, @r##"
    exit 0
    warning: the running `callao serve`
    "##);
    assert!(told.contains("looks into the cache `$DIR/cache`"), "{told}");
}

#[test]
fn flags_of_other_targets_are_refused() {
    let env = TestEnvironment::new();
    env.write("a.img", "x");
    assert_snapshot!(env.told(&env.run(&["publish", "a.img", "--nocopy"])), @r##"
    exit 2
    error: --nocopy needs --to kubo; without --to nothing is copied anyway
    "##);
    assert_snapshot!(env.told(&env.run(&["publish", "--arch", "x86_64=a.img"])), @r##"
    exit 2
    error: --arch needs --to oci://REGISTRY/REPOSITORY
    "##);
    assert_snapshot!(env.told(&env.run(&["publish", "missing.img"])), @r##"
    exit 3
    error: there is no file `missing.img`
    "##);
}

#[test]
fn only_a_callao_of_the_same_user_has_the_daemon_look() {
    let env = TestEnvironment::new();
    let serve = serve(&env, &[]);
    let path = "/callao/v1/look";
    let look =
        |lines: &str, method: &str| ask(serve.gateway_address(), method, path, lines, b"").status;
    assert_eq!(look("", "POST"), 401);
    assert_eq!(look("Authorization: Bearer 00\r\n", "POST"), 401);
    assert_eq!(look("", "GET"), 405);
    let file = env.home().join(".local/state/callao/daemon.json");
    let state: Value = serde_json::from_slice(&fs::read(file).expect("the state")).expect("JSON");
    let token = state["token"].as_str().expect("a token");
    assert_eq!(
        look(&format!("Authorization: Bearer {token}\r\n"), "POST"),
        204
    );
}
