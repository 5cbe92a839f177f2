//! A kubo daemon's API: spans by its gateway or by `cat`, and a daemon that dies or lies.

use std::sync::Arc;

use callao_fetch::error::Error;
use callao_fetch::event::Proof;
use callao_fetch::source::kubo_rpc::{KuboOptions, KuboRpc, api_url};
use callao_fetch::source::{Source, SourceError, SourceKind};
use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::image::Image;
use callao_testkit::kubo::{FakeKubo, KuboBehaviour};
use callao_testkit::origin::{Behaviour, Origin};

use crate::bench::{Bench, blocks_client, http, waits};

const SIZE: usize = 6_000_000;

fn start(bench: &Bench, behaviour: KuboBehaviour) -> FakeKubo {
    let files = vec![((*bench.layout).clone(), bench.image.clone())];
    FakeKubo::start(files, Vec::new(), behaviour)
}

fn gateway(bench: &Bench, behaviour: GatewayBehaviour) -> (Gateway, String) {
    let files = vec![((*bench.layout).clone(), bench.image.clone())];
    let gateway = Gateway::start(files, Vec::new(), behaviour);
    let port = gateway.url().rsplit(':').next().map(str::to_owned);
    let multiaddr = format!("/ip4/127.0.0.1/tcp/{}", port.expect("a port"));
    (gateway, multiaddr)
}

fn source(bench: &Bench, api: &str) -> Arc<dyn Source> {
    let options = KuboOptions {
        waits: waits(),
        offline: true,
        gateway: None,
    };
    let api = api_url(api).expect("an API address");
    Arc::new(KuboRpc::new(blocks_client(), api, bench.cid(), options))
}

#[tokio::test]
async fn spans_come_through_the_gateway() {
    let bench = Bench::new(Image::Random(61).bytes(SIZE));
    let plain = true;
    let (gateway, address) = gateway(
        &bench,
        GatewayBehaviour {
            plain,
            ..GatewayBehaviour::default()
        },
    );
    let kubo = start(
        &bench,
        KuboBehaviour {
            gateway: Some(address),
            ..KuboBehaviour::default()
        },
    );
    let sources = vec![source(&bench, &kubo.multiaddr())];
    let done = bench.fetch(bench.by_cid(), sources).await.expect("a file");
    assert_eq!(done.report.proof, Proof::Cid);
    assert_eq!(done.report.shares.len(), 1);
    assert_eq!(done.report.shares[0].source.kind, SourceKind::Kubo);
    let called = |what: &str| kubo.requests().iter().any(|call| call.path.contains(what));
    assert!(called("version") && called("block/get") && !called("/cat"));
    assert!(gateway.bytes_sent() >= SIZE as u64);
    let ranges: Vec<_> = gateway.requests();
    assert!(
        ranges
            .iter()
            .filter(|request| request.range.is_some())
            .all(|request| request.header("cache-control") == Some("only-if-cached")),
        "it must not look for anything itself"
    );
}

#[tokio::test]
async fn without_a_gateway_it_is_cat() {
    for dead_gateway in [None, Some("/ip4/127.0.0.1/tcp/1".to_owned())] {
        let bench = Bench::new(Image::Random(62).bytes(SIZE));
        let kubo = start(
            &bench,
            KuboBehaviour {
                gateway: dead_gateway,
                ..KuboBehaviour::default()
            },
        );
        let sources = vec![source(&bench, &kubo.url())];
        bench.fetch(bench.by_cid(), sources).await.expect("a file");
        let requests = kubo.requests();
        assert!(requests.iter().any(|call| call.path.contains("/cat")));
    }
}

#[tokio::test]
async fn a_daemon_that_dies_leaves_what_it_gave() {
    let bench = Bench::new(Image::Random(63).bytes(SIZE));
    let dies_after = Some(3_000_000);
    let kubo = start(
        &bench,
        KuboBehaviour {
            dies_after,
            ..KuboBehaviour::default()
        },
    );
    let sources = vec![source(&bench, &kubo.url())];
    match bench.run(bench.by_cid(), sources, None).await {
        Err(Error::AllFailed { refusals, kept, .. }) => {
            assert!(matches!(refusals[0].error, SourceError::Network(_)));
            assert!(kept >= 1_000_000, "{kept} bytes are kept");
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it cannot have the file"),
    }
}

#[tokio::test]
async fn a_daemon_that_dies_is_replaced_by_the_origin() {
    let bench = Bench::new(Image::Random(64).bytes(20_000_000));
    let dies_after = Some(4_000_000);
    let kubo = start(
        &bench,
        KuboBehaviour {
            dies_after,
            ..KuboBehaviour::default()
        },
    );
    let origin = Origin::start(
        bench.image.clone(),
        Behaviour {
            rate: Some(20_000_000),
            ..Behaviour::default()
        },
    );
    let sources = vec![source(&bench, &kubo.url()), http(&origin.url())];
    bench.fetch(bench.by_both(), sources).await.expect("a file");
}

#[tokio::test]
async fn a_missing_file_and_a_false_node_have_their_reasons() {
    let bench = Bench::new(Image::Random(65).bytes(SIZE));
    let missing = vec![bench.cid()];
    let kubo = start(
        &bench,
        KuboBehaviour {
            missing,
            ..KuboBehaviour::default()
        },
    );
    let error = source(&bench, &kubo.url())
        .block(&bench.cid())
        .await
        .expect_err("missing");
    assert!(
        matches!(&error, SourceError::NotFound(why) if why.contains("not found locally")),
        "{error:?}"
    );
    let wrong = Some(bench.cid());
    let kubo = start(
        &bench,
        KuboBehaviour {
            wrong,
            ..KuboBehaviour::default()
        },
    );
    let sources = vec![source(&bench, &kubo.url())];
    match bench.run(bench.by_cid(), sources, None).await {
        Err(Error::AllFailed { refusals, .. }) => {
            assert!(matches!(refusals[0].error, SourceError::False(_)));
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the root is false"),
    }
}

#[tokio::test]
async fn what_is_no_kubo_is_recognised() {
    let bench = Bench::new(Image::Random(66).bytes(1000));
    let origin = Origin::start(bench.image.clone(), Behaviour::default());
    let base = origin.url();
    let base = base.strip_prefix("http://").expect("plain HTTP");
    let base = &base[..base.find('/').expect("a path")];
    let error = source(&bench, base)
        .block(&bench.cid())
        .await
        .expect_err("a web server");
    assert!(matches!(error, SourceError::Protocol(_)), "{error:?}");
    let error = source(&bench, "127.0.0.1:1")
        .block(&bench.cid())
        .await
        .expect_err("nobody");
    assert!(
        matches!(&error, SourceError::Network(why) if why.contains("no connection")),
        "{error:?}"
    );
}
