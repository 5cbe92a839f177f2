//! One server that misbehaves in each way that a real one can: a clear reason, nothing false, nothing lost.

use callao_fetch::error::Error;
use callao_fetch::source::SourceError;
use callao_testkit::image::Image;
use callao_testkit::origin::{Behaviour, Change, Early, Origin, Ranges, Redirect, Status, Times};

use crate::bench::{Bench, http};

const SIZE: usize = 6 << 20;

/// Fetches by digest from one server that behaves so.
async fn fetch(behaviour: Behaviour) -> (Result<u64, Error>, Origin) {
    let bench = Bench::new(Image::Random(31).bytes(SIZE));
    let origin = Origin::start(bench.image.clone(), behaviour);
    let result = bench
        .run(bench.by_digest(), vec![http(&origin.url())], None)
        .await;
    if result.is_ok() {
        assert!(std::fs::read(bench.part()).expect("the staging file") == *bench.image);
    }
    (result.map(|done| done.report.size), origin)
}

async fn succeeds(behaviour: Behaviour) -> Origin {
    let (result, origin) = fetch(behaviour).await;
    assert_eq!(result.expect("a file"), SIZE as u64);
    origin
}

async fn fails(behaviour: Behaviour) -> (SourceError, String) {
    match fetch(behaviour).await.0 {
        Err(Error::AllFailed { refusals, .. }) => {
            let error = refusals[0].error.clone();
            let text = error.to_string();
            (error, text)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_cut_connection_goes_on_where_it_was() {
    let cut = Some(Early {
        after: 2 << 20,
        times: Times::First(2),
    });
    let origin = succeeds(Behaviour {
        cut,
        ..Behaviour::default()
    })
    .await;
    assert!(
        origin.bytes_sent() < (SIZE + (2 << 20)) as u64,
        "{}",
        origin.bytes_sent()
    );
}

#[tokio::test]
async fn a_stall_ends_and_is_asked_again() {
    let stall = Some(Early {
        after: 2 << 20,
        times: Times::First(1),
    });
    succeeds(Behaviour {
        stall,
        ..Behaviour::default()
    })
    .await;
}

#[tokio::test]
async fn ranges_that_are_ignored_mean_the_whole_from_the_start() {
    let cut = Some(Early {
        after: 2 << 20,
        times: Times::First(1),
    });
    succeeds(Behaviour {
        ranges: Ranges::Ignore,
        cut,
        ..Behaviour::default()
    })
    .await;
}

#[tokio::test]
async fn passing_failures_are_waited_for() {
    let status = |code, retry_after| {
        Some(Status {
            code,
            retry_after,
            times: Times::First(2),
        })
    };
    for (code, after) in [(500, None), (503, Some(0)), (429, Some(1))] {
        succeeds(Behaviour {
            status: status(code, after),
            ..Behaviour::default()
        })
        .await;
    }
    succeeds(Behaviour {
        redirect: Some(Redirect::Hops(3)),
        ..Behaviour::default()
    })
    .await;
}

async fn fails_with(behaviour: Behaviour, wanted: &str) {
    let (_, text) = fails(behaviour).await;
    assert!(text.contains(wanted), "{wanted}: {text}");
}

#[tokio::test]
async fn lasting_refusals_end_with_the_reason() {
    for (code, wanted) in [
        (404, "HTTP 404 Not Found"),
        (403, "HTTP 403 Forbidden"),
        (500, "HTTP 500"),
    ] {
        let status = Some(Status {
            code,
            retry_after: None,
            times: Times::Always,
        });
        let behaviour = Behaviour {
            status,
            ..Behaviour::default()
        };
        fails_with(behaviour, wanted).await;
    }
}

#[tokio::test]
async fn answers_that_make_no_sense_end_with_the_reason() {
    let ranges = |ranges| Behaviour {
        ranges,
        ..Behaviour::default()
    };
    fails_with(ranges(Ranges::Refuse), "HTTP 416").await;
    fails_with(ranges(Ranges::LieAboutStart(7)), "was asked for bytes").await;
    let looping = Behaviour {
        redirect: Some(Redirect::Loop),
        ..Behaviour::default()
    };
    fails_with(looping, "redirect").await;
    let compressed = Behaviour {
        gzip: true,
        ..Behaviour::default()
    };
    fails_with(compressed, "gzip").await;
    let page = Behaviour {
        html: true,
        ..Behaviour::default()
    };
    fails_with(page, "HTML").await;
    let silent = Behaviour {
        never_answer: true,
        ..Behaviour::default()
    };
    fails_with(silent, "no answer within").await;
}

#[tokio::test]
async fn a_file_that_changes_in_the_middle_is_not_mixed() {
    let cut = Some(Early {
        after: 2 << 20,
        times: Times::First(1),
    });
    let change = Some(Change {
        after_requests: 1,
        body: None,
    });
    let (_, text) = fails(Behaviour {
        cut,
        change,
        ..Behaviour::default()
    })
    .await;
    assert!(text.contains("changed at the source"), "{text}");
}

#[tokio::test]
async fn bodies_of_the_wrong_length_do_not_pass() {
    // Longer than announced: what was announced is what arrives, and its digest decides.
    let longer = Behaviour {
        length_lie: -1000,
        ranges: Ranges::Ignore,
        ..Behaviour::default()
    };
    let (result, _) = fetch(longer).await;
    assert!(
        matches!(result, Err(Error::DigestMismatch { .. })),
        "{result:?}"
    );
    // Shorter than announced: the connection ends too early, each time.
    let shorter = Behaviour {
        length_lie: 1000,
        ..Behaviour::default()
    };
    let (error, text) = fails(shorter).await;
    assert!(
        matches!(error, SourceError::Network(_) | SourceError::Protocol(_)),
        "{text}"
    );
}

#[tokio::test]
async fn a_flipped_byte_is_a_digest_mismatch() {
    let (result, _) = fetch(Behaviour {
        flipped: vec![77],
        ..Behaviour::default()
    })
    .await;
    assert!(
        matches!(result, Err(Error::DigestMismatch { .. })),
        "{result:?}"
    );
}
