//! `callao serve`: what it says, what it serves, what it fetches, and how it is seen.

use std::fs;

use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::origin::{Behaviour, Origin};
use serde_json::json;

use crate::env::{Run, Sample, TestEnvironment};
use crate::serve_world::{LINE, ask, command, get, serve, serve_with, served, status, until};

const MIB: usize = 1 << 20;

#[test]
fn the_first_line_says_where_it_is() {
    let env = TestEnvironment::new();
    let mut serve = serve(&env, &[]);
    let ready = serve.ready().clone();
    assert_eq!((&ready["v"], &ready["type"]), (&json!(1), &json!("ready")));
    let status = status(&serve);
    assert_eq!(status["v"], 1);
    for key in ["peer_id", "addresses", "gateway"] {
        assert_eq!(status[key], ready[key], "{key}");
    }
    assert_eq!(status["settings"]["discovery"], "none");
    assert_eq!(
        (&status["files"], &status["fetches"]),
        (&json!([]), &json!([]))
    );
    let file = env.home().join(".local/state/callao/daemon.json");
    let text = fs::read_to_string(&file).expect("the state");
    let state: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&state["gateway"], &state["pid"]),
        (&ready["gateway"], &json!(serve.pid()))
    );
    serve.stop();
    assert_eq!(fs::read_to_string(&file).expect("the state"), "");
}

#[cfg(feature = "p2p")]
#[test]
fn others_know_it_by_the_same_name_after_a_restart() {
    use std::os::unix::fs::PermissionsExt as _;
    let env = TestEnvironment::new();
    let first = serve(&env, &[]).peer_id();
    let key = env.home().join(".local/state/callao/node.key");
    let mode = fs::metadata(&key).expect("the key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(serve(&env, &[]).peer_id(), first);
}

#[test]
fn without_json_it_says_it_to_people() {
    let env = TestEnvironment::new();
    let line = LINE.iter().filter(|word| **word != "--json");
    let mut child = env.start(&line.copied().collect::<Vec<_>>());
    let mut first = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("stdout"));
    std::io::BufRead::read_line(&mut stdout, &mut first).expect("a line");
    assert_eq!(
        env.steady(&first),
        "Gateway and dashboard: http://127.0.0.1:PORT/\n"
    );
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("sent");
    let run = Run::of(child.wait_with_output().expect("it ends"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("stopped"), "{}", run.stderr);
}

#[test]
fn what_add_makes_known_is_served_while_it_runs() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(300, 3 * MIB + 5));
    let serve = serve(&env, &[]);
    let path = env.write("disk.img", &sample.bytes);
    env.succeed(&["add", "disk.img"]);
    let file = served(&serve, &sample.cid());
    assert_eq!(file["kind"], "user");
    assert_eq!(
        file["path"],
        fs::canonicalize(&path)
            .expect("the file")
            .to_str()
            .expect("text")
    );
    let url = format!("/ipfs/{}?filename=disk.img", sample.cid());
    let answer = get(serve.gateway_address(), &url);
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(answer.whole && answer.body == *sample.bytes);
    let status = status(&serve);
    assert_eq!(status["clients"][0]["kind"], "http");
    assert!(status["totals"]["sent_bytes"].as_u64() >= Some(sample.bytes.len() as u64));
}

#[test]
fn a_file_of_limas_cache_is_served_if_everybody_could_have_it() {
    let (mut env, sample) = (TestEnvironment::new(), Sample::random(301, 2 * MIB));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    env.succeed(&["get", &origin.url(), "--cid", &sample.cid()]);
    let path = format!("/ipfs/{}", sample.cid());
    let private = serve(&env, &[]);
    let file = &status(&private)["files"][0];
    assert_eq!(
        (&file["kind"], &file["served"]),
        (&json!("lima"), &json!(false)),
        "{file}"
    );
    assert!(file["why_not"].is_string(), "{file}");
    assert_eq!(
        ask(
            private.gateway_address(),
            "GET",
            &path,
            "Cache-Control: only-if-cached\r\n",
            b""
        )
        .status,
        412
    );
    drop(private);
    env.set_section("\n[serve]\nprivate_origins = true\n");
    let serve = serve(&env, &[]);
    served(&serve, &sample.cid());
    let answer = get(serve.gateway_address(), &path);
    assert!(
        answer.whole && answer.body == *sample.bytes,
        "{}",
        answer.head
    );
}

#[test]
fn another_callao_fetches_from_its_gateway() {
    let (env, other, sample) = (
        TestEnvironment::new(),
        TestEnvironment::new(),
        Sample::random(302, 5 * MIB),
    );
    env.write("disk.img", &sample.bytes);
    env.succeed(&["add", "disk.img"]);
    let serve = serve(&env, &[]);
    let run = other.succeed(&["get", &sample.cid(), "--gateway", &serve.gateway()]);
    assert!(fs::read(run.paths()[0]).expect("the file") == *sample.bytes);
}

#[test]
fn what_is_not_here_is_fetched_for_programs_of_this_computer() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(303, 6 * MIB + 1));
    let behaviour = GatewayBehaviour::default();
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), behaviour);
    let mut command = command(&env, &[]);
    let serve = serve_with(command.env("IPFS_GATEWAY", gateway.url()));
    let path = format!("/ipfs/{}?filename=disk.img", sample.cid());
    let answers = std::thread::scope(|scope| {
        let ask = || get(serve.gateway_address(), &path);
        let asking = [scope.spawn(ask), scope.spawn(ask), scope.spawn(ask)];
        asking.map(|one| one.join().expect("an answer"))
    });
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.whole && answer.body == *sample.bytes);
    }
    // One fetch for all of them, and it is kept as `callao get` keeps it.
    assert!(gateway.bytes_sent() < 2 * sample.bytes.len() as u64);
    let entry = env.entry(&format!("ipfs://{}", sample.cid()));
    assert!(fs::read(entry.join("data")).expect("the entry") == *sample.bytes);
    let nobody = Sample::random(304, MIB);
    let answer = get(serve.gateway_address(), &format!("/ipfs/{}", nobody.cid()));
    assert!((400..=504).contains(&answer.status) && !answer.whole || answer.status >= 400);
}

#[cfg(feature = "p2p")]
#[test]
fn what_is_not_here_is_fetched_from_the_peers_of_the_flags() {
    let (one, two) = (TestEnvironment::new(), TestEnvironment::new());
    let sample = Sample::random(310, 3 * MIB);
    one.write("disk.img", &sample.bytes);
    one.succeed(&["add", "disk.img"]);
    let first = serve(&one, &[]);
    let second = serve(&two, &["--peer", &first.address("/tcp/")]);
    let answer = get(second.gateway_address(), &format!("/ipfs/{}", sample.cid()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.whole && answer.body == *sample.bytes);
}

#[test]
fn a_fetch_that_brings_nothing_leaves_nothing() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(310, 2 * MIB));
    // It has the inner nodes, and no leaf.
    let leaves = 0..sample.layout.leaves().len();
    let missing = leaves.filter_map(|index| sample.layout.leaf_cid(index));
    let behaviour = GatewayBehaviour {
        missing: missing.collect(),
        ..GatewayBehaviour::default()
    };
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), behaviour);
    let mut command = command(&env, &[]);
    let serve = serve_with(command.env("IPFS_GATEWAY", gateway.url()));
    let path = format!("/ipfs/{}", sample.cid());
    let answer = get(serve.gateway_address(), &path);
    assert!(answer.status >= 400 || !answer.whole, "{}", answer.text());
    until("the fetch ends", || {
        (status(&serve)["fetches"] == json!([])).then_some(())
    });
    until("nothing of it is listed", || {
        (status(&serve)["files"] == json!([])).then_some(())
    });
    assert_eq!(env.staging(), [""; 0]);
}

#[test]
fn a_guest_is_not_fetched_for() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(305, MIB));
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    let mut command = command(&env, &[]);
    let serve = serve_with(command.env("IPFS_GATEWAY", gateway.url()));
    let path = format!("/ipfs/{}", sample.cid());
    let foreign = "Origin: http://evil.example\r\n";
    let answer = ask(serve.gateway_address(), "GET", &path, foreign, b"");
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert!(gateway.requests().is_empty());
    for page in ["/callao/v1/status", "/metrics"] {
        let answer = ask(serve.gateway_address(), "GET", page, foreign, b"");
        assert_eq!(answer.status, 403, "{page}");
    }
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(306, MIB));
    env.write("disk.img", &sample.bytes);
    env.succeed(&["add", "disk.img"]);
    let serve = serve(&env, &[]);
    get(serve.gateway_address(), &format!("/ipfs/{}", sample.cid()));
    let answer = get(serve.gateway_address(), "/metrics");
    assert!(
        answer
            .head
            .contains("content-type: application/openmetrics-text"),
        "{}",
        answer.head
    );
    let text = answer.text();
    for line in [
        "callao_files{served=\"true\"} 1",
        "callao_files_bytes{served=\"true\"} 1048576",
        "callao_sent_bytes_total{way=\"http\"} 1048576",
        "callao_http_answers_total{class=\"2xx\"} 1",
        "callao_peers{network=\"lan\"} 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
}

#[test]
fn fetches_of_others_are_seen_if_they_know_the_token() {
    let env = TestEnvironment::new();
    let serve = serve(&env, &[]);
    let fetch = br#"{"id":"1-0","name":"a","root":null,"size":9,"have_bytes":4,"rate_bytes_s":1,"sources":[]}"#;
    let tell = |lines: &str, body: &[u8]| {
        let answer = ask(
            serve.gateway_address(),
            "POST",
            "/callao/v1/progress",
            lines,
            body,
        );
        (answer.status, answer.text())
    };
    assert_eq!(tell("", fetch), (401, "the token is another one\n".into()));
    let text = fs::read_to_string(env.home().join(".local/state/callao/daemon.json"));
    let state: serde_json::Value = serde_json::from_str(&text.expect("the state")).expect("JSON");
    let token = state["token"].as_str().expect("a token");
    let lines = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(tell(&lines, fetch), (204, String::new()));
    assert_eq!(tell(&lines, b"{}").0, 400);
    assert_eq!(tell(&lines, &[b' '; 70_000]).0, 413);
    assert_eq!(status(&serve)["fetches"][0]["have_bytes"], 4);
    let answer = ask(
        serve.gateway_address(),
        "GET",
        "/callao/v1/progress",
        "",
        b"",
    );
    assert_eq!(answer.status, 405);
}

#[test]
fn a_running_get_is_seen_and_its_pieces_are_served() {
    let (mut env, sample) = (TestEnvironment::new(), Sample::random(307, 24 * MIB));
    env.set_section("\n[serve]\nprivate_origins = true\n");
    let serve = serve(&env, &[]);
    let slow = GatewayBehaviour {
        rate: Some(4 * MIB as u64),
        ..GatewayBehaviour::default()
    };
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), slow);
    let mut child = env.start(&["get", &sample.cid(), "--gateway", &gateway.url()]);
    let fetch = until("the fetch is seen", || {
        status(&serve)["fetches"]
            .as_array()
            .and_then(|all| all.first().cloned())
    });
    assert_eq!(fetch["root"], sample.cid());
    let have = format!("/callao/v1/have/{}", sample.cid());
    until("a piece is served", || {
        let answer = get(serve.gateway_address(), &have);
        (answer.status == 200 && answer.json()["ranges"] != json!([])).then_some(())
    });
    assert!(child.wait().expect("it ends").success());
    until("all of it is served", || {
        let answer = get(serve.gateway_address(), &have);
        (answer.json()["complete"] == true).then_some(())
    });
}

#[cfg(feature = "p2p")]
#[test]
fn peers_are_those_that_are_connected() {
    let (one, two) = (TestEnvironment::new(), TestEnvironment::new());
    let first = serve(&one, &[]);
    let second = serve(&two, &["--peer", &first.address("/tcp/")]);
    let peer = until("they are connected", || {
        let run = two.succeed(&["peers", "--json"]);
        let peers = run.json();
        peers.iter().find(|peer| peer["agent"] != "").cloned()
    });
    assert_eq!(peer["peer_id"], first.peer_id());
    assert_eq!(
        peer["agent"],
        format!("callao/{}", env!("CARGO_PKG_VERSION"))
    );
    let table = two.succeed(&["peers"]).stdout;
    assert!(
        table.starts_with("PEER ") && table.contains(&first.peer_id()),
        "{table}"
    );
    drop(second);
}

#[cfg(feature = "p2p")]
#[test]
fn others_are_told_of_the_gateway_for_the_local_network() {
    let (one, mut two) = (TestEnvironment::new(), TestEnvironment::new());
    let first = serve(&one, &["--lan", "127.0.0.1:0"]);
    let lan = first.ready()["lan"].as_str().expect("a gateway").to_owned();
    two.set_peers(&format!("connect = [\"{}\"]\n", first.address("/tcp/")));
    let second = serve(&two, &[]);
    until("its gateway is known", || {
        (status(&second)["peers"][0]["http"] == lan).then_some(())
    });
}

#[test]
fn a_file_that_is_dropped_on_the_dashboard_is_served() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(309, MIB));
    let serve = serve(&env, &[]);
    let page = get(serve.gateway_address(), "/");
    assert!(
        page.status == 200 && page.head.contains("text/html"),
        "{}",
        page.head
    );
    let ours = format!("Origin: {}\r\n", serve.gateway());
    let path = "/callao/v1/add?name=dropped.img";
    let added = ask(serve.gateway_address(), "POST", path, &ours, &sample.bytes);
    assert_eq!(added.status, 200, "{}", added.text());
    assert_eq!(added.json()["cid"], sample.cid());
    served(&serve, &sample.cid());
    let kept = env.home().join(".local/share/callao/added/dropped.img");
    assert!(fs::read(kept).expect("the file") == *sample.bytes);
}

#[cfg(feature = "p2p")]
#[test]
fn routers_are_answered_with_whom_it_knows() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(308, MIB));
    env.write("disk.img", &sample.bytes);
    env.succeed(&["add", "disk.img"]);
    let serve = serve(&env, &[]);
    let path = format!("/routing/v1/providers/{}", sample.cid());
    let answer = get(serve.gateway_address(), &path);
    let record = &answer.json()["Providers"][0];
    let first = serve.address("/tcp/");
    assert_eq!(
        (&record["Schema"], &record["ID"]),
        (&json!("peer"), &json!(serve.peer_id()))
    );
    let (address, _) = first.split_once("/p2p/").expect("an ID");
    assert_eq!(record["Addrs"], json!([address]));
}
