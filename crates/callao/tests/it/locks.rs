//! Other processes at the same file: limactl's lock, and a second callao.

use std::fs::File;

use callao_testkit::origin::{Behaviour, Origin};
use insta::assert_snapshot;
use rustix::fs::{FlockOperation, flock};

use crate::env::{Sample, TestEnvironment};

#[test]
fn an_entry_that_is_locked_ends_with_7_and_nothing_is_lost() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(100, 1_000_000));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let entry = env.entry(&origin.url());
    std::fs::create_dir_all(&entry).expect("an entry");
    let held = File::open(&entry).expect("the directory");
    flock(&held, FlockOperation::LockExclusive).expect("the lock that limactl takes");
    let (url, digest) = (origin.url(), sample.digest.to_string());
    let line = ["get", &url, "--digest", &digest, "--lock-seconds", "1"];
    let run = env.run(&line);
    assert_snapshot!(env.told(&run), @r##"
    exit 7
    Attempting to download the image  digest="sha256:d47339ca19d0..."  location="http://127.0.0.1:PORT/image.img"
    Downloading the image (image.img)
    Waiting for another process that holds `$DIR/cache/lima/download/by-url-sha256/KEY` (at most 1.00 s)
    error: $DIR/cache/lima/download/by-url-sha256/KEY is locked by another process
    hint: wait for the other process, or give it more time with --lock-seconds
    "##);
    env.assert_nothing_false_in_lima(&sample);
    drop(held);
    let sent = origin.bytes_sent();
    env.succeed(&line);
    assert!(
        origin.bytes_sent() < sent + 500_000,
        "what was fetched was kept"
    );
    env.assert_nothing_false_in_lima(&sample);
}

#[test]
fn two_gets_of_the_same_file_are_one_download() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(101, 6 * 1024 * 1024));
    let origin = Origin::start(
        sample.bytes.clone(),
        Behaviour {
            rate: Some(4 * 1024 * 1024),
            ..Behaviour::default()
        },
    );
    let (url, digest, cid) = (origin.url(), sample.digest.to_string(), sample.cid());
    let line = ["get", &url, "--digest", &digest, "--cid", &cid];
    let children = [env.start(&line), env.start(&line)];
    let outputs = children.map(|child| child.wait_with_output().expect("it ends"));
    for output in &outputs {
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(outputs[0].stdout, outputs[1].stdout);
    assert!(
        origin.bytes_sent() < sample.bytes.len() as u64 * 3 / 2,
        "{} sent",
        origin.bytes_sent()
    );
    let waited = outputs.iter().any(|output| {
        String::from_utf8_lossy(&output.stderr).contains("Waiting for another process")
    });
    assert!(waited, "the second one says what it waits for");
    env.assert_nothing_false_in_lima(&sample);
}
