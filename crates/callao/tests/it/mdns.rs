//! Peers on a network, by mDNS: two network namespaces, joined by a cable. Needs root and iproute2.

use std::sync::mpsc;

use callao_p2p::{NodeOptions, Scope};
use callao_testkit::real::{Kubo, Network};

use crate::env::{Run, Sample, TestEnvironment};
use crate::holder::Holder;
use crate::serve_world::{LINE, serve_with, until};

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

#[test]
fn kubo_and_callao_find_each_other() {
    let (mut env, samples) = (
        TestEnvironment::new(),
        [721, 722].map(|seed| Sample::random(seed, SIZE)),
    );
    let Some(kubo) = Kubo::init(&env.path("repository"), &[]) else {
        return;
    };
    let Some(network) = Network::start(2) else {
        return;
    };
    let [theirs, ours] = &samples;
    let file = env.write("theirs.img", &theirs.bytes);
    let cid = kubo.add(&file, &["--cid-version=1"]);
    kubo.find_by_mdns();
    let _daemon = network.on(0, || kubo.daemon(false));
    env.set_peers("bootstrap = []\n");
    let only = ["--only", "bitswap", "--discovery", "lan", "--json"];
    let mut get = env.command(&[&["get", &*cid], &only[..]].concat());
    let run = network.on(1, || get.output());
    let run = Run::of(run.expect("it runs"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    env.assert_nothing_false_in_lima(theirs);

    env.write("ours.img", &ours.bytes);
    env.succeed(&["add", "ours.img"]);
    let everywhere = ["--listen", "/ip4/0.0.0.0/tcp/0", "--discovery", "lan"];
    let line = [&LINE[..4], &everywhere].concat();
    let serve = network.on(1, || serve_with(&mut env.command(&line)));
    until("kubo has found callao", || {
        let peers = network.on(0, || kubo.peers());
        peers.contains(&serve.peer_id()).then_some(())
    });
    let out = env.path("out.img");
    let mut get = kubo.get(&ours.cid(), &out, 60);
    let run = Run::of(network.on(0, || get.output()).expect("ipfs starts"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(std::fs::read(&out).expect("the file") == *ours.bytes);
}
