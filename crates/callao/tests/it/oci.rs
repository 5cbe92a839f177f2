//! Files in registries: what a location names, what is done with it, and that nothing is fetched twice.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use callao_testkit::origin::{Status, Times};
use callao_testkit::real::registry::{PASSWORD, USER};
use callao_testkit::real::{Oras, Registry as RealRegistry};
use callao_testkit::registry::{Behaviour, Contents, Door, Registry, TokenDoor, basic};
use insta::assert_snapshot;

use crate::env::{Run, Sample, TestEnvironment};

const SIZE: usize = 5 * 1024 * 1024 + 17;
const PLAIN: &str = "application/octet-stream";
const MIB: u64 = 1024 * 1024;

/// A registry with one artifact, `images/a:1`, that is one file.
fn with_file(sample: &Sample) -> Contents {
    let mut contents = Contents::default();
    let layer = contents.blob(PLAIN, Some("a.img"), sample.bytes.to_vec());
    contents.manifest("1", vec![layer]);
    contents
}

fn data(env: &TestEnvironment, location: &str) -> Vec<u8> {
    fs::read(env.entry(location).join("data")).expect("data")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("a Vec takes everything");
    encoder.finish().expect("a Vec takes everything")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, *bytes)
            .expect("a Vec takes everything");
    }
    builder.into_inner().expect("a Vec takes everything")
}

/// Bytes that compress: every second 64 KiB is zero.
fn holey(seed: u64) -> Sample {
    let mut bytes = Sample::random(seed, SIZE).bytes.to_vec();
    for (at, chunk) in bytes.chunks_mut(64 * 1024).enumerate() {
        if at % 2 == 1 {
            chunk.fill(0);
        }
    }
    Sample::of(bytes)
}

#[test]
fn a_file_becomes_an_entry_and_is_not_fetched_again() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(70, SIZE));
    let registry = Registry::start(with_file(&sample), Behaviour::default());
    let location = registry.location("images/a:1");
    let run = env.succeed(&["get", &location, "--arch", "x86_64"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    Downloading the file (a:1)
    Downloaded the file from `oci://127.0.0.1:PORT/images/a:1`: 5.00 MiB in N s (N B/s), digest verified
      100%  oci://127.0.0.1:PORT/images/a:1 (5.00 MiB)
    "##);
    let entry = env.entry(&location);
    assert!(data(&env, &location) == *sample.bytes);
    let read = |name| fs::read_to_string(entry.join(name)).expect(name);
    assert_eq!(read("url"), location);
    assert_eq!(read("sha256.digest"), sample.digest.to_string());
    assert_eq!(read("time"), "Thu, 01 Jan 1970 00:00:00 GMT");
    let asked = registry.blob_requests().len();
    let again = env.succeed(&["get", &location, "--arch", "x86_64"]);
    assert_eq!(again.paths(), run.paths());
    assert!(again.stderr.contains("Using cache"), "{}", again.stderr);
    assert_eq!(
        registry.blob_requests().len(),
        asked,
        "no blob is asked for"
    );
}

#[test]
fn a_tag_that_moved_is_fetched_again_and_a_registry_that_is_gone_does_not_matter() {
    let (env, old, new) = (
        TestEnvironment::new(),
        Sample::random(71, SIZE),
        Sample::random(72, SIZE),
    );
    let mut contents = Contents::default();
    let first = contents.blob(PLAIN, Some("a.img"), old.bytes.to_vec());
    let second = contents.blob(PLAIN, Some("a.img"), new.bytes.to_vec());
    contents.manifest("1", vec![first]);
    let mut moved = contents.clone();
    moved.manifest("1", vec![second]);
    let registry = Registry::start(contents, Behaviour::default());
    let location = registry.location("images/a:1");
    env.succeed(&["get", &location]);
    assert!(data(&env, &location) == *old.bytes);
    registry.fill(moved);
    env.succeed(&["get", &location]);
    assert!(data(&env, &location) == *new.bytes);
    let offline = env.succeed(&["get", &location, "--offline"]);
    assert!(
        offline.stderr.contains("nobody was asked"),
        "{}",
        offline.stderr
    );
}

#[test]
fn a_digest_in_the_location_needs_no_registry_any_more() {
    let (env, sample, other) = (
        TestEnvironment::new(),
        Sample::random(73, SIZE),
        Sample::random(74, SIZE),
    );
    let mut contents = Contents::default();
    let amd = contents.blob(PLAIN, Some("a.img"), sample.bytes.to_vec());
    let arm = contents.blob(PLAIN, Some("a.img"), other.bytes.to_vec());
    let (amd, arm) = (
        contents.manifest("amd", vec![amd]),
        contents.manifest("arm", vec![arm]),
    );
    let index = contents.index("1", &[("linux/amd64", "", &amd), ("linux/arm64", "", &arm)]);
    let mut registry = Registry::start(contents, Behaviour::default());
    let digest = index["digest"].as_str().expect("a digest");
    let location = registry.location(&format!("images/a@{digest}"));
    env.succeed(&["get", &location, "--arch", "x86_64"]);
    assert!(data(&env, &location) == *sample.bytes);
    registry.stop();
    let again = env.succeed(&["get", &location, "--arch", "x86_64"]);
    assert!(again.stderr.contains("Using cache"), "{}", again.stderr);
    env.succeed(&[
        "get",
        &location,
        "--arch",
        "x86_64",
        "--offline",
        "--require-pin",
    ]);
    let other = env.run(&["get", &location, "--arch", "aarch64", "--offline"]);
    assert_eq!(
        other.code,
        Some(3),
        "another architecture is another file: {}",
        other.stderr
    );
}

#[test]
fn the_architecture_and_the_disk_type_choose_among_manifests() {
    let env = TestEnvironment::new();
    let mut contents = Contents::default();
    let mut samples = Vec::new();
    let mut manifests = Vec::new();
    for (seed, disk) in [(75, "wsl"), (76, "applehv"), (77, "qemu"), (78, "qemu")] {
        let sample = Sample::random(seed, 300_000);
        let title = format!("podman-machine.x86_64.{disk}.qcow2.zst");
        let layer = contents.blob("application/zstd", Some(&title), sample.bytes.to_vec());
        manifests.push(contents.manifest(&seed.to_string(), vec![layer]));
        samples.push(sample);
    }
    contents.index(
        "6.0",
        &[
            ("linux/x86_64", "wsl", &manifests[0]),
            ("linux/x86_64", "applehv", &manifests[1]),
            ("linux/x86_64", "qemu", &manifests[2]),
            ("linux/aarch64", "qemu", &manifests[3]),
        ],
    );
    let registry = Registry::start(contents, Behaviour::default());
    let plain = registry.location("podman/machine-os:6.0");
    let run = env.succeed(&["get", &plain, "--arch", "x86_64"]);
    assert!(data(&env, &plain) == *samples[2].bytes);
    assert!(
        run.stderr.contains("limactl unpacks it only if the location ends in `#podman-machine.x86_64.qemu.qcow2.zst`"),
        "{}",
        run.stderr
    );
    env.succeed(&["get", &plain, "--arch", "aarch64"]);
    assert!(data(&env, &plain) == *samples[3].bytes);
    let named = format!("{plain}#podman-machine.x86_64.applehv.qcow2.zst");
    let run = env.succeed(&["get", &named, "--arch", "x86_64"]);
    assert!(
        data(&env, &named) == *samples[1].bytes,
        "the name is stronger than the order"
    );
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
}

#[test]
fn a_template_may_name_registries_and_the_same_bytes_are_a_link() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(79, SIZE));
    let registry = Registry::start(with_file(&sample), Behaviour::default());
    let location = registry.location("images/a:1#a.img");
    let template = |location: &str| {
        format!(
            "images:\n- location: {location:?}\n  arch: x86_64\n  digest: \"{}\"\n",
            sample.digest
        )
    };
    env.write("t.yaml", template(&location));
    let line = ["get", "t.yaml", "--arch", "x86_64", "--no-archives"];
    env.succeed(&line);
    assert!(data(&env, &location) == *sample.bytes);
    let asked = registry.requests().len();
    let other = registry.location("elsewhere/b:2#a.img");
    env.write("t.yaml", template(&other));
    let run = env.succeed(&line);
    assert!(run.stderr.contains("a hard link"), "{}", run.stderr);
    assert_eq!(
        registry.requests().len(),
        asked,
        "what the digest names is here already"
    );
}

#[test]
fn what_arrived_before_a_registry_broke_off_is_kept() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(80, 4 * SIZE));
    let broken = Behaviour {
        stop_after_total: Some(12 * MIB),
        ..Behaviour::default()
    };
    let registry = Registry::start(with_file(&sample), broken);
    let digest = sample.digest.to_string();
    let first = registry.location("images/a:1");
    let run = env.run(&["get", &first, "--digest", &digest]);
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    assert!(
        run.stderr.contains("run the same command again to go on"),
        "{}",
        run.stderr
    );
    let registry = Registry::start(with_file(&sample), Behaviour::default());
    let second = registry.location("images/a:1");
    let run = env.succeed(&["get", &second, "--digest", &digest]);
    assert!(
        run.stderr.contains("kept from an earlier run"),
        "{}",
        run.stderr
    );
    assert!(
        registry.bytes_sent() < 12 * MIB,
        "{}",
        registry.bytes_sent()
    );
    assert!(data(&env, &second) == *sample.bytes);
}

#[test]
fn packed_files_are_unpacked_and_only_once() {
    let (env, sample) = (TestEnvironment::new(), holey(81));
    let mut contents = Contents::default();
    let cases = [
        (
            "gzip",
            "application/vnd.example.disk+gzip",
            Some("disk.img"),
            gzip(&sample.bytes),
        ),
        (
            "zstd",
            "application/vnd.example.disk+zstd",
            Some("disk.img"),
            zstd(&sample.bytes),
        ),
        (
            "containerdisk",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            None,
            gzip(&tar(&[("disk/disk.img", &sample.bytes)])),
        ),
    ];
    for (tag, media_type, title, bytes) in cases {
        let layer = contents.blob(media_type, title, bytes);
        contents.manifest(tag, vec![layer]);
    }
    let registry = Registry::start(contents, Behaviour::default());
    let digest = sample.digest.to_string();
    for tag in ["gzip", "zstd", "containerdisk"] {
        let env = TestEnvironment::new();
        let location = registry.location(&format!("images/a:{tag}"));
        let run = env.succeed(&["get", &location, "--digest", &digest]);
        assert!(
            run.stderr.contains("Unpacked 5.00 MiB from"),
            "{}",
            run.stderr
        );
        assert!(data(&env, &location) == *sample.bytes, "{tag}");
        let mark = fs::read_to_string(env.entry(&location).join("sha256.digest"));
        assert_eq!(mark.expect("a mark"), digest);
        assert!(env.staging().is_empty(), "{tag}: {:?}", env.staging());
    }
    let location = registry.location("images/a:gzip");
    let run = env.succeed(&["get", &location, "--json"]);
    assert_eq!(run.last("result")["digest"], digest.as_str());
    assert_eq!(run.last("result")["cid"], sample.cid().as_str());
    let asked = registry.blob_requests().len();
    env.succeed(&["get", &location]);
    assert_eq!(
        registry.blob_requests().len(),
        asked,
        "what comes out of the blob is here"
    );
    let named = registry.location("images/a:containerdisk#disk/disk.img");
    let run = env.succeed(&["get", &named, "--cid", &sample.cid()]);
    assert!(run.stderr.contains("a hard link"), "{}", run.stderr);
}

#[test]
fn a_packed_file_goes_on_where_it_was_killed() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(82, 4 * SIZE));
    let packed = gzip(&sample.bytes);
    let contents = || {
        let mut contents = Contents::default();
        let layer = contents.blob(
            "application/vnd.example.disk+gzip",
            Some("a.img"),
            packed.clone(),
        );
        contents.manifest("1", vec![layer]);
        contents
    };
    let slow = Behaviour {
        rate: Some(8 * MIB),
        ..Behaviour::default()
    };
    let registry = Registry::start(contents(), slow);
    let location = registry.location("images/a:1");
    let mut child = env.start(&["get", &location]);
    while registry.bytes_sent() < 14 * MIB {
        assert!(
            child.try_wait().expect("a child").is_none(),
            "it ended too early"
        );
        std::thread::yield_now();
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    let before = registry.bytes_sent();
    registry.set(Behaviour::default());
    let run = env.succeed(&["get", &location]);
    assert!(
        run.stderr.contains("kept from an earlier run"),
        "{}",
        run.stderr
    );
    let again = registry.bytes_sent() - before;
    assert!(again < packed.len() as u64 - 4 * MIB, "{again} bytes again");
    assert!(data(&env, &location) == *sample.bytes);
}

#[test]
fn logins_open_registries() {
    let sample = Sample::random(83, 300_000);
    let log_in = |env: &TestEnvironment, text: String| {
        fs::create_dir_all(env.home().join(".docker")).expect("a directory");
        fs::write(env.home().join(".docker/config.json"), text).expect("a file");
    };
    let encoded = || {
        basic("ali", "sesame")
            .trim_start_matches("Basic ")
            .to_string()
    };
    let by_name = Door::Basic("ali".into(), "sesame".into());
    let env = TestEnvironment::new();
    let registry = Registry::start(
        with_file(&sample),
        Behaviour {
            door: by_name,
            ..Behaviour::default()
        },
    );
    let host = registry.host();
    log_in(
        &env,
        format!(r#"{{"auths":{{"{host}":{{"auth":"{}"}}}}}}"#, encoded()),
    );
    env.succeed(&["get", &registry.location("images/a:1")]);

    // A token server at the registry's own address: a name and a password, then an identity token.
    for identity in [false, true] {
        let env = TestEnvironment::new();
        let door = TokenDoor {
            login: (!identity).then(|| ("ali".into(), "sesame".into())),
            identity: identity.then(|| "t0ken".into()),
            // Tokens end while a fetch runs: another one is asked for.
            uses_max: Some(2),
            ..TokenDoor::default()
        };
        let registry = Registry::with_tokens(with_file(&sample), Behaviour::default(), door);
        let host = registry.host();
        registry.set(Behaviour {
            door: Door::Bearer {
                realm: format!("http://{host}/token"),
                service: "fake".into(),
            },
            ..Behaviour::default()
        });
        let login = match identity {
            true => r#"{"identitytoken":"t0ken"}"#.to_string(),
            false => format!(r#"{{"auth":"{}"}}"#, encoded()),
        };
        log_in(&env, format!(r#"{{"auths":{{"{host}":{login}}}}}"#));
        env.succeed(&["get", &registry.location("images/a:1")]);
        let asked = registry.requests();
        let token = asked
            .iter()
            .find(|request| request.path.starts_with("/token"));
        let token = token.expect("a token was asked for");
        match identity {
            true => assert_eq!(
                (token.method.as_str(), token.header("authorization")),
                ("POST", None)
            ),
            false => {
                assert_eq!(
                    token.path,
                    "/token?service=fake&scope=repository%3Aimages%2Fa%3Apull"
                );
                assert_eq!(
                    token.header("authorization"),
                    Some(&*basic("ali", "sesame"))
                );
            }
        }
    }
}

#[test]
fn a_credential_helper_is_asked_with_the_registry_on_stdin() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(84, 300_000));
    let registry = Registry::start(
        with_file(&sample),
        Behaviour {
            door: Door::Basic("ali".into(), "sesame".into()),
            ..Behaviour::default()
        },
    );
    let host = registry.host();
    fs::create_dir_all(env.home().join(".docker")).expect("a directory");
    let config = format!(r#"{{"credHelpers":{{"{host}":"callao-test"}}}}"#);
    fs::write(env.home().join(".docker/config.json"), config).expect("a file");
    let script = format!(
        "#!/bin/sh\nread server\n[ \"$1 $server\" = 'get {host}' ] || exit 1\n\
         echo '{{\"Username\":\"ali\",\"Secret\":\"sesame\"}}'\n"
    );
    let bin = env.program("docker-credential-callao-test", &script);
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let output = env
        .command(&["get", &registry.location("images/a:1")])
        .env("PATH", path)
        .output()
        .expect("the program starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn plain_http_needs_permission_beyond_this_computer() {
    // A proxy sees what would go out: a tunnel for https, the request itself for http.
    let (env, sample) = (TestEnvironment::new(), Sample::random(85, 300_000));
    let proxy = Registry::start(with_file(&sample), Behaviour::default());
    let through = |arguments: &[&str]| -> Run {
        let output = env
            .command(arguments)
            .env("HTTP_PROXY", format!("http://{}", proxy.host()))
            .env("HTTPS_PROXY", format!("http://{}", proxy.host()))
            .output()
            .expect("the program starts");
        Run::of(output)
    };
    let location = "oci://registry.example:5000/images/a:1";
    let refused = through(&["get", location]);
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    let asked = proxy.requests();
    assert!(
        !asked.is_empty() && asked.iter().all(|request| request.method == "CONNECT"),
        "{asked:?}"
    );
    let allowed = through(&["get", location, "--allow-http", "registry.example:5000"]);
    assert_eq!(allowed.code, Some(0), "{}", allowed.stderr);
    assert!(data(&env, location) == *sample.bytes);
}

#[test]
fn only_says_whether_registries_are_asked() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(86, 300_000));
    let registry = Registry::start(with_file(&sample), Behaviour::default());
    let location = registry.location("images/a:1");
    let run = env.run(&["get", &location, "--only", "http"]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(registry.requests().is_empty());
    env.succeed(&["get", &location, "--only", "oci"]);
}

#[test]
fn a_busy_registry_is_asked_again_when_it_said() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(87, 300_000));
    let busy = Status {
        code: 429,
        retry_after: Some(1),
        times: Times::First(1),
    };
    let registry = Registry::start(
        with_file(&sample),
        Behaviour {
            manifest_status: Some(busy),
            ..Behaviour::default()
        },
    );
    env.succeed(&["get", &registry.location("images/a:1")]);
    registry.set(Behaviour {
        blob_status: Some(Status {
            times: Times::First(2),
            ..busy
        }),
        ..Behaviour::default()
    });
    let other = env.path("copy.img");
    let fresh = TestEnvironment::new();
    fresh.succeed(&[
        "get",
        &registry.location("images/a:1"),
        "-o",
        &other.to_string_lossy(),
    ]);
    assert!(fs::read(other).expect("the file") == *sample.bytes);
}

/// Pushes files with the real oras to the real registry.
fn oras_push(oras: &Oras, directory: &Path, target: &str, files: &[&str], login: bool) {
    let mut line = vec!["push", "--plain-http", "--no-tty", target];
    if login {
        line.extend(["-u", USER, "-p", PASSWORD]);
    }
    line.extend(files);
    oras.run(directory, &line);
}

#[test]
fn what_the_real_oras_pushed_to_the_real_registry_is_fetched() {
    for login in [false, true] {
        let env = TestEnvironment::new();
        let Some(registry) = RealRegistry::start(login) else {
            return;
        };
        let Some(oras) = Oras::find(&env.home()) else {
            return;
        };
        let (sample, packed) = (Sample::random(88, SIZE), holey(89));
        env.write("plain.img", &sample.bytes);
        env.write("small.txt", b"read me");
        env.write("packed.img", gzip(&packed.bytes));
        let host = registry.host();
        let directory = env.path("");
        let push = |name: &str, files: &[&str]| {
            oras_push(
                &oras,
                &directory,
                &format!("{host}/images/{name}"),
                files,
                login,
            );
        };
        push("plain:1", &["plain.img"]);
        push(
            "two:1",
            &["plain.img:application/octet-stream", "small.txt:text/plain"],
        );
        push(
            "packed:1",
            &["packed.img:application/vnd.example.disk+gzip"],
        );
        if login {
            let anonymous = env.run(&["get", &format!("oci://{host}/images/plain:1")]);
            assert_eq!(anonymous.code, Some(4), "{}", anonymous.stderr);
            let auth = basic(USER, PASSWORD)
                .trim_start_matches("Basic ")
                .to_string();
            fs::create_dir_all(env.home().join(".docker")).expect("a directory");
            let config = format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#);
            fs::write(env.home().join(".docker/config.json"), config).expect("a file");
        }
        let plain = format!("oci://{host}/images/plain:1");
        env.succeed(&["get", &plain]);
        assert!(data(&env, &plain) == *sample.bytes);
        let named = format!("oci://{host}/images/two:1#plain.img");
        let run = env.succeed(&["get", &named]);
        assert!(run.stderr.contains("a hard link"), "{}", run.stderr);
        let unnamed = env.run(&["get", &format!("oci://{host}/images/two:1")]);
        assert_eq!(unnamed.code, Some(3), "{}", unnamed.stderr);
        let unpacked = format!("oci://{host}/images/packed:1");
        env.succeed(&["get", &unpacked, "--digest", &packed.digest.to_string()]);
        assert!(data(&env, &unpacked) == *packed.bytes);
    }
}

#[test]
fn what_a_registry_has_is_explained() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(93, 300_000));
    let registry = Registry::start(with_file(&sample), Behaviour::default());
    let run = env.succeed(&["explain", &registry.location("images/a:1"), "--json"]);
    let explained = run.last("explanation");
    assert_eq!(explained["verdict"], "fetch");
    assert_eq!(explained["sources"][0]["answer"], "has_it");
    assert_eq!(explained["sources"][0]["size"], 300_000);
    let run = env.run(&["explain", &registry.location("images/a:2"), "--json"]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let explained = run.last("explanation");
    assert_eq!(explained["sources"][0]["answer"], "not_found");
    let only = env.run(&[
        "explain",
        &registry.location("images/a:1"),
        "--only",
        "http",
    ]);
    assert!(
        only.stdout
            .contains("registries: --only allows other kinds"),
        "{}",
        only.stdout
    );
}
