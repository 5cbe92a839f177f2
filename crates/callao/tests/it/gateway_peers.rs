//! The gateway's other parts over real sockets: callao's own API, routing, pages for this computer alone, and who may have what.

use std::sync::Arc;

use callao::gateway::{Body, Client, Pages, Peer, Providers};
use callao_content::cid::Cid;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use crate::env::Sample;
use crate::gateway_world::{Reply, Shelf, World, sha256};

const LEAF: usize = 256 * 1024;
const OWN: &str = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
const OTHER: &str = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";

#[derive(Debug)]
struct Router;

fn own() -> Peer {
    Peer {
        id: OWN.to_owned(),
        addrs: vec![
            "/ip4/127.0.0.1/tcp/4001".to_owned(),
            "/ip6/::1/udp/4001/quic-v1".to_owned(),
        ],
        protocols: vec!["transport-bitswap".to_owned()],
    }
}

fn other() -> Peer {
    Peer {
        id: OTHER.to_owned(),
        addrs: vec!["/ip4/127.0.0.1/tcp/4002/http".to_owned()],
        protocols: vec!["transport-ipfs-gateway-http".to_owned()],
    }
}

impl Providers for Router {
    fn own(&self) -> Option<Peer> {
        Some(own())
    }

    fn providers(&self, _: Cid) -> BoxFuture<'_, Vec<Peer>> {
        Box::pin(async { vec![other(), own()] })
    }

    fn peer(&self, id: String) -> BoxFuture<'_, Option<Peer>> {
        Box::pin(async move { (id == OTHER).then(other) })
    }
}

fn value(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).expect("JSON")
}

fn ids(reply: &Reply) -> Vec<String> {
    let value = value(reply);
    let list = value.get("Providers").or(value.get("Peers"));
    let list = list.and_then(Value::as_array).expect("a list");
    let id = |record: &Value| record["ID"].as_str().expect("an ID").to_owned();
    list.iter().map(id).collect()
}

#[test]
fn peers_learn_what_is_proven_and_how_to_prove_more() {
    let sample = Sample::random(62, 5 * LEAF);
    let small = Sample::random(63, 100);
    let mut shelf = Shelf::of(&[&small]);
    let half = [0..LEAF as u64, 2 * LEAF as u64..3 * LEAF as u64];
    shelf.add_part("half", &sample, &half);
    shelf.add("small", &small);
    let world = World::start(shelf);
    let have = world.get(&format!("/callao/v1/have/{}", sample.cid()));
    let wanted = json!({"v": 1, "size": 5 * LEAF, "complete": false, "ranges": [[0, LEAF], [2 * LEAF, 3 * LEAF]]});
    assert_eq!(value(&have), wanted);
    assert_eq!(have.header("cache-control"), "no-store");
    assert_eq!(
        have.header("access-control-allow-origin"),
        "",
        "not for pages of others"
    );
    let all = world.get(&format!("/callao/v1/have/{}", small.cid()));
    assert_eq!(
        value(&all),
        json!({"v": 1, "size": 100, "complete": true, "ranges": [[0, 100]]})
    );

    let skeleton = world.get(&format!("/callao/v1/skeleton/{}", sample.cid()));
    let nodes: Vec<Cid> = sample.layout.nodes().iter().map(|node| node.cid).collect();
    assert_eq!((skeleton.status, skeleton.blocks()), (200, nodes));
    let none = world.get(&format!("/callao/v1/skeleton/{}", small.cid()));
    assert_eq!((none.status, none.blocks().len()), (200, 0));

    let roots = world.get(&format!("/callao/v1/digest/{}", sha256(&sample)));
    assert_eq!(value(&roots), json!({"v": 1, "roots": [sample.cid()]}));
    let nobody = format!("/callao/v1/digest/sha256:{}", "0".repeat(64));
    assert_eq!(value(&world.get(&nobody)), json!({"v": 1, "roots": []}));
    let gone = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    for (target, status, message) in [
        (format!("have/{gone}"), 404, format!("{gone} is not here")),
        (
            format!("skeleton/{gone}"),
            404,
            format!("{gone} is not here"),
        ),
        ("have/x".to_owned(), 400, "`x` is not a CID".to_owned()),
        (
            "digest/md5:00".to_owned(),
            400,
            "`md5:00` is not a digest".to_owned(),
        ),
        (
            "other".to_owned(),
            404,
            "callao/v1 has skeleton/ROOT, have/ROOT and digest/ALGORITHM:HEX".to_owned(),
        ),
    ] {
        let reply = world.get(&format!("/callao/v1/{target}"));
        assert_eq!(
            (reply.status, reply.text()),
            (status, message + "\n"),
            "{target}"
        );
    }
}

/// What others may take of a file that is still being fetched.
#[test]
fn proven_bytes_of_a_partial_file_are_served_to_guests() {
    let sample = Sample::random(64, 5 * LEAF);
    let shelf = Shelf::default();
    let middle = LEAF as u64..3 * LEAF as u64;
    shelf.add_part("half", &sample, std::slice::from_ref(&middle));
    let world = World::start(shelf);
    let target = format!("/ipfs/{}", sample.cid());
    for (range, status) in [
        ("bytes=262144-786431", 206),
        ("bytes=300000-300001", 206),
        ("bytes=262143-262144", 416),
        ("bytes=786431-786432", 416),
        ("bytes=0-", 416),
    ] {
        let reply = world.ask("GET", &target, &[("Range", range), ("Host", "lan.example")]);
        assert_eq!(reply.status, status, "{range}");
        if status == 416 {
            assert_eq!(
                reply.text(),
                format!("these bytes of {} are not here yet\n", sample.cid())
            );
        }
    }
    assert_eq!(world.get(&target).status, 404);
    let here = [("Cache-Control", "only-if-cached"), ("Range", "bytes=0-1")];
    assert_eq!(world.ask("GET", &target, &here).status, 412);
}

#[test]
fn routers_are_told_who_has_what() {
    let sample = Sample::random(65, 2 * LEAF);
    let mut shelf = Shelf::of(&[&sample]);
    shelf.directory(&[("f", *sample.layout.root())]);
    let world = World::with(Arc::new(shelf), |backend| {
        backend.router = Some(Arc::new(Router))
    });
    let leaf = sample.layout.leaf_cid(0).expect("a leaf");
    let whole =
        callao_content::cid::raw_sha256(sample.digest.as_bytes().try_into().expect("32 bytes"));
    let gone = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    let other_codec = Cid::new_v1(0x55, *sample.layout.root().hash());
    for cid in [
        sample.cid(),
        leaf.to_string(),
        whole.to_string(),
        other_codec.to_string(),
    ] {
        let reply = world.get(&format!("/routing/v1/providers/{cid}"));
        assert_eq!(ids(&reply), [OWN, OTHER], "{cid}");
        assert_eq!(reply.header("cache-control"), "public, max-age=300");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
    }
    assert_eq!(
        ids(&world.get(&format!("/routing/v1/providers/{gone}"))),
        [OTHER, OWN]
    );
    // For guests nobody else is asked.
    let guest = [("Host", "evil.example")];
    let target = format!("/routing/v1/providers/{gone}");
    let nobody = world.ask("GET", &target, &guest);
    assert_eq!(value(&nobody), json!({"Providers": []}));
    assert_eq!(nobody.header("cache-control"), "public, max-age=15");
    let filtered = format!(
        "/routing/v1/providers/{}?filter-addrs=quic-v1&filter-protocols=transport-bitswap",
        sample.cid()
    );
    let record = json!({"Schema": "peer", "ID": OWN, "Addrs": ["/ip6/::1/udp/4001/quic-v1"], "Protocols": ["transport-bitswap"]});
    assert_eq!(
        value(&world.get(&filtered)),
        json!({ "Providers": [record] })
    );
    let lines = world.ask(
        "GET",
        &filtered,
        &[("Accept", "application/x-ndjson, application/json")],
    );
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    assert_eq!(lines.text(), format!("{record}\n"));
    let empty = [("Accept", "application/x-ndjson"), guest[0]];
    assert_eq!(world.ask("GET", &target, &empty).text(), "");
}

#[test]
fn routers_are_told_where_peers_are() {
    let shelf = Arc::new(Shelf::default());
    let world = World::with(shelf, |backend| backend.router = Some(Arc::new(Router)));
    let gone = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    for (id, wanted) in [
        (OWN, &[OWN][..]),
        (OTHER, &[OTHER]),
        ("12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp", &[]),
    ] {
        assert_eq!(
            ids(&world.get(&format!("/routing/v1/peers/{id}"))),
            wanted,
            "{id}"
        );
    }
    assert!(
        ids(&world.ask(
            "GET",
            &format!("/routing/v1/peers/{OTHER}"),
            &[("Host", "evil.example")]
        ))
        .is_empty()
    );
    for (target, status, message) in [
        ("providers/x", 422, "`x` is not a CID"),
        ("peers/x", 422, "`x` is not a peer ID"),
        ("ipns/k51", 422, "`k51` is not the name of a key"),
        (
            "ipns/k51qzi5uqu5dguzwleig8sytsvxqgb6d1wxwquj7oz30lczvhx9m5fk24le4yc",
            501,
            "names are not resolved here; ask for /ipfs and a CID",
        ),
        (
            "other/x",
            404,
            "routing/v1 has providers/CID, peers/PEER-ID and ipns/NAME",
        ),
        (
            "other",
            404,
            "routing/v1 has providers/CID, peers/PEER-ID and ipns/NAME",
        ),
    ] {
        let reply = world.get(&format!("/routing/v1/{target}"));
        assert_eq!(
            (reply.status, reply.text()),
            (status, format!("{message}\n")),
            "{target}"
        );
    }
    let world = World::start(Shelf::default());
    let reply = world.get(&format!("/routing/v1/providers/{gone}"));
    assert_eq!(
        (reply.status, reply.text()),
        (501, "there is no node here that knows peers\n".to_owned())
    );
}

#[derive(Debug)]
struct Page;

impl Pages for Page {
    fn has(&self, method: &Method, path: &str) -> bool {
        matches!(path, "/" | "/page") && (method == Method::GET || method == Method::POST)
    }

    fn answer(&self, client: Client, request: Request<Incoming>) -> BoxFuture<'_, Response<Body>> {
        Box::pin(async move {
            let body = request
                .into_body()
                .collect()
                .await
                .expect("a body")
                .to_bytes();
            let text = format!("{} {}", client.is_local(), body.len());
            Response::new(
                Full::from(text)
                    .map_err(|never| match never {})
                    .boxed_unsync(),
            )
        })
    }
}

#[test]
fn pages_are_for_this_computer_alone() {
    let world = World::with(Arc::new(Shelf::default()), |backend| {
        backend.pages = Some(Arc::new(Page))
    });
    assert_eq!(world.get("/").text(), "true 0");
    assert_eq!(
        world.ask("POST", "/", &[("Content-Length", "0")]).text(),
        "true 0"
    );
    let here = world.address.to_string();
    for headers in [
        [("Host", "evil.example"), ("Accept", "*/*")],
        [("Host", "127.0.0.1:1"), ("Accept", "*/*")],
        [("Host", &*here), ("Origin", "http://evil.example")],
        [("Host", &*here), ("Origin", "null")],
        [("Host", &*here), ("Sec-Fetch-Site", "cross-site")],
    ] {
        for method in ["GET", "POST"] {
            let all = [&headers[..], &[("Content-Length", "0")]].concat();
            let reply = world.ask(method, "/", &all);
            assert_eq!(reply.status, 403, "{headers:?}");
            assert_eq!(
                reply.text(),
                "this page is for this computer alone, under the name 127.0.0.1 or localhost and its own port\n"
            );
            assert_eq!(reply.header("access-control-allow-origin"), "");
        }
    }
    // A link from elsewhere opens the page as a whole, and that one alone.
    let visit = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ];
    assert_eq!(world.ask("GET", "/", &visit).text(), "true 0");
    assert_eq!(world.ask("GET", "/page", &visit).status, 403);
    assert_eq!(world.ask("POST", "/", &visit).status, 403);
    let counted = world.counters.clients();
    assert!(counted.is_empty(), "pages are not served: {counted:?}");
    assert_eq!(
        world.ask("PUT", "/", &[("Content-Length", "0")]).status,
        405
    );
}
