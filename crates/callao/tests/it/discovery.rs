//! Where the program looks on its own, and where it must not.

use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::origin::{Behaviour, Origin};
use callao_testkit::real::Kubo;
use callao_testkit::router::{Router, RouterBehaviour, gateway_record};

use crate::env::{Sample, TestEnvironment};

const SIZE: usize = 1024 * 1024 + 17;

#[test]
fn gateways_of_the_settings_are_asked_with_public_discovery_only() {
    let (mut env, sample) = (TestEnvironment::new(), Sample::random(130, SIZE));
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    env.set(&format!(
        "gateways = [\"{}\"]\nrouters = []\n",
        gateway.url()
    ));
    for scope in ["none", "lan"] {
        let run = env.run(&["get", &sample.cid(), "--discovery", scope]);
        assert_eq!(
            (run.code, gateway.requests().len()),
            (Some(3), 0),
            "{scope}"
        );
    }
    env.succeed(&["get", &sample.cid(), "--discovery", "public"]);
    env.assert_nothing_false_in_lima(&sample);
}

#[test]
fn a_provider_record_cannot_make_us_dial_loopback() {
    let (mut env, sample) = (TestEnvironment::new(), Sample::random(131, SIZE));
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    let records = vec![gateway_record(&gateway.url())];
    let router = Router::start(RouterBehaviour {
        records,
        ..RouterBehaviour::default()
    });
    env.set(&format!(
        "gateways = []\nrouters = [\"{}\"]\n",
        router.url()
    ));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let (url, cid, digest) = (origin.url(), sample.cid(), sample.digest.to_string());
    env.succeed(&[
        "get",
        &url,
        "--cid",
        &cid,
        "--digest",
        &digest,
        "--discovery",
        "public",
    ]);
    assert_eq!(router.requests().len(), 1, "the router was asked");
    assert_eq!(gateway.requests().len(), 0, "what it said was not believed");
}

#[test]
fn a_gateway_in_the_environment_is_named_by_the_user() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(132, SIZE));
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
    let mut command = env.command(&["get", &sample.cid()]);
    let output = command
        .env("IPFS_GATEWAY", gateway.url())
        .output()
        .expect("it runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_kubo_of_this_computer_is_used_with_lan_discovery() {
    let env = TestEnvironment::new();
    let Some(kubo) = Kubo::init(&env.path("repository"), &[]) else {
        return;
    };
    let sample = Sample::random(133, SIZE);
    let root = kubo.add(&env.write("a.img", &sample.bytes), &["--cid-version=1"]);
    let get = |scope: &str| {
        let mut command = env.command(&["get", &root, "--discovery", scope]);
        let output = command.env("IPFS_PATH", kubo.repository()).output();
        output.expect("it runs").status.code()
    };
    assert_eq!((get("none"), get("lan")), (Some(3), Some(0)));
}
