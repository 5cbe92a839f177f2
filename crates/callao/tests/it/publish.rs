//! Files that are published: what others find there, what is not sent twice, and what goes wrong.

use std::fs;
use std::time::Duration;

use callao_testkit::http::Logged;
use callao_testkit::real::registry::{PASSWORD, USER};
use callao_testkit::real::{Oras, Registry as RealRegistry};
use callao_testkit::registry::{Behaviour, Contents, Door, Registry, basic};
use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process};

use crate::env::{Run, Sample, TestEnvironment};

const MIB: usize = 1024 * 1024;

fn log_in_to(env: &TestEnvironment, host: &str) {
    let auth = basic(USER, PASSWORD)
        .trim_start_matches("Basic ")
        .to_string();
    fs::create_dir_all(env.home().join(".docker")).expect("a directory");
    let config = format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#);
    fs::write(env.home().join(".docker/config.json"), config).expect("a file");
}

/// A sample that begins as a qcow2 file does.
fn qcow2(seed: u64, size: usize) -> Sample {
    let mut bytes = Sample::random(seed, size).bytes.to_vec();
    bytes[..4].copy_from_slice(b"QFI\xfb");
    Sample::of(bytes)
}

#[test]
fn a_published_file_is_what_oras_and_callao_find_in_a_real_registry() {
    for login in [false, true] {
        let (env, sample) = (TestEnvironment::new(), qcow2(101, 5 * MIB + 3));
        let Some(registry) = RealRegistry::start(login) else {
            return;
        };
        let Some(oras) = Oras::find(&env.home()) else {
            return;
        };
        let host = registry.host();
        env.write("disk.qcow2", &sample.bytes);
        if login {
            let refused = env.run(&[
                "publish",
                "disk.qcow2",
                "--to",
                &format!("oci://{host}/a/b:1"),
            ]);
            assert_eq!(refused.code, Some(4), "{}", refused.stderr);
            log_in_to(&env, &host);
        }
        let to = format!("oci://{host}/a/b:1");
        let run = env.succeed(&["publish", "disk.qcow2", "--to", &to]);
        let lines: Vec<&str> = run.stdout.lines().collect();
        assert!(
            lines[0].starts_with(&format!("oci://{host}/a/b@sha256:")),
            "{}",
            run.stdout
        );
        assert_eq!(lines[1], format!("- location: \"{}#disk.qcow2\"", lines[0]));
        assert_eq!(lines[2], format!("  digest: \"{}\"", sample.digest));
        assert_eq!(lines[3], format!("  cid: {}", sample.cid()));
        let pulled = env.path("pulled");
        fs::create_dir(&pulled).expect("a directory");
        let from = format!("{host}/a/b:1");
        let mut line = vec!["pull", "--plain-http", "--no-tty", &from];
        if login {
            line.extend(["-u", USER, "-p", PASSWORD]);
        }
        oras.run(&pulled, &line);
        assert!(fs::read(pulled.join("disk.qcow2")).expect("pulled") == *sample.bytes);
        let there = TestEnvironment::new();
        if login {
            log_in_to(&there, &host);
        }
        let location = format!("{}#disk.qcow2", lines[0]);
        there.succeed(&["get", &location, "--cid", &sample.cid()]);
        assert!(fs::read(there.entry(&location).join("data")).expect("data") == *sample.bytes);
        let again = env.succeed(&["publish", "disk.qcow2", "--to", &to]);
        assert_eq!(
            again.stdout, run.stdout,
            "the same files give the same documents"
        );
        assert!(
            again
                .stderr
                .contains("The registry has `disk.qcow2` already"),
            "{}",
            again.stderr
        );
    }
}

#[test]
fn an_index_has_a_file_for_each_architecture() {
    let env = TestEnvironment::new();
    let Some(registry) = RealRegistry::start(false) else {
        return;
    };
    let Some(oras) = Oras::find(&env.home()) else {
        return;
    };
    let host = registry.host();
    let samples = [
        ("x86_64", "amd64", qcow2(102, MIB)),
        ("aarch64", "arm64", qcow2(103, MIB + 1)),
    ];
    for (_, go, sample) in &samples {
        env.write(&format!("{go}.qcow2"), &sample.bytes);
    }
    let to = format!("oci://{host}/images/disk:2");
    let run = env.succeed(&[
        "publish",
        "--arch",
        "x86_64=amd64.qcow2",
        "--arch",
        "aarch64=arm64.qcow2",
        "--to",
        &to,
        "--json",
    ]);
    let results: Vec<_> = run
        .json()
        .into_iter()
        .filter(|value| value["type"] == "result")
        .collect();
    assert_eq!(results.len(), 2);
    for ((arch, go, sample), result) in samples.iter().zip(&results) {
        assert_eq!(result["arch"], *arch);
        assert_eq!(result["digest"], sample.digest.to_string());
        assert_eq!(result["cid"], sample.cid());
        let there = TestEnvironment::new();
        there.succeed(&["get", &to, "--arch", arch]);
        assert!(fs::read(there.entry(&to).join("data")).expect("data") == *sample.bytes);
        let pulled = env.path(go);
        fs::create_dir(&pulled).expect("a directory");
        let (from, platform) = (format!("{host}/images/disk:2"), format!("linux/{go}"));
        oras.run(
            &pulled,
            &[
                "pull",
                "--plain-http",
                "--no-tty",
                "--platform",
                &platform,
                &from,
            ],
        );
        let file = fs::read(pulled.join(format!("{go}.qcow2"))).expect("pulled");
        assert!(file == *sample.bytes, "{go}");
    }
    annotations_are_there(&oras, &env, &host, &samples[0].2);
}

/// What the index says about its first manifest.
fn annotations_are_there(oras: &Oras, env: &TestEnvironment, host: &str, first: &Sample) {
    let fetched = oras.run(
        &env.path(""),
        &[
            "manifest",
            "fetch",
            "--plain-http",
            &format!("{host}/images/disk:2"),
        ],
    );
    let index: serde_json::Value = serde_json::from_slice(&fetched.stdout).expect("an index");
    let described = &index["manifests"][0];
    assert_eq!(described["annotations"]["disktype"], "qemu");
    assert_eq!(
        described["annotations"]["io.github.callao.cid"],
        first.cid()
    );
    assert_eq!(
        described["annotations"]["io.github.callao.digest"],
        first.digest.to_string()
    );
}

#[test]
fn an_upload_that_broke_off_goes_on() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(104, 40 * MIB));
    env.write("disk.img", &sample.bytes);
    let registry = Registry::start(
        Contents::default(),
        Behaviour {
            pieces_max: Some(1),
            ..Behaviour::default()
        },
    );
    let to = registry.location("a/b:1");
    let run = env.run(&["publish", "disk.img", "--to", &to]);
    assert_snapshot!(env.told(&run), @r##"
    exit 4
    Publishing `disk.img` (40.00 MiB) to oci://127.0.0.1:PORT/a/b:1
    error: failed to publish `disk.img`: registry 127.0.0.1:PORT: HTTP 500 Internal Server Error
    hint: what the registry has of it is kept; run the same command again to go on
    "##);
    registry.set(Behaviour::default());
    let before = registry.requests().len();
    let run = env.succeed(&["publish", "disk.img", "--to", &to]);
    assert!(
        run.stderr
            .contains("Went on after 16.00 MiB of an earlier run"),
        "{}",
        run.stderr
    );
    let is_large = |request: &&Logged| {
        let length = request
            .header("content-length")
            .and_then(|text| text.parse::<usize>().ok());
        request.method == "PATCH" && length.is_some_and(|length| length > 1000)
    };
    let sent = registry.requests()[before..]
        .iter()
        .filter(is_large)
        .count();
    assert_eq!(sent, 2, "of three pieces the first one was there");
    let fresh = TestEnvironment::new();
    fresh.succeed(&["get", &to]);
    assert!(fs::read(fresh.entry(&to).join("data")).expect("data") == *sample.bytes);
    let notes = fs::read_dir(env.cache_dir().join("callao/v1/documents")).expect("a directory");
    assert_eq!(notes.count(), 0, "nothing is left to remember");
}

#[test]
fn a_signal_stops_an_upload_between_two_pieces() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(106, 40 * MIB));
    env.write("disk.img", &sample.bytes);
    let slow = Behaviour {
        piece_delay: Some(Duration::from_millis(700)),
        ..Behaviour::default()
    };
    let registry = Registry::start(Contents::default(), slow);
    let to = registry.location("a/b:1");
    let child = env.start(&["publish", "disk.img", "--to", &to]);
    let is_piece = |request: &Logged| request.method == "PATCH";
    while !registry.requests().iter().any(is_piece) {
        std::thread::yield_now();
    }
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).expect("it is running");
    let run = Run::of(child.wait_with_output().expect("it ends"));
    assert_snapshot!(env.told(&run), @r##"
    exit 130
    Publishing `disk.img` (40.00 MiB) to oci://127.0.0.1:PORT/a/b:1
    Stopping; what arrived is kept (once more to end at once)
    error: interrupted
    hint: run the same command again to go on
    "##);
    registry.set(Behaviour::default());
    let run = env.succeed(&["publish", "disk.img", "--to", &to]);
    assert!(run.stderr.contains("of an earlier run"), "{}", run.stderr);
}

#[test]
fn an_upload_that_the_registry_forgot_begins_again() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(105, 20 * MIB));
    env.write("disk.img", &sample.bytes);
    let registry = Registry::start(
        Contents::default(),
        Behaviour {
            pieces_max: Some(1),
            ..Behaviour::default()
        },
    );
    let to = registry.location("a/b:1");
    assert_eq!(env.run(&["publish", "disk.img", "--to", &to]).code, Some(4));
    let other = Registry::start(Contents::default(), Behaviour::default());
    // Another registry knows nothing of it; nor does this one, once it is forgotten.
    env.succeed(&["publish", "disk.img", "--to", &other.location("a/b:1")]);
    registry.forget_uploads();
    registry.set(Behaviour::default());
    let run = env.succeed(&["publish", "disk.img", "--to", &to]);
    assert!(!run.stderr.contains("Went on"), "{}", run.stderr);
}

#[test]
fn what_cannot_be_published_is_said() {
    let env = TestEnvironment::new();
    let registry = Registry::start(
        Contents::default(),
        Behaviour {
            loses_manifests: true,
            ..Behaviour::default()
        },
    );
    let to = registry.location("a/b:1");
    let missing = env.run(&["publish", "disk.img", "--to", &to]);
    assert_snapshot!(env.told(&missing), @r##"
    exit 3
    error: there is no file `disk.img`
    "##);
    env.write("disk.img", "a disk");
    assert_snapshot!(env.told(&env.run(&["publish", "disk.img", "--to", "kubo://here"])), @r##"
    exit 2
    error: invalid value 'kubo://here' for '--to <ADDRESS>': expected kubo or kubo:ADDRESS, such as 
          kubo:http://127.0.0.1:PORT

    For more information, try '--help'.
    "##);
    assert_snapshot!(env.told(&env.run(&["publish", "--arch", "vax=disk.img", "--to", &to])), @r##"
    exit 2
    error: invalid value 'vax=disk.img' for '--arch <ARCH=FILE>': unknown architecture `vax`; it is one of 
          x86_64, aarch64, armv7l, ppc64le, riscv64, s390x

    For more information, try '--help'.
    "##);
    assert_eq!(env.run(&["publish", "--to", &to]).code, Some(2), "no file");
    let both = env.run(&[
        "publish",
        "disk.img",
        "--arch",
        "x86_64=disk.img",
        "--to",
        &to,
    ]);
    assert_eq!(both.code, Some(2), "both ways at once");
    let lost = env.run(&["publish", "disk.img", "--to", &to]);
    assert_snapshot!(env.told(&lost), @r##"
    exit 3
    Publishing `disk.img` (6 B) to oci://127.0.0.1:PORT/a/b:1
    error: failed to publish to `oci://127.0.0.1:PORT/a/b:1`: registry 127.0.0.1:PORT: does not have it: HTTP 404 
          Not Found: MANIFEST_UNKNOWN: manifest unknown
    "##);
    let mut contents = Contents::default();
    let layer = contents.blob("x", None, "other");
    contents.manifest("1", vec![layer]);
    registry.fill(contents);
    let other = env.run(&["publish", "disk.img", "--to", &to]);
    assert_snapshot!(env.told(&other), @r##"
    exit 5
    Publishing `disk.img` (6 B) to oci://127.0.0.1:PORT/a/b:1
    error: `oci://127.0.0.1:PORT/a/b:1` was put as `sha256:3bae5dd590d3...` and is read back as 
          `sha256:e903f6a46059...`
    hint: somebody else may have published under the same tag at the same time
    "##);
    registry.set(Behaviour {
        door: Door::Basic("ali".into(), "sesame".into()),
        ..Behaviour::default()
    });
    let refused = env.run(&["publish", "disk.img", "--to", &to]);
    assert_snapshot!(env.told(&refused), @r##"
    exit 4
    Publishing `disk.img` (6 B) to oci://127.0.0.1:PORT/a/b:1
    error: failed to publish `disk.img`: registry 127.0.0.1:PORT: HTTP 401 Unauthorized
    hint: `docker login 127.0.0.1:PORT` (or `podman login`) makes a login known, if it is not public
    "##);
}

#[test]
fn the_help_teaches_how_to_publish() {
    let env = TestEnvironment::new();
    assert_snapshot!(env.succeed(&["publish", "--help"]).stdout, @r##"
    Publish files by `callao serve`, to an OCI registry, to a kubo, or into a CAR

    Usage: callao publish [OPTIONS] [FILE]...

    Arguments:
      [FILE]...  The files

    Options:
          --arch <ARCH=FILE>   A file for an architecture; once for each: they become an index (oci://
                               only)
          --to <ADDRESS>       Where to: oci://REGISTRY/REPOSITORY[:TAG], kubo, kubo:ADDRESS or car:PATH
                               [default: the `callao serve` of this computer]
          --profile <PROFILE>  How files are cut and linked, but for oci:// [default: kubo-cid-v1]
          --nocopy             Have kubo refer to the file instead of copying it: the file must never
                               change, and kubo's filestore must be on
      -h, --help               Print help

    Where to look:
          --allow-http <HOST[:PORT]>  Speak plain http to this registry (this computer needs no
                                      permission)

    Common options:
          --json             Print every event and result on stdout as JSON, one object a line, each
                             with "v":1
          --no-progress      Show no progress
      -q, --quiet            Print errors, warnings and results only
      -v, --verbose          Print more: every source that is asked
          --config <FILE>    Settings file [default: ~/.config/callao/config.toml]
          --cache-dir <DIR>  Directory that holds Lima's cache (lima/) and callao's own (callao/)
                             [default: ~/.cache]

    Without --to files are made known as `callao add` does: they stay where they are,
      and the running `callao serve` serves them.
    oci://REGISTRY/REPOSITORY[:TAG]  pushes files to a registry of OCI artifacts,
      with digest and CID, so that `callao get`, `oras pull` and whoever speaks the
      protocol get the same bytes. What is there already is not sent again; an
      interrupted upload goes on. Logins are those of `docker login` or
      `podman login`.
    kubo, kubo:ADDRESS  adds files to the kubo daemon of this computer, or to the
      one whose RPC API is at ADDRESS: pinned, in its Files as /callao/NAME, and
      announced where it announces.
    car:PATH  writes one CAR file with all blocks of the files.

    Examples:
      callao publish disk.qcow2
      callao publish disk.qcow2 --to oci://ghcr.io/owner/images:1
      callao publish --arch x86_64=amd64.qcow2 --arch aarch64=arm64.qcow2 \
          --to oci://ghcr.io/owner/images:1
      callao publish disk.qcow2 --to kubo
      callao publish disk.qcow2 --to kubo:http://127.0.0.1:5001 --nocopy
      callao publish amd64.qcow2 arm64.qcow2 --to car:disks.car
    "##);
}
