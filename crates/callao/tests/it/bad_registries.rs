//! Bad days of registries: each ends with the file, or with a clear message and the right exit code; and no login is
//! ever sent where it does not belong.

use std::fs;

use callao_testkit::http::Logged;
use callao_testkit::origin::{Status, Times};
use callao_testkit::registry::{
    Behaviour, Contents, Door, INDEX, MANIFEST, Registry, TokenDoor, basic,
};
use insta::assert_snapshot;
use serde_json::json;

use crate::env::{Run, Sample, TestEnvironment};

const PLAIN: &str = "application/octet-stream";

fn sample() -> Sample {
    Sample::random(90, 300_000)
}

fn contents() -> Contents {
    let mut contents = Contents::default();
    let layer = contents.blob(PLAIN, Some("a.img"), sample().bytes.to_vec());
    contents.manifest("1", vec![layer]);
    contents
}

/// One get of `images/a:1` from a registry that behaves like this.
fn get_from(env: &TestEnvironment, registry: &Registry) -> Run {
    let run = env.run(&["get", &registry.location("images/a:1"), "--arch", "x86_64"]);
    env.assert_nothing_false_in_lima(&sample());
    run
}

fn told(behaviour: Behaviour) -> String {
    let env = TestEnvironment::new();
    let registry = Registry::start(contents(), behaviour);
    let run = get_from(&env, &registry);
    env.told(&run)
}

fn told_of(contents: Contents) -> String {
    let env = TestEnvironment::new();
    let registry = Registry::start(contents, Behaviour::default());
    let run = get_from(&env, &registry);
    env.told(&run)
}

fn status(code: u16) -> Option<Status> {
    Some(Status {
        code,
        retry_after: None,
        times: Times::Always,
    })
}

fn log_in(env: &TestEnvironment, text: &str) {
    fs::create_dir_all(env.home().join(".docker")).expect("a directory");
    fs::write(env.home().join(".docker/config.json"), text).expect("a file");
}

/// A login `ali`, `sesame` for a registry.
fn log_in_to(env: &TestEnvironment, host: &str) {
    let auth = basic("ali", "sesame")
        .trim_start_matches("Basic ")
        .to_string();
    log_in(
        env,
        &format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#),
    );
}

fn no_login_in(requests: &[Logged]) {
    assert!(!requests.is_empty(), "it was asked");
    for request in requests {
        assert_eq!(
            request.header("authorization"),
            None,
            "{} {}",
            request.method,
            request.path
        );
        assert!(!request.path.contains("sesame"), "{}", request.path);
    }
}

#[test]
fn a_registry_that_wants_a_login_says_how_to_give_one() {
    let door = Door::Basic("ali".into(), "sesame".into());
    assert_snapshot!(told(Behaviour { door, ..Behaviour::default() }), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: HTTP 401 
          Unauthorized: UNAUTHORIZED: authentication required
    hint: `docker login 127.0.0.1:PORT` (or `podman login`) makes a login known, if it is not public
    "##);
}

#[test]
fn a_login_that_is_not_let_in_is_said_to_be_it() {
    let env = TestEnvironment::new();
    let registry = Registry::start(
        contents(),
        Behaviour {
            door: Door::Basic("ali".into(), "another".into()),
            ..Behaviour::default()
        },
    );
    log_in_to(&env, &registry.host());
    let run = get_from(&env, &registry);
    assert_snapshot!(env.told(&run), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: HTTP 401 
          Unauthorized: UNAUTHORIZED: authentication required
    hint: the login for 127.0.0.1:PORT does not open this repository: `docker login 127.0.0.1:PORT` renews it
    "##);
}

#[test]
fn a_registry_that_forbids_is_quoted() {
    assert_snapshot!(told(Behaviour {
        manifest_status: status(403),
        refusal: Some(r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#.into()),
        ..Behaviour::default()
    }), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: HTTP 403 
          Forbidden: DENIED: requested access to the resource is denied
    hint: `docker login 127.0.0.1:PORT` (or `podman login`) makes a login known, if it is not public
    "##);
}

#[test]
fn what_a_registry_does_not_have_is_not_found() {
    let env = TestEnvironment::new();
    let registry = Registry::start(contents(), Behaviour::default());
    let run = env.run(&["get", &registry.location("images/a:2"), "--arch", "x86_64"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 3
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:2"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:2`: registry 127.0.0.1:PORT: does not have 
          it: HTTP 404 Not Found: MANIFEST_UNKNOWN: manifest unknown
    "##);
    let mut without_blob = Contents::default();
    let elsewhere = Contents::default().blob(PLAIN, None, "gone");
    without_blob.manifest("1", vec![elsewhere]);
    assert_snapshot!(told_of(without_blob), @r##"
    exit 3
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    Downloading the file (a:1)
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: no source could deliver the file
      oci://127.0.0.1:PORT/images/a:1: does not have it: HTTP 404 Not Found: BLOB_UNKNOWN: blob unknown to 
          registry
    "##);
}

#[test]
fn a_registry_that_stays_busy_is_left_alone_in_the_end() {
    assert_snapshot!(told(Behaviour {
        manifest_status: Some(Status { code: 429, retry_after: Some(0), times: Times::Always }),
        refusal: Some(r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#.into()),
        ..Behaviour::default()
    }), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: HTTP 429 Too 
          Many Requests: TOOMANYREQUESTS: pull rate limit
    "##);
}

#[test]
fn a_registry_that_fails_is_asked_again_and_then_said_to_fail() {
    let env = TestEnvironment::new();
    let passing = Status {
        code: 500,
        retry_after: None,
        times: Times::First(2),
    };
    let registry = Registry::start(
        contents(),
        Behaviour {
            manifest_status: Some(passing),
            ..Behaviour::default()
        },
    );
    assert_eq!(get_from(&env, &registry).code, Some(0));
    assert_snapshot!(told(Behaviour { manifest_status: status(500), ..Behaviour::default() }), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: HTTP 500 
          Internal Server Error
    "##);
    assert_snapshot!(told(Behaviour { blob_status: status(403), ..Behaviour::default() }), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    Downloading the file (a:1)
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: no source could deliver the file
      oci://127.0.0.1:PORT/images/a:1: HTTP 403 Forbidden
    "##);
}

#[test]
fn nobody_listens() {
    let env = TestEnvironment::new();
    let mut registry = Registry::start(contents(), Behaviour::default());
    registry.stop();
    let run = get_from(&env, &registry);
    assert_snapshot!(env.told(&run), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: no connection: 
          Connection refused (os error 111)
    "##);
}

#[test]
fn a_manifest_that_is_not_what_its_digest_names_is_refused() {
    let env = TestEnvironment::new();
    let mut all = contents();
    let manifest = all.document(
        "x",
        MANIFEST,
        br#"{"schemaVersion":2,"layers":[]}"#.to_vec(),
    );
    let digest = manifest["digest"].as_str().expect("a digest").to_string();
    let registry = Registry::start(
        all,
        Behaviour {
            false_manifests: true,
            ..Behaviour::default()
        },
    );
    let location = registry.location(&format!("images/a@{digest}"));
    let run = env.run(&["get", &location, "--arch", "x86_64"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 5
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a@sha256:6ece6defe706..."
    error: failed to download the file `oci://127.0.0.1:PORT/images/a@sha256:6ece6defe706...`: registry 
          127.0.0.1:PORT: the manifest must have digest `sha256:6ece6defe706...`, and has `sha256:2e705bde40fd...`
    "##);
    let mut lying = contents();
    let mut layer = lying.blob(PLAIN, Some("a.img"), sample().bytes.to_vec());
    layer["digest"] = json!(sample().digest.to_string());
    let mut described = lying.manifest("x86", vec![layer]);
    described["size"] = json!(7);
    lying.index("1", &[("linux/amd64", "", &described)]);
    assert_snapshot!(told_of(lying), @r##"
    exit 5
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: the manifest 
          must be 7 bytes long, and is 433
    "##);
}

#[test]
fn a_manifest_of_10_mib_is_not_read() {
    let env = TestEnvironment::new();
    let registry = Registry::start(
        contents(),
        Behaviour {
            padding: 10 * 1024 * 1024,
            ..Behaviour::default()
        },
    );
    let run = get_from(&env, &registry);
    assert_snapshot!(env.told(&run), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: the manifest 
          is longer than 4194304 bytes
    "##);
}

#[test]
fn documents_that_cannot_be_used_say_why() {
    let document = |text: &str, content_type: &str| {
        let mut contents = Contents::default();
        contents.document("1", content_type, text.as_bytes().to_vec());
        told_of(contents)
    };
    assert_snapshot!(document("<html>", "text/html"), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: the manifest 
          cannot be read: expected value at line 1 column 1
    "##);
    assert_snapshot!(document(r#"{"manifests":[],"layers":[]}"#, INDEX), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: the manifest 
          contradicts itself: it has both manifests and layers
    "##);
    let mut arm_only = contents();
    let arm = arm_only.manifest("arm", Vec::new());
    arm_only.index(
        "1",
        &[("linux/arm64", "", &arm), ("windows/amd64", "wsl", &arm)],
    );
    arm_only.index("1", &[("linux/arm64", "", &arm)]);
    assert_snapshot!(told_of(arm_only), @r##"
    exit 3
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: the index has 
          nothing for linux/amd64; it has `linux/arm64`
    hint: name the file: oci://REGISTRY/REPOSITORY:TAG#FILE; choose the computer: --arch
    "##);
    let mut two = contents();
    let layers = ["a.img", "b.img"].map(|title| two.blob(PLAIN, Some(title), title));
    two.manifest("1", layers.to_vec());
    assert_snapshot!(told_of(two), @r##"
    exit 3
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: there are 
          several layers: `a.img`, `b.img`
    hint: name the file: oci://REGISTRY/REPOSITORY:TAG#FILE; choose the computer: --arch
    "##);
}

#[test]
fn a_blob_shorter_than_its_descriptor_is_no_file() {
    assert_snapshot!(told(Behaviour { blobs_short_by: 1000, ..Behaviour::default() }), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    Downloading the file (a:1)
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: no source could deliver the file
      oci://127.0.0.1:PORT/images/a:1: its file is 299000 bytes long, not 300000
    "##);
    let mut longer = Contents::default();
    let mut layer = longer.blob(PLAIN, Some("a.img"), sample().bytes.to_vec());
    layer["size"] = json!(400_000);
    longer.manifest("1", vec![layer]);
    assert_snapshot!(told_of(longer), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    Downloading the file (a:1)
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: no source could deliver the file
      oci://127.0.0.1:PORT/images/a:1: its file is 300000 bytes long, not 400000
    "##);
}

#[test]
fn a_blob_with_other_bytes_is_refused() {
    let mut false_blob = Contents::default();
    let good = false_blob.blob(PLAIN, Some("a.img"), sample().bytes.to_vec());
    false_blob.replace_blob(&good, Sample::random(91, 300_000).bytes.to_vec());
    false_blob.manifest("1", vec![good]);
    assert_snapshot!(told_of(false_blob), @r##"
    exit 5
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    Downloading the file (a:1)
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: expected digest 
          `sha256:fb54052a1d9f...`, got `sha256:8f66888213af...`
      these bytes came from oci://127.0.0.1:PORT/images/a:1
    hint: either the digest is out of date, or these sources give out other bytes; nothing was put into the cache
    "##);
}

#[test]
fn another_digest_than_the_wanted_one_is_said_before_a_byte_of_the_blob_is_asked_for() {
    let env = TestEnvironment::new();
    let registry = Registry::start(contents(), Behaviour::default());
    let digest = Sample::random(92, 1000).digest.to_string();
    let location = registry.location("images/a:1");
    let run = env.run(&["get", &location, "--arch", "x86_64", "--digest", &digest]);
    assert_snapshot!(env.told(&run), @r##"
    exit 5
    Attempting to download the file  arch=x86_64  digest="sha256:940afbda11af..."  
          location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: expected digest 
          `sha256:940afbda11af...`, the manifest says `sha256:fb54052a1d9f...`
    hint: either the digest is out of date, or the tag means another image by now
    "##);
    assert!(registry.blob_requests().is_empty());
}

#[test]
fn what_comes_out_of_a_blob_must_be_what_is_wanted() {
    let env = TestEnvironment::new();
    let mut packed = Contents::default();
    let layer = packed.blob("application/x.disk+gzip", Some("a.img"), "no gzip at all");
    packed.manifest("1", vec![layer]);
    let frame = ruzstd::encoding::compress_to_vec(
        &b"other"[..],
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    let layer = packed.blob("application/x.disk+zstd", Some("a.img"), frame);
    packed.manifest("2", vec![layer]);
    let registry = Registry::start(packed, Behaviour::default());
    let run = env.run(&["get", &registry.location("images/a:1"), "--arch", "x86_64"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 5
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    Downloading the file (a:1)
    Unpacking the file (14 B)
    error: `oci://127.0.0.1:PORT/images/a:1` cannot be unpacked: invalid gzip header
    "##);
    let digest = sample().digest.to_string();
    let run = env.run(&[
        "get",
        &registry.location("images/a:2"),
        "--arch",
        "x86_64",
        "--digest",
        &digest,
    ]);
    assert_snapshot!(env.told(&run), @r##"
    exit 5
    Attempting to download the file  arch=x86_64  digest="sha256:fb54052a1d9f..."  
          location="oci://127.0.0.1:PORT/images/a:2"
    Downloading the file (a:2)
    Unpacking the file (14 B)
    error: what was unpacked from `oci://127.0.0.1:PORT/images/a:2`: expected digest `sha256:fb54052a1d9f...`, 
          got `sha256:d9298a10d1b0...`
      the blob is what the manifest says: `sha256:1c05cd3d25cb...`
    hint: digest and CID of a file that is packed in a registry are those of what comes out
    "##);
    let cid = sample().cid();
    let run = env.run(&[
        "get",
        &registry.location("images/a:2"),
        "--arch",
        "x86_64",
        "--cid",
        &cid,
    ]);
    assert_eq!(run.code, Some(5), "{}", run.stderr);
    assert!(
        run.stderr.contains("it does not have CID"),
        "{}",
        run.stderr
    );
    env.assert_nothing_false_in_lima(&sample());
}

#[test]
fn a_token_server_on_another_host_is_asked_without_the_login() {
    let env = TestEnvironment::new();
    let door = TokenDoor {
        login: Some(("ali".into(), "sesame".into())),
        ..TokenDoor::default()
    };
    let other = Registry::with_tokens(Contents::default(), Behaviour::default(), door);
    let registry = Registry::start(
        contents(),
        Behaviour {
            door: Door::Bearer {
                // The same computer by another name is another host.
                realm: format!("http://localhost:{}/token", other.port()),
                service: "fake".into(),
            },
            ..Behaviour::default()
        },
    );
    log_in_to(&env, &registry.host());
    let run = get_from(&env, &registry);
    assert_snapshot!(env.told(&run).replace(&other.port().to_string(), "PORT"), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: token server 
          localhost:PORT: HTTP 401 Unauthorized: UNAUTHORIZED: wrong name or password
      the login for 127.0.0.1:PORT is not sent to the token server localhost:PORT, which is another host
    hint: if that token server belongs to the registry, name both in the settings: registries.token_servers = 
          ["REGISTRY=HOST"]
    "##);
    no_login_in(&other.requests());
    no_login_in(&registry.requests());
    // The settings can say that the two belong together.
    let mut env = TestEnvironment::new();
    let pair = format!("{}=localhost:{}", registry.host(), other.port());
    env.set_section(&format!("[registries]\ntoken_servers = [\"{pair}\"]\n"));
    log_in_to(&env, &registry.host());
    get_from(&env, &registry);
    let shown =
        |request: &Logged| request.header("authorization") == Some(&*basic("ali", "sesame"));
    assert!(
        other.requests().iter().any(shown),
        "now it is asked with the login"
    );
}

#[test]
fn a_token_server_elsewhere_that_lets_anybody_in_is_good_enough() {
    let env = TestEnvironment::new();
    let registry = Registry::start(contents(), Behaviour::default());
    let port = registry.port();
    registry.set(Behaviour {
        door: Door::Bearer {
            realm: format!("http://localhost:{port}/token"),
            service: "fake".into(),
        },
        ..Behaviour::default()
    });
    log_in_to(&env, &registry.host());
    assert_eq!(get_from(&env, &registry).code, Some(0));
    let all = registry.requests();
    let tokens: Vec<Logged> = all
        .into_iter()
        .filter(|one| one.path.starts_with("/token"))
        .collect();
    no_login_in(&tokens);
}

#[test]
fn a_login_does_not_follow_redirects() {
    // Of the token server.
    let env = TestEnvironment::new();
    let elsewhere = Registry::start(contents(), Behaviour::default());
    let door = TokenDoor {
        redirect: Some(format!("http://{}/token", elsewhere.host())),
        ..TokenDoor::default()
    };
    let registry = Registry::with_tokens(contents(), Behaviour::default(), door);
    registry.set(Behaviour {
        door: Door::Bearer {
            realm: format!("http://{}/token", registry.host()),
            service: "fake".into(),
        },
        ..Behaviour::default()
    });
    log_in_to(&env, &registry.host());
    let run = get_from(&env, &registry);
    assert_snapshot!(env.told(&run), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: token server 
          127.0.0.1:PORT: it redirects, which a login does not follow
    "##);
    assert!(
        elsewhere.requests().is_empty(),
        "the redirect is not followed at all"
    );

    // Of a blob: followed, without the login.
    let env = TestEnvironment::new();
    let registry = Registry::start(
        contents(),
        Behaviour {
            door: Door::Basic("ali".into(), "sesame".into()),
            blobs_at: Some(format!("http://{}", elsewhere.host())),
            ..Behaviour::default()
        },
    );
    log_in_to(&env, &registry.host());
    assert_eq!(get_from(&env, &registry).code, Some(0));
    let shown =
        |request: &Logged| request.header("authorization") == Some(&*basic("ali", "sesame"));
    assert!(registry.requests().iter().any(shown));
    no_login_in(&elsewhere.requests());
}

#[test]
fn a_redirect_without_end_ends() {
    let env = TestEnvironment::new();
    let registry = Registry::start(contents(), Behaviour::default());
    registry.set(Behaviour {
        blobs_at: Some(format!("http://{}", registry.host())),
        ..Behaviour::default()
    });
    let run = get_from(&env, &registry);
    assert_snapshot!(env.told(&run), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    Downloading the file (a:1)
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: no source could deliver the file
      oci://127.0.0.1:PORT/images/a:1: does not lead anywhere: too many redirects
    "##);
}

#[test]
fn a_login_for_a_part_of_a_registry_is_not_for_the_rest() {
    let env = TestEnvironment::new();
    let registry = Registry::start(
        contents(),
        Behaviour {
            door: Door::Basic("ali".into(), "sesame".into()),
            ..Behaviour::default()
        },
    );
    log_in_to(&env, &format!("{}/private", registry.host()));
    assert_eq!(get_from(&env, &registry).code, Some(4));
    no_login_in(&registry.requests());
}

#[test]
fn a_helper_that_fails_is_said_and_nobody_logs_in() {
    let env = TestEnvironment::new();
    let registry = Registry::start(contents(), Behaviour::default());
    registry.set(Behaviour {
        door: Door::Bearer {
            realm: format!("http://{}/token", registry.host()),
            service: "fake".into(),
        },
        ..Behaviour::default()
    });
    log_in(&env, r#"{"credsStore":"callao-test"}"#);
    let bin = env.program(
        "docker-credential-callao-test",
        "#!/bin/sh\necho 'the keyring is locked'\nexit 1\n",
    );
    let output = env
        .command(&["get", &registry.location("images/a:1"), "--arch", "x86_64"])
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .output()
        .expect("the program starts");
    let run = Run::of(output);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    warning: docker-credential-callao-test, which has the login for 127.0.0.1:PORT, failed: the keyring is 
          locked; it is asked without a login
    Downloading the file (a:1)
    Downloaded the file from `oci://127.0.0.1:PORT/images/a:1`: 292.97 KiB in N s (N B/s), digest verified
      100%  oci://127.0.0.1:PORT/images/a:1 (292.97 KiB)
    "##);
    // One that is not there.
    let env = TestEnvironment::new();
    log_in(&env, r#"{"credsStore":"callao-missing"}"#);
    let run = get_from(&env, &registry);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    warning: docker-credential-callao-missing, which has the login for 127.0.0.1:PORT, failed: there is no 
          program `docker-credential-callao-missing`; it is asked without a login
    Downloading the file (a:1)
    Downloaded the file from `oci://127.0.0.1:PORT/images/a:1`: 292.97 KiB in N s (N B/s), digest verified
      100%  oci://127.0.0.1:PORT/images/a:1 (292.97 KiB)
    "##);
}

/// What was told, the home directory as people write it.
fn at_home(env: &TestEnvironment, run: &Run) -> String {
    env.told(run).replace("$DIR/home", "~")
}

#[test]
fn files_with_logins_that_cannot_be_read_are_said() {
    let env = TestEnvironment::new();
    let registry = Registry::start(
        contents(),
        Behaviour {
            door: Door::Basic("ali".into(), "sesame".into()),
            ..Behaviour::default()
        },
    );
    log_in(&env, "{");
    let run = get_from(&env, &registry);
    assert_snapshot!(at_home(&env, &run), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    warning: the logins in `~/.docker/config.json` are not used: EOF while parsing an object at line 1 
          column 1
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: HTTP 401 
          Unauthorized: UNAUTHORIZED: authentication required
    hint: `docker login 127.0.0.1:PORT` (or `podman login`) makes a login known, if it is not public
    "##);
    log_in(
        &env,
        &format!(r#"{{"auths":{{"{}":{{"auth":"%"}}}}}}"#, registry.host()),
    );
    let run = get_from(&env, &registry);
    assert_snapshot!(at_home(&env, &run), @r##"
    exit 4
    Attempting to download the file  arch=x86_64  location="oci://127.0.0.1:PORT/images/a:1"
    warning: the logins in `~/.docker/config.json` are not used: 127.0.0.1:PORT: its `auth` is not the 
          base64 of NAME:PASSWORD
    error: failed to download the file `oci://127.0.0.1:PORT/images/a:1`: registry 127.0.0.1:PORT: HTTP 401 
          Unauthorized: UNAUTHORIZED: authentication required
    hint: `docker login 127.0.0.1:PORT` (or `podman login`) makes a login known, if it is not public
    "##);
}

#[test]
fn addresses_that_are_none_are_refused_before_anybody_is_asked() {
    let env = TestEnvironment::new();
    let said = |location: &str| env.told(&env.run(&["get", location]));
    assert_snapshot!(said("oci://host"), @r##"
    exit 2
    error: `oci://host`: expected oci://REGISTRY/REPOSITORY[:TAG|@DIGEST][#FILE]
    "##);
    assert_snapshot!(said("oci://user:secret@host/a"), @r##"
    exit 2
    error: `oci://...@host/a`: credentials do not belong into an address: use `docker login`
    "##);
}
