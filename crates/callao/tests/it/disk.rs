//! Disks that are full or refuse. The real thing: a small tmpfs in a mount namespace of its own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::origin::{Behaviour, Origin, Ranges};
use callao_testkit::real::say_skipped;

use crate::env::{Run, Sample, TestEnvironment};
use crate::serve_world::{command, get, serve_with};

const MIB: usize = 1 << 20;

/// Runs the program with its cache on a tmpfs with these options; `None` where namespaces are not allowed.
fn on_tmpfs(env: &TestEnvironment, options: &str, line: &[&str]) -> Option<Run> {
    let cache = env.cache_dir();
    std::fs::create_dir_all(&cache).expect("a cache directory");
    let plain = env.command(line);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg(format!(
        "mount -t tmpfs -o {options} tmpfs '{}' || exit 99; exec \"$@\"",
        cache.display()
    ));
    command
        .arg("sh")
        .arg(plain.get_program())
        .args(plain.get_args());
    command.env_clear();
    command.envs(
        plain
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.current_dir(env.path(""));
    let output = command.output().ok()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(99) || stderr.contains("unshare:") {
        // Past the capture of the test runner. No failure in CI: many containers forbid it.
        let said = format!("skipped: disk: no mount namespace: {}\n", stderr.trim());
        std::io::stderr().write_all(said.as_bytes()).unwrap_or(());
        return None;
    }
    Some(Run {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr,
    })
}

#[test]
fn a_full_disk_is_noticed_before_anything_is_fetched() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(110, 8 * 1024 * 1024));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let (url, digest, cid) = (origin.url(), sample.digest.to_string(), sample.cid());
    let line = ["get", &url, "--digest", &digest, "--cid", &cid];
    let Some(run) = on_tmpfs(&env, "size=2m", &line) else {
        return;
    };
    assert_eq!(run.code, Some(6), "{}", run.stderr);
    assert!(
        run.stderr.contains("no space left") && run.stderr.contains("hint: make room"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_cache_that_is_not_writable_is_said() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(111, 1000));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let (url, digest) = (origin.url(), sample.digest.to_string());
    let Some(run) = on_tmpfs(&env, "ro", &["get", &url, "--digest", &digest]) else {
        return;
    };
    assert_eq!(run.code, Some(6), "{}", run.stderr);
    assert!(run.stderr.contains("--cache-dir"), "{}", run.stderr);
    assert_eq!(origin.bytes_sent(), 0);
}

#[test]
fn an_output_directory_that_is_not_there() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(112, 1000));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let run = env.run(&[
        "get",
        &origin.url(),
        "--digest",
        &sample.digest.to_string(),
        "-o",
        "none/a.img",
    ]);
    assert_eq!(
        (run.code, origin.bytes_sent()),
        (Some(6), 0),
        "{}",
        run.stderr
    );
}

/// A disk of the size of a thimble, made by root. It is gone when dropped.
pub(crate) struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Where the cache lies. `None` where that is not allowed, which has then been said.
    fn new(env: &TestEnvironment, size: &str) -> Option<Self> {
        SmallDisk::at(env.cache_dir(), size)
    }

    /// As [`SmallDisk::new`], in any place.
    pub(crate) fn at(place: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir_all(&place).expect("a directory");
        let said = SmallDisk::mount(&format!("size={size}"), &place);
        match said {
            Ok(()) => Some(SmallDisk { place }),
            // No failure in CI: many containers forbid it.
            Err(why) => {
                say_skipped(&format!("no small disk (it needs root): {why}"));
                None
            }
        }
    }

    fn mount(options: &str, place: &Path) -> Result<(), String> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs"]);
        let output = command.arg(place).output();
        let output = output.map_err(|error| format!("mount: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let filled = std::fs::File::create(self.place.join("filler"))
            .and_then(|mut file| std::io::copy(&mut std::io::repeat(1), &mut file));
        let error = filled.expect_err("it is full");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }

    /// Somebody makes room.
    pub(crate) fn grow(&self, size: &str) {
        SmallDisk::mount(&format!("remount,size={size}"), &self.place).expect("a larger disk");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let umount = Command::new("umount")
            .arg("--lazy")
            .arg(&self.place)
            .status();
        // The directory stays behind if it fails, which is no reason to hide why the test failed.
        drop(umount);
    }
}

#[test]
fn a_disk_that_fills_up_ends_a_fetch_that_succeeds_when_there_is_room() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(113, 12 * MIB));
    let Some(disk) = SmallDisk::new(&env, "6m") else {
        return;
    };
    // Nobody says how long it is: there is no telling beforehand that it does not fit.
    let chunked = Behaviour {
        chunked: true,
        ranges: Ranges::Ignore,
        ..Behaviour::default()
    };
    let origin = Origin::start(sample.bytes.clone(), chunked);
    let (url, digest) = (origin.url(), sample.digest.to_string());
    let line = ["get", &*url, "--digest", &*digest, "--json"];
    let run = env.run(&line);
    assert_eq!(run.code, Some(6), "{}", run.stderr);
    assert!(
        run.stderr.contains("no space left") && run.stderr.contains("hint: make room"),
        "{}",
        run.stderr
    );
    env.assert_nothing_false_in_lima(&sample);
    disk.grow("64m");
    env.succeed(&line);
    env.assert_nothing_false_in_lima(&sample);
}

#[test]
fn a_daemon_without_room_says_so_and_lives() {
    let env = TestEnvironment::new();
    let samples = [(114, 12 * MIB), (115, MIB / 2)].map(|(seed, size)| Sample::random(seed, size));
    let [large, small] = &samples;
    let Some(disk) = SmallDisk::new(&env, "6m") else {
        return;
    };
    let files = samples.iter().map(Sample::file).collect();
    let gateway = Gateway::start(files, Vec::new(), GatewayBehaviour::default());
    let serve = serve_with(command(&env, &[]).env("IPFS_GATEWAY", gateway.url()));
    let ask = |sample: &Sample| get(serve.gateway_address(), &format!("/ipfs/{}", sample.cid()));
    let refused = ask(large);
    assert!(refused.status >= 500, "{}", refused.head);
    assert!(
        refused.text().contains("no space left"),
        "{}",
        refused.text()
    );
    assert!(ask(small).body == *small.bytes, "it does not live");
    disk.grow("64m");
    assert!(ask(large).body == *large.bytes, "it does not try again");
}
