//! `callao cache prune`: what may go goes, and nothing else.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::time::{Duration, SystemTime};

use callao_testkit::origin::{Behaviour, Origin};
use insta::assert_snapshot;
use rustix::fs::{FlockOperation, flock};

use crate::cache::{made_by_limactl, with_an_entry};
use crate::env::{Run, Sample, TestEnvironment};
use crate::judge::Judge;

const DAY: u64 = 24 * 3600;
const SIZE: usize = 1024 * 1024;

fn url(name: &str) -> String {
    format!("https://host.invalid/{name}.img")
}

/// Last read and written so many days ago.
fn age(path: &Path, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * DAY);
    let file = File::open(path).expect("a file");
    file.set_times(FileTimes::new().set_accessed(then).set_modified(then))
        .expect("times are set");
}

/// An entry as limactl leaves it, last used so many days ago.
fn entry(env: &TestEnvironment, name: &str, days: u64) {
    let seed = name.bytes().map(u64::from).sum();
    made_by_limactl(env, &url(name), &Sample::random(seed, SIZE));
    age(&env.entry(&url(name)).join("data"), days);
}

fn is_there(env: &TestEnvironment, name: &str) -> bool {
    let dir = env.entry(&url(name));
    let whole = dir.join("data").exists() && dir.join("sha256.digest").exists();
    assert!(whole || !dir.exists(), "{name} is there in part");
    whole
}

fn instance(env: &TestEnvironment, name: &str, yaml: &str) -> std::path::PathBuf {
    let home = env.command(&[]);
    let home = home
        .get_envs()
        .find(|(name, _)| *name == "HOME")
        .and_then(|(_, home)| home)
        .expect("a home");
    let dir = Path::new(home).join(".lima").join(name);
    fs::create_dir_all(&dir).expect("an instance");
    fs::write(dir.join("lima.yaml"), yaml).expect("lima.yaml");
    dir
}

fn image_of(name: &str) -> String {
    format!("images:\n- location: {}\n  arch: aarch64\n", url(name))
}

fn outcome(run: &Run) -> String {
    format!("{}{}", run.stdout, run.stderr)
}

#[test]
fn old_entries_go_and_only_they() {
    let env = TestEnvironment::new();
    entry(&env, "old", 40);
    entry(&env, "new", 20);
    let foreign = env.cache_dir().join("lima/download/foreign");
    fs::write(&foreign, "foreign").expect("a foreign file");
    let dry = env.succeed(&["cache", "prune", "--older-than", "30d", "--dry-run"]);
    assert_snapshot!(env.steady(&outcome(&dry)), @r##"
    would remove  1.00 MiB  unused for 40 d  https://host.invalid/old.img
    Would remove 1 entries and 0 unfinished fetches: 1.00 MiB would be freed, 1.00 MiB left in Lima's cache
    "##);
    assert!(is_there(&env, "old") && is_there(&env, "new"));
    let run = env.succeed(&["cache", "prune", "--older-than", "30d"]);
    assert_snapshot!(env.steady(&outcome(&run)), @r##"
    removed  1.00 MiB  unused for 40 d  https://host.invalid/old.img
    Removed 1 entries and 0 unfinished fetches: 1.00 MiB freed, 1.00 MiB left in Lima's cache
    "##);
    assert!(!is_there(&env, "old") && is_there(&env, "new"));
    assert!(foreign.exists());
    let again = env.succeed(&["cache", "prune", "--older-than", "30d", "--json"]);
    assert_eq!(again.last("summary")["entries"], 0);
}

#[test]
fn without_a_condition_no_entry_goes() {
    let env = TestEnvironment::new();
    entry(&env, "old", 4000);
    let run = env.succeed(&["cache", "prune"]);
    assert_snapshot!(env.steady(&outcome(&run)), @r##"
    No entry is removed: --older-than, --keep-referred and --space-budget say which may go
    Removed 0 entries and 0 unfinished fetches: 0 B freed, 1.00 MiB left in Lima's cache
    "##);
    assert!(is_there(&env, "old"));
}

#[test]
fn a_budget_takes_what_was_not_used_for_longest() {
    let env = TestEnvironment::new();
    for (name, days) in [("a", 3), ("b", 5), ("c", 1), ("d", 4)] {
        entry(&env, name, days);
    }
    // A second name of `b` that was used today.
    made_by_limactl(&env, &url("e"), &Sample::random(1, 10));
    let (from, to) = (env.entry(&url("b")), env.entry(&url("e")));
    fs::remove_file(to.join("data")).expect("removed");
    fs::hard_link(from.join("data"), to.join("data")).expect("a link");
    fs::copy(from.join("sha256.digest"), to.join("sha256.digest")).expect("a digest file");
    let run = env.succeed(&["cache", "prune", "--space-budget", "2MiB", "--json"]);
    assert!(!is_there(&env, "b") && !is_there(&env, "e") && !is_there(&env, "d"));
    assert!(is_there(&env, "a") && is_there(&env, "c"));
    let summary = run.last("summary");
    assert_eq!(summary["entries"], 3);
    assert_eq!(summary["left_bytes"], 2 * SIZE);
    let freed = summary["freed_bytes"].as_u64().expect("a number");
    assert!(
        (2 * SIZE as u64..3 * SIZE as u64).contains(&freed),
        "{freed}"
    );
}

#[test]
fn a_hard_link_elsewhere_keeps_its_bytes() {
    let env = TestEnvironment::new();
    entry(&env, "a", 40);
    let data = env.entry(&url("a")).join("data");
    let link = env.path("mine.img");
    fs::hard_link(&data, &link).expect("a link");
    let bytes = fs::read(&data).expect("data");
    age(&data, 40);
    let run = env.succeed(&["cache", "prune", "--older-than", "30d", "--json"]);
    assert_eq!(run.last("summary")["freed_bytes"], 0);
    assert!(!is_there(&env, "a"));
    assert!(fs::read(&link).expect("the link") == bytes);
}

#[test]
fn what_is_locked_stays_and_that_is_said() {
    let env = TestEnvironment::new();
    entry(&env, "busy", 40);
    entry(&env, "idle", 40);
    let held = File::open(env.entry(&url("busy"))).expect("the directory");
    flock(&held, FlockOperation::LockExclusive).expect("the lock that limactl takes");
    let run = env.succeed(&["cache", "prune", "--older-than", "30d"]);
    assert_snapshot!(env.steady(&outcome(&run)), @r##"
    removed  1.00 MiB  unused for 40 d  https://host.invalid/idle.img
    Kept `$DIR/cache/lima/download/by-url-sha256/KEY`: another process works on it
    Removed 1 entries and 0 unfinished fetches: 1.00 MiB freed, 1.00 MiB left in Lima's cache
    "##);
    assert!(is_there(&env, "busy") && !is_there(&env, "idle"));
}

#[test]
fn what_is_not_of_lima_stays() {
    let env = TestEnvironment::new();
    entry(&env, "a", 40);
    let dir = env.entry(&url("a"));
    fs::write(dir.join("notes.txt"), "mine").expect("a foreign file");
    let run = env.succeed(&["cache", "prune", "--older-than", "30d"]);
    assert!(
        run.stderr
            .contains("is empty but for what is not of Lima: `notes.txt`"),
        "{}",
        run.stderr
    );
    assert_eq!(
        fs::read_to_string(dir.join("notes.txt")).expect("a file"),
        "mine"
    );
    assert_eq!(fs::read_dir(&dir).expect("the directory").count(), 1);
}

#[test]
fn a_use_by_callao_counts_as_a_use() {
    let (env, sample, url) = with_an_entry(740);
    let data = env.entry(&url).join("data");
    let proofs = env.cache_dir().join("callao/v1/proofs");
    let count = || fs::read_dir(&proofs).expect("proofs").count();
    age(&data, 40);
    env.succeed(&["cache", "prune", "--older-than", "30d"]);
    assert!(data.exists(), "it was fetched just now");
    assert_eq!(count(), 1);
    env.succeed(&[
        "cache",
        "prune",
        "--older-than",
        "0s",
        "--space-budget",
        "1GiB",
    ]);
    assert!(data.exists(), "it fits");
    // Its last second is over.
    let digest = sample.digest.to_string();
    while data.exists() {
        env.succeed(&["cache", "prune", "--older-than", "0s"]);
    }
    assert_eq!(count(), 0, "its proof is of no use to anybody");
    assert_eq!(env.succeed(&["cache", "list"]).stdout, "");
    let run = env.run(&["get", &url, "--digest", &digest, "--offline"]);
    assert_eq!(run.code, Some(3));
}

#[test]
fn files_of_the_users_stay_and_are_forgotten_when_they_are_gone() {
    let env = TestEnvironment::new();
    env.write("kept.img", "kept");
    env.write("gone.img", "gone");
    env.succeed(&["add", "kept.img", "gone.img"]);
    fs::remove_file(env.path("gone.img")).expect("removed");
    age(&env.path("kept.img"), 4000);
    let line = [
        "cache",
        "prune",
        "--older-than",
        "1d",
        "--space-budget",
        "0",
    ];
    let run = env.succeed(&line);
    assert!(
        run.stderr.contains("Forgot 1 files that are gone"),
        "{}",
        run.stderr
    );
    assert_eq!(
        fs::read_to_string(env.path("kept.img")).expect("the file"),
        "kept"
    );
    assert_eq!(env.succeed(&["cache", "list", "--json"]).json().len(), 1);
}

#[test]
fn what_an_instance_without_a_disk_needs_stays() {
    let env = TestEnvironment::new();
    entry(&env, "needed", 40);
    entry(&env, "used", 40);
    instance(&env, "coming", &image_of("needed"));
    let there = instance(&env, "there", &image_of("used"));
    fs::write(there.join("disk"), "a disk").expect("a disk");
    instance(&env, "_config", "no template");
    env.succeed(&["cache", "prune", "--older-than", "30d"]);
    assert!(is_there(&env, "needed") && !is_there(&env, "used"));
}

/// A directory of templates, alone on the search path.
fn templates(env: &mut TestEnvironment, texts: &[(&str, &str)]) -> std::path::PathBuf {
    let dir = env.path("templates");
    fs::create_dir_all(&dir).expect("a directory");
    for (name, text) in texts {
        fs::write(dir.join(name), text).expect("a template");
    }
    dir
}

fn prune_with(env: &TestEnvironment, templates: &Path, flags: &[&str]) -> Run {
    let mut command = env.command(&[&["cache", "prune", "--keep-referred"], flags].concat());
    let output = command.env("LIMA_TEMPLATES_PATH", templates).output();
    let output = output.expect("the program starts");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn what_instances_and_templates_refer_to_stays() {
    let mut env = TestEnvironment::new();
    let kept = [
        "image", "kernel", "initrd", "archive", "firmware", "base", "instance",
    ];
    for name in kept.into_iter().chain(["nobodys"]) {
        entry(&env, name, 0);
    }
    let archive = callao_template::archives::built_in().expect("a list")[1].clone();
    made_by_limactl(&env, &archive.location, &Sample::random(742, 100));
    let ipfs = "ipfs://bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4/a.img";
    made_by_limactl(&env, ipfs, &Sample::random(743, 100));
    let there = instance(&env, "there", &image_of("instance"));
    fs::write(there.join("disk"), "a disk").expect("a disk");
    let whole = format!(
        "base: ./base.txt
images:
- location: {}
  arch: riscv64
  kernel:
    location: {}
  initrd:
    location: {}
- location: {ipfs}
containerd:
  archives:
  - location: {}
firmware:
  images:
  - location: {}
    vmType: qemu
",
        url("image"),
        url("kernel"),
        url("initrd"),
        url("archive"),
        url("firmware")
    );
    let dir = templates(
        &mut env,
        &[
            ("whole.yaml", &whole),
            ("base.txt", &image_of("base")),
            (
                "mounts.yaml",
                "mounts:\n- location: \"~\"\nno_such_key: 1\n",
            ),
        ],
    );
    let run = prune_with(&env, &dir, &[]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for name in kept {
        assert!(is_there(&env, name), "{name}");
    }
    assert!(!is_there(&env, "nobodys"));
    assert!(env.entry(&archive.location).exists(), "Lima's own archive");
    assert!(env.entry(ipfs).exists());
    assert_eq!(run.stdout.lines().count(), 1, "{}", run.stdout);
}

/// Names of all entries.
fn entries(env: &TestEnvironment) -> BTreeSet<OsString> {
    let dir = env.cache_dir().join("lima/download/by-url-sha256");
    let names = fs::read_dir(dir).expect("the cache");
    names
        .map(|name| name.expect("a name").file_name())
        .collect()
}

#[test]
fn callao_keeps_what_limactl_keeps() {
    let Some(judge) = Judge::new() else { return };
    let env = &judge.env;
    fs::create_dir(env.path("templates")).expect("templates");
    let text = format!(
        "base: base.yaml\nimages:\n- location: {}\n  arch: aarch64\n  kernel: {{location: {}}}\n  initrd: {{location: {}}}\n\
         - location: {}\n  arch: x86_64\nfirmware:\n  images:\n  - {{location: {}, vmType: qemu}}\n",
        url("image"),
        url("kernel"),
        url("initrd"),
        url("other"),
        url("firmware")
    );
    env.write("templates/a.yaml", text);
    env.write("templates/base.yaml", image_of("base"));
    let archives = callao_template::archives::built_in().expect("a list");
    let plant = || {
        let names = [
            "image", "kernel", "initrd", "other", "firmware", "base", "nobodys",
        ];
        names.iter().for_each(|name| entry(env, name, 0));
        for archive in &archives {
            made_by_limactl(env, &archive.location, &Sample::random(744, 100));
        }
    };
    let prune = ["cache", "prune", "--keep-referred"];
    plant();
    let run = judge.callao(&prune);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let kept = entries(env);
    assert_eq!(kept.len(), 6 + archives.len());
    let run = judge.limactl(&["prune", "--keep-referred"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(entries(env), kept, "limactl keeps what callao kept");
    plant();
    judge.limactl(&["prune", "--keep-referred"]);
    let kept = entries(env);
    judge.callao(&prune);
    assert_eq!(entries(env), kept, "callao keeps what limactl kept");
}

#[test]
fn a_template_whose_base_is_not_there_stops_it() {
    let mut env = TestEnvironment::new();
    entry(&env, "nobodys", 0);
    let dir = templates(&mut env, &[("a.yaml", "base: ./none.yaml\n")]);
    let run = prune_with(&env, &dir, &[]);
    assert_eq!(run.code, Some(8), "{}", run.stderr);
    assert!(
        run.stderr.contains("  template template:a, line 1: base: "),
        "{}",
        run.stderr
    );
    assert!(is_there(&env, "nobodys"));
    let run = prune_with(&env, &dir, &["--ignore-unreadable"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(!is_there(&env, "nobodys"));
}

#[test]
fn what_cannot_be_read_stops_it_before_anything_is_removed() {
    let env = TestEnvironment::new();
    entry(&env, "old", 40);
    instance(&env, "broken", "images: [");
    let line = ["cache", "prune", "--older-than", "30d"];
    let run = env.run(&line);
    assert_eq!(run.code, Some(8), "{}", run.stderr);
    assert!(
        run.stderr.contains(
            "error: nothing was removed: it is not known what these refer to\n  instance broken: "
        ),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains(
            "hint: --ignore-unreadable goes on without them; what only they refer to may go"
        ),
        "{}",
        run.stderr
    );
    assert!(is_there(&env, "old"));
    let run = env.succeed(&[&line[..], &["--ignore-unreadable"]].concat());
    assert!(
        run.stderr
            .contains("warning: not looked at: instance broken: "),
        "{}",
        run.stderr
    );
    assert!(!is_there(&env, "old"));
}

#[test]
fn unfinished_fetches_go_after_a_week_unless_somebody_goes_on() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(741, 4 * SIZE));
    let origin = Origin::start(
        sample.bytes.clone(),
        Behaviour {
            stop_after_total: Some(2 * SIZE as u64),
            ..Behaviour::default()
        },
    );
    let (url, digest) = (origin.url(), sample.digest.to_string());
    assert_ne!(env.run(&["get", &url, "--digest", &digest]).code, Some(0));
    let staging = env.cache_dir().join("callao/v1/staging");
    let files = || -> Vec<std::path::PathBuf> {
        let names = fs::read_dir(&staging).expect("staging");
        names.map(|name| name.expect("a name").path()).collect()
    };
    assert!(!files().is_empty());
    fs::write(staging.join("README"), "foreign").expect("a foreign file");
    env.succeed(&["cache", "prune"]);
    assert!(files().len() > 1, "it is of today");
    files().iter().for_each(|path| age(path, 8));
    let part = files()
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "part"))
        .expect("a staging file");
    let held = File::open(&part).expect("the staging file");
    flock(&held, FlockOperation::LockExclusive).expect("its lock");
    let run = env.succeed(&["cache", "prune"]);
    assert!(
        run.stderr.contains("another process works on it"),
        "{}",
        run.stderr
    );
    assert!(part.exists());
    drop(held);
    let dry = env.succeed(&["cache", "prune", "--dry-run"]);
    assert!(
        dry.stderr.contains("and 1 unfinished fetches"),
        "{}",
        dry.stderr
    );
    assert!(part.exists());
    env.succeed(&["cache", "prune"]);
    assert_eq!(files(), [staging.join("README")]);
}

#[test]
fn ages_and_sizes_that_are_none_are_refused() {
    let env = TestEnvironment::new();
    assert_snapshot!(env.told(&env.run(&["cache", "prune", "--older-than", "soon"])), @r##"
    exit 2
    error: --older-than: `soon` is not an age
    hint: write it as 30d, 12h or 2w
    "##);
    assert_snapshot!(env.told(&env.run(&["cache", "prune", "--space-budget", "much"])), @r##"
    exit 2
    error: --space-budget: `much` is not a size
    hint: write it as 500MiB or 20GiB
    "##);
}
