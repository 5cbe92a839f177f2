//! The real limactl as the judge of what callao leaves in its cache, and of the plugins. `CALLAO_TEST_LIMACTL` names
//! it; without it nothing here runs. It sees an installation of its own, and can reach nothing but loopback.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use callao_content::digest::{Algorithm, Digest};
use callao_testkit::origin::{Behaviour, Origin};
use callao_testkit::registry::{self, Contents, Registry};
use rustix::fs::{FlockOperation, flock};

use crate::env::{Run, Sample, TestEnvironment};
use crate::judge::{Judge, program};
use crate::serve_world::serve;

const SIZE: usize = 600 * 1024 + 17;
const BARE: &str = "mounts: []\ncontainerd: {user: false, system: false}\n";

/// How many files limactl took from its cache.
fn cached(run: &Run) -> usize {
    run.stderr.matches("Using cache").count()
}

fn origin_of(sample: &Sample) -> Origin {
    Origin::start(sample.bytes.clone(), Behaviour::default())
}

#[test]
fn every_published_entry_is_used_without_a_request() {
    let Some(judge) = Judge::new() else { return };
    let sample = Sample::random(430, SIZE);
    let origin = origin_of(&sample);
    let sha512 = Digest::of(Algorithm::Sha512, &sample.bytes);
    let sha256 = &sample.digest;
    let at = |name: &str| origin.url_of(name);
    judge.env.write(
        "t.yaml",
        format!(
            "images:\n- location: {image}\n  digest: {sha512}\n\
             \x20 kernel: {{location: {kernel}, digest: {sha256}, cmdline: quiet}}\n\
             \x20 initrd: {{location: {initrd}, digest: {sha256}}}\n\
             containerd:\n  user: true\n  archives:\n  - {{location: {archive}, digest: {sha256}}}\n\
             mounts: []\n",
            image = at("/disk.img"),
            kernel = at("/vmlinuz"),
            initrd = at("/initrd"),
            archive = at("/nerdctl-full.tar.gz"),
        ),
    );
    let got = judge.callao(&["get", "t.yaml"]);
    assert_eq!(
        (got.code, got.paths().len()),
        (Some(0), 4),
        "{}",
        got.stderr
    );
    let asked = origin.requests().len();
    let run = judge.create("all", "t.yaml");
    assert_eq!(cached(&run), 4, "{}", run.stderr);
    assert_eq!(origin.requests().len(), asked, "limactl asked the server");
    for file in ["disk", "kernel", "initrd"] {
        let copy = fs::read(judge.env.path("h/all").join(file)).expect("a copy");
        assert!(copy == *sample.bytes, "{file}");
    }
}

#[test]
fn ipfs_entries_are_used_as_well() {
    let Some(judge) = Judge::new() else { return };
    let sample = Sample::random(431, SIZE);
    judge.env.write("a.img", &sample.bytes);
    assert_eq!(judge.callao(&["add", "a.img"]).code, Some(0));
    let location = format!("ipfs://{}/disk.img", sample.cid());
    let with_digest = format!(
        "images:\n- {{location: \"{location}\", digest: \"{}\"}}\n{BARE}",
        sample.digest
    );
    let without = format!(
        "images:\n- {{location: \"ipfs://{}/other.img\"}}\n{BARE}",
        sample.cid()
    );
    for (name, text) in [("pinned", with_digest), ("bare", without)] {
        let file = format!("{name}.yaml");
        judge.env.write(&file, text);
        let got = judge.callao(&["get", &file, "--offline"]);
        assert_eq!(got.code, Some(0), "{}", got.stderr);
        let run = judge.create(name, &file);
        assert_eq!(cached(&run), 1, "{}", run.stderr);
        let disk = fs::read(judge.env.path("h").join(name).join("disk")).expect("a disk");
        assert!(disk == *sample.bytes);
    }
}

#[test]
fn files_of_registries_are_used_as_well() {
    let Some(judge) = Judge::new() else { return };
    let sample = Sample::random(439, SIZE);
    let mut contents = Contents::default();
    let layer = contents.blob(
        "application/octet-stream",
        Some("disk.img"),
        sample.bytes.to_vec(),
    );
    contents.manifest("1", vec![layer]);
    let registry = Registry::start(contents, registry::Behaviour::default());
    let with_digest = format!(
        "images:\n- {{location: \"{}\", digest: \"{}\"}}\n{BARE}",
        registry.location("images/a:1#disk.img"),
        sample.digest
    );
    let without = format!(
        "images:\n- {{location: \"{}\"}}\n{BARE}",
        registry.location("images/a:1")
    );
    for (name, text) in [("pinned", with_digest), ("bare", without)] {
        let file = format!("{name}.yaml");
        judge.env.write(&file, text);
        let got = judge.callao(&["get", &file]);
        assert_eq!(got.code, Some(0), "{}", got.stderr);
        let asked = registry.requests().len();
        let run = judge.create(name, &file);
        assert_eq!(cached(&run), 1, "{}", run.stderr);
        assert_eq!(
            registry.requests().len(),
            asked,
            "limactl asked the registry"
        );
        let disk = fs::read(judge.env.path("h").join(name).join("disk")).expect("a disk");
        assert!(disk == *sample.bytes);
    }
}

#[test]
fn every_location_of_the_same_bytes_is_there_when_the_first_one_is_gone() {
    let Some(judge) = Judge::new() else { return };
    let sample = Sample::random(432, SIZE);
    let mut origin = origin_of(&sample);
    let (first, second) = (origin.url_of("/a.img"), origin.url_of("/b.img"));
    judge.env.write(
        "t.yaml",
        format!(
            "images:\n- {{location: \"{first}\", digest: \"{digest}\"}}\n- {{location: \"{second}\", digest: \"{digest}\"}}\n{BARE}",
            digest = sample.digest
        ),
    );
    assert_eq!(judge.callao(&["get", "t.yaml"]).code, Some(0));
    origin.stop();
    fs::remove_dir_all(judge.env.entry(&first)).expect("the first entry goes");
    let run = judge.create("second", "t.yaml");
    assert_eq!(cached(&run), 1, "{}", run.stderr);
}

#[test]
fn prune_keeps_what_a_template_refers_to() {
    let Some(judge) = Judge::new() else { return };
    let (kept, gone) = (Sample::random(433, SIZE), Sample::random(434, SIZE));
    let origin = origin_of(&kept);
    let ipfs = format!("ipfs://{}/disk.img", kept.cid());
    fs::create_dir(judge.env.path("templates")).expect("templates");
    judge.env.write(
        "templates/kept.yaml",
        format!(
            "images:\n- {{location: \"{ipfs}\", digest: \"{digest}\"}}\n- {{location: \"{}\", digest: \"{digest}\"}}\n{BARE}",
            origin.url(),
            digest = kept.digest
        ),
    );
    let got = judge.callao(&["get", "templates/kept.yaml"]);
    assert_eq!(got.code, Some(0), "{}", got.stderr);
    let other = origin_of(&gone);
    let digest = gone.digest.to_string();
    assert_eq!(
        judge
            .callao(&["get", &other.url(), "--digest", &digest])
            .code,
        Some(0)
    );
    let run = judge.limactl(&["prune", "--keep-referred"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for location in [&ipfs, &origin.url()] {
        let entry = judge.env.entry(location);
        assert!(fs::read(entry.join("data")).expect("data") == *kept.bytes);
        assert!(entry.join("sha256.digest").exists());
    }
    assert!(
        !judge.env.entry(&other.url()).exists(),
        "nobody refers to it"
    );
    // What is callao's own is not Lima's to remove.
    assert!(
        judge
            .env
            .cache_dir()
            .join("callao/v1/catalogue.sqlite")
            .exists()
    );
}

#[test]
fn limactl_waits_for_whoever_publishes() {
    let Some(judge) = Judge::new() else { return };
    let sample = Sample::random(435, SIZE);
    let origin = origin_of(&sample);
    let url = origin.url();
    judge.env.write(
        "t.yaml",
        format!(
            "images:\n- {{location: \"{url}\", digest: \"{}\"}}\n{BARE}",
            sample.digest
        ),
    );
    let got = judge.callao(&["--cache-dir", "other", "get", "t.yaml"]);
    assert_eq!(got.code, Some(0), "{}", got.stderr);
    let entry = judge.env.entry(&url);
    fs::create_dir_all(&entry).expect("an entry");
    let held = File::open(&entry).expect("the directory");
    flock(&held, FlockOperation::LockExclusive).expect("the lock that callao takes to publish");
    let mut command = judge.command(&["create", "--tty=false", "--name=vm", "t.yaml"]);
    let child = command
        .stderr(Stdio::piped())
        .spawn()
        .expect("limactl starts");
    wait_until_it_waits(&child);
    let asked = origin.requests().len();
    for name in ["data", "url", "sha256.digest"] {
        let from = PathBuf::from(got.paths()[0]).with_file_name(name);
        fs::copy(from, entry.join(name)).expect("a file of the entry");
    }
    drop(held);
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.contains("Using cache"),
        "{stderr}"
    );
    assert_eq!(origin.requests().len(), asked, "{stderr}");
}

/// Until the kernel says that this process waits for a lock. It may end instead, when something is wrong.
fn wait_until_it_waits(child: &Child) {
    let waits = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.contains(&"->") && words.contains(&child.id().to_string().as_str())
    };
    let is_alive = || {
        fs::read_to_string(format!("/proc/{}/stat", child.id()))
            .is_ok_and(|text| !text.contains(") Z "))
    };
    while is_alive()
        && !fs::read_to_string("/proc/locks")
            .expect("the locks")
            .lines()
            .any(waits)
    {
        std::thread::yield_now();
    }
}

#[test]
fn callao_waits_for_limactl() {
    let Some(judge) = Judge::new() else { return };
    let sample = Sample::random(436, SIZE);
    let slow = Behaviour {
        rate: Some(256 * 1024),
        ..Behaviour::default()
    };
    let origin = Origin::start(sample.bytes.clone(), slow);
    let url = origin.url();
    judge.env.write(
        "t.yaml",
        format!(
            "images:\n- {{location: \"{url}\", digest: \"{}\"}}\n{BARE}",
            sample.digest
        ),
    );
    judge.env.write("a.img", &sample.bytes);
    assert_eq!(judge.callao(&["add", "a.img"]).code, Some(0));
    let mut command = judge.command(&["create", "--tty=false", "--name=vm", "t.yaml"]);
    let mut limactl = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("limactl starts");
    // It downloads now, and holds the lock for as long as that takes.
    while origin.bytes_sent() == 0 && limactl.try_wait().expect("a child").is_none() {
        std::thread::yield_now();
    }
    // callao has the bytes already and only wants to publish them.
    let mut callao = judge.env.start(&["get", "t.yaml"]);
    let stderr = BufReader::new(callao.stderr.take().expect("stderr"));
    let said: Vec<String> = stderr.lines().map(|line| line.expect("a line")).collect();
    assert!(callao.wait().expect("it ends").success(), "{said:?}");
    assert!(limactl.wait().expect("it ends").success());
    assert!(
        said.iter()
            .any(|line| line.starts_with("Waiting for another process")),
        "{said:?}"
    );
    judge.env.assert_nothing_false_in_lima(&sample);
    assert!(judge.env.entry(&url).join("sha256.digest").exists());
}

#[test]
fn callao_lima_create_makes_an_instance_from_what_it_fetched() {
    let Some(judge) = Judge::new() else { return };
    let sample = Sample::random(437, SIZE);
    let origin = origin_of(&sample);
    fs::create_dir(judge.env.path("templates")).expect("templates");
    judge.env.write(
        "templates/base.yaml",
        format!(
            "images:\n- {{location: \"{}\", digest: \"{}\"}}\n{BARE}",
            origin.url(),
            sample.digest
        ),
    );
    judge
        .env
        .write("templates/mine.yaml", "base: template:base\n");
    let run = judge.callao(&["lima", "--tty=false", "create", "template:mine"]);
    assert_eq!(
        run.code,
        Some(2),
        "flags of limactl stand after its command: {}",
        run.stderr
    );
    let run = judge.callao(&["lima", "create", "--tty=false", "template:mine", "--cpus=1"]);
    assert_eq!((run.code, cached(&run)), (Some(0), 1), "{}", run.stderr);
    assert!(
        run.stderr.contains("Downloaded the image from"),
        "{}",
        run.stderr
    );
    let asked = origin.requests().len();
    // Its images are gone, its containerd is on: only limactl can work that out.
    let change = format!(
        ".images = [{{\"location\": \"{}\", \"digest\": \"{}\"}}]",
        origin.url_of("/changed.img"),
        sample.digest
    );
    let run = judge.callao(&[
        "lima",
        "create",
        "-y",
        "--name=changed",
        "--set",
        &change,
        "template:mine",
    ]);
    assert_eq!((run.code, cached(&run)), (Some(0), 1), "{}", run.stderr);
    assert_eq!(
        origin.requests().len(),
        asked,
        "the same bytes were here already"
    );
    // limactl refuses: its words, its exit code.
    let run = judge.callao(&["lima", "create", "-y", "--name=changed", "template:mine"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("already exists"), "{}", run.stderr);
    let run = judge.callao(&["lima", "list", "--format", "{{.Name}}"]);
    assert_eq!(run.stdout, "changed\nmine\n");
}

#[test]
fn a_locator_that_goes_round_in_a_circle_is_limactls_to_refuse() {
    let Some(judge) = Judge::new() else { return };
    program(
        &judge.env,
        "lima/bin/limactl-url-loop",
        "#!/bin/sh\n[ \"$1\" = a ] && echo loop:b || echo loop:a\n",
    );
    let run = judge.callao(&["lima", "create", "-y", "loop:a"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let warning = run.stderr.lines().next().unwrap_or_default();
    assert!(
        warning.starts_with("warning: ") && warning.contains("has a redirect loop"),
        "{}",
        run.stderr
    );
}

#[test]
fn the_gateway_of_a_daemon_is_a_location() {
    let Some(judge) = Judge::new() else { return };
    let (env, sample) = (TestEnvironment::new(), Sample::random(443, SIZE));
    env.write("a.img", &sample.bytes);
    env.succeed(&["add", "a.img"]);
    let serve = serve(&env, &[]);
    judge.env.write(
        "g.yaml",
        format!(
            "images:\n- {{location: \"{}/ipfs/{}?filename=disk.qcow2\", digest: \"{}\"}}\n{BARE}",
            serve.gateway(),
            sample.cid(),
            sample.digest
        ),
    );
    let run = judge.create("gateway", "g.yaml");
    assert_eq!(cached(&run), 0, "{}", run.stderr);
    let disk = fs::read(judge.env.path("h/gateway/disk")).expect("a disk");
    assert!(disk == *sample.bytes);
}

#[test]
fn limactl_runs_callao_as_its_plugin() {
    let Some(judge) = Judge::new() else { return };
    let bin = judge.env.path("lima/bin").display().to_string();
    let run = judge.callao(&["lima", "plugins", "install", "--dir", &bin]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let run = judge.limactl(&["callao", "--version"]);
    assert_eq!(
        (run.code, run.stdout.trim()),
        (Some(0), concat!("callao ", env!("CARGO_PKG_VERSION")))
    );
    let run = judge.limactl(&["callao", "get", "no-such-file"]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let help = judge.limactl(&["--help"]).stdout;
    assert!(
        help.contains("Fetch and verify images from every source at once"),
        "{help}"
    );
    let run = judge.callao(&["lima", "plugins", "remove"]);
    assert_eq!(run.stdout.lines().count(), 2, "{}", run.stderr);
    assert_eq!(judge.limactl(&["callao", "--version"]).code, Some(1));
}
