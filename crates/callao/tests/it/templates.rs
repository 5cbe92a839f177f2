//! Templates: what is fetched, and what is wrong with bad ones.

use std::fs;

use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::origin::{Behaviour, Origin};
use insta::assert_snapshot;

use crate::env::{Sample, TestEnvironment};

const SIZE: usize = 1024 * 1024 + 17;

fn serve(sample: &Sample) -> Origin {
    Origin::start(sample.bytes.clone(), Behaviour::default())
}

#[test]
fn image_kernel_initrd_and_archives_are_fetched() {
    let env = TestEnvironment::new();
    let samples: Vec<Sample> = (70..74).map(|seed| Sample::random(seed, SIZE)).collect();
    let origins: Vec<Origin> = samples.iter().map(serve).collect();
    let file = |index: usize| {
        format!(
            "location: \"{}\", arch: x86_64, digest: \"{}\"",
            origins[index].url(),
            samples[index].digest
        )
    };
    env.write("t.yaml", format!(
        "images:\n- {{{}, kernel: {{{}}}, initrd: {{{}}}}}\ncontainerd:\n  archives:\n  - {{{}}}\n",
        file(0), file(1), file(2), file(3)
    ));
    let run = env.succeed(&["get", "t.yaml", "--arch", "x86_64"]);
    let entries: Vec<_> = origins
        .iter()
        .map(|origin| env.entry(&origin.url()).join("data"))
        .collect();
    assert_eq!(run.paths(), entries);
    for noun in [
        "the image",
        "the kernel",
        "the initrd",
        "the nerdctl archive",
    ] {
        assert!(
            run.stderr
                .contains(&format!("Attempting to download {noun} ")),
            "{noun}: {}",
            run.stderr
        );
    }
    assert_eq!(
        env.succeed(&["get", "t.yaml", "--arch", "x86_64", "--no-archives"])
            .paths()
            .len(),
        3
    );
}

#[test]
fn an_ipfs_location_and_an_https_one_with_the_same_digest_are_one_file() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(75, SIZE));
    let origin = serve(&sample);
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    let ipfs = format!("ipfs://{}/a.img", sample.cid());
    env.write(
        "t.yaml",
        format!(
            "containerd: {{user: false}}\nimages:\n- {{location: \"{ipfs}\", arch: x86_64, digest: \"{digest}\"}}\n\
         - {{location: \"{url}\", arch: x86_64, digest: \"{digest}\", cid: {cid}}}\n",
            digest = sample.digest,
            url = origin.url(),
            cid = sample.cid()
        ),
    );
    let run = env.succeed(&[
        "get",
        "t.yaml",
        "--arch",
        "x86_64",
        "--gateway",
        &gateway.url(),
    ]);
    assert_eq!(run.paths(), [env.entry(&ipfs).join("data")]);
    for location in [&ipfs, &origin.url()] {
        assert_eq!(
            fs::read_to_string(env.entry(location).join("sha256.digest")).expect("a mark"),
            sample.digest.to_string()
        );
    }
}

#[test]
fn the_template_of_the_proposal_is_understood_offline() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(76, SIZE));
    let location = "https://cloud-images.ubuntu.com/releases/24.04/release-20240423/ubuntu-24.04-server-cloudimg-amd64.img";
    env.write("own.img", &sample.bytes);
    env.succeed(&["add", "own.img"]);
    env.write(
        "t.yaml",
        format!(
            "containerd: {{user: false}}\nimages:\n- location: \"{location}\"\n  arch: \"x86_64\"\n  digest: \"{}\"\n  cid: {}\n\
         - location: \"https://cloud-images.ubuntu.com/latest.img\"\n  arch: \"x86_64\"\n",
            sample.digest,
            sample.cid()
        ),
    );
    let run = env.succeed(&["get", "t.yaml", "--arch", "x86_64", "--offline"]);
    assert_eq!(run.paths(), [env.entry(location).join("data")]);
}

#[test]
fn local_locations_are_used_where_they_are() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(77, SIZE));
    let path = fs::canonicalize(env.write("a.img", &sample.bytes)).expect("the file");
    env.write(
        "t.yaml",
        format!(
            "containerd: {{user: false}}\nimages:\n- {{location: \"{}\", arch: x86_64, digest: \"{}\"}}\n",
            path.display(),
            sample.digest
        ),
    );
    assert_eq!(
        env.succeed(&["get", "t.yaml", "--arch", "x86_64"]).paths(),
        [path]
    );
}

#[test]
fn bad_templates_have_exit_code_8_and_a_reason() {
    let env = TestEnvironment::new();
    let told = |text: &[u8]| {
        env.write("t.yaml", text);
        env.told(&env.run(&["get", "t.yaml", "--arch", "x86_64"]))
    };
    assert_snapshot!(told(b"images: [\n"), @r##"
    exit 8
    error: template t.yaml is not usable YAML: unclosed bracket '[' at line 1, column 9
      1 | images: [
      |         ^
    "##);
    assert_snapshot!(told(b"images:\n- {location: \"https://h/a.img\", arch: x86_64, digest: \"sha256:abc\"}\n"), @r##"
    exit 8
    error: template t.yaml, line 2: digest of https://h/a.img: invalid checksum digest length: sha256 has 64 
          digits, not 3: `sha256:abc`
    "##);
    assert_snapshot!(told(b"images:\n- {location: \"https://h/a.img\", arch: aarch64}\n"), @r##"
    exit 8
    error: template t.yaml has nothing for x86_64; it has aarch64
    "##);
    assert_snapshot!(told(&vec![b'#'; 10 * 1024 * 1024]), @r##"
    exit 8
    error: failed to read template t.yaml: it has more than 4194304 bytes
    "##);
    assert_snapshot!(told(&[0xff, 0xfe]), @r##"
    exit 8
    error: template t.yaml is not UTF-8 text
    "##);
}

#[test]
fn an_unknown_key_is_a_warning() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(78, 1000));
    let path = env.write("a.img", &sample.bytes);
    env.write(
        "t.yaml",
        format!(
            "imags: []\nplain: true\nimages:\n- {{location: \"{}\", arch: x86_64}}\n",
            path.display()
        ),
    );
    let run = env.succeed(&["get", "t.yaml", "--arch", "x86_64"]);
    assert!(
        run.stderr.contains("warning: template") && run.stderr.contains("imags"),
        "{}",
        run.stderr
    );
}

#[test]
fn the_variant_of_the_first_image_decides() {
    let env = TestEnvironment::new();
    let (server, minimal) = (Sample::random(79, 1000), Sample::random(80, 1000));
    let (one, two) = (
        env.write("server.img", &server.bytes),
        env.write("minimal.img", &minimal.bytes),
    );
    env.write("t.yaml", format!(
        "containerd: {{user: false}}\nimages:\n\
         - {{location: \"{}\", arch: x86_64, variant: server}}\n- {{location: \"{}\", arch: x86_64, variant: minimal}}\n",
        one.display(), two.display()
    ));
    let base = |flags: &[&str]| {
        env.succeed(&[&["get", "t.yaml", "--arch", "x86_64"], flags].concat())
            .stdout
    };
    assert!(base(&[]).ends_with("server.img\n"));
    assert!(base(&["--image-variant", "minimal"]).ends_with("minimal.img\n"));
}
