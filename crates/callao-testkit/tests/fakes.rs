//! The fakes are as good, and as bad, as they claim: asked over a bare socket, so that no client hides anything.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use callao_content::{Cid, cid, import, profile::Profile};
use callao_testkit::gateway::{CarEnd, Gateway, GatewayBehaviour, Which};
use callao_testkit::image::Image;
use callao_testkit::kubo::{FakeKubo, KuboBehaviour};
use callao_testkit::origin::{Behaviour, Change, Early, Origin, Ranges, Redirect, Status, Times};
use callao_testkit::router::{Router, RouterBehaviour};

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The body ended before its announced end.
    short: bool,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }
}

fn ask(method: &str, url: &str, headers: &str) -> Answer {
    let rest = url.strip_prefix("http://").expect("an http URL");
    let (host, path) = rest.split_at(rest.find('/').expect("a path"));
    let mut stream = TcpStream::connect(host).expect("the fake listens");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n"
    )
    .expect("the fake reads");
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line");
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("a status");
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header line");
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut answer = Answer {
        status,
        headers,
        body: Vec::new(),
        short: false,
    };
    if method == "HEAD" {
        return answer;
    }
    if answer.header("transfer-encoding") == "chunked" {
        answer.short = !read_chunks(&mut reader, &mut answer.body);
    } else {
        let length: u64 = answer.header("content-length").parse().expect("a length");
        reader
            .take(length)
            .read_to_end(&mut answer.body)
            .expect("a body");
        answer.short = (answer.body.len() as u64) < length;
    }
    answer
}

/// Whether the last chunk came.
fn read_chunks(reader: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> bool {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a chunk's length");
        let Ok(length) = u64::from_str_radix(line.trim_end(), 16) else {
            return false;
        };
        let before = body.len() as u64;
        reader
            .by_ref()
            .take(length)
            .read_to_end(body)
            .expect("a chunk");
        if body.len() as u64 - before < length {
            return false;
        }
        line.clear();
        reader.read_line(&mut line).expect("the end of a chunk");
        if length == 0 {
            return true;
        }
    }
}

fn image() -> Arc<[u8]> {
    Image::Random(1).bytes(1_000_000).into()
}

fn origin(behaviour: Behaviour) -> Origin {
    Origin::start(image(), behaviour)
}

#[test]
fn origin_serves_like_a_static_server() {
    let server = origin(Behaviour::default());
    let whole = ask("GET", &server.url(), "");
    assert_eq!((whole.status, &whole.body[..]), (200, &image()[..]));
    let part = ask("GET", &server.url(), "Range: bytes=10-19\r\n");
    assert_eq!(
        (part.status, part.header("content-range")),
        (206, "bytes 10-19/1000000")
    );
    assert_eq!(part.body, &image()[10..20]);
    let tail = ask("GET", &server.url(), "Range: bytes=-5\r\n");
    assert_eq!(tail.body, &image()[999_995..]);
    assert_eq!(
        ask("GET", &server.url(), "Range: bytes=1000000-\r\n").status,
        416
    );
    let other = ask(
        "GET",
        &server.url(),
        "Range: bytes=10-19\r\nIf-Range: \"other\"\r\n",
    );
    assert_eq!((other.status, other.body.len()), (200, 1_000_000));
    let etag = format!("If-None-Match: {}\r\n", whole.header("etag"));
    assert_eq!(ask("HEAD", &server.url(), &etag).status, 304);
    let head = ask("HEAD", &server.url(), "");
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, "1000000")
    );
    assert_eq!(server.requests().len(), 7);
    assert_eq!(server.requests()[1].range.as_deref(), Some("bytes=10-19"));
    assert_eq!(server.bytes_sent(), 2_000_015);
}

fn get(behaviour: Behaviour, headers: &str) -> Answer {
    let server = origin(behaviour);
    ask("GET", &server.url(), headers)
}

fn ranges(ranges: Ranges) -> Behaviour {
    Behaviour {
        ranges,
        ..Behaviour::default()
    }
}

#[test]
fn origin_lies_about_lengths() {
    let base = Behaviour::default;
    let cut = get(
        Behaviour {
            cut: Some(Early {
                after: 70_000,
                times: Times::Always,
            }),
            ..base()
        },
        "",
    );
    assert_eq!((cut.body.len(), cut.short), (70_000, true));
    let longer = get(
        Behaviour {
            length_lie: -10,
            ..base()
        },
        "",
    );
    assert_eq!((longer.body.len(), longer.short), (999_990, false));
    assert!(
        get(
            Behaviour {
                length_lie: 10,
                ..base()
            },
            ""
        )
        .short
    );
}

#[test]
fn origin_lies_about_ranges() {
    let range = "Range: bytes=10-19\r\n";
    assert_eq!(get(ranges(Ranges::Ignore), range).status, 200);
    assert_eq!(get(ranges(Ranges::Refuse), range).status, 416);
    let lie = get(ranges(Ranges::LieAboutStart(5)), range);
    assert_eq!(lie.header("content-range"), "bytes 15-24/1000000");
    assert_eq!(lie.body, &image()[10..20]);
    let lie = get(ranges(Ranges::LieAboutTotal(7)), range);
    assert_eq!(lie.header("content-range"), "bytes 10-19/7");
    assert_eq!(
        get(ranges(Ranges::ShiftedBytes(3)), range).body,
        &image()[13..23]
    );
}

#[test]
fn origin_sends_something_else() {
    let base = Behaviour::default;
    let range = "Range: bytes=10-19\r\n";
    let flipped = get(
        Behaviour {
            flipped: vec![12],
            ..base()
        },
        range,
    );
    assert_eq!(
        (flipped.body[2], flipped.body[3]),
        (!image()[12], image()[13])
    );
    assert_eq!(
        get(
            Behaviour {
                gzip: true,
                ..base()
            },
            ""
        )
        .header("content-encoding"),
        "gzip"
    );
    assert!(
        get(
            Behaviour {
                html: true,
                ..base()
            },
            ""
        )
        .body
        .starts_with(b"<!DOCTYPE html>")
    );
    let chunked = get(
        Behaviour {
            chunked: true,
            ..base()
        },
        "",
    );
    assert_eq!(
        (
            chunked.header("content-length"),
            &chunked.body[..],
            chunked.short
        ),
        ("", &image()[..], false)
    );
    assert_eq!(get(base().without_validators(), "").header("etag"), "");
}

#[test]
fn origin_faults_end_when_they_should() {
    let busy = Status {
        code: 429,
        retry_after: Some(1),
        times: Times::First(1),
    };
    let server = origin(Behaviour {
        status: Some(busy),
        ..Behaviour::default()
    });
    assert_eq!(ask("GET", &server.url(), "").header("retry-after"), "1");
    assert_eq!(ask("GET", &server.url(), "").status, 200);
    let change = Change {
        after_requests: 1,
        body: None,
    };
    let server = origin(Behaviour {
        change: Some(change),
        ..Behaviour::default()
    });
    let first = ask("GET", &server.url(), "").header("etag").to_owned();
    assert_ne!(ask("GET", &server.url(), "").header("etag"), first);
    let server = origin(Behaviour {
        redirect: Some(Redirect::Hops(1)),
        ..Behaviour::default()
    });
    assert_eq!(ask("GET", &server.url(), "").header("location"), "/a");
    assert_eq!(ask("GET", &server.url_of("/a"), "").status, 200);
    let server = origin(Behaviour {
        stop_after_total: Some(500_000),
        ..Behaviour::default()
    });
    let answer = ask("GET", &server.url(), "");
    assert_eq!(
        (answer.body.len(), server.bytes_sent(), server.is_stopped()),
        (500_000, 500_000, true)
    );
}

#[test]
fn gateway_serves_blocks_cars_and_ranges() {
    let bytes = image();
    let layout = import::import(&bytes, Profile::KuboCidV1.shape()).expect("an image has a layout");
    let root = cid::text(layout.root());
    let leaf = layout.leaf_cid(1).expect("leaves have CIDs");
    let url = |server: &Gateway, rest: &str| format!("{}/ipfs/{rest}", server.url());
    let server = Gateway::start(
        vec![(layout.clone(), Arc::clone(&bytes))],
        vec![],
        GatewayBehaviour {
            plain: true,
            ..GatewayBehaviour::default()
        },
    );
    let raw = ask(
        "GET",
        &url(&server, &format!("{}?format=raw", cid::text(&leaf))),
        "",
    );
    assert_eq!(raw.body, &bytes[262_144..524_288]);
    assert_eq!(
        ask("HEAD", &url(&server, "bafkqaaa?format=raw"), "").status,
        200
    );
    let car = ask("GET", &url(&server, &format!("{root}?format=car")), "");
    assert!(!car.short && car.body.len() > 1_000_000);
    let part = ask(
        "GET",
        &url(
            &server,
            &format!("{root}?format=car&entity-bytes=300000:300010"),
        ),
        "",
    );
    assert!(
        (262_144..263_500).contains(&part.body.len()),
        "root and one leaf: {}",
        part.body.len()
    );
    let range = ask("GET", &url(&server, &root), "Range: bytes=5-9\r\n");
    assert_eq!((range.status, &range.body[..]), (206, &bytes[5..10]));
    let unknown = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku?format=raw";
    assert_eq!(ask("GET", &url(&server, unknown), "").status, 404);
    assert_eq!(
        ask(
            "GET",
            &url(&server, unknown),
            "Cache-Control: only-if-cached\r\n"
        )
        .status,
        412
    );
}

fn faulty_gateway() -> (String, Cid, impl Fn(GatewayBehaviour, &str) -> Answer) {
    let bytes = image();
    let layout = import::import(&bytes, Profile::KuboCidV1.shape()).expect("an image has a layout");
    let (root, leaf) = (
        cid::text(layout.root()),
        layout.leaf_cid(1).expect("leaves have CIDs"),
    );
    let get = move |behaviour, rest: &str| {
        let server = Gateway::start(
            vec![(layout.clone(), Arc::clone(&bytes))],
            vec![],
            behaviour,
        );
        ask("GET", &format!("{}/ipfs/{rest}", server.url()), "")
    };
    (root, leaf, get)
}

#[test]
fn gateway_sends_wrong_blocks() {
    let (_, leaf, get) = faulty_gateway();
    let raw = format!("{}?format=raw", cid::text(&leaf));
    let base = GatewayBehaviour::default;
    let wrong = get(
        GatewayBehaviour {
            wrong: Some(Which::Block(leaf)),
            ..base()
        },
        &raw,
    );
    assert!(cid::verify_block(&leaf, &wrong.body).is_err());
    assert_eq!(
        get(
            GatewayBehaviour {
                oversize: Some(Which::Nth(0)),
                ..base()
            },
            &raw
        )
        .body
        .len(),
        3 * 1024 * 1024
    );
    assert_eq!(
        get(
            GatewayBehaviour {
                busy: Some((1, Some(2))),
                ..base()
            },
            &raw
        )
        .header("retry-after"),
        "2"
    );
    assert_eq!(
        get(
            GatewayBehaviour {
                missing: vec![leaf],
                ..base()
            },
            &raw
        )
        .status,
        404
    );
}

#[test]
fn gateway_cars_end_early() {
    let (root, leaf, get) = faulty_gateway();
    let car = format!("{root}?format=car");
    let base = GatewayBehaviour::default;
    assert!(
        get(
            GatewayBehaviour {
                car_ends_after: Some((2, CarEnd::Cut)),
                ..base()
            },
            &car
        )
        .short
    );
    let marked = get(
        GatewayBehaviour {
            missing: vec![leaf],
            ..base()
        },
        &car,
    );
    assert!(!marked.short && marked.body.ends_with(b"response is incomplete]\n"));
    let shuffled = get(
        GatewayBehaviour {
            shuffled: true,
            ..base()
        },
        &car,
    );
    assert!(shuffled.header("content-type").contains("order=unk"));
}

#[test]
fn kubo_and_router_answer() {
    let bytes = image();
    let layout = import::import(&bytes, Profile::KuboCidV1.shape()).expect("an image has a layout");
    let root = cid::text(layout.root());
    let kubo = FakeKubo::start(
        vec![(layout, Arc::clone(&bytes))],
        vec![],
        KuboBehaviour::default(),
    );
    let call = |rest: &str| ask("POST", &format!("{}/api/v0/{rest}", kubo.url()), "");
    assert!(call("version").body.starts_with(br#"{"Version":"0.43.1""#));
    assert_eq!(
        call(&format!("cat?arg={root}&offset=5&length=6")).body,
        &bytes[5..11]
    );
    assert_eq!(call("block/get?arg=nonsense").status, 500);
    let router = Router::start(RouterBehaviour {
        records: vec!["{}".to_owned()],
        ..RouterBehaviour::default()
    });
    let answer = ask(
        "GET",
        &format!("{}/routing/v1/providers/{root}", router.url()),
        "",
    );
    assert_eq!(answer.body, br#"{"Providers":[{}]}"#);
}
