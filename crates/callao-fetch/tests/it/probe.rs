//! What each kind of source says when it is only asked whether it has the file.

use std::sync::Arc;
use std::time::Duration;

use callao_content::cid;
use callao_fetch::answer::Waits;
use callao_fetch::probe::{Had, Probe, probe};
use callao_fetch::source::file::LocalFile;
use callao_fetch::source::gateway::{Gateway, GatewayOptions};
use callao_fetch::source::kubo_rpc::{KuboOptions, KuboRpc, api_url};
use callao_fetch::source::{Source, SourceError};
use callao_store::disk::RealDisk;
use callao_testkit::gateway::{Gateway as FakeGateway, GatewayBehaviour, Which};
use callao_testkit::image::Image;
use callao_testkit::kubo::{FakeKubo, KuboBehaviour};
use callao_testkit::origin::{Behaviour, Origin, Ranges, Status, Times};

use crate::bench::{Bench, blocks_client, http, waits};

const SIZE: usize = 3_000_000;
const WAIT: Duration = Duration::from_secs(20);

fn bench(seed: u64) -> Bench {
    Bench::new(Image::Random(seed).bytes(SIZE))
}

fn fake_gateway(bench: &Bench, behaviour: GatewayBehaviour) -> FakeGateway {
    let files = vec![((*bench.layout).clone(), bench.image.clone())];
    FakeGateway::start(files, Vec::new(), behaviour)
}

fn gateway(bench: &Bench, url: &str, waits: Waits) -> Gateway {
    let options = GatewayOptions {
        waits,
        ..GatewayOptions::default()
    };
    let base = url.parse().expect("a URL");
    Gateway::new(blocks_client(), base, bench.cid(), options)
}

async fn ask(source: &dyn Source, bench: &Bench) -> Probe {
    probe(source, Some(&bench.cid()), WAIT).await
}

#[tokio::test]
async fn an_origin_is_asked_for_one_byte() {
    let bench = bench(301);
    let origin = Origin::start(bench.image.clone(), Behaviour::default());
    let probe = ask(&*http(&origin.url()), &bench).await;
    let had = probe.answer.expect("it has the file");
    assert_eq!((had.size, had.proven), (Some(SIZE as u64), false));
    assert_eq!(had.etag.as_deref(), Some("\"6562a5d0-1c200000\""));
    assert_eq!(
        had.last_modified.as_deref(),
        Some("Sun, 26 Nov 2023 01:56:00 GMT")
    );
    assert_eq!(
        (probe.abilities.ranges, probe.abilities.blocks),
        (Some(true), Some(false))
    );
    assert_eq!((origin.requests().len(), origin.bytes_sent()), (1, 1));
}

#[tokio::test]
async fn an_origin_without_ranges_is_told_from_one_with() {
    let bench = bench(302);
    let behaviour = Behaviour {
        ranges: Ranges::Ignore,
        ..Behaviour::default()
    };
    let origin = Origin::start(bench.image.clone(), behaviour);
    let probe = ask(&*http(&origin.url()), &bench).await;
    assert_eq!(probe.answer.expect("it has it").size, Some(SIZE as u64));
    assert_eq!(probe.abilities.ranges, Some(false));
}

#[tokio::test]
async fn refusals_keep_their_reasons() {
    let bench = bench(303);
    let refusing = |code| Behaviour {
        status: Some(Status {
            code,
            retry_after: None,
            times: Times::Always,
        }),
        ..Behaviour::default()
    };
    let cases: [(Behaviour, &str); 4] = [
        (refusing(404), "does not have it: HTTP 404 Not Found"),
        (refusing(429), "HTTP 429 Too Many Requests"),
        (refusing(403), "HTTP 403 Forbidden"),
        (
            Behaviour {
                html: true,
                ..Behaviour::default()
            },
            "sent an HTML page instead of the file",
        ),
    ];
    for (behaviour, expected) in cases {
        let origin = Origin::start(bench.image.clone(), behaviour);
        let error = ask(&*http(&origin.url()), &bench).await.answer;
        assert_eq!(error.expect_err("refused").to_string(), expected);
    }
}

#[tokio::test]
async fn whoever_does_not_answer_is_not_waited_for() {
    let bench = bench(304);
    let behaviour = Behaviour {
        never_answer: true,
        ..Behaviour::default()
    };
    let origin = Origin::start(bench.image.clone(), behaviour);
    let wait = Duration::from_millis(50);
    let asked = probe(&*http(&origin.url()), None, wait).await;
    assert_eq!(
        asked.answer.expect_err("no answer").to_string(),
        "no answer within 50 ms"
    );
}

#[tokio::test]
async fn a_gateway_gives_the_root_and_says_what_else_it_can() {
    let bench = bench(305);
    let plain = [(false, Some(false)), (true, Some(true))];
    for (plain, ranges) in plain {
        let behaviour = GatewayBehaviour {
            plain,
            car: plain,
            ..GatewayBehaviour::default()
        };
        let fake = fake_gateway(&bench, behaviour);
        let probe = ask(&gateway(&bench, &fake.url(), waits()), &bench).await;
        let had = probe.answer.expect("it has it");
        let expected = Had {
            size: Some(SIZE as u64),
            proven: true,
            ..Had::default()
        };
        assert_eq!(had, expected);
        assert_eq!(
            (probe.abilities.ranges, probe.abilities.car),
            (ranges, Some(plain))
        );
        assert!(
            fake.bytes_sent() < 20_000,
            "no leaf is fetched: {}",
            fake.bytes_sent()
        );
    }
}

#[tokio::test]
async fn a_gateway_that_lies_or_lacks_the_root() {
    let bench = bench(306);
    let lying = fake_gateway(
        &bench,
        GatewayBehaviour {
            wrong: Some(Which::Block(bench.cid())),
            ..GatewayBehaviour::default()
        },
    );
    let asked = ask(&gateway(&bench, &lying.url(), waits()), &bench).await;
    assert!(matches!(asked.answer, Err(SourceError::False(_))));
    let lacking = FakeGateway::start(Vec::new(), Vec::new(), GatewayBehaviour::default());
    let asked = ask(&gateway(&bench, &lacking.url(), waits()), &bench).await;
    assert!(matches!(asked.answer, Err(SourceError::NotFound(_))));
}

#[tokio::test]
async fn a_kubo_tells_its_version_and_its_way() {
    let bench = bench(307);
    let files = vec![((*bench.layout).clone(), bench.image.clone())];
    let behaviour = KuboBehaviour {
        version: "0.43.1\\u001b[1m".to_owned(),
        ..KuboBehaviour::default()
    };
    let kubo = FakeKubo::start(files, Vec::new(), behaviour);
    let options = KuboOptions {
        waits: waits(),
        offline: true,
        gateway: None,
    };
    let api = api_url(&kubo.multiaddr()).expect("an address");
    let source = KuboRpc::new(blocks_client(), api, bench.cid(), options);
    let probe = ask(&source, &bench).await;
    assert_eq!(probe.answer.expect("it has it").size, Some(SIZE as u64));
    assert_eq!(
        probe.abilities.version.as_deref(),
        Some("kubo 0.43.1[1m"),
        "no control characters"
    );
    assert_eq!(
        probe.abilities.way.as_deref(),
        Some("the API alone: its gateway cannot be reached")
    );
}

#[tokio::test]
async fn a_local_file_and_the_empty_file() {
    let bench = bench(308);
    let path = bench.dir.path().join("a.img");
    std::fs::write(&path, &bench.image).expect("a file");
    let file: Arc<dyn Source> = Arc::new(LocalFile::open(&RealDisk, &path).expect("a file"));
    let had = ask(&*file, &bench).await.answer.expect("it is there");
    assert_eq!(had.size, Some(SIZE as u64));
    let empty = cid::parse("bafkqaaa").expect("a CID");
    let fake = fake_gateway(&bench, GatewayBehaviour::default());
    let asked = probe(&gateway(&bench, &fake.url(), waits()), Some(&empty), WAIT).await;
    assert_eq!(asked.answer.expect("everybody has it").size, Some(0));
}
