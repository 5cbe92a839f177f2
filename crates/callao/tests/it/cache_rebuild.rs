//! `callao cache rebuild`, and what is said when the catalogue is damaged or gone.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use callao_testkit::origin::{Behaviour, Origin};
use insta::assert_snapshot;
use serde_json::Value;

use crate::cache::{SIZE, made_by_limactl, with_an_entry};
use crate::env::{Sample, TestEnvironment};

fn catalogue(env: &TestEnvironment) -> PathBuf {
    env.cache_dir().join("callao/v1/catalogue.sqlite")
}

fn proofs(env: &TestEnvironment) -> usize {
    let dir = env.cache_dir().join("callao/v1/proofs");
    fs::read_dir(dir).map_or(0, Iterator::count)
}

fn listed(env: &TestEnvironment) -> Vec<Value> {
    env.succeed(&["cache", "list", "--json"]).json()
}

#[test]
fn a_catalogue_that_is_gone_is_said_once_and_made_anew() {
    let (env, sample, url) = with_an_entry(730);
    let before = listed(&env);
    fs::remove_file(catalogue(&env)).expect("removed");
    let digest = sample.digest.to_string();
    let run = env.succeed(&["cache", "rebuild"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    warning: the catalogue `$DIR/cache/callao/v1/catalogue.sqlite` is gone. Files are hashed again when they are 
          used; `callao cache rebuild` does it for all of them
    The catalogue knows 1 entries of Lima's cache and 0 files of yours (3.00 MiB read); 0 proofs that belong to 
          no file dropped
    "##);
    let after = listed(&env);
    for key in ["path", "urls", "digests", "cids"] {
        assert_eq!(after[0][key], before[0][key], "{key}");
    }
    assert_eq!(after[0]["verified"], "digest");
    let run = env.succeed(&["get", &url, "--digest", &digest, "--offline"]);
    assert!(
        !run.stderr.contains("hashed") && !run.stderr.contains("gone"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_catalogue_that_is_damaged_is_said_once_and_made_anew() {
    let (env, sample, url) = with_an_entry(731);
    let damage = "this is no database, ".repeat(1000);
    fs::write(catalogue(&env), &damage).expect("damage");
    let digest = sample.digest.to_string();
    let line = ["get", &url, "--digest", &digest, "--offline"];
    let run = env.succeed(&line);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    Attempting to download the image  digest="sha256:a88e7765c16d..."  location="http://127.0.0.1:PORT/image.img"
    warning: the catalogue `$DIR/cache/callao/v1/catalogue.sqlite` cannot be read; it was moved aside to 
          `$DIR/cache/callao/v1/catalogue.sqlite.damaged`. Files are hashed again when they are used; `callao 
          cache rebuild` does it for all of them
    Checking `$DIR/cache/lima/download/by-url-sha256/KEY/data` (3.00 MiB): it is not in the catalogue, so it is 
          hashed once
    Using cache `$DIR/cache/lima/download/by-url-sha256/KEY/data`
    "##);
    let aside = catalogue(&env).with_added_extension("damaged");
    assert_eq!(fs::read_to_string(aside).expect("the old one"), damage);
    let run = env.succeed(&line);
    assert!(!run.stderr.contains("moved aside"), "{}", run.stderr);
    env.succeed(&["cache", "rebuild"]);
    assert_eq!(listed(&env)[0]["cids"][0], sample.cid());
}

#[test]
fn a_damaged_file_keeps_what_repairs_it() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(732, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let (url, digest) = (origin.url(), sample.digest.to_string());
    env.succeed(&["get", &url, "--digest", &digest, "--cid", &sample.cid()]);
    let data = env.entry(&url).join("data");
    let file = OpenOptions::new().write(true).open(&data).expect("data");
    file.write_all_at(b"damage", 0).expect("written");
    for with_catalogue in [true, false] {
        if !with_catalogue {
            fs::remove_file(catalogue(&env)).expect("removed");
        }
        let run = env.succeed(&["cache", "rebuild"]);
        assert!(
            run.stderr.contains("1 of them are not what they should be"),
            "{}",
            run.stderr
        );
        assert_eq!(listed(&env)[0]["verified"], "no");
        assert_eq!(env.run(&["cache", "verify"]).code, Some(5));
    }
    let before = origin.bytes_sent();
    env.succeed(&["cache", "repair"]);
    assert_eq!(origin.bytes_sent() - before, 256 * 1024);
    assert!(fs::read(data).expect("data") == *sample.bytes);
}

#[test]
fn files_of_the_users_are_kept_and_read_again() {
    let (env, sample, _) = with_an_entry(733);
    let own = Sample::random(734, SIZE);
    env.write("own.img", &own.bytes);
    env.write("gone.img", "soon gone");
    env.succeed(&["add", "own.img", "gone.img"]);
    fs::remove_file(env.path("gone.img")).expect("removed");
    let summary = env.succeed(&["cache", "rebuild", "--json"]).last("summary");
    assert_eq!(summary["entries"], 1);
    assert_eq!(summary["users"], 1);
    let items = listed(&env);
    let user = items.iter().find(|item| item["owner"] == "user");
    let user = user.expect("the file is known");
    assert_eq!(user["cids"][0], own.cid());
    assert!(fs::read(env.path("own.img")).expect("the file") == *own.bytes);
    let entry = items.iter().find(|item| item["owner"] == "lima");
    assert_eq!(entry.expect("the entry")["cids"][0], sample.cid());
}

#[test]
fn proofs_of_nothing_are_dropped_and_entries_of_limactl_become_known() {
    let (env, _, url) = with_an_entry(735);
    let other = Sample::random(736, SIZE);
    made_by_limactl(&env, "https://host.invalid/a.img", &other);
    fs::remove_dir_all(env.entry(&url)).expect("removed by hand");
    let foreign = env.cache_dir().join("callao/v1/proofs/README");
    fs::write(&foreign, "foreign").expect("a foreign file");
    assert_eq!(proofs(&env), 2);
    let summary = env.succeed(&["cache", "rebuild", "--json"]).last("summary");
    assert_eq!(summary["dropped_proofs"], 1);
    assert_eq!(proofs(&env), 2, "that of the other entry is new");
    assert!(foreign.exists());
    let items = listed(&env);
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["verified"], "digest");
    assert_eq!(items[0]["cids"][0], other.cid());
}
