//! A kubo beside the daemon announces what both have: two real ones, with a DHT of their own.

use callao_testkit::real::Kubo;
use serde_json::json;

use crate::env::{Sample, TestEnvironment};
use crate::serve_world::{command, serve_with, until};

const SIZE: usize = 300 * 1024;

/// A kubo with the DHT of the local network, that announces nothing by itself but what is pinned.
fn kubo(env: &TestEnvironment, name: &str) -> Option<Kubo> {
    let kubo = Kubo::init(&env.path(name), &[])?;
    kubo.configure(&[
        ("/Routing", json!({ "Type": "dht", "DelegatedRouters": [] })),
        ("/Provide", json!({ "Enabled": true, "Strategy": "pinned" })),
        ("/Import", json!({ "FastProvideRoot": false })),
    ]);
    Some(kubo)
}

/// Who has it, as far as the DHT says.
fn providers(kubo: &Kubo, cid: &str) -> String {
    let output = kubo.output(&["--timeout=3s", "routing", "findprovs", "-n=1", cid]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_kubo_of_this_computer_announces_what_it_has_too() {
    let (mut env, both) = (TestEnvironment::new(), Sample::random(742, SIZE));
    let (Some(ours), Some(other)) = (kubo(&env, "ours"), kubo(&env, "other")) else {
        return;
    };
    let ours_alone = Sample::random(743, SIZE);
    for (name, sample) in [("both.img", &both), ("alone.img", &ours_alone)] {
        let file = env.write(name, &sample.bytes);
        ours.add(&file, &["--cid-version=1", "--pin=false"]);
    }
    env.succeed(&["add", "both.img"]);
    let _daemons = [ours.daemon(false), other.daemon(false)];
    other.connect(&ours.address());
    let (id, _) = ours.identity();
    until("each has the other in its table", || {
        let table = |kubo: &Kubo| kubo.run(&["stats", "dht", "lan"]);
        let (theirs, _) = other.identity();
        (table(&other).contains(&id) && table(&ours).contains(&theirs)).then_some(())
    });
    assert_eq!(providers(&other, &both.cid()), "");
    env.set("gateways = []\nrouters = []\n");
    env.set_peers("bootstrap = []\nmdns = false\n");
    let mut line = command(&env, &["--discovery", "public"]);
    let _serve = serve_with(line.env("IPFS_PATH", ours.repository()));
    until("it is announced", || {
        providers(&other, &both.cid()).contains(&id).then_some(())
    });
    assert_eq!(
        providers(&other, &ours_alone.cid()),
        "",
        "callao does not serve it"
    );
}
