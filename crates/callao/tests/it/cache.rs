//! `callao cache`: what is listed, and that `verify` finds exactly the bytes that are wrong.

use std::fs;
use std::os::unix::fs::FileExt;

use callao_testkit::origin::{Behaviour, Origin};

use crate::env::{Sample, TestEnvironment};

pub(crate) const SIZE: usize = 3 * 1024 * 1024 + 17;

pub(crate) fn with_an_entry(seed: u64) -> (TestEnvironment, Sample, String) {
    let (env, sample) = (TestEnvironment::new(), Sample::random(seed, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    env.succeed(&[
        "get",
        &origin.url(),
        "--digest",
        &sample.digest.to_string(),
        "--cid",
        &sample.cid(),
    ]);
    (env, sample, origin.url())
}

/// An entry as limactl leaves it.
pub(crate) fn made_by_limactl(env: &TestEnvironment, location: &str, sample: &Sample) {
    let dir = env.entry(location);
    fs::create_dir_all(&dir).expect("an entry");
    fs::write(dir.join("url"), location).expect("url");
    fs::write(dir.join("time"), "Mon, 23 Nov 2026 18:59:57 GMT").expect("time");
    fs::write(dir.join("type"), "").expect("type");
    fs::write(dir.join("data"), &sample.bytes).expect("data");
    fs::write(dir.join("sha256.digest"), sample.digest.to_string()).expect("a mark");
}

#[test]
fn an_empty_cache_lists_nothing() {
    let env = TestEnvironment::new();
    assert_eq!(env.succeed(&["cache", "list"]).stdout, "");
    assert_eq!(env.succeed(&["cache", "verify"]).stdout, "");
}

#[test]
fn entries_of_callao_and_of_limactl_are_listed() {
    let (env, sample, url) = with_an_entry(50);
    let other = Sample::random(51, SIZE);
    made_by_limactl(&env, "https://host.invalid/other.img", &other);
    env.write("own.img", &other.bytes);
    env.succeed(&["add", "own.img"]);
    let items = env.succeed(&["cache", "list", "--json"]).json();
    let of = |url: &str| {
        items
            .iter()
            .find(|item| item["urls"][0] == url)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(of(&url)["verified"], "both");
    assert_eq!(of(&url)["cids"][0], sample.cid());
    assert_eq!(of(&url)["digests"][0], sample.digest.to_string());
    assert_eq!(of("https://host.invalid/other.img")["verified"], "no");
    assert_eq!(
        items.iter().filter(|item| item["owner"] == "user").count(),
        1
    );
    let text = env.succeed(&["cache", "list"]).stdout;
    assert!(
        text.contains(&url) && text.contains("3.00 MiB") && text.contains("verified: both"),
        "{text}"
    );
}

#[test]
fn an_entry_of_limactl_is_adopted_and_needs_no_network() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(52, SIZE));
    let location = "https://host.invalid/a.img";
    made_by_limactl(&env, location, &sample);
    let run = env.succeed(&[
        "get",
        location,
        "--digest",
        &sample.digest.to_string(),
        "--offline",
    ]);
    assert!(run.stderr.contains("hashed once"), "{}", run.stderr);
    let again = env.succeed(&[
        "get",
        location,
        "--digest",
        &sample.digest.to_string(),
        "--offline",
    ]);
    assert!(!again.stderr.contains("hashed once"), "{}", again.stderr);
    let listed = env.succeed(&["cache", "list", "--json"]).json();
    assert_eq!(
        (
            listed[0]["verified"].as_str(),
            listed[0]["cids"][0].as_str()
        ),
        (Some("digest"), Some(&*sample.cid()))
    );
}

#[test]
fn a_digest_file_that_disagrees_is_healed() {
    let (env, sample, url) = with_an_entry(53);
    fs::write(
        env.entry(&url).join("sha256.digest"),
        format!("sha256:{}", "0".repeat(64)),
    )
    .expect("a wrong mark");
    env.succeed(&[
        "get",
        &url,
        "--digest",
        &sample.digest.to_string(),
        "--offline",
    ]);
    let mark = fs::read_to_string(env.entry(&url).join("sha256.digest")).expect("a mark");
    assert_eq!(mark, sample.digest.to_string());
}

#[test]
fn wrong_bytes_under_a_right_mark_are_never_used() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(54, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    made_by_limactl(&env, &origin.url(), &sample);
    fs::write(env.entry(&origin.url()).join("data"), "").expect("empty data");
    let run = env.succeed(&["get", &origin.url(), "--digest", &sample.digest.to_string()]);
    assert!(
        run.stderr.contains("does not hold the wanted bytes"),
        "{}",
        run.stderr
    );
    env.assert_nothing_false_in_lima(&sample);
}

#[test]
fn verify_names_the_bad_bytes() {
    let (env, _, url) = with_an_entry(55);
    assert_eq!(env.run(&["cache", "verify"]).code, Some(0));
    let data = fs::OpenOptions::new()
        .write(true)
        .open(env.entry(&url).join("data"))
        .expect("data");
    data.write_all_at(b"damage", 600_000).expect("written");
    let run = env.run(&["cache", "verify", "--json"]);
    assert_eq!(run.code, Some(5), "{}", run.stderr);
    let verdict = run.last("verdict");
    assert_eq!(verdict["good"], false);
    assert_eq!(verdict["bad_ranges"][0][0], 2 * 256 * 1024);
    assert_eq!(verdict["bad_ranges"][0][1], 3 * 256 * 1024);
    let text = env.run(&["cache", "verify", &url]);
    assert!(
        text.stdout.contains("bytes 524288-786431 are wrong"),
        "{}",
        text.stdout
    );
    assert_eq!(
        env.run(&["cache", "verify", "https://host.invalid/none"])
            .code,
        Some(3)
    );
}

#[test]
fn a_damaged_catalogue_is_rebuilt() {
    let (env, sample, url) = with_an_entry(56);
    fs::write(
        env.cache_dir().join("callao/v1/catalogue.sqlite"),
        "this is no database",
    )
    .expect("damage");
    env.succeed(&[
        "get",
        &url,
        "--digest",
        &sample.digest.to_string(),
        "--offline",
    ]);
}

#[test]
fn an_entry_that_was_touched_is_hashed_once_and_linked() {
    use std::os::unix::fs::PermissionsExt;
    let (env, sample, url) = with_an_entry(57);
    let data = env.entry(&url).join("data");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o600)).expect("a chmod");
    let other = "https://host.invalid/other.img";
    let run = env.succeed(&[
        "get",
        other,
        "--digest",
        &sample.digest.to_string(),
        "--offline",
    ]);
    assert!(run.stderr.contains("it was touched"), "{}", run.stderr);
    let again = env.succeed(&[
        "get",
        &url,
        "--digest",
        &sample.digest.to_string(),
        "--offline",
    ]);
    assert!(!again.stderr.contains("hashed once"), "{}", again.stderr);
}
