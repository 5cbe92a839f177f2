//! Files that are published into a real kubo, and into CARs that a real kubo reads.

use std::fs;
use std::io;
use std::path::Path;

use callao_testkit::http::{Handler, Next, Reply, Request, Server};
use callao_testkit::real::Kubo;
use callao_testkit::real::kubo::Daemon;
use insta::assert_snapshot;
use serde_json::json;

use crate::env::{Sample, TestEnvironment};

const MIB: usize = 1024 * 1024;

/// A kubo whose repository is `~/.ipfs`, as on any computer.
fn kubo_of(env: &TestEnvironment, profiles: &[&str]) -> Option<Kubo> {
    Kubo::init(&env.home().join(".ipfs"), profiles)
}

/// Bytes in the files below a directory.
fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).expect("a directory");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let about = entry.metadata().expect("it is there");
            match about.is_dir() {
                true => bytes_below(&entry.path()),
                false => about.len(),
            }
        })
        .sum()
}

fn files(kubo: &Kubo) -> Vec<String> {
    let mut names: Vec<String> = kubo
        .run(&["files", "ls", "/callao"])
        .lines()
        .map(str::to_string)
        .collect();
    names.sort();
    names
}

fn at(daemon: &Daemon) -> String {
    format!("kubo:{}", daemon.multiaddr())
}

#[test]
fn a_file_is_pinned_and_appears_in_the_files_of_kubo() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(601, 5 * MIB + 3));
    let Some(kubo) = kubo_of(&env, &[]) else {
        return;
    };
    env.write("disk amd64.qcow2", &sample.bytes);
    let daemon = kubo.daemon(true);
    let run = env.succeed(&["publish", "disk amd64.qcow2", "--to", "kubo"]);
    let cid = sample.cid();
    let url = format!("ipfs://{cid}/disk%20amd64.qcow2");
    let wanted = format!(
        "{url}\n- location: \"{url}\"\n  arch: \"x86_64\"\n  digest: \"{}\"\n  cid: {cid}\n",
        sample.digest
    );
    assert_eq!(run.stdout, wanted);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    Publishing `disk amd64.qcow2` (5.00 MiB) to kubo 0.43.1 at http://127.0.0.1:PORT
    Pinned as `disk amd64.qcow2`; in kubo's Files it is `/callao/disk amd64.qcow2`
    kubo did not announce it now: this command must be run in online mode. Try running 'ipfs daemon' first
    "##);
    let pins = kubo.run(&["pin", "ls", "--names", "--type=recursive"]);
    assert!(
        pins.contains(&format!("{cid} recursive disk amd64.qcow2")),
        "{pins}"
    );
    assert_eq!(files(&kubo), ["disk amd64.qcow2"]);
    assert!(kubo.cat(&cid) == *sample.bytes);
    // Once more, to the address: nothing changes.
    let again = env.succeed(&[
        "publish",
        "disk amd64.qcow2",
        "--to",
        &at(&daemon),
        "--json",
    ]);
    let result = again.last("result");
    assert_eq!(result["files"], "/callao/disk amd64.qcow2");
    assert_eq!(result["to"], "kubo");
    assert_eq!(result["cid"], cid.as_str());
    assert_eq!(result["announced"], false);
    assert_eq!(files(&kubo), ["disk amd64.qcow2"]);
}

#[test]
fn another_file_of_the_same_name_gets_a_number() {
    let env = TestEnvironment::new();
    let Some(kubo) = kubo_of(&env, &[]) else {
        return;
    };
    let _daemon = kubo.daemon(true);
    let samples = [Sample::random(602, MIB), Sample::random(603, MIB)];
    for sample in samples.iter().chain(&samples) {
        env.write("a.img", &sample.bytes);
        env.succeed(&["publish", "a.img", "--to", "kubo"]);
    }
    assert_eq!(files(&kubo), ["a-2.img", "a.img"]);
    let stat = kubo.run(&["files", "stat", "--hash", "/callao/a-2.img"]);
    assert_eq!(stat, samples[1].cid());
}

#[test]
fn the_settings_of_kubo_do_not_decide_the_cid() {
    let env = TestEnvironment::new();
    let Some(kubo) = kubo_of(&env, &["unixfs-v1-2025"]) else {
        return;
    };
    let daemon = kubo.daemon(true);
    for (seed, size) in [(604, 0), (605, 1), (606, 46 * MIB)] {
        let sample = Sample::random(seed, size);
        env.write("a.img", &sample.bytes);
        for profile in [
            "unixfs-v0-2015",
            "kubo-cid-v1",
            "kubo-cid-v1-dag-pb",
            "kubo-raw-leaves",
            "unixfs-v1-2025",
        ] {
            let to = at(&daemon);
            let run = env.succeed(&["publish", "a.img", "--to", &to, "--profile", profile]);
            let cid = run.stdout.lines().last().expect("a line");
            let cid = cid.trim().trim_start_matches("cid: ");
            assert!(kubo.cat(cid) == *sample.bytes, "{profile}");
        }
    }
}

#[test]
fn kubo_announces_what_it_may() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(607, MIB));
    let Some(kubo) = kubo_of(&env, &[]) else {
        return;
    };
    let _daemon = kubo.daemon(false);
    env.write("a.img", &sample.bytes);
    let run = env.succeed(&["publish", "a.img", "--to", "kubo"]);
    assert!(
        run.stderr.contains(
            "kubo did not announce it now: invalid configuration: Provide.Enabled is set to 'false'"
        ),
        "{}",
        run.stderr
    );
}

#[test]
fn with_nocopy_kubo_refers_to_the_file() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(608, 40 * MIB));
    let Some(kubo) = kubo_of(&env, &[]) else {
        return;
    };
    kubo.configure(&[("/Experimental/FilestoreEnabled", json!(true))]);
    let _daemon = kubo.daemon(true);
    let blocks = env.home().join(".ipfs/blocks");
    let before = bytes_below(&blocks);
    let path = env.home().join("disk.img");
    fs::write(&path, &sample.bytes).expect("a file");
    let path = path.to_string_lossy().into_owned();
    let run = env.succeed(&["publish", &path, "--to", "kubo", "--nocopy"]);
    let told = env
        .told(&run)
        .replace(&format!("$DIR/{}/", "home"), "$HOME/");
    assert_snapshot!(told, @r##"
    exit 0
    Publishing `disk.img` (40.00 MiB) to kubo 0.43.1 at http://127.0.0.1:PORT
    Pinned as `disk.img`; in kubo's Files it is `/callao/disk.img`
    warning: kubo refers to `$HOME/disk.img` from now on and has no copy: if that file is changed, moved or 
          deleted, whoever asks for its CID waits in vain (`ipfs filestore verify` finds it)
    kubo did not announce it now: this command must be run in online mode. Try running 'ipfs daemon' first
    "##);
    let grown = bytes_below(&blocks) - before;
    assert!(grown < MIB as u64, "the blocks grew by {grown} bytes");
    assert!(kubo.cat(&sample.cid()) == *sample.bytes);
    assert_eq!(files(&kubo), ["disk.img"]);
}

#[test]
fn nocopy_says_what_it_needs() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(609, MIB));
    let Some(kubo) = kubo_of(&env, &[]) else {
        return;
    };
    env.write("a.img", &sample.bytes);
    let daemon = kubo.daemon(true);
    let line = ["publish", "a.img", "--to", "kubo", "--nocopy"];
    assert_snapshot!(env.told(&env.run(&line)), @r##"
    exit 2
    error: --nocopy: the filestore of this kubo is off
    hint: switch it on (`ipfs config --json Experimental.FilestoreEnabled true`) and start the daemon again
    "##);
    let with_profile = [&line[..], &["--profile", "unixfs-v0-2015"]].concat();
    assert_snapshot!(env.told(&env.run(&with_profile)), @r##"
    exit 2
    error: --nocopy needs leaves that are bare bytes, which profile unixfs-v0-2015 does not have
    "##);
    drop(daemon);
    kubo.configure(&[("/Experimental/FilestoreEnabled", json!(true))]);
    let daemon = kubo.daemon(true);
    assert_snapshot!(env.told(&env.run(&line)), @r##"
    exit 2
    error: --nocopy: kubo refers only to files below `$DIR/home`, and `$DIR/in/a.img` is not there
    "##);
    // Found by its address, it is kubo itself that refuses.
    let line = ["publish", "a.img", "--to", &at(&daemon), "--nocopy"];
    let refused = env.run(&line);
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("outside ipfs root"),
        "{}",
        refused.stderr
    );
    assert!(
        !kubo
            .run(&["pin", "ls", "--type=recursive"])
            .contains(&sample.cid())
    );
}

#[test]
fn without_a_daemon_it_says_what_to_do() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(610, MIB));
    env.write("a.img", &sample.bytes);
    assert_snapshot!(env.told(&env.run(&["publish", "a.img", "--to", "kubo"])), @r##"
    exit 3
    error: no kubo daemon runs on this computer, as far as its repository tells
    hint: start it (`ipfs daemon`, or IPFS Desktop), or name it: --to kubo:http://127.0.0.1:PORT
    "##);
    assert_snapshot!(env.told(&env.run(&["publish", "a.img", "--to", "kubo:127.0.0.1:1"])), @r##"
    exit 4
    error: kubo at http://127.0.0.1:PORT: no connection: Connection refused (os error 111)
    hint: start it (`ipfs daemon`, or IPFS Desktop), or name another: --to kubo:ADDRESS
    "##);
    let offline = env
        .command(&["publish", "a.img", "--to", "kubo:127.0.0.1:1"])
        .env("CALLAO_OFFLINE", "1")
        .output();
    let offline = crate::env::Run::of(offline.expect("it runs"));
    assert_snapshot!(env.told(&offline), @r##"
    exit 2
    error: a kubo cannot be reached offline: it is spoken to through a socket
    "##);
    let far = ["publish", "a.img", "--to", "kubo:127.0.0.1:1", "--nocopy"];
    assert_eq!(env.run(&far).code, Some(4));
    fs::create_dir(env.home().join(".ipfs")).expect("a directory");
    fs::write(env.home().join(".ipfs/api"), "/ip4/127.0.0.1/tcp/1").expect("a file");
    let left_behind = env.run(&["publish", "a.img", "--to", "kubo"]);
    assert_eq!(left_behind.code, Some(4), "{}", left_behind.stderr);
}

/// A kubo that answers `add` as it is told.
struct Told(&'static str, u16);

impl Handler for Told {
    async fn answer(&self, request: Request, reply: &mut Reply) -> io::Result<Next> {
        let (status, text) = match request.path() {
            "/api/v0/version" => (200, r#"{"Version":"9.9.9"}"#),
            "/api/v0/add" => (self.1, self.0),
            _ => (404, ""),
        };
        reply.whole(&request, status, &[], text.as_bytes()).await
    }
}

#[test]
fn what_kubo_says_is_compared_and_told() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(611, MIB));
    env.write("a.img", &sample.bytes);
    let told = |answer, status| {
        let server = Server::start("told", Told(answer, status));
        let to = format!("kubo:{}", server.base());
        env.told(&env.run(&["publish", "a.img", "--to", &to]))
    };
    let other = r#"{"Name":"file","Hash":"bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy","Size":"9"}"#;
    let mismatch = told(other, 200);
    assert!(mismatch.starts_with("exit 5\n"), "{mismatch}");
    let short = &sample.cid()[..12];
    for line in [
        format!("error: kubo calls `a.img` bafkreigh2ak..., callao {short}...\n"),
        "hint: if somebody writes to the file, publish it again when nobody does\n".into(),
        "hint: what kubo took is pinned: `ipfs pin rm bafkreigh2ak...` lets it go\n".into(),
    ] {
        assert!(mismatch.contains(&line), "{mismatch}");
    }
    let full = r#"{"Message":"no space left on device","Code":0,"Type":"error"}"#;
    assert_snapshot!(told(full, 500), @r##"
    exit 4
    Publishing `a.img` (1.00 MiB) to kubo 9.9.9 at http://127.0.0.1:PORT
    error: failed to publish `a.img`: kubo at http://127.0.0.1:PORT: no space left on device
    "##);
    assert_snapshot!(told("", 200), @r##"
    exit 4
    Publishing `a.img` (1.00 MiB) to kubo 9.9.9 at http://127.0.0.1:PORT
    error: failed to publish `a.img`: kubo at http://127.0.0.1:PORT: what answers there is not the API of kubo
    "##);
}

#[test]
fn kubo_reads_a_car_of_several_files() {
    let env = TestEnvironment::new();
    let Some(kubo) = kubo_of(&env, &[]) else {
        return;
    };
    let samples = [Sample::random(612, 47 * MIB + 5), Sample::random(613, 3)];
    env.write("a.img", &samples[0].bytes);
    env.write("b.img", &samples[1].bytes);
    let run = env.succeed(&[
        "publish",
        "a.img",
        "b.img",
        "a.img",
        "--to",
        "car:out.car",
        "--json",
    ]);
    let roots: Vec<String> = run
        .json()
        .iter()
        .filter(|value| value["type"] == "result")
        .map(|value| value["cid"].as_str().expect("a CID").to_string())
        .collect();
    let wanted = [samples[0].cid(), samples[1].cid(), samples[0].cid()];
    assert_eq!(roots, wanted);
    let car = env.path("out.car").to_string_lossy().into_owned();
    let imported = kubo.run(&["dag", "import", "--offline", &car]);
    for sample in &samples {
        assert!(imported.contains(&sample.cid()), "{imported}");
        assert!(kubo.cat(&sample.cid()) == *sample.bytes);
    }
    let left: Vec<_> = fs::read_dir(env.path("")).expect("a directory").collect();
    assert_eq!(left.len(), 3, "nothing else is left");
    let sum: usize = samples.iter().map(|sample| sample.bytes.len()).sum();
    let size = fs::metadata(&car).expect("a CAR").len();
    assert!(size < sum as u64 + 64 * 1024, "each block is there once");
}

#[test]
fn a_car_is_written_whole_or_not_at_all() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(614, MIB));
    env.write("a.img", &sample.bytes);
    let table = [
        (
            vec!["publish", "a.img", "--to", "car:a.img"],
            "exit 2\nerror: `a.img` is both a file to publish and the CAR to write\n",
        ),
        (
            vec!["publish", "none.img", "--to", "car:out.car"],
            "exit 3\nerror: there is no file `none.img`\n",
        ),
        (
            vec!["publish", "a.img", "--to", "car:out.car", "--nocopy"],
            "exit 2\nerror: --nocopy does not go with --to car:\n",
        ),
        (
            vec!["publish", "--arch", "x86_64=a.img", "--to", "car:out.car"],
            "exit 2\nerror: --arch does not go with --to car:\n",
        ),
        (
            vec!["publish", "--arch", "x86_64=a.img", "--to", "kubo"],
            "exit 2\nerror: --arch does not go with --to kubo\n",
        ),
        (
            vec![
                "publish",
                "a.img",
                "--to",
                "oci://127.0.0.1:1/a/b",
                "--nocopy",
            ],
            "exit 2\nerror: --nocopy does not go with --to oci://\n",
        ),
        (
            vec!["publish", "a.img", "a.img", "--to", "oci://127.0.0.1:1/a/b"],
            "exit 2\nerror: a tag names one file: give one FILE, or --arch ARCH=FILE for each\n",
        ),
        (
            vec![
                "publish",
                "a.img",
                "--profile",
                "kubo-cid-v1",
                "--to",
                "oci://127.0.0.1:1/a/b",
            ],
            "exit 2\nerror: --profile does not go with oci://: the CID in a registry is that of kubo-cid-v1\n",
        ),
    ];
    for (line, wanted) in table {
        assert_eq!(env.told(&env.run(&line)), wanted);
    }
    let missing = env.run(&["publish", "a.img", "--to", "car:none/out.car"]);
    assert_eq!(missing.code, Some(6), "{}", missing.stderr);
    assert!(fs::read(env.path("a.img")).expect("the file") == *sample.bytes);
    let left = fs::read_dir(env.path("")).expect("a directory").count();
    assert_eq!(left, 1, "nothing else is left");
}
