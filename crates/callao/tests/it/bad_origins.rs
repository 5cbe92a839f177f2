//! Bad days of web servers: each ends with the file, or with a clear message, the right exit code and nothing lost.

use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::origin::{Behaviour, Change, Early, Origin, Ranges, Redirect, Status, Times};
use insta::assert_snapshot;

use crate::env::{Run, Sample, TestEnvironment};

const MIB: u64 = 1024 * 1024;
const SIZE: usize = 3 * 1024 * 1024 + 17;

/// One get from one origin that behaves like this; nothing false may be in Lima's cache afterwards.
fn get_from(behaviour: Behaviour, with_cid: bool) -> (TestEnvironment, Sample, Run) {
    let (env, sample) = (TestEnvironment::new(), Sample::random(30, SIZE));
    let origin = Origin::start(sample.bytes.clone(), behaviour);
    let (url, digest, cid) = (origin.url(), sample.digest.to_string(), sample.cid());
    let mut line = vec!["get", &url, "--digest", &digest];
    if with_cid {
        line.extend(["--cid", &cid]);
    }
    let run = env.run(&line);
    env.assert_nothing_false_in_lima(&sample);
    (env, sample, run)
}

fn good(behaviour: Behaviour) {
    for with_cid in [false, true] {
        let (_, _, run) = get_from(behaviour.clone(), with_cid);
        assert_eq!(run.code, Some(0), "with CID: {with_cid}\n{}", run.stderr);
    }
}

fn bad(behaviour: Behaviour, code: i32) -> String {
    let (env, _, run) = get_from(behaviour, false);
    assert_eq!(run.code, Some(code), "{}", run.stderr);
    env.told(&run)
}

#[test]
fn a_connection_cut_in_the_body_is_continued() {
    good(Behaviour {
        cut: Some(Early {
            after: 1_000_000,
            times: Times::First(2),
        }),
        ..Behaviour::default()
    });
}

#[test]
fn a_stall_is_continued() {
    good(Behaviour {
        stall: Some(Early {
            after: 1_000_000,
            times: Times::First(1),
        }),
        ..Behaviour::default()
    });
}

#[test]
fn a_range_answered_with_200_is_the_whole_file() {
    good(Behaviour {
        ranges: Ranges::Ignore,
        ..Behaviour::default()
    });
}

#[test]
fn chunked_bodies_without_a_length_work() {
    good(Behaviour {
        chunked: true,
        ..Behaviour::default()
    });
}

#[test]
fn a_few_redirects_are_followed() {
    good(Behaviour {
        redirect: Some(Redirect::Hops(3)),
        ..Behaviour::default()
    });
}

#[test]
fn a_busy_server_is_asked_again() {
    let busy = Status {
        code: 503,
        retry_after: Some(1),
        times: Times::First(1),
    };
    good(Behaviour {
        status: Some(busy),
        ..Behaviour::default()
    });
}

#[test]
fn a_redirect_loop_ends() {
    assert_snapshot!(bad(Behaviour { redirect: Some(Redirect::Loop), ..Behaviour::default() }, 4), @r##"
    exit 4
    Attempting to download the image  digest="sha256:196f4879f0e8..."  location="http://127.0.0.1:PORT/image.img"
    Downloading the image (image.img)
    error: failed to download the image `http://127.0.0.1:PORT/image.img`: no source could deliver the image
      http://127.0.0.1:PORT/image.img: does not lead anywhere: too many redirects
    "##);
}

#[test]
fn a_compressed_reply_is_refused() {
    assert_snapshot!(bad(Behaviour { gzip: true, ..Behaviour::default() }, 4), @r##"
    exit 4
    Attempting to download the image  digest="sha256:196f4879f0e8..."  location="http://127.0.0.1:PORT/image.img"
    Downloading the image (image.img)
    error: failed to download the image `http://127.0.0.1:PORT/image.img`: no source could deliver the image
      http://127.0.0.1:PORT/image.img: sent the file as `gzip`, though the plain bytes were asked for
    "##);
}

#[test]
fn a_web_page_is_not_the_file() {
    assert_snapshot!(bad(Behaviour { html: true, ..Behaviour::default() }, 4), @r##"
    exit 4
    Attempting to download the image  digest="sha256:196f4879f0e8..."  location="http://127.0.0.1:PORT/image.img"
    Downloading the image (image.img)
    error: failed to download the image `http://127.0.0.1:PORT/image.img`: no source could deliver the image
      http://127.0.0.1:PORT/image.img: sent an HTML page instead of the file
    "##);
}

#[test]
fn not_found_has_its_own_exit_code() {
    let gone = Status {
        code: 404,
        retry_after: None,
        times: Times::Always,
    };
    assert_snapshot!(bad(Behaviour { status: Some(gone), ..Behaviour::default() }, 3), @r##"
    exit 3
    Attempting to download the image  digest="sha256:196f4879f0e8..."  location="http://127.0.0.1:PORT/image.img"
    Downloading the image (image.img)
    error: failed to download the image `http://127.0.0.1:PORT/image.img`: no source could deliver the image
      http://127.0.0.1:PORT/image.img: does not have it: HTTP 404 Not Found
    hint: images of a distribution are often moved after some months
    "##);
}

#[test]
fn every_range_refused() {
    let (_, _, run) = get_from(
        Behaviour {
            ranges: Ranges::Refuse,
            ..Behaviour::default()
        },
        false,
    );
    assert!(matches!(run.code, Some(0 | 4)), "{}", run.stderr);
}

#[test]
fn a_content_range_that_lies_is_noticed() {
    for ranges in [Ranges::LieAboutStart(5), Ranges::ShiftedBytes(5)] {
        // One answer from byte 0 on needs no range; a cut forces a second request, which lies.
        let cut = Some(Early {
            after: 1_000_000,
            times: Times::First(1),
        });
        let (_, _, run) = get_from(
            Behaviour {
                ranges,
                cut,
                ..Behaviour::default()
            },
            true,
        );
        assert!(
            matches!(run.code, Some(4 | 5)),
            "{ranges:?}: {}",
            run.stderr
        );
    }
    let (_, _, run) = get_from(
        Behaviour {
            ranges: Ranges::LieAboutTotal(10),
            ..Behaviour::default()
        },
        true,
    );
    assert!(matches!(run.code, Some(4 | 5)), "{}", run.stderr);
}

#[test]
fn a_body_shorter_than_announced() {
    let told = bad(
        Behaviour {
            length_lie: 100,
            ..Behaviour::default()
        },
        4,
    );
    assert!(told.contains("failed to download"), "{told}");
}

#[test]
fn a_body_longer_than_announced() {
    let (_, _, run) = get_from(
        Behaviour {
            length_lie: -100,
            ..Behaviour::default()
        },
        false,
    );
    assert!(matches!(run.code, Some(4 | 5)), "{}", run.stderr);
}

#[test]
fn a_changed_file_is_not_mixed_with_the_old_one() {
    let other = Sample::random(31, SIZE);
    let change = Change {
        after_requests: 1,
        body: Some(other.bytes.clone().into()),
    };
    let cut = Some(Early {
        after: 1_000_000,
        times: Times::First(1),
    });
    let (_, _, run) = get_from(
        Behaviour {
            change: Some(change),
            cut,
            ..Behaviour::default()
        },
        false,
    );
    assert!(matches!(run.code, Some(4 | 5)), "{}", run.stderr);
}

#[test]
fn a_wrong_digest_is_an_integrity_error() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(32, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let run = env.run(&[
        "get",
        &origin.url(),
        "--digest",
        &format!("sha256:{}", "0".repeat(64)),
    ]);
    assert_snapshot!(env.told(&run), @r##"
    exit 5
    Attempting to download the image  digest="sha256:000000000000..."  location="http://127.0.0.1:PORT/image.img"
    Downloading the image (image.img)
    error: failed to download the image `http://127.0.0.1:PORT/image.img`: expected digest 
          `sha256:000000000000...`, got `sha256:b1c1183d3c30...`
      these bytes came from http://127.0.0.1:PORT/image.img
    hint: either the digest is out of date, or these sources give out other bytes; nothing was put into the cache
    "##);
    env.assert_nothing_false_in_lima(&sample);
    assert!(!env.entry(&origin.url()).join("data").exists());
}

#[test]
fn a_mirror_with_one_flipped_byte_costs_nothing_but_its_bytes() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(33, 8 * MIB as usize));
    // The honest ones are slow enough that the liar gets something to do.
    let slow = Behaviour {
        rate: Some(4 * MIB),
        ..Behaviour::default()
    };
    let honest = Origin::start(sample.bytes.clone(), slow);
    let flipped = (0..8).map(|mib| mib * MIB + 300_000).collect();
    let liar = Origin::start(
        sample.bytes.clone(),
        Behaviour {
            flipped,
            ..Behaviour::default()
        },
    );
    let few = GatewayBehaviour {
        rate: Some(MIB),
        ..GatewayBehaviour::default()
    };
    let gateway = Gateway::start(vec![sample.file()], Vec::new(), few);
    let run = env.succeed(&[
        "get",
        &honest.url(),
        "--mirror",
        &liar.url(),
        "--gateway",
        &gateway.url(),
        "--cid",
        &sample.cid(),
        "--json",
    ]);
    env.assert_nothing_false_in_lima(&sample);
    let lies: Vec<_> = run
        .json()
        .into_iter()
        .filter(|value| value["type"] == "dropped" && value["lied"] == true)
        .collect();
    assert_eq!(lies.len(), 1, "{}", run.stdout);
    assert_eq!(lies[0]["source"]["place"], liar.url());
}

#[test]
fn with_a_digest_alone_the_liar_is_found_too() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(34, 8 * 1024 * 1024));
    let slow = || Behaviour {
        rate: Some(8 * 1024 * 1024),
        ..Behaviour::default()
    };
    let honest = Origin::start(sample.bytes.clone(), slow());
    let flipped = (0..8).map(|mib| mib * 1024 * 1024 + 300_000).collect();
    let liar = Origin::start(sample.bytes.clone(), Behaviour { flipped, ..slow() });
    env.succeed(&[
        "get",
        &honest.url(),
        "--mirror",
        &liar.url(),
        "--digest",
        &sample.digest.to_string(),
    ]);
    env.assert_nothing_false_in_lima(&sample);
}

#[test]
fn nobody_listens() {
    let env = TestEnvironment::new();
    let origin = Origin::start(vec![1, 2, 3], Behaviour::default());
    let url = origin.url();
    drop(origin);
    let run = env.run(&[
        "get",
        &url,
        "--digest",
        &format!("sha256:{}", "0".repeat(64)),
    ]);
    assert_eq!(run.code, Some(4), "{}", run.stderr);
}

#[test]
fn what_arrived_before_a_failure_is_kept_for_the_next_run() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(35, SIZE));
    let cut = Some(Early {
        after: 2_000_000,
        times: Times::Always,
    });
    let origin = Origin::start(
        sample.bytes.clone(),
        Behaviour {
            cut,
            stop_after_total: Some(2_000_000),
            ..Behaviour::default()
        },
    );
    let (url, cid) = (origin.url(), sample.cid());
    let line = [
        "get",
        &url,
        "--cid",
        &cid,
        "--digest",
        &sample.digest.to_string(),
    ];
    let failed = env.run(&line);
    assert_eq!(failed.code, Some(4), "{}", failed.stderr);
    let second = Origin::start(sample.bytes.clone(), Behaviour::default());
    let mut line = line.to_vec();
    let mirror = second.url();
    line.extend(["--mirror", &mirror, "--json"]);
    let run = env.succeed(&line);
    assert!(
        run.last("result")["resumed"].as_u64() > Some(1_000_000),
        "{}",
        run.stdout
    );
    assert!(second.bytes_sent() < 2_500_000, "{}", second.bytes_sent());
}
