//! Peers on a network, by mDNS: two network namespaces, joined by a cable. Needs root and iproute2.

use std::sync::mpsc;

use callao_p2p::{NodeOptions, Scope};
use callao_testkit::real::Network;

use crate::env::{Run, Sample, TestEnvironment};
use crate::holder::Holder;

const SIZE: usize = 3 * 1024 * 1024 + 17;

#[test]
fn a_peer_on_the_network_is_found_and_asked() {
    let Some(network) = Network::start(2) else {
        return;
    };
    let (mut env, sample) = (TestEnvironment::new(), Sample::random(720, SIZE));
    env.set_peers("bootstrap = []\n");
    std::thread::scope(|scope| {
        let (told, id) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let (network, sample) = (&network, &sample);
        scope.spawn(move || {
            network.enter(0);
            let holder = holder(sample);
            told.send(holder.peer_id()).expect("the test waits");
            // An error means that the test is over.
            ended.recv().unwrap_or(());
        });
        let peer = id.recv().expect("it started");
        found_and_asked(network, &env, sample, &peer);
        drop(end);
    });
    env.assert_nothing_false_in_lima(&sample);
}

/// A peer that announces itself, in threads that live where this one does.
fn holder(sample: &Sample) -> Holder {
    let options = NodeOptions {
        listen: vec!["/ip4/0.0.0.0/tcp/0".into()],
        mdns: true,
        // What it dials does not matter: it is found.
        scope: Scope::Public,
        ..Holder::options()
    };
    Holder::serving(vec![sample.file()], options)
}

fn found_and_asked(network: &Network, env: &TestEnvironment, sample: &Sample, peer: &str) {
    let get = |scope| {
        let command = env.command(&["get", &sample.cid(), "--json", "--discovery", scope]);
        Run::of(network.moved(1, &command).output().expect("it runs"))
    };
    let run = get("none");
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let run = get("lan");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let share = &run.last("result")["sources"][0];
    assert_eq!(
        (
            share["source"]["kind"].as_str(),
            share["source"]["place"].as_str()
        ),
        (Some("bitswap"), Some(peer))
    );
}
