//! `callao lock --sums`: the checksums of the origin as a second witness.

use std::fs;

use callao_testkit::files::Files;
use callao_testkit::origin::{Behaviour, Origin, Status, Times};
use insta::assert_snapshot;

use crate::env::{Sample, TestEnvironment};

fn read(env: &TestEnvironment) -> String {
    fs::read_to_string(env.path("t.yaml")).expect("the template")
}

/// A template with one entry that has neither digest nor CID.
fn latest(env: &TestEnvironment, url: &str) -> String {
    let template = format!("images:\n- location: {url}\n");
    env.write("t.yaml", &template);
    template
}

const LINE: [&str; 4] = ["lock", "t.yaml", "--pin-latest", "--sums"];

#[test]
fn what_a_list_says_is_what_was_fetched() {
    let sample = Sample::random(240, 100_000);
    let hex = sample.digest.hex();
    let lists = [
        ("/d/SHA256SUMS", format!("{hex} *a.img\n")),
        ("/d/CHECKSUM", format!("SHA256 (a.img) = {hex}\n")),
        ("/d/a.img.sha256", format!("{hex}\n")),
    ];
    for (path, list) in lists {
        let env = TestEnvironment::new();
        let files = Files::start([("/d/a.img", &sample.bytes), (path, list.as_bytes())]);
        let template = latest(&env, &files.url("/d/a.img"));
        let run = env.succeed(&[&LINE[..], &["--json"]].concat());
        assert_eq!(
            read(&env),
            format!(
                "{template}  digest: {}\n  cid: {}\n",
                sample.digest,
                sample.cid()
            )
        );
        let sums = &run.last("result")["sums"];
        assert_eq!(sums["url"], files.url(path));
        assert_eq!(sums["digest"], sample.digest.to_string());
        assert!(
            run.stderr.contains("is what http://127.0.0.1:"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn a_list_that_says_something_else_ends_with_5() {
    let env = TestEnvironment::new();
    let (sample, other) = (Sample::random(241, 100_000), Sample::random(242, 10));
    let list = format!("{}  a.img\n", other.digest.hex());
    let files = Files::start([
        ("/d/a.img", &sample.bytes),
        ("/d/SHA256SUMS", list.as_bytes()),
    ]);
    let template = latest(&env, &files.url("/d/a.img"));
    let run = env.run(&[&LINE[..], &["--quiet"]].concat());
    assert_eq!(read(&env), template);
    assert_snapshot!(env.told(&run), @r##"
    exit 5
    error: template t.yaml does not name the bytes that are there, in 1 of 1 entry
      line 2, http://127.0.0.1:PORT/d/a.img: http://127.0.0.1:PORT/d/SHA256SUMS lists `sha256:18bb628db57a...`, 
          got `sha256:b5b5474f0f79...`
      nothing was written
    "##);
    let twice = format!("{list}{}  a.img\n", sample.digest.hex());
    let files = Files::start([
        ("/d/a.img", &sample.bytes),
        ("/d/SHA256SUMS", twice.as_bytes()),
    ]);
    latest(&env, &files.url("/d/a.img"));
    assert_snapshot!(env.told(&env.run(&[&LINE[..], &["--quiet"]].concat())), @r##"
    exit 5
    error: http://127.0.0.1:PORT/d/SHA256SUMS lists a.img twice, with different digests
    "##);
}

#[test]
fn a_file_without_a_list_is_named() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(243, 100_000));
    let files = Files::start([("/d/a.img", &sample.bytes)]);
    latest(&env, &files.url("/d/a.img"));
    let run = env.succeed(&[&LINE[..], &["--quiet"]].concat());
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    warning: line 2, http://127.0.0.1:PORT/d/a.img: no checksums were found beside it
    warning: line 2, http://127.0.0.1:PORT/d/a.img had neither digest nor CID: it is locked to what was fetched 
          now, which nobody has verified
    "##);
}

#[test]
fn a_server_that_fails_is_no_list() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(244, 100_000));
    let failing = Behaviour {
        status: Some(Status {
            code: 500,
            retry_after: None,
            times: Times::Always,
        }),
        ..Behaviour::default()
    };
    let origin = Origin::start(sample.bytes.clone(), failing);
    let template = latest(&env, &origin.url());
    let run = env.run(&LINE);
    assert_snapshot!(env.told(&run), @r##"
    exit 4
    error: failed to read the checksums http://127.0.0.1:PORT/SHA256SUMS: HTTP 500 Internal Server Error
    hint: without --sums no checksums are read
    "##);
    assert_eq!(read(&env), template);
    let run = env.run(&[&LINE[..], &["--offline"]].concat());
    assert_snapshot!(env.told(&run), @r##"
    exit 2
    error: --sums needs the network, and --offline forbids it
    "##);
}

/// What gpg signed; see `tests/data/openpgp`.
macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("../data/openpgp/", $name))
    };
}

const SIGNED: [&str; 8] = [
    "lock",
    "t.yaml",
    "--pin-latest",
    "--sums",
    "--json",
    "--quiet",
    "--key",
    "key.asc",
];

#[test]
fn signed_lists_say_who_signed_them() {
    let env = TestEnvironment::new();
    env.write("key.asc", data!("rsa.asc"));
    let list = data!("SHA256SUMS");
    let rsa = "0EE56BC618F1AA80E26C2D5E4725E4099E126736";
    let image = data!("a.img");
    let beside = Files::start([
        ("/d/a.img", &image[..]),
        ("/d/SHA256SUMS", list),
        ("/d/SHA256SUMS.gpg", data!("SHA256SUMS.rsa.gpg")),
    ]);
    // A list that nobody signed comes first, and does not count.
    let inside = Files::start([
        ("/d/a.img", &image[..]),
        ("/d/SHA256SUMS", list),
        ("/d/CHECKSUM", data!("CHECKSUM")),
    ]);
    for (files, url) in [(beside, "/d/SHA256SUMS"), (inside, "/d/CHECKSUM")] {
        latest(&env, &files.url("/d/a.img"));
        let run = env.succeed(&SIGNED);
        let sums = &run.last("result")["sums"];
        assert_eq!(
            (&sums["url"], &sums["signed_by"]),
            (&files.url(url).into(), &rsa.into())
        );
        assert!(
            run.stderr.contains(&format!("signed by {rsa}")),
            "{}",
            run.stderr
        );
        assert!(read(&env).contains("digest: sha256:eb784da830a6"));
    }
}

#[test]
fn without_a_signature_that_counts_nothing_is_fetched() {
    let env = TestEnvironment::new();
    let told = |key: &[u8], signature: Option<&[u8]>| {
        env.write("key.asc", key);
        let list = ("/d/SHA256SUMS", &data!("SHA256SUMS")[..]);
        let files = match signature {
            Some(signature) => Files::start([list, ("/d/SHA256SUMS.gpg", signature)]),
            None => Files::start([list]),
        };
        let template = latest(&env, &files.url("/d/a.img"));
        let run = env.run(&SIGNED);
        assert_eq!(read(&env), template);
        assert!(
            files
                .requests()
                .iter()
                .all(|request| !request.path.ends_with("a.img"))
        );
        env.told(&run)
    };
    assert_snapshot!(told(data!("rsa.asc"), Some(data!("SHA256SUMS.stranger.gpg"))), @r##"
    exit 5
    error: no signature of http://127.0.0.1:PORT/d/SHA256SUMS counts
      http://127.0.0.1:PORT/d/SHA256SUMS.gpg: the signature by 2C518C781252A170B3F05C2EC2DDACB9E31C7036 is of 
          none of the given keys, or of another text
    "##);
    assert_snapshot!(told(data!("rsa.asc"), Some(data!("SHA256SUMS.sha1.gpg"))), @r##"
    exit 5
    error: no signature of http://127.0.0.1:PORT/d/SHA256SUMS counts
      http://127.0.0.1:PORT/d/SHA256SUMS.gpg: the signature by 0EE56BC618F1AA80E26C2D5E4725E4099E126736 does not 
          count: its hash is SHA1
    "##);
    assert_snapshot!(told(data!("expired.asc"), Some(data!("SHA256SUMS.expired.gpg"))), @r##"
    exit 5
    error: no signature of http://127.0.0.1:PORT/d/SHA256SUMS counts
      http://127.0.0.1:PORT/d/SHA256SUMS.gpg: the signature by 76CECFE59CFA5FED01D170596C3CAA1327024F70 does not 
          count: its key has expired
    "##);
    assert_snapshot!(told(data!("rsa.asc"), None), @r##"
    exit 5
    error: there are no signed checksums for all files: nothing was fetched
      line 2, http://127.0.0.1:PORT/d/a.img: http://127.0.0.1:PORT/d/SHA256SUMS is not signed
    hint: --arch leaves out other architectures; without --key nothing has to be signed
    "##);
    assert_snapshot!(told(b"no key", None), @r##"
    exit 2
    error: --key `key.asc`: it is no OpenPGP certificate: IO error: unknown packet header version 1101110
    hint: `gpg --export --armor FINGERPRINT` writes a certificate to stdout
    "##);
}
