//! Interrupted fetches go on where they were.

use std::sync::Arc;

use callao_fetch::error::Error;
use callao_fetch::event::{Event, Observer};
use callao_testkit::image::Image;
use callao_testkit::origin::{Behaviour, Change, Origin};

use crate::bench::{Bench, Recorder, http};

const SIZE: usize = 48 << 20;

/// Runs until `bytes` are there, then cancels as SIGINT does.
async fn interrupted(bench: &Bench, with_layout: bool, origin: &Origin, bytes: u64) {
    struct Canceller(tokio_util::sync::CancellationToken, u64, Arc<Recorder>);
    impl Observer for Canceller {
        fn event(&self, event: Event) {
            if matches!(&event, Event::Progress { done, .. } if *done >= self.1) {
                self.0.cancel();
            }
            self.2.event(event);
        }
    }
    let cancel = tokio_util::sync::CancellationToken::new();
    let fetch = callao_fetch::engine::Fetch {
        wanted: if with_layout {
            bench.by_both()
        } else {
            bench.by_digest()
        },
        staging: bench.staging(),
        layout: with_layout.then(|| bench.layout.clone()),
        sources: vec![http(&origin.url())],
        late: None,
        host: String::new(),
        observer: Arc::new(Canceller(cancel.clone(), bytes, bench.events.clone())),
        cancel,
    };
    let error = callao_fetch::engine::run(fetch)
        .await
        .map(|_| ())
        .expect_err("cancelled");
    assert!(matches!(error, Error::Interrupted), "{error}");
}

#[tokio::test]
async fn proven_leaves_are_kept() {
    let bench = Bench::new(Image::Random(21).bytes(SIZE));
    let origin = Origin::start(
        bench.image.clone(),
        Behaviour {
            rate: Some(40 << 20),
            ..Behaviour::default()
        },
    );
    interrupted(&bench, true, &origin, 10 << 20).await;
    let held = Some(bench.layout.clone());
    let done = bench
        .run(bench.by_both(), vec![http(&origin.url())], held)
        .await
        .expect("a file");
    assert!(done.report.resumed >= 8 << 20, "{}", done.report.resumed);
    assert!(
        origin.bytes_sent() < (SIZE + (32 << 20)) as u64,
        "{}",
        origin.bytes_sent()
    );
}

#[tokio::test]
async fn without_a_layout_the_beginning_is_kept() {
    let bench = Bench::new(Image::Random(22).bytes(SIZE));
    let origin = Origin::start(
        bench.image.clone(),
        Behaviour {
            rate: Some(40 << 20),
            ..Behaviour::default()
        },
    );
    interrupted(&bench, false, &origin, 20 << 20).await;
    let done = bench
        .fetch(bench.by_digest(), vec![http(&origin.url())])
        .await
        .expect("a file");
    assert!(done.report.resumed >= 4 << 20, "{}", done.report.resumed);
    let last = origin.requests().pop().expect("a request");
    assert!(
        last.headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("if-range")),
        "{last:?}"
    );
}

#[tokio::test]
async fn a_file_that_changed_since_is_fetched_anew() {
    let bench = Bench::new(Image::Random(23).bytes(SIZE));
    let rate = Some(40 << 20);
    let old = Image::Random(24).bytes(SIZE);
    let change = Some(Change {
        after_requests: 1,
        body: Some(Vec::from(&*bench.image).into()),
    });
    let origin = Origin::start(
        old,
        Behaviour {
            rate,
            change,
            ..Behaviour::default()
        },
    );
    interrupted(&bench, false, &origin, 20 << 20).await;
    let done = bench
        .fetch(bench.by_digest(), vec![http(&origin.url())])
        .await
        .expect("a file");
    assert_eq!(done.report.digests[0], bench.digest);
}
