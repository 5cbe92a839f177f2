//! Other callaos on the local network: parts that come to be, lies, false roots, and peers that disappear.

use std::sync::Arc;
use std::time::{Duration, Instant};

use callao_content::import::import;
use callao_content::profile::Profile;
use callao_fetch::client::{self, ClientOptions, Proxies};
use callao_fetch::event::{Event, Proof};
use callao_fetch::source::lan::{self, Lan, Names};
use callao_fetch::source::{Source, SourceKind};
use callao_testkit::image::Image;
use callao_testkit::lan::{LanBehaviour, LanPeer};
use callao_testkit::origin::{Behaviour, Origin};

use crate::bench::{Bench, http, waits};

const SIZE: usize = 16 << 20;

fn lan_client() -> reqwest::Client {
    let options = ClientOptions {
        user_agent: "callao-test".into(),
        waits: waits(),
        proxies: Proxies::None,
    };
    client::lan(&options).expect("a client")
}

fn source(bench: &Bench, peer: &LanPeer) -> Arc<dyn Source> {
    let names = Names {
        root: Some(bench.cid()),
        digest: Some(bench.digest),
    };
    named(peer, names)
}

fn by_digest(bench: &Bench, peer: &LanPeer) -> Arc<dyn Source> {
    let names = Names {
        root: None,
        digest: Some(bench.digest),
    };
    named(peer, names)
}

fn named(peer: &LanPeer, names: Names) -> Arc<dyn Source> {
    let base = peer.url().parse().expect("a URL");
    Arc::new(Lan::new(lan_client(), base, peer.url(), names, waits()))
}

fn peer_of(bench: &Bench, behaviour: LanBehaviour) -> LanPeer {
    LanPeer::start(
        Arc::clone(&bench.image),
        Arc::clone(&bench.layout),
        behaviour,
    )
}

/// A host that sends slowly, so that there is time for something to happen.
fn slow_origin(bench: &Bench, rate: u64) -> Origin {
    let behaviour = Behaviour {
        rate: Some(rate),
        ..Behaviour::default()
    };
    Origin::start(bench.image.clone(), behaviour)
}

fn share_of(report: &callao_fetch::event::Report, kind: SourceKind) -> u64 {
    let mut shares = report.shares.iter();
    shares
        .find(|share| share.source.kind == kind)
        .map_or(0, |share| share.bytes)
}

#[tokio::test]
async fn a_file_comes_whole_from_one_peer() {
    for (size, no_skeleton) in [(1, false), (262_145, false), (SIZE, false), (SIZE, true)] {
        let bench = Bench::new(Image::Random(61).bytes(size));
        let behaviour = LanBehaviour {
            no_skeleton,
            ..LanBehaviour::default()
        };
        let peer = peer_of(&bench, behaviour);
        let done = bench
            .fetch(bench.by_both(), vec![source(&bench, &peer)])
            .await
            .expect("a file");
        assert_eq!(done.report.proof, Proof::DigestAndCid, "{size}");
        assert_eq!(share_of(&done.report, SourceKind::Lan), size as u64);
        let ranges = peer.requests().into_iter().filter(|r| r.range.is_some());
        assert!(ranges.count() <= 1, "in one answer");
    }
}

#[tokio::test]
async fn what_a_peer_has_does_not_come_from_the_origin() {
    let bench = Bench::new(Image::Random(62).bytes(SIZE));
    let peer = peer_of(&bench, LanBehaviour::default());
    let origin = slow_origin(&bench, 2 << 20);
    let sources = vec![http(&origin.url()), source(&bench, &peer)];
    let done = bench.fetch(bench.by_both(), sources).await.expect("a file");
    let from_origin = share_of(&done.report, SourceKind::Http);
    assert!(
        from_origin <= 4 << 20,
        "{from_origin} bytes from the origin"
    );
}

#[tokio::test]
async fn a_peer_that_is_fetching_is_followed() {
    let bench = Bench::new(Image::Random(63).bytes(SIZE));
    let half = SIZE as u64 / 2;
    let having = |end: u64| LanBehaviour {
        have: Some(std::iter::once(0..end).collect()),
        ..LanBehaviour::default()
    };
    let peer = peer_of(&bench, having(half));
    // There is no other source: the second half can only come from the peer, once it has it.
    let fetched = bench.fetch(bench.by_both(), vec![source(&bench, &peer)]);
    let grows = async {
        let begun = Instant::now();
        while peer.file_bytes_sent() < half && begun.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        peer.set_behaviour(having(SIZE as u64));
    };
    let (done, ()) = tokio::join!(fetched, grows);
    let done = done.expect("a file");
    assert_eq!(share_of(&done.report, SourceKind::Lan), SIZE as u64);
    let refused = peer.requests().into_iter().filter(|r| r.status == 416);
    assert_eq!(
        refused.count(),
        0,
        "nothing was asked for that it did not have"
    );
}

#[tokio::test]
async fn a_peer_that_disappears_costs_its_spans_and_nothing_else() {
    let bench = Bench::new(Image::Random(64).bytes(SIZE));
    let behaviour = LanBehaviour {
        stop_after: Some(6 << 20),
        ..LanBehaviour::default()
    };
    let peer = peer_of(&bench, behaviour);
    let origin = slow_origin(&bench, 16 << 20);
    let sources = vec![http(&origin.url()), source(&bench, &peer)];
    let done = bench.fetch(bench.by_both(), sources).await.expect("a file");
    assert!(
        share_of(&done.report, SourceKind::Lan) > 0,
        "what it sent is kept"
    );
    assert!(share_of(&done.report, SourceKind::Http) >= 8 << 20);
    assert!(
        done.report
            .reasons
            .iter()
            .all(|(_, why)| !why.contains("false"))
    );
}

#[tokio::test]
async fn a_silent_peer_does_not_keep_the_origin_waiting() {
    let bench = Bench::new(Image::Random(65).bytes(SIZE));
    let behaviour = LanBehaviour {
        silent: true,
        ..LanBehaviour::default()
    };
    let peer = peer_of(&bench, behaviour);
    let origin = slow_origin(&bench, 16 << 20);
    let sources = vec![http(&origin.url()), source(&bench, &peer)];
    let done = bench.fetch(bench.by_both(), sources).await.expect("a file");
    assert_eq!(share_of(&done.report, SourceKind::Http), SIZE as u64);
}

#[tokio::test]
async fn a_lying_peer_is_banned_at_its_first_false_byte() {
    let bench = Bench::new(Image::Random(66).bytes(SIZE));
    let liar = LanBehaviour {
        flipped: (0..SIZE as u64).step_by(1 << 18).collect(),
        ..LanBehaviour::default()
    };
    let liar = peer_of(&bench, liar);
    // So slow that the liar is sure to be asked.
    let origin = slow_origin(&bench, 16 << 20);
    let sources = vec![source(&bench, &liar), http(&origin.url())];
    let done = bench.fetch(bench.by_both(), sources).await.expect("a file");
    assert_eq!(share_of(&done.report, SourceKind::Http), SIZE as u64);
    let dropped = bench.events.dropped();
    assert!(
        dropped
            .iter()
            .any(|(place, _, lied)| *lied && *place == liar.url())
            && dropped.iter().all(|(place, _, _)| *place == liar.url()),
        "{dropped:?}"
    );
}

#[tokio::test]
async fn a_digest_alone_is_proven_by_the_root_that_a_peer_names() {
    let bench = Bench::new(Image::Random(67).bytes(SIZE));
    let peer = peer_of(&bench, LanBehaviour::default());
    let origin = slow_origin(&bench, 2 << 20);
    let roots = lan::roots_of(
        lan_client(),
        peer.url().parse().expect("a URL"),
        &bench.digest,
        waits(),
    );
    assert_eq!(roots.await.expect("an answer"), [bench.cid()]);
    let sources = vec![http(&origin.url()), by_digest(&bench, &peer)];
    let done = bench
        .fetch(bench.by_digest(), sources)
        .await
        .expect("a file");
    assert_eq!(done.report.proof, Proof::DigestAndCid);
    assert_eq!(done.report.wrong_cid, None);
    assert!(share_of(&done.report, SourceKind::Lan) >= 12 << 20);
    let given: u64 = done.report.shares.iter().map(|share| share.bytes).sum();
    assert_eq!(given, SIZE as u64, "no byte counts twice");
}

#[tokio::test]
async fn a_digest_alone_is_fetched_from_a_peer_alone() {
    let bench = Bench::new(Image::Random(68).bytes(SIZE));
    let peer = peer_of(&bench, LanBehaviour::default());
    let done = bench
        .fetch(bench.by_digest(), vec![by_digest(&bench, &peer)])
        .await
        .expect("a file");
    assert_eq!(done.report.proof, Proof::DigestAndCid);
}

#[tokio::test]
async fn a_false_root_loses_against_the_digest_and_its_giver_is_named() {
    let bench = Bench::new(Image::Random(69).bytes(SIZE));
    let image = Image::Random(70).bytes(SIZE);
    let layout = import(&image, Profile::KuboCidV1.shape()).expect("a valid shape");
    let liar = LanPeer::start(image.into(), Arc::new(layout), LanBehaviour::default());
    let origin = slow_origin(&bench, 32 << 20);
    let mut wanted = bench.by_digest();
    wanted.strict = true;
    let sources = vec![http(&origin.url()), by_digest(&bench, &liar)];
    let done = bench.fetch(wanted, sources).await.expect("a file");
    assert_eq!(done.report.wrong_cid, None, "the user named no CID");
    assert_eq!(done.report.digests[0], bench.digest);
    let named = |event: &Event| match event {
        Event::Dropped { source, reason, .. } => {
            source.place == liar.url() && reason.starts_with("named bafy")
        }
        _ => false,
    };
    assert!(
        bench.events.all().iter().any(named),
        "{:?}",
        bench.events.dropped()
    );
}

#[tokio::test]
async fn most_peers_outvote_a_false_root() {
    let bench = Bench::new(Image::Random(71).bytes(SIZE));
    let image = Image::Random(72).bytes(SIZE);
    let layout = import(&image, Profile::KuboCidV1.shape()).expect("a valid shape");
    let liar = LanPeer::start(image.into(), Arc::new(layout), LanBehaviour::default());
    let (one, two) = (
        peer_of(&bench, LanBehaviour::default()),
        peer_of(&bench, LanBehaviour::default()),
    );
    let sources = vec![
        by_digest(&bench, &liar),
        by_digest(&bench, &one),
        by_digest(&bench, &two),
    ];
    let done = bench
        .fetch(bench.by_digest(), sources)
        .await
        .expect("a file");
    assert_eq!(done.report.proof, Proof::DigestAndCid);
    let mut givers = done.report.shares.iter().map(|share| &share.source.place);
    assert!(givers.all(|place| *place != liar.url()));
}

#[tokio::test]
async fn peers_without_the_file_change_nothing() {
    let bench = Bench::new(Image::Random(73).bytes(SIZE));
    let behaviour = LanBehaviour {
        unknown: true,
        ..LanBehaviour::default()
    };
    let peer = peer_of(&bench, behaviour);
    let origin = Origin::start(bench.image.clone(), Behaviour::default());
    let sources = vec![http(&origin.url()), by_digest(&bench, &peer)];
    let done = bench
        .fetch(bench.by_digest(), sources)
        .await
        .expect("a file");
    assert_eq!(done.report.proof, Proof::Digest);
    assert_eq!(
        origin.requests().len(),
        1,
        "in one answer, as if there were no peer"
    );
}
