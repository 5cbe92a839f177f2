//! Gateways: the three ways of asking, and each way in which a gateway can go wrong.

use std::sync::Arc;

use callao_content::import::import;
use callao_content::profile::Profile;
use callao_fetch::error::Error;
use callao_fetch::event::{Event, Proof};
use callao_fetch::source::gateway::{Gateway as Source, GatewayOptions};
use callao_fetch::source::{Source as _, SourceError};
use callao_testkit::gateway::{CarEnd, Gateway, GatewayBehaviour, Which};
use callao_testkit::image::Image;
use callao_testkit::origin::{Behaviour, Origin, Redirect};

use crate::bench::{Bench, blocks_client, waits};

const SIZE: usize = 5_000_000;

fn start(bench: &Bench, behaviour: GatewayBehaviour) -> Gateway {
    let files = vec![((*bench.layout).clone(), bench.image.clone())];
    Gateway::start(files, Vec::new(), behaviour)
}

fn source(bench: &Bench, url: &str) -> Arc<Source> {
    let options = GatewayOptions {
        waits: waits(),
        ..GatewayOptions::default()
    };
    let url = url.parse().expect("a URL");
    Arc::new(Source::new(blocks_client(), url, bench.cid(), options))
}

fn plain() -> GatewayBehaviour {
    GatewayBehaviour {
        plain: true,
        ..GatewayBehaviour::default()
    }
}

fn raw_only() -> GatewayBehaviour {
    GatewayBehaviour {
        car: false,
        ..GatewayBehaviour::default()
    }
}

/// How many requests had this in their address or, for plain ranges, a `Range` header.
fn count(gateway: &Gateway, what: &str) -> usize {
    let is = |path: &str, range: bool| match what {
        "range" => range,
        what => path.contains(what),
    };
    let requests = gateway.requests();
    let found = requests
        .iter()
        .filter(|request| is(&request.path, request.range.is_some()));
    found.count()
}

/// Fetches from one gateway alone that is expected to fail; gives the reason.
async fn fails(behaviour: GatewayBehaviour) -> SourceError {
    let bench = Bench::new(Image::Random(51).bytes(SIZE));
    let gateway = start(&bench, behaviour);
    let held = Some(Arc::clone(&bench.layout));
    let sources: Vec<Arc<dyn callao_fetch::source::Source>> = vec![source(&bench, &gateway.url())];
    match bench.run(bench.by_cid(), sources, held).await {
        Err(Error::AllFailed { refusals, .. }) => refusals[0].error.clone(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it did not fail"),
    }
}

/// Fetches from a bad gateway and an honest one; gives what was said about the bad one when it was dropped.
async fn beside_an_honest_one(behaviour: GatewayBehaviour) -> (String, bool) {
    let bench = Bench::new(Image::Random(52).bytes(12_000_000));
    let (bad, good) = (start(&bench, behaviour), start(&bench, raw_only()));
    let sources: Vec<Arc<dyn callao_fetch::source::Source>> =
        vec![source(&bench, &bad.url()), source(&bench, &good.url())];
    bench.fetch(bench.by_cid(), sources).await.expect("a file");
    let dropped = bench.events.dropped();
    let place = bad.url();
    let said = dropped.into_iter().find(|(who, ..)| *who == place);
    said.map(|(_, why, lied)| (why, lied)).unwrap_or_default()
}

#[tokio::test]
async fn every_way_gives_every_profile() {
    let shuffled = GatewayBehaviour {
        shuffled: true,
        ..GatewayBehaviour::default()
    };
    for (way, behaviour) in [
        ("range", plain()),
        ("format=car", GatewayBehaviour::default()),
        ("format=car", shuffled),
        ("format=raw", raw_only()),
    ] {
        for profile in Profile::ALL {
            for size in [0, 1, 262_145, SIZE] {
                let image = Image::Holes(5).bytes(size);
                let layout = import(&image, profile.shape()).expect("a valid shape");
                let bench = Bench::with_layout(image, layout);
                let gateway = start(&bench, behaviour.clone());
                let done = bench
                    .fetch(bench.by_cid(), vec![source(&bench, &gateway.url())])
                    .await
                    .expect("a file");
                let case = format!("{way} {} {size}", profile.name());
                assert_eq!(done.report.proof, Proof::Cid, "{case}");
                // A file of one block comes with the search for its layout, or as its only leaf.
                assert!(size < SIZE || count(&gateway, way) > 0, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn the_way_is_remembered() {
    let bench = Bench::new(Image::Random(53).bytes(20_000_000));
    let gateway = start(&bench, raw_only());
    let only = source(&bench, &gateway.url());
    assert!(only.traits().needs_layout && only.traits().blocks);
    assert_eq!(only.traits().span_bytes_max, u64::MAX, "perhaps by ranges");
    let sources: Vec<Arc<dyn callao_fetch::source::Source>> = vec![only.clone()];
    bench.fetch(bench.by_cid(), sources).await.expect("a file");
    assert!(count(&gateway, "range") <= 2, "once for each first lane");
    assert!(
        count(&gateway, "format=car") <= 2,
        "once for each first lane"
    );
    assert_eq!(only.traits().lanes_max, 2);
    assert_eq!(
        count(&gateway, "format=raw"),
        bench.layout.leaves().len() + bench.layout.nodes().len()
    );
}

#[tokio::test]
async fn a_wrong_block_ends_it_for_good() {
    for behaviour in [plain(), GatewayBehaviour::default(), raw_only()] {
        let case = format!("{behaviour:?}");
        let wrong = Some(Which::EveryRaw);
        let (why, lied) = beside_an_honest_one(GatewayBehaviour {
            wrong,
            plain: false,
            ..behaviour
        })
        .await;
        assert!(lied, "{case}: {why}");
    }
}

#[tokio::test]
async fn a_wrong_inner_node_is_found_as_well() {
    let bench = Bench::new(Image::Random(54).bytes(SIZE));
    let wrong = Some(Which::Block(bench.cid()));
    let bad = start(&bench, GatewayBehaviour { wrong, ..plain() });
    let good = start(&bench, plain());
    let sources: Vec<Arc<dyn callao_fetch::source::Source>> =
        vec![source(&bench, &bad.url()), source(&bench, &good.url())];
    bench.fetch(bench.by_cid(), sources).await.expect("a file");
}

#[tokio::test]
async fn a_car_that_ends_too_early_is_asked_for_again_from_there() {
    for end in [CarEnd::Cut, CarEnd::Marker, CarEnd::Clean] {
        let bench = Bench::new(Image::Random(55).bytes(3_000_000));
        let car_ends_after = Some((3, end));
        let gateway = start(
            &bench,
            GatewayBehaviour {
                car_ends_after,
                ..GatewayBehaviour::default()
            },
        );
        let sources: Vec<Arc<dyn callao_fetch::source::Source>> =
            vec![source(&bench, &gateway.url())];
        bench.fetch(bench.by_cid(), sources).await.expect("a file");
        let paused = bench
            .events
            .all()
            .into_iter()
            .find_map(|event| match event {
                Event::Paused { reason, .. } => Some(reason),
                _ => None,
            });
        assert!(paused.is_some(), "{end:?}");
        assert!(
            gateway.bytes_sent() < 6_000_000,
            "{end:?}: good leaves are kept, and yet {} bytes were sent",
            gateway.bytes_sent()
        );
    }
}

#[tokio::test]
async fn a_car_without_leaves_ends() {
    for end in [CarEnd::Cut, CarEnd::Marker, CarEnd::Clean] {
        let error = fails(GatewayBehaviour {
            car_ends_after: Some((1, end)),
            ..GatewayBehaviour::default()
        })
        .await;
        let text = error.to_string();
        assert!(matches!(error, SourceError::Network(_)), "{end:?}: {text}");
        assert!(
            text.contains("cut short") || text.contains("broke off"),
            "{end:?}: {text}"
        );
    }
}

#[tokio::test]
async fn a_block_of_three_mebibytes_is_refused_by_its_size() {
    let oversize = Some(Which::EveryRaw);
    let error = fails(GatewayBehaviour {
        oversize,
        ..raw_only()
    })
    .await;
    assert!(matches!(error, SourceError::Protocol(_)), "{error:?}");
    assert!(error.to_string().contains("3145728"), "{error}");
    let error = fails(GatewayBehaviour {
        oversize,
        ..GatewayBehaviour::default()
    })
    .await;
    assert!(matches!(error, SourceError::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn busy_is_waited_for() {
    let bench = Bench::new(Image::Random(56).bytes(SIZE));
    let busy = Some((2, Some(1)));
    let gateway = start(&bench, GatewayBehaviour { busy, ..plain() });
    let held = Some(Arc::clone(&bench.layout));
    let sources: Vec<Arc<dyn callao_fetch::source::Source>> = vec![source(&bench, &gateway.url())];
    bench
        .run(bench.by_cid(), sources, held)
        .await
        .expect("a file");
    let pauses: Vec<u64> = bench
        .events
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::Paused { pause_ms, .. } => Some(pause_ms),
            _ => None,
        })
        .collect();
    assert!(pauses.iter().any(|pause| *pause >= 1000), "{pauses:?}");
}

#[tokio::test]
async fn a_web_page_is_no_block() {
    let html = true;
    let error = fails(GatewayBehaviour { html, ..plain() }).await;
    assert!(matches!(error, SourceError::Protocol(_)), "{error:?}");
    assert!(error.to_string().contains("text/html"), "{error}");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let bench = Bench::new(Image::Random(51).bytes(SIZE));
    let leaf = bench.layout.leaf_cid(7).expect("a leaf with a block");
    let missing = vec![bench.cid(), leaf];
    let error = fails(GatewayBehaviour {
        missing: missing.clone(),
        ..plain()
    })
    .await;
    assert!(matches!(error, SourceError::NotFound(_)), "{error:?}");
    let error = fails(GatewayBehaviour {
        missing: vec![leaf],
        ..raw_only()
    })
    .await;
    assert!(matches!(error, SourceError::NotFound(_)), "{error:?}");
}

#[tokio::test]
async fn a_stall_and_a_death_are_survived_by_the_others() {
    for behaviour in [plain(), GatewayBehaviour::default(), raw_only()] {
        let limit = Some(2_000_000);
        beside_an_honest_one(GatewayBehaviour {
            stall_after: limit,
            ..behaviour.clone()
        })
        .await;
        beside_an_honest_one(GatewayBehaviour {
            stop_after_total: limit,
            ..behaviour
        })
        .await;
    }
}

#[tokio::test]
async fn redirects_to_elsewhere_are_not_followed() {
    let bench = Bench::new(Image::Random(57).bytes(SIZE));
    let elsewhere = start(&bench, plain());
    let redirect = Some(Redirect::To(format!("{}/ipfs/{}", elsewhere.url(), "x")));
    let origin = Origin::start(
        bench.image.clone(),
        Behaviour {
            redirect,
            ..Behaviour::default()
        },
    );
    let base = origin.url();
    let base = &base[..base.rfind('/').expect("a path")];
    let error = source(&bench, base)
        .block(&bench.cid())
        .await
        .expect_err("plain HTTP to another path");
    assert!(matches!(error, SourceError::Protocol(_)), "{error:?}");
    assert!(error.to_string().contains("redirects to"), "{error}");
    assert_eq!(elsewhere.requests().len(), 0);
}
