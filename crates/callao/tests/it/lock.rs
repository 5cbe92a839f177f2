//! `callao lock`: what is written into a template, and that nothing else of it changes.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_content::import::import;
use callao_content::profile::Profile;
use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::origin::{Behaviour, Origin};
use insta::assert_snapshot;

use crate::env::{Sample, TestEnvironment};

const SIZE: usize = 1024 * 1024 + 17;

fn serve(sample: &Sample) -> Origin {
    Origin::start(sample.bytes.clone(), Behaviour::default())
}

fn read(env: &TestEnvironment, name: &str) -> String {
    fs::read_to_string(env.path(name)).expect("the template")
}

#[test]
fn digests_and_cids_are_written_and_nothing_else_changes() {
    let env = TestEnvironment::new();
    let samples: Vec<Sample> = (200..204).map(|seed| Sample::random(seed, SIZE)).collect();
    let origins: Vec<Origin> = samples.iter().map(serve).collect();
    let url = |index: usize| origins[index].url();
    let digest = |index: usize| samples[index].digest;
    let template = format!(
        "# why\nimages:\n# dated\n- location: \"{}\"   # here\n  arch: \"x86_64\"\n  digest: \"{}\"\n\n\
         \x20 kernel:\n    location: '{}'\n    digest: '{}'\n\
         - {{location: \"{}\", arch: aarch64, digest: \"{}\"}} # flow\n\ncontainerd:\n  archives:\n\
         \x20 - location: {}\n    cid: {}\n    arch: x86_64\n# end",
        url(0),
        digest(0),
        url(1),
        digest(1),
        url(2),
        digest(2),
        url(3),
        samples[3].cid()
    );
    env.write("t.yaml", &template);
    let run = env.succeed(&["lock", "t.yaml"]);
    assert_eq!(run.stdout, "");
    let cid = |index: usize| samples[index].cid();
    // As the CID that the template has already, the new ones have no quotes.
    let expected = template
        .replacen(
            &format!("  digest: \"{}\"\n", digest(0)),
            &format!("  digest: \"{}\"\n  cid: {}\n", digest(0), cid(0)),
            1,
        )
        .replacen(
            &format!("    digest: '{}'\n", digest(1)),
            &format!("    digest: '{}'\n    cid: {}\n", digest(1), cid(1)),
            1,
        )
        .replacen(
            &format!("digest: \"{}\"}}", digest(2)),
            &format!("digest: \"{}\", cid: {}}}", digest(2), cid(2)),
            1,
        )
        .replacen(
            "    arch: x86_64\n# end",
            &format!("    arch: x86_64\n    digest: {}\n# end", digest(3)),
            1,
        );
    assert_eq!(read(&env, "t.yaml"), expected);

    let requests: usize = origins.iter().map(|origin| origin.requests().len()).sum();
    env.succeed(&["lock", "t.yaml"]);
    env.succeed(&["lock", "t.yaml", "--check"]);
    env.succeed(&["lock", "t.yaml", "--check", "--offline"]);
    assert_eq!(read(&env, "t.yaml"), expected);
    let now: usize = origins.iter().map(|origin| origin.requests().len()).sum();
    assert_eq!(now, requests, "what is here is not fetched again");
}

#[test]
fn each_way_of_making_a_cid_can_be_had() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(205, SIZE));
    let origin = serve(&sample);
    for profile in Profile::ALL {
        let digest = Digest::of(Algorithm::Sha512, &sample.bytes);
        let template = format!(
            "images:\n- location: \"{}\"\n  digest: \"{digest}\"\n",
            origin.url()
        );
        env.write("t.yaml", &template);
        env.succeed(&["lock", "t.yaml", "--profile", profile.name()]);
        let layout = import(&sample.bytes, profile.shape()).expect("a layout");
        let cid = cid::text(layout.root());
        assert_eq!(
            read(&env, "t.yaml"),
            format!("{template}  cid: \"{cid}\"\n"),
            "{profile}"
        );
        env.succeed(&["lock", "t.yaml", "--check", "--profile", profile.name()]);
        // A CID that was made in another way is not the wanted one, but a true one.
        env.succeed(&["lock", "t.yaml", "--check"]);
    }
    assert_eq!(origin.requests().len(), 1, "fetched once");
}

#[test]
fn the_same_bytes_are_fetched_once_and_a_cid_is_enough() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(206, SIZE));
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    let (ipfs, cid) = (format!("ipfs://{}/a.img", sample.cid()), sample.cid());
    env.write("t.yaml", format!(
        "images:\n- location: {ipfs}\n- location: https://127.0.0.1:1/a.img\n  cid: {cid}\n  variant: other\n"
    ));
    env.succeed(&[
        "lock",
        "t.yaml",
        "--gateway",
        &gateway.url(),
        "--only",
        "gateway",
    ]);
    assert_eq!(read(&env, "t.yaml"), format!(
        "images:\n- location: {ipfs}\n  digest: {digest}\n- location: https://127.0.0.1:1/a.img\n  cid: {cid}\n\
         \x20 variant: other\n",
        digest = sample.digest
    ).replace(
        "a.img\n  cid",
        &format!("a.img\n  digest: {}\n  cid", sample.digest)
    ));
    let sent = gateway.bytes_sent();
    assert!(sent < 2 * SIZE as u64, "{sent} bytes");
}

#[test]
fn latest_entries_are_locked_only_when_asked() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(207, SIZE));
    let origin = serve(&sample);
    let template = format!("images:\n- location: {}\n", origin.url());
    env.write("t.yaml", &template);
    let run = env.succeed(&["lock", "t.yaml"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    warning: line 2, http://127.0.0.1:PORT/image.img has neither digest nor CID and is left alone; --pin-latest 
          locks it to what it is now
    t.yaml is locked already
    "##);
    assert_eq!(read(&env, "t.yaml"), template);
    assert_eq!(origin.requests().len(), 0);
    let run = env.succeed(&["lock", "t.yaml", "--pin-latest"]);
    assert!(
        run.stderr.contains("had neither digest nor CID: it is locked to what was fetched now, which nobody has verified"),
        "{}",
        run.stderr
    );
    let locked = format!(
        "{template}  digest: {}\n  cid: {}\n",
        sample.digest,
        sample.cid()
    );
    assert_eq!(read(&env, "t.yaml"), locked);
}

#[test]
fn a_dry_run_prints_a_diff() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(208, 1000));
    let path = env.write("a.img", &sample.bytes);
    let template = format!(
        "# top\nimages:\n- location: \"{}\"\n  arch: \"x86_64\"\n# end\n",
        path.display()
    );
    env.write("t.yaml", &template);
    let run = env.succeed(&["lock", "t.yaml", "--dry-run"]);
    assert_snapshot!(env.steady(&run.stdout), @r##"
    --- t.yaml
    +++ t.yaml
    @@ -2,4 +2,6 @@
     images:
     - location: "$DIR/in/a.img"
       arch: "x86_64"
    +  digest: "sha256:cc9df2eeb57e..."
    +  cid: "bafkreigmtxz..."
     # end
    "##);
    assert_eq!(read(&env, "t.yaml"), template);
    env.succeed(&["lock", "t.yaml"]);
    assert_eq!(env.succeed(&["lock", "t.yaml", "--dry-run"]).stdout, "");
}

#[test]
fn entries_of_ipfs_are_put_in_front_once() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(209, SIZE));
    let origin = serve(&sample);
    let (url, digest, cid) = (origin.url(), sample.digest, sample.cid());
    env.write("t.yaml", format!(
        "images:\n# dated\n- location: \"{url}\"\n  arch: \"x86_64\"\n  digest: \"{digest}\"\n  variant: server\n  archVariant: v3\n\
         # latest\n- location: \"{url}?latest\"\n  arch: \"x86_64\"\n"
    ));
    env.succeed(&["lock", "t.yaml", "--add-ipfs"]);
    let expected = format!(
        "images:\n# dated\n- location: \"ipfs://{cid}/image.img\"\n  arch: \"x86_64\"\n  digest: \"{digest}\"\n\
         \x20 variant: server\n  archVariant: v3\n\
         - location: \"{url}\"\n  arch: \"x86_64\"\n  digest: \"{digest}\"\n  cid: \"{cid}\"\n  variant: server\n  archVariant: v3\n\
         # latest\n- location: \"{url}?latest\"\n  arch: \"x86_64\"\n"
    );
    assert_eq!(read(&env, "t.yaml"), expected);
    env.succeed(&["lock", "t.yaml", "--add-ipfs"]);
    assert_eq!(read(&env, "t.yaml"), expected);
    // What was locked is what `get` takes, without asking anybody.
    let run = env.succeed(&[
        "get",
        "t.yaml",
        "--arch",
        "x86_64",
        "--offline",
        "--no-archives",
    ]);
    assert_eq!(
        run.paths(),
        [env.entry(&format!("ipfs://{cid}/image.img")).join("data")]
    );
}

#[test]
fn a_template_on_stdin_is_printed() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(210, 1000));
    let path = env.write("a.img", &sample.bytes);
    let template = format!("images: [{{location: \"{}\"}}]\r\n", path.display());
    let given = env.write("given.yaml", &template);
    let piped = |arguments: &[&str]| {
        let mut command = env.command(arguments);
        command.stdin(fs::File::open(&given).expect("the file"));
        let output = command.output().expect("the program starts");
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).expect("text")
    };
    let locked = template.replace(
        "\"}]",
        &format!(
            "\", digest: \"{}\", cid: \"{}\"}}]",
            sample.digest,
            sample.cid()
        ),
    );
    assert_eq!(piped(&["lock", "-"]), locked);
    let lines = piped(&["lock", "-", "--json"]);
    let last: serde_json::Value =
        serde_json::from_str(lines.lines().last().expect("a line")).expect("an object");
    assert_eq!(
        (&last["type"], &last["text"]),
        (&"template".into(), &locked.into())
    );
}

#[test]
fn a_link_stays_a_link_and_the_mode_stays() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(211, 1000));
    let image = env.write("a.img", &sample.bytes);
    let path = env.write(
        "t.yaml",
        format!("images:\n- location: {}\n", image.display()),
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
    symlink("t.yaml", env.path("link.yaml")).expect("a link");
    env.succeed(&["lock", "link.yaml"]);
    assert!(read(&env, "t.yaml").contains("digest:"));
    assert!(
        fs::symlink_metadata(env.path("link.yaml"))
            .expect("it")
            .is_symlink()
    );
    let mode = fs::metadata(&path).expect("it").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let left: Vec<_> = fs::read_dir(env.path("")).expect("the directory").collect();
    assert_eq!(left.len(), 3, "no temporary file is left");
}

#[test]
fn only_files_for_the_wanted_architectures_are_looked_at() {
    let env = TestEnvironment::new();
    let (one, two) = (Sample::random(212, 1000), Sample::random(213, 1000));
    let (first, second) = (
        env.write("one.img", &one.bytes),
        env.write("two.img", &two.bytes),
    );
    let template = format!(
        "images:\n- location: {}\n  arch: x86_64\n- location: {}\n  arch: aarch64\n",
        first.display(),
        second.display()
    );
    env.write("t.yaml", &template);
    env.succeed(&["lock", "t.yaml", "--arch", "arm64"]);
    let locked = format!("{template}  digest: {}\n  cid: {}\n", two.digest, two.cid());
    assert_eq!(read(&env, "t.yaml"), locked);
    env.succeed(&["lock", "t.yaml", "--arch", "arm64", "--check"]);
    assert_eq!(env.run(&["lock", "t.yaml", "--check"]).code, Some(8));
    env.succeed(&["lock", "t.yaml", "--arch", "x86_64,aarch64"]);
    env.succeed(&["lock", "t.yaml", "--check"]);
}

#[test]
fn json_says_what_was_and_what_is() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(214, SIZE));
    let origin = serve(&sample);
    let digest = sample.digest.to_string();
    let template = format!(
        "images:\n- location: \"{}\"\n  arch: x86_64\n  digest: \"{digest}\"\n",
        origin.url()
    );
    env.write("t.yaml", template);
    let line = env.succeed(&["lock", "t.yaml", "--json"]).last("result");
    assert_eq!(line["status"], "locked");
    assert_eq!(line["what"], "image");
    assert_eq!(line["line"], 2);
    assert_eq!(line["arch"], "x86_64");
    assert_eq!(
        (&line["digest"], &line["was"]["digest"]),
        (&digest.clone().into(), &digest.into())
    );
    assert_eq!(
        (&line["cid"], &line["was"]["cid"]),
        (&sample.cid().into(), &serde_json::Value::Null)
    );
    assert_eq!(line["changed"], serde_json::json!(["cid"]));
    assert_eq!(
        (&line["from"], &line["size"]),
        (&"fetch".into(), &SIZE.into())
    );
    let again = env.succeed(&["lock", "t.yaml", "--json"]).last("result");
    assert_eq!(
        (&again["status"], &again["from"]),
        (&"right".into(), &"cache".into())
    );
}
