//! Fetches in which every source behaves.

use callao_content::digest::{Algorithm, Digest};
use callao_content::import::import;
use callao_content::profile::Profile;
use callao_fetch::error::Error;
use callao_fetch::event::Proof;
use callao_testkit::image::Image;
use callao_testkit::origin::{Behaviour, Origin};

use crate::bench::{Bench, http};

const SIZES: [usize; 7] = [0, 1, 262_144, 262_145, 1_048_576, 3_000_000, 40_000_000];

#[tokio::test]
async fn by_digest_from_one_server() {
    for size in SIZES {
        let bench = Bench::new(Image::Random(1).bytes(size));
        let origin = Origin::start(bench.image.clone(), Behaviour::default());
        let done = bench
            .fetch(bench.by_digest(), vec![http(&origin.url())])
            .await
            .expect("a file");
        assert_eq!(
            (done.report.proof, done.report.digests[0]),
            (Proof::Digest, bench.digest),
            "{size}"
        );
        assert_eq!(
            *done.layout.root(),
            bench.cid(),
            "the layout is computed on the way"
        );
        assert_eq!(
            origin.requests().len(),
            1,
            "one source alone sends it in one answer"
        );
        assert_eq!(
            done.report.last_modified.as_deref(),
            Some("Sun, 26 Nov 2023 01:56:00 GMT")
        );
    }
}

#[tokio::test]
async fn by_cid_with_leaves_proven_from_a_plain_server() {
    for size in SIZES {
        let bench = Bench::new(Image::Random(2).bytes(size));
        let origin = Origin::start(bench.image.clone(), Behaviour::default());
        let sources = vec![bench.nodes(), http(&origin.url())];
        let done = bench.fetch(bench.by_both(), sources).await.expect("a file");
        assert_eq!(done.report.proof, Proof::DigestAndCid, "{size}");
        assert_eq!(*done.layout.root(), bench.cid());
    }
}

#[tokio::test]
async fn every_profile_is_proven_leaf_by_leaf() {
    for profile in Profile::ALL {
        let image = Image::Random(3).bytes(5_000_001);
        let layout = import(&image, profile.shape()).expect("a valid shape");
        let bench = Bench::with_layout(image, layout);
        let origin = Origin::start(bench.image.clone(), Behaviour::default());
        let held = Some(bench.layout.clone());
        let done = bench
            .run(bench.by_cid(), vec![http(&origin.url())], held)
            .await
            .expect("a file");
        assert_eq!(done.report.proof, Proof::Cid, "{}", profile.name());
        assert_eq!(done.report.digests[0], bench.digest);
    }
}

#[tokio::test]
async fn a_cid_alone_is_proven_by_making_it_again() {
    let image = Image::Random(4).bytes(3_000_000);
    let layout = import(&image, Profile::UnixfsV0_2015.shape()).expect("a valid shape");
    let bench = Bench::with_layout(image, layout);
    let origin = Origin::start(bench.image.clone(), Behaviour::default());
    let done = bench
        .fetch(bench.by_cid(), vec![http(&origin.url())])
        .await
        .expect("a file");
    assert_eq!(
        (done.report.proof, *done.layout.root()),
        (Proof::Cid, bench.cid())
    );
}

#[tokio::test]
async fn a_cid_that_nobody_can_prove_is_refused() {
    let bench = Bench::new(Image::Random(5).bytes(600_000));
    let origin = Origin::start(Image::Random(6).bytes(600_000), Behaviour::default());
    let error = bench
        .run(bench.by_cid(), vec![http(&origin.url())], None)
        .await
        .map(|_| ())
        .expect_err("not proven");
    assert!(matches!(error, Error::CidUnproven { .. }), "{error}");
}

#[tokio::test]
async fn sha512_decides_as_well() {
    let bench = Bench::new(Image::Random(7).bytes(2_000_000));
    let origin = Origin::start(bench.image.clone(), Behaviour::default());
    let mut wanted = bench.by_both();
    wanted.digest = Some(Digest::of(Algorithm::Sha512, &bench.image));
    let sources = vec![bench.nodes(), http(&origin.url())];
    let done = bench.fetch(wanted.clone(), sources).await.expect("a file");
    assert_eq!(done.report.digests, [wanted.digest.expect("just set")]);
}

#[tokio::test]
async fn repeated_leaves_are_fetched_once() {
    let bench = Bench::new(Image::Pattern.bytes(200 << 20));
    let origin = Origin::start(bench.image.clone(), Behaviour::default());
    let held = Some(bench.layout.clone());
    let done = bench
        .run(bench.by_both(), vec![http(&origin.url())], held)
        .await
        .expect("a file");
    assert_eq!(done.report.digests[0], bench.digest);
    assert!(
        origin.bytes_sent() < 70 << 20,
        "256 leaves repeat: {}",
        origin.bytes_sent()
    );
}

#[tokio::test]
async fn a_length_that_is_never_said_is_found() {
    let bench = Bench::new(Image::Random(8).bytes(2_500_000));
    let behaviour = Behaviour {
        chunked: true,
        ranges: callao_testkit::origin::Ranges::Ignore,
        ..Behaviour::default()
    };
    let origin = Origin::start(bench.image.clone(), behaviour);
    let done = bench
        .fetch(bench.by_digest(), vec![http(&origin.url())])
        .await
        .expect("a file");
    assert_eq!(done.report.size, 2_500_000);
}
