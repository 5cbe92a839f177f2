//! The real kubo: its repository, its API and its gateway, alive and dying. Skipped where there is none.

use std::sync::Arc;

use callao_fetch::error::Error;
use callao_fetch::event::{Event, Observer};
use callao_fetch::source::blocks::Blocks;
use callao_fetch::source::gateway::{Gateway, GatewayOptions};
use callao_fetch::source::kubo_rpc::{KuboOptions, KuboRpc, api_url};
use callao_fetch::source::{Source, SourceError, SourceKind};
use callao_store::foreign::flatfs::Flatfs;
use callao_testkit::image::Image;
use callao_testkit::origin::{Behaviour, Origin};
use callao_testkit::real::{Daemon, Kubo};
use serde_json::json;

use crate::bench::{Bench, blocks_client, http, waits};

/// A repository with the image in it.
fn kubo_with(bench: &Bench) -> Option<Kubo> {
    let kubo = Kubo::init(&bench.dir.path().join("ipfs"), &[])?;
    let file = bench.dir.path().join("image.raw");
    std::fs::write(&file, &*bench.image).expect("a file");
    let cid = kubo.add(&file, &["--cid-version=1"]);
    assert_eq!(cid, callao_content::cid::text(&bench.cid()));
    Some(kubo)
}

fn rpc(bench: &Bench, daemon: &Daemon, with_gateway: bool) -> Arc<dyn Source> {
    let gateway = with_gateway.then(|| daemon.gateway_url().parse().expect("a URL"));
    let options = KuboOptions {
        waits: waits(),
        offline: true,
        gateway,
    };
    let api = api_url(daemon.multiaddr()).expect("an API address");
    Arc::new(KuboRpc::new(blocks_client(), api, bench.cid(), options))
}

fn gateway(bench: &Bench, daemon: &Daemon) -> Arc<Gateway> {
    let options = GatewayOptions {
        waits: waits(),
        ..GatewayOptions::default()
    };
    let url = daemon.gateway_url().parse().expect("a URL");
    Arc::new(Gateway::new(blocks_client(), url, bench.cid(), options))
}

#[tokio::test]
async fn its_repository_api_and_gateway_give_the_file() {
    let bench = Bench::new(Image::Holes(81).bytes(9_000_000));
    let Some(kubo) = kubo_with(&bench) else {
        return;
    };
    let reader = Flatfs::open(kubo.repository()).expect("flatfs");
    let place = "repository".to_owned();
    let repository = Arc::new(Blocks::new(SourceKind::KuboRepo, place, Arc::new(reader)));
    let forget = || std::fs::remove_dir_all(bench.part().parent().expect("a parent"));
    let fetch = async |source: Arc<dyn Source>| {
        let done = bench.fetch(bench.by_both(), vec![source]).await;
        done.expect("a file");
        forget().expect("staging");
    };
    fetch(repository.clone()).await;
    let daemon = kubo.daemon(true);
    fetch(repository).await;
    fetch(rpc(&bench, &daemon, true)).await;
    fetch(rpc(&bench, &daemon, false)).await;
    let plain = gateway(&bench, &daemon);
    fetch(plain.clone()).await;
    assert_eq!(plain.traits().span_bytes_max, u64::MAX, "it serves ranges");
}

#[tokio::test]
async fn a_gateway_for_blocks_only_is_asked_for_cars() {
    let bench = Bench::new(Image::Random(82).bytes(9_000_000));
    let Some(kubo) = kubo_with(&bench) else {
        return;
    };
    kubo.configure(&[
        ("/Gateway/DeserializedResponses", json!(false)),
        ("/Gateway/NoFetch", json!(true)),
    ]);
    let daemon = kubo.daemon(true);
    let source = gateway(&bench, &daemon);
    let done = bench.fetch(bench.by_cid(), vec![source.clone()]).await;
    done.expect("a file");
    assert_eq!(source.traits().span_bytes_max, 4 << 20, "by CAR");

    // A block that went missing: the CAR ends cleanly with kubo's own text, and the rest comes from elsewhere.
    let leaf = bench.layout.leaf_cid(11).expect("a leaf with a block");
    std::fs::remove_file(kubo.block_file(&leaf)).expect("the block");
    std::fs::remove_dir_all(bench.part().parent().expect("a parent")).expect("staging");
    let held = Some(Arc::clone(&bench.layout));
    match bench.run(bench.by_cid(), vec![source.clone()], held).await {
        Err(Error::AllFailed { kept, refusals, .. }) => {
            assert!(kept >= 2 << 20, "{kept} bytes kept");
            let error = &refusals[0].error;
            assert!(matches!(error, SourceError::Network(_)), "{error:?}");
            assert!(error.to_string().contains("cut short"), "{error}");
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it cannot have the file"),
    }
    std::fs::remove_dir_all(bench.part().parent().expect("a parent")).expect("staging");
    let origin = Origin::start(
        bench.image.clone(),
        Behaviour {
            rate: Some(4 << 20),
            ..Behaviour::default()
        },
    );
    let sources: Vec<Arc<dyn Source>> = vec![gateway(&bench, &daemon), http(&origin.url())];
    bench.fetch(bench.by_cid(), sources).await.expect("a file");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_looked_for() {
    let bench = Bench::new(Image::Random(83).bytes(1_000_000));
    let Some(kubo) = Kubo::init(&bench.dir.path().join("ipfs"), &[]) else {
        return;
    };
    let daemon = kubo.daemon(true);
    let error = rpc(&bench, &daemon, true)
        .block(&bench.cid())
        .await
        .expect_err("nobody has it");
    assert!(matches!(error, SourceError::NotFound(_)), "{error:?}");
    let held = Some(Arc::clone(&bench.layout));
    match bench
        .run(bench.by_cid(), vec![rpc(&bench, &daemon, true)], held)
        .await
    {
        Err(Error::AllFailed { refusals, .. }) => {
            let error = &refusals[0].error;
            assert!(matches!(error, SourceError::NotFound(_)), "{error:?}");
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("nobody has it"),
    }
}

#[tokio::test]
async fn a_daemon_that_is_killed_in_the_middle_is_replaced() {
    struct Killer(std::sync::Mutex<Daemon>);
    impl Observer for Killer {
        fn event(&self, event: Event) {
            if matches!(event, Event::Progress { done, .. } if done > 0) {
                self.0.lock().expect("not poisoned").kill();
            }
        }
    }
    let bench = Bench::new(Image::Random(84).bytes(60_000_000));
    let Some(kubo) = kubo_with(&bench) else {
        return;
    };
    let daemon = kubo.daemon(true);
    let origin = Origin::start(
        bench.image.clone(),
        Behaviour {
            rate: Some(30_000_000),
            ..Behaviour::default()
        },
    );
    let sources = vec![rpc(&bench, &daemon, true), http(&origin.url())];
    let staging = bench.staging();
    let fetch = callao_fetch::engine::Fetch {
        wanted: bench.by_both(),
        staging,
        layout: None,
        sources,
        late: None,
        host: String::new(),
        observer: Arc::new(Killer(std::sync::Mutex::new(daemon))),
        cancel: bench.cancel.clone(),
    };
    let done = callao_fetch::engine::run(fetch).await.expect("a file");
    assert_eq!(done.report.digests[0], bench.digest);
}
