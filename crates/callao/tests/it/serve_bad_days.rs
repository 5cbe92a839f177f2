//! `callao serve` when something is wrong: ports, second daemons, crashes, signals, and files that somebody changes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use insta::assert_snapshot;
use rustix::process::Signal;

use crate::env::{Sample, TestEnvironment};
use crate::serve_world::{LINE, answer, get, open, send, serve, served, status, until};

const MIB: usize = 1 << 20;

#[test]
fn the_second_daemon_says_where_the_first_one_is() {
    let env = TestEnvironment::new();
    let mut first = serve(&env, &[]);
    let run = env.run(&LINE);
    assert_eq!(run.code, Some(7));
    let told = run.stderr.replace(&first.pid().to_string(), "PID");
    assert_snapshot!(env.steady(&told), @r"
    error: `callao serve` runs already: process PID, gateway http://127.0.0.1:PORT
    hint: one is enough: it serves everything in the cache; callao peers and its gateway show what it does
    ");
    // Where the state lies decides, not the cache.
    let other = TestEnvironment::new();
    serve(&other, &[]);
}

#[test]
fn what_a_killed_daemon_left_is_not_taken_for_one_that_runs() {
    let env = TestEnvironment::new();
    let mut first = serve(&env, &[]);
    first.kill();
    assert_snapshot!(env.told(&env.run(&["peers"])), @r"
    exit 3
    error: no `callao serve` runs
    hint: start it: callao serve
    ");
    let second = serve(&env, &[]);
    assert_eq!(status(&second)["gateway"], second.gateway());
    env.succeed(&["peers"]);
}

#[test]
fn a_port_in_use_is_said() {
    let env = TestEnvironment::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let run = env.run(&[
        "serve",
        "--gateway",
        &address,
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
    ]);
    assert_snapshot!(env.told(&run), @r"
    exit 4
    error: cannot listen on 127.0.0.1:PORT: Address already in use (os error 98)
    hint: another program has this port: name another one with --gateway or --lan (port 0: any), or in the 
          settings (serve.gateway, serve.lan)
    ");
}

#[cfg(feature = "p2p")]
#[test]
fn a_port_for_peers_in_use_is_said() {
    let env = TestEnvironment::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let run = env.run(&["serve", "--gateway", "127.0.0.1:0", "--listen", &listen]);
    let told = env.told(&run).replace(&port.to_string(), "PORT");
    assert!(told.contains("exit 4\n"), "{told}");
    assert!(
        told.contains("error: cannot listen on /ip4/127.0.0.1/tcp/PORT: "),
        "{told}"
    );
    let run = env.run(&["serve", "--gateway", "127.0.0.1:0", "--listen", "here"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
}

#[test]
fn wrong_flags_and_settings_are_said() {
    let mut env = TestEnvironment::new();
    for (line, told) in [
        (
            ["--gateway", "0.0.0.0:1"],
            "--gateway is `0.0.0.0:1`; the gateway is for this computer alone",
        ),
        (
            ["--lan", "1.1.1.1:1"],
            "--lan is `1.1.1.1:1`, which is no address of a local network",
        ),
    ] {
        let run = env.run(&[&["serve"], &line[..]].concat());
        assert_eq!(run.code, Some(2));
        assert!(run.stderr.contains(told), "{}", run.stderr);
    }
    env.set("offline = true\n");
    assert_snapshot!(env.told(&env.run(&["serve"])), @r"
    exit 2
    error: `offline` in the settings (or $CALLAO_OFFLINE) allows no socket at all
    ");
}

#[cfg(feature = "p2p")]
#[test]
fn a_key_that_is_none_is_kept_and_said() {
    let env = TestEnvironment::new();
    let dir = env.home().join(".local/state/callao");
    drop(serve(&env, &[]));
    fs::write(dir.join("node.key"), b"").expect("written");
    let run = env.run(&LINE);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("not a node key"), "{}", run.stderr);
}

#[test]
fn answers_under_way_are_ended_before_it_ends() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(320, 8 * MIB));
    env.write("disk.img", &sample.bytes);
    env.succeed(&["add", "disk.img"]);
    let mut daemon = serve(&env, &[]);
    let path = format!("/ipfs/{}", sample.cid());
    let mut clients: Vec<_> = (0..16)
        .map(|_| {
            let mut stream = open(daemon.gateway_address(), "GET", &path, "", b"");
            let mut first = vec![0; 4096];
            stream.read_exact(&mut first).expect("it began");
            (stream, first)
        })
        .collect();
    send(&mut daemon, Signal::TERM);
    for (stream, bytes) in &mut clients {
        stream.read_to_end(bytes).expect("it goes on to the end");
        let answer = answer(std::mem::take(bytes), true);
        assert!(answer.whole && answer.body == *sample.bytes);
    }
    let ended = env.home().join(".local/state/callao/daemon.json");
    until("it has ended", || {
        (fs::read(&ended).expect("the state").is_empty()).then_some(())
    });
}

#[test]
fn the_second_signal_ends_it_at_once() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(321, 32 * MIB));
    env.write("disk.img", &sample.bytes);
    env.succeed(&["add", "disk.img"]);
    let mut child = env.start(&LINE);
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("stdout"));
    std::io::BufRead::read_line(&mut stdout, &mut line).expect("a line");
    let ready: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let gateway = ready["gateway"]
        .as_str()
        .and_then(|url| url.strip_prefix("http://"));
    let address = gateway
        .and_then(|text| text.parse().ok())
        .expect("an address");
    // Nobody reads: the answer does not end by itself.
    let mut stream = open(address, "GET", &format!("/ipfs/{}", sample.cid()), "", b"");
    stream.read_exact(&mut [0; 1024]).expect("it began");
    let pid = rustix::process::Pid::from_child(&child);
    let kill = || rustix::process::kill_process(pid, Signal::TERM).expect("sent");
    kill();
    until("it accepts nothing more", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
    kill();
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
}

/// What somebody does to the file.
type Harm = fn(&Path, &Sample);

#[test]
fn a_file_that_somebody_changes_is_never_served_wrongly() {
    let harms: [(&str, Harm); 4] = [
        ("truncated", |path, _| {
            let file = fs::OpenOptions::new()
                .write(true)
                .open(path)
                .expect("the file");
            file.set_len(MIB as u64 + 7).expect("cut");
        }),
        ("overwritten", |path, sample| {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .open(path)
                .expect("the file");
            file.write_all(&vec![0; sample.bytes.len()])
                .expect("written");
        }),
        ("replaced", |path, sample| {
            let other = path.with_extension("new");
            fs::write(&other, vec![1; sample.bytes.len()]).expect("written");
            fs::rename(&other, path).expect("renamed");
        }),
        ("deleted", |path, _| fs::remove_file(path).expect("removed")),
    ];
    for (number, (name, harm)) in harms.into_iter().enumerate() {
        let env = TestEnvironment::new();
        let sample = Sample::random(330 + number as u64, 24 * MIB);
        let path = env.write("disk.img", &sample.bytes);
        env.succeed(&["add", "disk.img"]);
        let daemon = serve(&env, &[]);
        served(&daemon, &sample.cid());
        let url = format!("/ipfs/{}", sample.cid());
        let mut stream = open(daemon.gateway_address(), "GET", &url, "", b"");
        let mut bytes = vec![0; 64 << 10];
        stream.read_exact(&mut bytes).expect("it began");
        harm(&path, &sample);
        let ended = stream.read_to_end(&mut bytes).is_ok();
        let answer = answer(bytes, ended);
        // What came is right; if something is missing the client sees that.
        assert!(sample.bytes.starts_with(&answer.body), "{name}");
        until(name, || {
            (get(daemon.gateway_address(), &url).status >= 400).then_some(())
        });
        until(name, || {
            let status = status(&daemon);
            let files = status["files"].as_array().expect("files");
            files
                .iter()
                .all(|file| file["served"] == false)
                .then_some(())
        });
    }
}

#[test]
fn files_of_another_time_are_served() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let dates = [
        SystemTime::UNIX_EPOCH - YEAR,
        SystemTime::UNIX_EPOCH,
        SystemTime::now() + 100 * YEAR,
    ];
    for (seed, date) in (340..).zip(dates) {
        let (env, sample) = (TestEnvironment::new(), Sample::random(seed, MIB));
        let path = env.write("disk.img", &sample.bytes);
        let file = fs::OpenOptions::new().write(true).open(path);
        let file = file.expect("the file");
        file.set_modified(date).expect("another date");
        env.succeed(&["add", "disk.img"]);
        let daemon = serve(&env, &[]);
        served(&daemon, &sample.cid());
        let url = format!("/ipfs/{}", sample.cid());
        assert!(get(daemon.gateway_address(), &url).body == *sample.bytes);
        // The clock is set right: the bytes are still the same.
        file.set_modified(SystemTime::now()).expect("a date");
        until("it is served again", || {
            (get(daemon.gateway_address(), &url).body == *sample.bytes).then_some(())
        });
    }
}

#[test]
fn who_takes_nothing_does_not_keep_it_from_ending() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(350, 32 * MIB));
    env.write("disk.img", &sample.bytes);
    env.succeed(&["add", "disk.img"]);
    let mut daemon = serve(&env, &[]);
    let path = format!("/ipfs/{}", sample.cid());
    let clients = [(); 16].map(|()| {
        let mut stream = open(daemon.gateway_address(), "GET", &path, "", b"");
        stream.read_exact(&mut [0; 1024]).expect("it began");
        stream
    });
    send(&mut daemon, Signal::TERM);
    let ended = until("it has ended", || daemon.ended());
    assert_eq!(ended.code(), Some(0));
    for mut stream in clients {
        let mut rest = Vec::new();
        let whole = stream.read_to_end(&mut rest).is_ok() && rest.len() > sample.bytes.len();
        assert!(!whole, "nobody could have sent all of that");
    }
}
