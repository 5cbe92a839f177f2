//! What the daemon fetches for programs of this computer comes from the peers that it has, over the node that it has.

use std::sync::atomic::{AtomicBool, Ordering};

use callao_testkit::real::Kubo;

use crate::env::{Sample, TestEnvironment};
use crate::holder::Holder;
use crate::serve_world::{get, serve, status, until};

const SIZE: usize = 24 * 1024 * 1024 + 5;

#[test]
fn a_kubo_that_the_daemon_is_connected_to_gives_its_files_and_sees_one_peer() {
    let env = TestEnvironment::new();
    let Some(kubo) = Kubo::init(&env.path("repository"), &[]) else {
        return;
    };
    let sample = Sample::random(740, SIZE);
    let file = env.write("a.img", &sample.bytes);
    assert_eq!(kubo.add(&file, &["--cid-version=1"]), sample.cid());
    let _daemon = kubo.daemon(false);
    let serve = serve(&env, &["--peer", &kubo.address()]);
    let done = AtomicBool::new(false);
    let (answer, seen) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut seen = Vec::new();
            while !done.load(Ordering::Relaxed) {
                seen.extend(kubo.peers());
            }
            seen.extend(kubo.peers());
            seen
        });
        let answer = get(serve.gateway_address(), &format!("/ipfs/{}", sample.cid()));
        done.store(true, Ordering::Relaxed);
        (answer, looking.join().expect("it looks"))
    });
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.whole && answer.body == *sample.bytes);
    assert!(
        !seen.is_empty() && seen.iter().all(|peer| *peer == serve.peer_id()),
        "{seen:?}"
    );
    let peer = &status(&serve)["peers"][0];
    assert!(
        peer["received_bytes"].as_u64() >= Some(SIZE as u64),
        "{peer}"
    );
}

#[test]
fn a_peer_that_came_by_itself_is_asked_too() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(741, 3 << 20));
    let serve = serve(&env, &[]);
    let holder = Holder::start(vec![sample.file()]);
    holder.connect(&serve.address("/tcp/"));
    until("the daemon knows of it", || {
        let peers = status(&serve)["peers"].as_array().map(Vec::len);
        (peers == Some(1)).then_some(())
    });
    let answer = get(serve.gateway_address(), &format!("/ipfs/{}", sample.cid()));
    assert!(
        answer.whole && answer.body == *sample.bytes,
        "{}",
        answer.head
    );
    assert_eq!(holder.connected(), 1);
}

#[test]
fn nobody_is_waited_for_where_there_is_nobody() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(742, 1 << 20));
    let serve = serve(&env, &[]);
    let answer = get(serve.gateway_address(), &format!("/ipfs/{}", sample.cid()));
    assert!(answer.status >= 400, "{}", answer.head);
    assert!(
        answer.text().contains("there is no source to ask for"),
        "{}",
        answer.text()
    );
}
