//! Signals and sudden death: what was fetched is kept, and nothing false is left.

use std::process::Child;

use callao_testkit::origin::{Behaviour, Origin};
use rustix::process::{Pid, Signal, kill_process};

use crate::env::{Sample, TestEnvironment};

const MIB: u64 = 1024 * 1024;

/// Waits until the server has sent so much, or the program has ended.
fn wait_for(origin: &Origin, child: &mut Child, bytes: u64) {
    while origin.bytes_sent() < bytes && child.try_wait().expect("a child").is_none() {
        std::thread::yield_now();
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    kill_process(pid, signal).expect("a signal is sent");
}

#[test]
fn sigint_and_sigterm_end_with_130_and_are_resumable() {
    for (seed, signal) in [(90, Signal::INT), (91, Signal::TERM)] {
        let (env, sample) = (
            TestEnvironment::new(),
            Sample::random(seed, 8 * MIB as usize),
        );
        let slow = Behaviour {
            rate: Some(2 * MIB),
            ..Behaviour::default()
        };
        let origin = Origin::start(sample.bytes.clone(), slow);
        let (url, digest, cid) = (origin.url(), sample.digest.to_string(), sample.cid());
        let line = ["get", &url, "--digest", &digest, "--cid", &cid, "--json"];
        let mut child = env.start(&line);
        wait_for(&origin, &mut child, 3 * MIB);
        send(&child, signal);
        let output = child.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{stderr}");
        assert!(
            stderr.contains("Stopping") && stderr.contains("interrupted"),
            "{stderr}"
        );
        env.assert_nothing_false_in_lima(&sample);
        assert!(!env.entry(&url).join("data").exists());
        origin.set_behaviour(Behaviour::default());
        let run = env.succeed(&line);
        assert!(
            run.last("result")["resumed"].as_u64() >= Some(MIB),
            "{}",
            run.stdout
        );
        env.assert_nothing_false_in_lima(&sample);
        let explain = ["explain", "--offline", "--json", &url, "--digest", &digest];
        let history = &env.succeed(&explain).last("explanation")["history"];
        assert_eq!(
            (&history[0]["outcome"], &history[1]["outcome"]),
            (&"done".into(), &"interrupted".into())
        );
        assert_eq!(history[0]["resumed"], run.last("result")["resumed"]);
        assert!(history[1]["kept"].as_u64() >= Some(MIB), "{history}");
    }
}

#[test]
fn after_kill_9_at_any_point_only_what_was_on_its_way_is_fetched_again() {
    let sample = Sample::random(92, 48 * MIB as usize);
    for (kill_at, with_cid) in [
        (2, true),
        (17, true),
        (31, true),
        (47, true),
        (5, false),
        (29, false),
    ] {
        let env = TestEnvironment::new();
        let origin = Origin::start(
            sample.bytes.clone(),
            Behaviour {
                rate: Some(100 * MIB),
                ..Behaviour::default()
            },
        );
        let (url, digest, cid) = (origin.url(), sample.digest.to_string(), sample.cid());
        let mut line = vec!["get", &url, "--digest", &digest];
        if with_cid {
            line.extend(["--cid", &cid]);
        }
        let mut child = env.start(&line);
        wait_for(&origin, &mut child, kill_at * MIB);
        child.kill().expect("killed");
        child.wait().expect("it ends");
        env.assert_nothing_false_in_lima(&sample);
        env.succeed(&line);
        env.assert_nothing_false_in_lima(&sample);
        let most = sample.bytes.len() as u64 + 32 * MIB;
        assert!(
            origin.bytes_sent() <= most,
            "killed at {kill_at} MiB: {} sent",
            origin.bytes_sent()
        );
    }
}
