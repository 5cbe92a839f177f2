//! Several sources at once: sharing, stealing, lying, stopping.

use callao_fetch::error::Error;
use callao_fetch::event::{Event, Proof};
use callao_testkit::image::Image;
use callao_testkit::origin::{Behaviour, Early, Origin, Times};

use crate::bench::{Bench, http};

const SIZE: usize = 24 << 20;

fn flipped(at: &[u64]) -> Behaviour {
    Behaviour {
        flipped: at.to_vec(),
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn mirrors_share_a_file() {
    let bench = Bench::new(Image::Random(11).bytes(SIZE));
    let limited = Behaviour {
        rate: Some(8 << 20),
        ..Behaviour::default()
    };
    let a = Origin::start(bench.image.clone(), limited.clone());
    let b = Origin::start(bench.image.clone(), limited);
    let done = bench
        .fetch(bench.by_digest(), vec![http(&a.url()), http(&b.url())])
        .await
        .expect("a file");
    assert_eq!(done.report.shares.len(), 2, "{:?}", done.report.shares);
    assert_eq!(
        done.report
            .shares
            .iter()
            .map(|share| share.bytes)
            .sum::<u64>(),
        SIZE as u64
    );
}

#[tokio::test]
async fn a_lying_mirror_is_banned_and_named() {
    let bench = Bench::new(Image::Random(12).bytes(SIZE));
    let honest = Origin::start(
        bench.image.clone(),
        Behaviour {
            rate: Some(20 << 20),
            ..Behaviour::default()
        },
    );
    let liar = Origin::start(
        bench.image.clone(),
        flipped(&[5_000_000, 12_345_678, 20_000_000]),
    );
    let sources = vec![bench.nodes(), http(&honest.url()), http(&liar.url())];
    let done = bench.fetch(bench.by_both(), sources).await.expect("a file");
    assert_eq!(done.report.proof, Proof::DigestAndCid);
    let dropped = bench.events.dropped();
    assert!(
        dropped
            .iter()
            .all(|(place, _, lied)| *lied && *place == liar.url()),
        "{dropped:?}"
    );
}

#[tokio::test]
async fn a_liar_alone_never_gets_through() {
    let bench = Bench::new(Image::Random(13).bytes(3_000_000));
    let liar = Origin::start(bench.image.clone(), flipped(&[2_000_000]));
    let error = bench
        .run(
            bench.by_both(),
            vec![bench.nodes(), http(&liar.url())],
            None,
        )
        .await
        .map(|_| ());
    let Err(Error::AllFailed { kept, .. }) = error else {
        panic!("{error:?}")
    };
    assert!(
        (7 * 262_144..3_000_000).contains(&kept),
        "what is proven is kept: {kept}"
    );
}

#[tokio::test]
async fn without_a_cid_the_liar_is_found_by_asking_each_alone() {
    let bench = Bench::new(Image::Random(14).bytes(SIZE));
    let slow = Behaviour {
        rate: Some(20 << 20),
        ..Behaviour::default()
    };
    let honest = Origin::start(bench.image.clone(), slow.clone());
    // One byte in every MiB: whatever part it is asked for is false.
    let everywhere: Vec<u64> = (0..SIZE as u64).step_by(1 << 18).collect();
    let liar = Origin::start(
        bench.image.clone(),
        Behaviour {
            flipped: everywhere,
            ..slow
        },
    );
    let sources = vec![http(&liar.url()), http(&honest.url())];
    let done = bench
        .fetch(bench.by_digest(), sources)
        .await
        .expect("a file");
    assert_eq!(done.report.shares.len(), 1);
    assert_eq!(done.report.shares[0].source.place, honest.url());
    assert!(
        bench
            .events
            .all()
            .iter()
            .any(|event| matches!(event, Event::StartingAgain { .. }))
    );
    let named = done
        .report
        .reasons
        .iter()
        .any(|(source, why)| source.place == liar.url() && why.contains("false"));
    assert!(named, "{:?}", done.report.reasons);
}

#[tokio::test]
async fn a_mirror_that_stops_is_replaced() {
    let bench = Bench::new(Image::Random(15).bytes(SIZE));
    let limited = Behaviour {
        rate: Some(16 << 20),
        ..Behaviour::default()
    };
    let good = Origin::start(bench.image.clone(), limited.clone());
    let dying = Origin::start(
        bench.image.clone(),
        Behaviour {
            stop_after_total: Some(3 << 20),
            ..limited.clone()
        },
    );
    let stall = Some(Early {
        after: 1 << 20,
        times: Times::Always,
    });
    let stalling = Origin::start(bench.image.clone(), Behaviour { stall, ..limited });
    let sources = vec![
        bench.nodes(),
        http(&good.url()),
        http(&dying.url()),
        http(&stalling.url()),
    ];
    bench.fetch(bench.by_both(), sources).await.expect("a file");
}

#[tokio::test]
async fn mirrors_of_another_length_are_refused() {
    let bench = Bench::new(Image::Random(16).bytes(3_000_000));
    let good = Origin::start(bench.image.clone(), Behaviour::default());
    let other = Origin::start(Image::Random(16).bytes(2_999_999), Behaviour::default());
    let sources = vec![bench.nodes(), http(&other.url()), http(&good.url())];
    bench.fetch(bench.by_both(), sources).await.expect("a file");
}

#[tokio::test]
async fn the_digest_decides_against_the_cid() {
    let bench = Bench::new(Image::Random(17).bytes(3_000_000));
    let other = Bench::new(Image::Random(18).bytes(3_000_000));
    let origin = Origin::start(bench.image.clone(), Behaviour::default());
    let wrong = Origin::start(other.image.clone(), Behaviour::default());
    let mut wanted = bench.by_digest();
    wanted.cid = Some(other.cid());
    let sources = || vec![other.nodes(), http(&wrong.url()), http(&origin.url())];
    let done = bench
        .fetch(wanted.clone(), sources())
        .await
        .expect("a file");
    assert_eq!(
        (done.report.proof, done.report.wrong_cid),
        (Proof::Digest, Some(other.cid()))
    );
    assert!(
        bench
            .events
            .all()
            .iter()
            .any(|event| matches!(event, Event::CidContradictsDigest { .. }))
    );

    let strict = Bench::new(bench.image.to_vec());
    wanted.strict = true;
    let error = strict
        .run(wanted, sources(), None)
        .await
        .map(|_| ())
        .expect_err("strict");
    assert!(matches!(error, Error::Contradiction { .. }), "{error}");
}
