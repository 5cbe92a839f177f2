//! Disks that are full or refuse. The real thing: a small tmpfs in a mount namespace of its own.

use std::io::Write;
use std::process::Command;

use callao_testkit::origin::{Behaviour, Origin};

use crate::env::{Run, Sample, TestEnvironment};

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
