//! The dashboard of a real `callao serve` in a real Chromium: what it shows is what happens.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::http::{Handler, Next, Reply, Request, Server};
use callao_testkit::real::Chromium;
use callao_testkit::real::serve::Serve;
use serde_json::{Value, json};

use crate::env::{Sample, TestEnvironment};
use crate::serve_world::{get, serve, status, until};

const MIB: usize = 1 << 20;
/// Looks of the page at the daemon after which it would show what they cost.
const LOOKS_COUNT: usize = 4;

/// The dashboard of this daemon.
fn opened(serve: &Serve) -> Option<Chromium> {
    let mut chromium = Chromium::start(&[])?;
    chromium.resize(1280, 900);
    assert_eq!(chromium.open(&serve.gateway()), None);
    chromium.wait_for("document.getElementById('link').dataset.state === 'live'");
    Some(chromium)
}

fn texts(chromium: &mut Chromium, selector: &str) -> Vec<String> {
    let found = chromium.eval(&format!(
        "[...document.querySelectorAll({})].map(one => one.innerText.trim())",
        json!(selector)
    ));
    serde_json::from_value(found).expect("texts")
}

/// Waits until an element with this text is shown.
fn shown(chromium: &mut Chromium, selector: &str, text: &str) {
    chromium.wait_for(&format!(
        "[...document.querySelectorAll({})].some(one => one.innerText.includes({}))",
        json!(selector),
        json!(text)
    ));
}

#[test]
fn what_is_held_fetched_and_served_is_shown_and_looking_is_not_served() {
    let (mut env, held) = (TestEnvironment::new(), Sample::random(321, 8 * MIB));
    env.set_section("\n[serve]\nprivate_origins = true\n");
    env.write("held-arm64.img", &held.bytes);
    env.succeed(&["add", "held-arm64.img"]);
    let serve = serve(&env, &[]);
    let Some(mut chromium) = opened(&serve) else {
        return;
    };
    shown(&mut chromium, "#files-there .name", "held-arm64.img");
    shown(&mut chromium, "#files-there .badge", "Served");
    shown(&mut chromium, "#total-held", "8.00 MiB");
    until("it looks again and again", || {
        let requests = chromium.requests();
        let looks = requests.iter().filter(|url| url.ends_with("/status"));
        (looks.count() >= LOOKS_COUNT).then_some(())
    });
    assert_eq!(texts(&mut chromium, "#client-rows tr"), [""; 0]);
    assert_eq!(status(&serve)["totals"]["sent_bytes"], 0);
    assert_eq!(status(&serve)["clients"], json!([]));
    let metrics = get(serve.gateway_address(), "/metrics").text();
    for class in ["2xx", "3xx", "4xx", "5xx"] {
        let line = metrics.lines().find(|line| line.contains(class));
        assert!(line.expect("a counter").ends_with(" 0"), "{metrics}");
    }
    fetch_is_shown(&env, &mut chromium);
    transfer_is_shown(&serve, &mut chromium, &held);
    assert_eq!(chromium.errors(), [""; 0]);
}

/// A `callao get` that takes its time.
fn fetch_is_shown(env: &TestEnvironment, chromium: &mut Chromium) {
    let sample = Sample::random(322, 24 * MIB);
    let slow = GatewayBehaviour {
        rate: Some(4 * MIB as u64),
        ..GatewayBehaviour::default()
    };
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), slow);
    let mut child = env.start(&["get", &sample.cid(), "--gateway", &gateway.url()]);
    shown(chromium, "#fetches .figures", "of 24.0 MiB");
    shown(chromium, "#fetches .place", &gateway.url());
    shown(chromium, "#files-there .badge", "Served in part");
    assert!(child.wait().expect("it ends").success());
    chromium.wait_for("document.querySelectorAll('#fetches li').length === 0");
    chromium.wait_for(
        "[...document.querySelectorAll('#files-there .badge')].every(one => one.innerText === 'Served')",
    );
    shown(chromium, "#total-held", "32.0 MiB");
}

/// Somebody who takes a file again and again.
fn transfer_is_shown(serve: &Serve, chromium: &mut Chromium, held: &Sample) {
    let (address, path) = (serve.gateway_address(), format!("/ipfs/{}", held.cid()));
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let taking = scope.spawn(|| {
            let mut taken = 0;
            while !enough.load(Ordering::Acquire) {
                let answer = get(address, &path);
                assert!(answer.whole && answer.body == *held.bytes);
                taken += answer.body.len() as u64;
            }
            taken
        });
        shown(chromium, "#client-rows tr", "127.0.0.1");
        chromium.wait_for(
            "/[1-9].* MiB\\/s/.test(document.querySelector('#client-rows .number').innerText)",
        );
        enough.store(true, Ordering::Release);
        let taken = taking.join().expect("it takes");
        // The bytes of bodies that left, no more and no less.
        assert_eq!(status(serve)["totals"]["sent_bytes"], taken);
        let clients = status(serve)["clients"].clone();
        let clients: Vec<(&Value, &Value)> = clients
            .as_array()
            .expect("clients")
            .iter()
            .map(|client| (&client["who"], &client["bytes"]))
            .collect();
        assert_eq!(clients, [(&json!("127.0.0.1"), &json!(taken))]);
    });
}

#[test]
fn a_car_that_is_dropped_is_registered_as_a_car() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(323, 3 * MIB));
    let file = env.write("inside.img", &sample.bytes);
    env.succeed(&["add", "inside.img", "--only-hash", "--car", "site.car"]);
    std::fs::remove_file(file).expect("it is nowhere but in the CAR");
    let mut bad = std::fs::read(env.path("site.car")).expect("a CAR");
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    env.write("bad.car", bad);
    let serve = serve(&env, &[]);
    let Some(mut chromium) = opened(&serve) else {
        return;
    };
    chromium.choose("#chosen", &[&env.path("bad.car")]);
    shown(
        &mut chromium,
        "#sending .figures",
        "are not what their CIDs say",
    );
    let added = env.home().join(".local/share/callao/added");
    let names = || {
        let entries = std::fs::read_dir(&added).expect("the folder");
        let name = |entry: io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        entries.map(name).collect::<Vec<_>>()
    };
    assert!(names().is_empty(), "{:?}", names());
    chromium.choose("#chosen", &[&env.path("site.car")]);
    shown(&mut chromium, "#files-there .name", "site.car");
    shown(&mut chromium, "#files-there tr", "CAR file");
    shown(&mut chromium, "#sending .figures", "is there now");
    assert_eq!(names(), ["site.car"]);
    let root = sample.cid();
    let answer = get(serve.gateway_address(), &format!("/ipfs/{root}"));
    assert!(answer.body == *sample.bytes, "{}", answer.text());
    let leaf = sample.layout.leaf_cid(3).expect("a leaf");
    let answer = get(serve.gateway_address(), &format!("/ipfs/{leaf}?format=raw"));
    assert_eq!((answer.status, answer.body.len()), (200, 256 * 1024));
}

/// A page of another site, with a link to the dashboard, and one that shows it inside of itself.
struct Other(String);

impl Handler for Other {
    async fn answer(&self, request: Request, reply: &mut Reply) -> io::Result<Next> {
        let page = format!(
            "<!DOCTYPE html><title>other</title><a id=\"way\" href=\"{0}/\">callao</a><iframe src=\"{0}/\"></iframe>",
            self.0
        );
        let kind = [("Content-Type", "text/html".to_owned())];
        reply.whole(&request, 200, &kind, page.as_bytes()).await
    }
}

#[test]
fn a_link_from_another_site_opens_the_dashboard_and_a_frame_does_not() {
    let env = TestEnvironment::new();
    let serve = serve(&env, &[]);
    let other = Server::start("other-site", Other(serve.gateway()));
    let Some(mut chromium) = Chromium::start(&[]) else {
        return;
    };
    // Another host: the port makes no other site.
    let there = format!("http://localhost:{}/", other.address().port());
    assert_eq!(chromium.open(&there), None);
    assert_eq!(chromium.eval("document.title"), "other");
    let read = format!(
        "fetch('{}/callao/v1/status').then(() => 'read', () => 'refused')",
        serve.gateway()
    );
    assert_eq!(chromium.eval(&read), "refused");
    let tree = chromium.call("Page.getFrameTree", json!({}));
    let frame = &tree["frameTree"]["childFrames"][0]["frame"];
    let shown = frame["unreachableUrl"].as_str().unwrap_or_default();
    let is_blocked = shown.starts_with(&serve.gateway()) || frame["url"] != serve.gateway() + "/";
    assert!(is_blocked, "{tree}");
    chromium.eval("document.getElementById('way').click()");
    chromium.wait_for("document.getElementById('link')?.dataset.state === 'live'");
    assert_eq!(chromium.eval("document.title"), "callao");
}
