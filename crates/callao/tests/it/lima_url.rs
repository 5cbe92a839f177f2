//! Templates and images behind `ipfs:` locators, as limactl-url-ipfs asks for them: what is printed, and what lies
//! there. With the real limactl where it is.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use callao_content::cid::Version;
use callao_content::dag_pb::{Link, Node, encode};
use callao_content::digest::{Algorithm, Digest};
use callao_content::import::import;
use callao_content::profile::Profile;
use callao_content::{Cid, cid, hash};
use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use insta::assert_snapshot;

use crate::env::{Run, Sample, TestEnvironment};
use crate::judge::Judge;

const SIZE: usize = 600 * 1024 + 17;
const BARE: &str = "mounts: []\nplain: true\n";

/// Bytes as a file on IPFS.
fn file(bytes: &[u8]) -> Sample {
    let bytes: Arc<[u8]> = bytes.into();
    let layout = import(&bytes, Profile::KuboCidV1.shape()).expect("a layout");
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    Sample {
        bytes,
        layout,
        digest,
    }
}

/// A UnixFS directory; names in order.
fn directory(entries: &[(&'static str, Cid)]) -> (Cid, Vec<u8>) {
    let link = |(name, target): &(&'static str, Cid)| Link {
        cid: *target,
        name: name.as_bytes(),
        tsize: None,
    };
    let block = encode(&Node {
        links: entries.iter().map(link).collect(),
        data: Some(&[8, 1]),
    });
    let root = cid::dag_pb_sha256(Version::V1, hash::sha256(&block));
    (root, block)
}

/// A directory `t.yaml`, `base/b.yaml`, `base/script.sh` on a gateway.
struct Published {
    gateway: Gateway,
    root: String,
    alone: String,
}

fn publish(template: &str, base: &str) -> Published {
    let (template, base) = (file(template.as_bytes()), file(base.as_bytes()));
    let script = file(b"#!/bin/sh\ntrue\n");
    let below = directory(&[
        ("b.yaml", *base.layout.root()),
        ("script.sh", *script.layout.root()),
    ]);
    let root = directory(&[("base", below.0), ("t.yaml", *template.layout.root())]);
    let text = cid::text(&root.0);
    let files = [&template, &base, &script].map(Sample::file);
    let gateway = Gateway::start(files.into(), vec![below, root], GatewayBehaviour::default());
    Published {
        gateway,
        root: text,
        alone: template.cid(),
    }
}

fn url(env: &TestEnvironment, gateway: &Gateway, address: &str) -> Run {
    let gateway = format!("--gateway={}", gateway.url());
    env.run(&["--quiet", "lima", &gateway, "url", "--", address])
}

fn printed(run: &Run) -> PathBuf {
    assert_eq!(
        (run.code, run.stdout.lines().count()),
        (Some(0), 1),
        "{}",
        run.stderr
    );
    run.stdout.trim_end().into()
}

/// The first base is for limactl to find, the second one lies beside the template.
const WITH_BASE: &str = "base: [template:elsewhere, base/b.yaml]\ncpus: 1\n";
const BASE: &str =
    "images: [{location: /no/such/disk.img}]\nprovision: [{mode: system, file: script.sh}]\n";

#[test]
fn a_template_comes_with_what_lies_beside_it() {
    let env = TestEnvironment::new();
    let published = publish(WITH_BASE, BASE);
    let path = printed(&url(
        &env,
        &published.gateway,
        &format!("//{}/t.yaml", published.root),
    ));
    let dir = env
        .cache_dir()
        .join("callao/v1/templates")
        .join(&published.root);
    assert_eq!(path, dir.join("t.yaml"));
    let read = |name: &str| fs::read_to_string(dir.join(name)).expect("a file");
    assert_eq!(
        (read("t.yaml"), read("base/b.yaml")),
        (WITH_BASE.into(), BASE.into())
    );
    assert!(read("base/script.sh").starts_with("#!/bin/sh"));
    // From then on nobody is asked.
    let asked = published.gateway.requests().len();
    let again = url(
        &env,
        &published.gateway,
        &format!("{}/t.yaml", published.root),
    );
    assert_eq!(printed(&again), path);
    assert_eq!(published.gateway.requests().len(), asked);
}

#[test]
fn a_template_alone_is_named_by_its_cid() {
    let env = TestEnvironment::new();
    let published = publish(
        &format!("images: [{{location: /no/such/disk.img}}]\n{BARE}"),
        "",
    );
    let alone = &published.alone;
    let path = printed(&url(&env, &published.gateway, alone));
    assert!(
        path.ends_with(format!("{alone}/{alone}.yaml")),
        "{}",
        path.display()
    );
    let path = printed(&url(
        &env,
        &published.gateway,
        &format!("//{alone}/mine.yaml"),
    ));
    assert!(
        path.ends_with(format!("{alone}/mine.yaml")),
        "{}",
        path.display()
    );
}

#[test]
fn what_cannot_work_is_said() {
    let env = TestEnvironment::new();
    let published = publish(WITH_BASE, BASE);
    let told = |address: &str| env.told(&url(&env, &published.gateway, address));
    assert_snapshot!(told(&format!("//{}/t.yaml", published.alone)), @r##"
    exit 8
    error: template ipfs://bafkreiay6hm.../t.yaml, line 1: base: `ipfs://bafkreiay6hm.../base/b.yaml` would lie 
          beside the template, but this CID is that of the template alone
    hint: name the template by the CID of its directory
    "##);
    let above = publish("base: ../b.yaml\n", "");
    let address = format!("{}/t.yaml", above.root);
    assert_snapshot!(env.told(&url(&env, &above.gateway, &address)), @r##"
    exit 8
    error: template ipfs://bafybeibuds4.../t.yaml, line 1: base `../b.yaml` leads out of the directory of its 
          template with `..`
    "##);
    assert_snapshot!(told("//nonsense/t.yaml"), @r##"
    exit 2
    error: `ipfs://nonsense/t.yaml` is not an IPFS address: `nonsense` is not a CID: unknown multibase prefix
    "##);
    assert_snapshot!(told(&format!("{}/%2e%2e/t.yaml", published.root)), @r##"
    exit 2
    error: `ipfs://bafybeiharxv.../%2e%2e/t.yaml`: its path cannot be that of a file
    "##);
    let image = Sample::random(450, 5 * 1024 * 1024);
    let gateway = Gateway::start(vec![image.file()], Vec::new(), GatewayBehaviour::default());
    assert_snapshot!(env.told(&url(&env, &gateway, &image.cid())), @r##"
    exit 8
    error: `ipfs://bafybeiaiika...` is not a template: it has more than 4194304 bytes
    hint: an image is known by its name: ipfs://CID/NAME.qcow2
    "##);
    let small = file(b"\xff\xfe");
    let gateway = Gateway::start(vec![small.file()], Vec::new(), GatewayBehaviour::default());
    assert_snapshot!(env.told(&url(&env, &gateway, &small.cid())), @r##"
    exit 8
    error: `ipfs://bafkreift2ui...` is not a template: it is not UTF-8 text
    hint: an image is known by its name: ipfs://CID/NAME.qcow2
    "##);
}

#[test]
fn an_image_gets_a_template_that_names_it() {
    let env = TestEnvironment::new();
    let sample = Sample::random(451, SIZE);
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    let location = format!("ipfs://{}/Disk-arm64-20260101.img", sample.cid());
    let path = printed(&url(&env, &gateway, location.trim_start_matches("ipfs:")));
    assert!(
        path.ends_with("Disk-arm64-20260101.img/disk-arm64.yaml"),
        "{}",
        path.display()
    );
    assert_eq!(
        fs::read_to_string(&path).expect("a template"),
        format!(
            "# Made by callao.\nos: \"Linux\"\narch: \"aarch64\"\nimages:\n- location: \"{location}\"\n\
             \x20 arch: \"aarch64\"\n  digest: \"{}\"\n",
            sample.digest
        )
    );
    env.assert_nothing_false_in_lima(&sample);
    assert!(env.entry(&location).join("sha256.digest").exists());
    let run = env.run(&["--cache-dir", "other", "lima", "url", "--", &location[5..]]);
    assert_snapshot!(env.told(&run), @r##"
    exit 2
    error: limactl does not read the cache `$DIR/in/other`, so it would not find 
          `ipfs://bafybeicm4cb.../Disk-arm64-20260101.img` there
    hint: let callao use limactl's cache, or run `callao lima` instead of limactl
    "##);
}

/// limactl with callao as its plugin, and a gateway that both reach.
fn with_plugins() -> Option<Judge> {
    let judge = Judge::new()?;
    let bin = judge.env.path("lima/bin").display().to_string();
    assert_eq!(
        judge
            .callao(&["lima", "plugins", "install", "--dir", &bin])
            .code,
        Some(0)
    );
    Some(judge)
}

#[test]
fn limactl_creates_an_instance_from_an_address() {
    let Some(judge) = with_plugins() else { return };
    let disk = Sample::random(452, SIZE);
    let location = format!("ipfs://{}/disk.img", disk.cid());
    let base = format!(
        "images: [{{location: \"{location}\", digest: \"{}\"}}]\n{BARE}",
        disk.digest
    );
    let published = publish("base: base/b.yaml\n", &base);
    let images = Gateway::start(vec![disk.file()], Vec::new(), GatewayBehaviour::default());
    judge.asks(&published.gateway);
    let address = format!("ipfs://{}/t.yaml", published.root);
    // limactl alone: the plugin tells it where the template is, and the image has to be there.
    judge.env.write("image.yaml", &base);
    let gateway = format!("--gateway={}", images.url());
    let got = judge.callao(&["get", &gateway, "image.yaml"]);
    assert_eq!(got.code, Some(0), "{}", got.stderr);
    let run = judge.limactl(&["create", "-y", &address]);
    assert_eq!(
        (run.code, judge.disk("t") == *disk.bytes),
        (Some(0), true),
        "{}",
        run.stderr
    );
    // As a base, and by `ipfs:` without slashes.
    judge.env.write(
        "mine.yaml",
        format!("base: ipfs://{}/base/b.yaml\n", published.root),
    );
    let run = judge.limactl(&["create", "-y", "mine.yaml"]);
    assert_eq!(
        (run.code, judge.disk("mine") == *disk.bytes),
        (Some(0), true),
        "{}",
        run.stderr
    );
    let run = judge.limactl(&[
        "create",
        "-y",
        "--name=short",
        address.replace("//", "").as_str(),
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let run = judge.limactl(&["create", "-y", "ipfs://nonsense/t.yaml"]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("is not an IPFS address"),
        "{}",
        run.stderr
    );
}

#[test]
fn limactl_creates_an_instance_from_an_image() {
    let Some(judge) = with_plugins() else { return };
    let disk = Sample::random(453, SIZE);
    let images = Gateway::start(vec![disk.file()], Vec::new(), GatewayBehaviour::default());
    judge.asks(&images);
    let address = format!("ipfs://{}/Disk-x86_64.img", disk.cid());
    let run = judge.limactl(&["create", "-y", "--plain", &address]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(judge.disk("disk") == *disk.bytes);
    assert!(run.stderr.contains("Using cache"), "{}", run.stderr);
}

#[test]
fn callao_lima_needs_no_plugin_for_an_address() {
    let Some(judge) = Judge::new() else { return };
    let disk = Sample::random(454, SIZE);
    let base = format!(
        "images: [{{location: \"ipfs://{}/disk.img\", digest: \"{}\"}}]\n{BARE}",
        disk.cid(),
        disk.digest
    );
    let published = publish("base: base/b.yaml\n", &base);
    let images = Gateway::start(vec![disk.file()], Vec::new(), GatewayBehaviour::default());
    let run = judge.callao(&[
        "lima",
        "--gateway",
        &published.gateway.url(),
        &images.url(),
        "--only=gateway",
        "create",
        "-y",
        &format!("ipfs://{}/t.yaml", published.root),
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(judge.disk("t") == *disk.bytes, "{}", run.stderr);
}
