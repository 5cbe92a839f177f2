//! `callao lock` where something is wrong: nothing is written, and it is said what and why.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use callao_testkit::origin::{Behaviour, Origin, Status, Times};
use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process};

use crate::env::{Sample, TestEnvironment};

const SIZE: usize = 1024 * 1024 + 17;
const MIB: u64 = 1024 * 1024;

fn read(env: &TestEnvironment, name: &str) -> String {
    fs::read_to_string(env.path(name)).expect("the template")
}

/// Locks; it must fail and leave the template alone. What it told.
fn refused(env: &TestEnvironment, template: &str, flags: &[&str]) -> String {
    env.write("t.yaml", template);
    let run = env.run(&[&["lock", "t.yaml", "--quiet"], flags].concat());
    assert_ne!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(read(env, "t.yaml"), template);
    env.told(&run)
}

#[test]
fn what_does_not_name_its_bytes_ends_with_5() {
    let env = TestEnvironment::new();
    let (sample, other) = (Sample::random(220, SIZE), Sample::random(221, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let (url, digest, cid) = (origin.url(), sample.digest, sample.cid());
    let wrong_digest = format!("images:\n- location: {url}\n  digest: {}\n", other.digest);
    let wrong_cid = format!(
        "images:\n- location: {url}\n  digest: {digest}\n  cid: {}\n",
        other.cid()
    );
    let both = format!(
        "images:\n- location: {url}\n  digest: {}\n  cid: {cid}\n",
        other.digest
    );
    assert_snapshot!(refused(&env, &wrong_digest, &[]), @r##"
    exit 5
    error: template t.yaml does not name the bytes that are there, in 1 of 1 entry
      line 2, http://127.0.0.1:PORT/image.img: failed to download the image `http://127.0.0.1:PORT/image.img`: 
          expected digest `sha256:676dc3390763...`, got `sha256:cb8e5e44aa83...`
        these bytes came from http://127.0.0.1:PORT/image.img
      nothing was written
    hint: either the digest is out of date, or these sources give out other bytes; nothing was put into the cache
    "##);
    assert_snapshot!(refused(&env, &wrong_digest, &["--check"]), @r##"
    exit 5
    error: template t.yaml does not name the bytes that are there, in 1 of 1 entry
      line 2, http://127.0.0.1:PORT/image.img: failed to download the image `http://127.0.0.1:PORT/image.img`: 
          expected digest `sha256:676dc3390763...`, got `sha256:cb8e5e44aa83...`
        these bytes came from http://127.0.0.1:PORT/image.img
    hint: either the digest is out of date, or these sources give out other bytes; nothing was put into the cache
    "##);
    assert_snapshot!(refused(&env, &wrong_cid, &["--check"]), @r##"
    exit 5
    error: template t.yaml does not name the bytes that are there, in 1 of 1 entry
      line 2, http://127.0.0.1:PORT/image.img: cid: bafybeifbmxj... names other bytes; these have bafybeig4byb... 
          (profile kubo-cid-v1)
    "##);
    assert_snapshot!(refused(&env, &wrong_cid, &["--check", "--offline"]), @r##"
    exit 5
    error: template t.yaml does not name the bytes that are there, in 1 of 1 entry
      line 2, http://127.0.0.1:PORT/image.img: cid: bafybeifbmxj... names other bytes; these have bafybeig4byb... 
          (profile kubo-cid-v1)
    "##);
    assert_snapshot!(refused(&env, &both, &["--check"]), @r##"
    exit 5
    warning: the CID bafybeig4byb... names other bytes (`sha256:cb8e5e44aa83...`) than the digest; the digest 
          decides
    error: template t.yaml does not name the bytes that are there, in 1 of 1 entry
      line 2, http://127.0.0.1:PORT/image.img: failed to download the image `http://127.0.0.1:PORT/image.img`: 
          expected digest `sha256:676dc3390763...`, got `sha256:cb8e5e44aa83...`
        these bytes came from http://127.0.0.1:PORT/image.img
    hint: either the digest is out of date, or these sources give out other bytes; nothing was put into the cache
    "##);
}

#[test]
fn what_is_missing_ends_with_8_unless_something_is_wrong() {
    let env = TestEnvironment::new();
    let (sample, other) = (Sample::random(222, SIZE), Sample::random(223, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let url = origin.url();
    let missing = format!(
        "images:\n- location: {url}\n  digest: {}\n- location: {url}\n  cid: {}\n- location: {url}?latest\n",
        sample.digest,
        sample.cid()
    );
    assert_snapshot!(refused(&env, &missing, &["--check"]), @r##"
    exit 8
    error: template t.yaml is not locked: a digest or a CID is missing in 3 of 3 entries
      line 2, http://127.0.0.1:PORT/image.img: no cid
      line 4, http://127.0.0.1:PORT/image.img: no digest
      line 6, http://127.0.0.1:PORT/image.img?latest: no digest and no cid
    hint: callao lock t.yaml writes them
    hint: entries with neither are locked with --pin-latest only; --allow-unpinned excuses them
    "##);
    let latest = format!(
        "images:\n- location: {url}\n  digest: {}\n  cid: {}\n- location: {url}?latest\n",
        sample.digest,
        sample.cid()
    );
    assert_snapshot!(refused(&env, &latest, &["--check"]), @r##"
    exit 8
    error: template t.yaml is not locked: a digest or a CID is missing in 1 of 2 entries
      line 5, http://127.0.0.1:PORT/image.img?latest: no digest and no cid
    hint: entries with neither are locked with --pin-latest only; --allow-unpinned excuses them
    "##);
    let run = env.succeed(&["lock", "t.yaml", "--check", "--allow-unpinned"]);
    assert!(run.stderr.contains("left alone"), "{}", run.stderr);
    let worse = format!("{missing}- location: {url}\n  digest: {}\n", other.digest);
    assert!(refused(&env, &worse, &["--check"]).starts_with("exit 5\n"));
}

#[test]
fn offline_checks_what_is_held() {
    let env = TestEnvironment::new();
    let (sample, other) = (Sample::random(224, SIZE), Sample::random(225, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let (url, digest, cid) = (origin.url(), sample.digest, sample.cid());
    env.write(
        "t.yaml",
        format!(
            "images:\n- location: {url}\n  digest: {digest}\n  cid: {cid}\n\
         - location: https://h/other.img\n  arch: aarch64\n  digest: {}\n  cid: {}\n",
            other.digest,
            other.cid()
        ),
    );
    env.succeed(&["get", &url, "--digest", &digest.to_string()]);
    let run = env.succeed(&["lock", "t.yaml", "--check", "--offline", "--quiet"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    warning: line 5, https://h/other.img is not here, so it was not checked
    "##);
    // What is held under the location is not what the template says: it was damaged, or the digest is a wrong one.
    let data = env.entry(&url).join("data");
    let mut bytes = fs::read(&data).expect("data");
    bytes[SIZE / 2] ^= 1;
    fs::write(&data, bytes).expect("damaged");
    let run = env.run(&["lock", "t.yaml", "--check", "--offline", "--quiet"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 5
    warning: `$DIR/cache/lima/download/by-url-sha256/KEY/data` does not hold the wanted bytes (it has 
          `sha256:f0d3c3a7106d...`): it is fetched again
    warning: line 5, https://h/other.img is not here, so it was not checked
    error: template t.yaml does not name the bytes that are there, in 1 of 2 entries
      line 2, http://127.0.0.1:PORT/image.img: digest: expected `sha256:db23f28b7e89...`, got 
          `sha256:f0d3c3a7106d...`
      line 2, http://127.0.0.1:PORT/image.img: cid: bafybeigdkcc... names other bytes; these have bafybeidpq5u... 
          (profile kubo-cid-v1)
    "##);
    env.succeed(&["lock", "t.yaml", "--check", "--arch", "x86_64"]);
    env.write(
        "t.yaml",
        format!(
            "images:\n- location: {url}\n  digest: {}\n  cid: {cid}\n",
            other.digest
        ),
    );
    let run = env.run(&["lock", "t.yaml", "--check", "--offline", "--quiet"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 5
    error: template t.yaml does not name the bytes that are there, in 1 of 1 entry
      line 2, http://127.0.0.1:PORT/image.img: digest: expected `sha256:f92f6fc71ca2...`, got 
          `sha256:db23f28b7e89...`
    "##);
}

#[test]
fn what_nobody_delivers_is_named_and_nothing_is_written() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(226, SIZE));
    let good = Origin::start(sample.bytes.clone(), Behaviour::default());
    let gone = Origin::start(
        sample.bytes.clone(),
        Behaviour {
            status: Some(Status {
                code: 404,
                retry_after: None,
                times: Times::Always,
            }),
            ..Behaviour::default()
        },
    );
    let other = Sample::random(227, SIZE);
    let template = format!(
        "images:\n- location: {}\n  digest: {}\n- location: {}\n  digest: {}\n",
        good.url(),
        sample.digest,
        gone.url(),
        other.digest
    );
    assert_snapshot!(refused(&env, &template, &[]), @r##"
    exit 3
    error: files of template t.yaml could not be had, 1 of 2 entries
      line 4, http://127.0.0.1:PORT/image.img: failed to download the image `http://127.0.0.1:PORT/image.img`: no 
          source could deliver the image
        http://127.0.0.1:PORT/image.img: does not have it: HTTP 404 Not Found
      nothing was written
    hint: images of a distribution are often moved after some months
    "##);
}

#[test]
fn a_template_that_changes_meanwhile_is_not_overwritten() {
    let (env, sample) = (
        TestEnvironment::new(),
        Sample::random(228, 4 * MIB as usize),
    );
    let slow = Behaviour {
        rate: Some(2 * MIB),
        ..Behaviour::default()
    };
    let origin = Origin::start(sample.bytes.clone(), slow);
    let template = format!(
        "images:\n- location: {}\n  digest: {}\n",
        origin.url(),
        sample.digest
    );
    env.write("t.yaml", &template);
    let mut child = env.start(&["lock", "t.yaml", "--quiet"]);
    while origin.bytes_sent() < MIB && child.try_wait().expect("a child").is_none() {
        std::thread::yield_now();
    }
    let changed = format!("{template}# changed\n");
    env.write("t.yaml", &changed);
    origin.set_behaviour(Behaviour::default());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(8));
    assert_snapshot!(env.steady(&String::from_utf8_lossy(&output.stderr)), @r##"
    error: template t.yaml was changed by somebody else meanwhile: nothing was written
    hint: run the same command again; what was fetched is in the cache
    "##);
    assert_eq!(read(&env, "t.yaml"), changed);
    let left: Vec<_> = fs::read_dir(env.path("")).expect("the directory").collect();
    assert_eq!(left.len(), 1, "no temporary file is left");
    // What was fetched is kept.
    let sent = origin.bytes_sent();
    env.succeed(&["lock", "t.yaml"]);
    assert_eq!(origin.bytes_sent(), sent);
}

#[test]
fn an_interrupt_leaves_the_template_alone_and_keeps_what_arrived() {
    let (env, sample) = (
        TestEnvironment::new(),
        Sample::random(229, 8 * MIB as usize),
    );
    let slow = Behaviour {
        rate: Some(2 * MIB),
        ..Behaviour::default()
    };
    let origin = Origin::start(sample.bytes.clone(), slow);
    let template = format!(
        "images:\n- location: {}\n  digest: {}\n  cid: {}\n- location: {}?other\n  arch: x86_64\n",
        origin.url(),
        sample.digest,
        sample.cid(),
        origin.url()
    );
    env.write("t.yaml", &template);
    let line = ["lock", "t.yaml", "--pin-latest"];
    let mut child = env.start(&line);
    while origin.bytes_sent() < 5 * MIB && child.try_wait().expect("a child").is_none() {
        std::thread::yield_now();
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    kill_process(pid, Signal::INT).expect("a signal is sent");
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("error: interrupted"), "{stderr}");
    assert_eq!(read(&env, "t.yaml"), template);
    origin.set_behaviour(Behaviour::default());
    let sent = origin.bytes_sent();
    env.succeed(&line);
    assert!(origin.bytes_sent() - sent < 15 * MIB, "staging is kept");
    assert!(read(&env, "t.yaml").matches("digest:").count() == 2);
}

#[test]
fn templates_without_files_to_lock_are_told_apart() {
    let env = TestEnvironment::new();
    assert_snapshot!(refused(&env, "cpus: 2\n", &[]), @r##"
    exit 8
    error: template t.yaml names no files: it has neither `images:` nor `archives:`
    "##);
    assert_snapshot!(refused(&env, "base: template:ubuntu\n", &[]), @r##"
    exit 8
    error: template t.yaml names no files of its own: they are in its `base:`
    hint: lock the base itself, or the whole template: limactl template copy --embed t.yaml whole.yaml
    "##);
    assert_snapshot!(refused(&env, "images: [{location: a, arch: aarch64}]\n", &["--arch", "x86_64"]), @r##"
    exit 8
    error: template t.yaml has nothing for x86_64; it has aarch64
    "##);
    assert_snapshot!(refused(&env, "images: [{location: a}]\n", &["--arch", "vax"]), @r##"
    exit 2
    error: unknown architecture `vax`; it is one of x86_64, aarch64, armv7l, ppc64le, riscv64, s390x
    "##);
    assert_snapshot!(env.told(&env.run(&["lock", "https://h/t.yaml"])), @r##"
    exit 2
    error: `https://h/t.yaml` is not a file that could be changed
    hint: give the path of a template, or its text on stdin: callao lock - < TEMPLATE
    "##);
    assert_snapshot!(env.told(&env.run(&["lock", "missing.yaml"])), @r##"
    exit 3
    error: there is no file `missing.yaml`
    "##);
    assert_snapshot!(env.told(&env.run(&["lock", "."])), @r##"
    exit 2
    error: `.` is a directory
    "##);
    env.write("t.yaml", [0xff, 0xfe]);
    assert_snapshot!(env.told(&env.run(&["lock", "t.yaml"])), @r##"
    exit 8
    error: template t.yaml is not UTF-8 text
    "##);
}

#[test]
fn what_cannot_be_edited_or_written_is_told() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(230, 1000));
    let path = env.write("a.img", &sample.bytes);
    let aliased = format!("x: &x {{location: \"{}\"}}\nimages: [*x]\n", path.display());
    assert_snapshot!(refused(&env, &aliased, &[]), @r##"
    exit 8
    warning: template t.yaml: unknown key `x` at line 1
    error: template t.yaml, line 2: images[0] cannot be edited: it is an alias; write the entry itself in its 
          place
    "##);
    let template = format!("images:\n- location: {}\n", path.display());
    let file = env.write("t.yaml", &template);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).expect("a mode");
    let run = env.run(&["lock", "t.yaml", "--quiet"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 6
    error: failed to write template t.yaml: read-only filesystem or storage medium
    "##);
    assert_eq!(read(&env, "t.yaml"), template);
}
