//! Pinned is pinned: what happens to entries that have neither digest nor CID.

use callao_testkit::origin::{Behaviour, Origin, Status, Times};
use insta::assert_snapshot;

use crate::env::{Sample, TestEnvironment};

const SIZE: usize = 1024 * 1024 + 17;

fn gone() -> Behaviour {
    Behaviour {
        status: Some(Status {
            code: 404,
            retry_after: None,
            times: Times::Always,
        }),
        ..Behaviour::default()
    }
}

/// A template whose pinned entry has gone, and whose "latest" entry is there.
fn template(env: &TestEnvironment, sample: &Sample) -> (Origin, Origin) {
    let dated = Origin::start(sample.bytes.clone(), gone());
    let latest = Origin::start(sample.bytes.clone(), Behaviour::default());
    let (dated_url, latest_url, digest) = (dated.url(), latest.url(), sample.digest);
    env.write("t.yaml", format!(
        "containerd: {{user: false}}\nimages:\n\
         - location: \"{dated_url}\"\n  arch: x86_64\n  digest: \"{digest}\"\n- location: \"{latest_url}\"\n  arch: x86_64\n"
    ));
    (dated, latest)
}

#[test]
fn an_entry_without_a_pin_is_not_tried_after_a_pinned_one() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(60, SIZE));
    let (_dated, latest) = template(&env, &sample);
    let run = env.run(&["get", "t.yaml", "--arch", "x86_64"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 3
    Attempting to download the image  arch=x86_64  digest="sha256:302ce59b569c..."  
          location="http://127.0.0.1:PORT/image.img"
    Downloading the image (image.img)
    error: failed to download the image `http://127.0.0.1:PORT/image.img`: no source could deliver the image
      http://127.0.0.1:PORT/image.img: does not have it: HTTP 404 Not Found
      not tried, since it has neither digest nor CID: `http://127.0.0.1:PORT/image.img`
    hint: images of a distribution are often moved after some months
    hint: --allow-unpinned tries such entries as well, as limactl does: nothing verifies them
    "##);
    assert_eq!(latest.requests().len(), 0);
}

#[test]
fn unless_the_user_allows_it() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(61, SIZE));
    let (_dated, _latest) = template(&env, &sample);
    let run = env.succeed(&["get", "t.yaml", "--arch", "x86_64", "--allow-unpinned"]);
    assert!(
        run.stderr.contains("trying the next entry"),
        "{}",
        run.stderr
    );
    let (digest, cid) = (sample.digest.to_string(), sample.cid());
    assert!(
        run.stderr.contains(&digest) && run.stderr.contains(&cid),
        "how to lock it: {}",
        run.stderr
    );
}

#[test]
fn a_pin_can_be_required() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(62, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let run = env.run(&["get", &origin.url(), "--require-pin"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 5
    error: there is no entry with a digest or a CID, and --require-pin forbids all others
      not tried, since it has neither digest nor CID: `http://127.0.0.1:PORT/image.img`
    hint: --allow-unpinned tries such entries as well, as limactl does: nothing verifies them
    "##);
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn without_any_pin_the_way_to_lock_it_is_told() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(63, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let run = env.succeed(&["get", &origin.url()]);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    Attempting to download the image  location="http://127.0.0.1:PORT/image.img"
    Downloading the image (image.img)
    Downloaded the image from `http://127.0.0.1:PORT/image.img`: 1.00 MiB in N s (N B/s), not verified
      100%  http://127.0.0.1:PORT/image.img (1.00 MiB)
    warning: nothing says which bytes the image must have, so nobody could verify it. To lock it, add to its 
          entry:
        digest: "sha256:d96395334df8..."
        cid: bafybeiahpsg...
    "##);
    assert!(
        !env.entry(&origin.url()).join("sha256.digest").exists(),
        "limactl would not renew the mark"
    );
    let before = origin.bytes_sent();
    env.succeed(&["get", &origin.url()]);
    assert_eq!(
        origin.bytes_sent(),
        before,
        "the same Last-Modified: the entry is used"
    );
    env.succeed(&["get", &origin.url(), "--offline"]);
}
