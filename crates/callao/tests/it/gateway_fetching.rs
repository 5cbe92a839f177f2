//! A gateway that fetches what it lacks: for whom, how long it waits, and what it sends meanwhile.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use callao::gateway::{Fetch, Fetcher, NotFetched};
use callao_content::cid::{self, Cid};
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::env::Sample;
use crate::gateway_world::{Connection, File, Shelf, World};

const LEAF: usize = 256 * 1024;

/// Fetches one file, as far as the test lets it.
#[derive(Debug)]
struct FromTest {
    shelf: Arc<Shelf>,
    sample: Sample,
    file: Mutex<Option<Arc<File>>>,
    /// Bytes that have come.
    come: watch::Receiver<u64>,
    blocks: Vec<(Cid, Vec<u8>)>,
    asked: Mutex<Vec<Cid>>,
}

#[derive(Debug)]
struct Coming(Arc<FromTest>);

/// What the server is given.
#[derive(Debug)]
struct Shared(Arc<FromTest>);

impl Fetcher for Shared {
    fn file(&self, root: Cid) -> BoxFuture<'_, Result<Arc<dyn Fetch>, NotFetched>> {
        let fetcher = Arc::clone(&self.0);
        Box::pin(async move {
            fetcher.asked.lock().expect("a lock").push(root);
            if fetcher.blocks.iter().any(|(cid, _)| *cid == root) {
                return Err(NotFetched::NotAFile);
            }
            if *fetcher.sample.layout.root() != root {
                return Err(NotFetched::Nobody);
            }
            let mut file = fetcher.file.lock().expect("a lock");
            file.get_or_insert_with(|| fetcher.shelf.add_part("", &fetcher.sample, &[]));
            drop(file);
            Ok(Arc::new(Coming(fetcher)) as Arc<dyn Fetch>)
        })
    }

    fn block(&self, cid: Cid) -> BoxFuture<'_, Result<Bytes, NotFetched>> {
        let found = self.0.blocks.iter().find(|(known, _)| *known == cid);
        let found = found.map(|(_, block)| Bytes::from(block.clone()));
        Box::pin(std::future::ready(found.ok_or(NotFetched::Nobody)))
    }
}

impl Fetch for Coming {
    fn wait(&self, range: std::ops::Range<u64>) -> BoxFuture<'_, Result<u64, NotFetched>> {
        let mut come = self.0.come.clone();
        Box::pin(async move {
            let until = *come
                .wait_for(|come| *come > range.start)
                .await
                .map_err(|_| NotFetched::Failed("the source went away".to_owned()))?;
            let file = self.0.file.lock().expect("a lock");
            file.as_ref().expect("it has begun").come(0..until);
            Ok(until.min(range.end))
        })
    }
}

struct Scene {
    world: World,
    fetcher: Arc<FromTest>,
    come: Option<watch::Sender<u64>>,
    dir: Cid,
}

fn scene(retrieval: Duration) -> Scene {
    let sample = Sample::random(70, 5 * LEAF + 9);
    let mut elsewhere = Shelf::default();
    let dir = elsewhere.directory(&[("f", *sample.layout.root())]);
    let shelf = Arc::new(Shelf::default());
    let (come, watched) = watch::channel(0);
    let block = {
        use callao_store::served::Served as _;
        let mut block = Vec::new();
        assert!(elsewhere.read(&dir, &mut block));
        block
    };
    let fetcher = Arc::new(FromTest {
        shelf: Arc::clone(&shelf),
        sample,
        file: Mutex::default(),
        come: watched,
        blocks: vec![(dir, block)],
        asked: Mutex::default(),
    });
    let shared = Arc::new(Shared(Arc::clone(&fetcher)));
    let world = World::with(shelf, |backend| {
        backend.fetcher = Some(shared);
        backend.options.retrieval_timeout = retrieval;
    });
    Scene {
        world,
        fetcher,
        come: Some(come),
        dir,
    }
}

impl Scene {
    fn come(&self, bytes: usize) {
        self.come
            .as_ref()
            .expect("it is open")
            .send_replace(bytes as u64);
    }

    fn target(&self) -> String {
        format!("/ipfs/{}", self.fetcher.sample.cid())
    }
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);

#[test]
fn bytes_are_sent_as_they_become_proven() {
    let scene = scene(LONG);
    let bytes = Arc::clone(&scene.fetcher.sample.bytes);
    let mut connection = Connection::open(scene.world.address);
    connection.send("GET", &scene.target(), &[]);
    scene.come(2 * LEAF);
    // The beginning is here before the rest has come.
    let mut read = 0;
    while read < LEAF {
        let some = connection.some(LEAF);
        assert!(some > 0, "it goes on");
        read += some;
    }
    scene.come(bytes.len());
    let mut connection = Connection::open(scene.world.address);
    connection.send("GET", &scene.target(), &[]);
    assert_eq!(connection.read(false).body, &*bytes);
    let car = scene.world.get(&format!("{}?format=car", scene.target()));
    assert_eq!((car.whole, car.blocks().len()), (true, 7));
}

#[test]
fn every_form_of_a_file_is_fetched() {
    for query in [
        "",
        "?filename=x.qcow2",
        "?format=car",
        "?format=car&dag-scope=entity",
    ] {
        let scene = scene(LONG);
        scene.come(scene.fetcher.sample.bytes.len());
        let reply = scene.world.get(&format!("{}{query}", scene.target()));
        assert_eq!(
            (reply.status, reply.whole),
            (200, true),
            "{query}: {}",
            reply.text()
        );
        let below = scene.world.get(&format!("/ipfs/{}/f{query}", scene.dir));
        assert_eq!(
            (below.status, below.whole),
            (200, true),
            "{query}: {}",
            below.text()
        );
    }
    let scene = scene(LONG);
    let listed = scene.world.get(&format!("/ipfs/{}/", scene.dir));
    assert_eq!(listed.status, 200, "{}", listed.text());
    let raw = scene.world.get(&format!("/ipfs/{}?format=raw", scene.dir));
    assert_eq!(raw.status, 200);
}

#[test]
fn guests_and_those_who_ask_for_what_is_here_make_nobody_fetch() {
    let scene = scene(LONG);
    scene.come(scene.fetcher.sample.bytes.len());
    for query in ["", "?format=raw", "?format=car"] {
        let target = format!("{}{query}", scene.target());
        for headers in [
            [("Host", "lan.example:8080"), ("Accept", "*/*")],
            [("Host", "127.0.0.1"), ("Origin", "http://evil.example")],
        ] {
            assert_eq!(
                scene.world.ask("GET", &target, &headers).status,
                404,
                "{target}"
            );
        }
        let here = [("Cache-Control", "only-if-cached")];
        assert_eq!(
            scene.world.ask("GET", &target, &here).status,
            412,
            "{target}"
        );
    }
    assert!(scene.fetcher.asked.lock().expect("a lock").is_empty());
}

#[test]
fn what_does_not_come_in_time_is_a_504() {
    let scene = scene(SHORT);
    let cid = scene.fetcher.sample.cid();
    let reply = scene.world.get(&scene.target());
    assert_eq!(reply.status, 504);
    assert_eq!(
        reply.text(),
        format!("{cid}: it is not here, and nobody sent it in time\n")
    );
    // Once something was sent, the end of the connection says it.
    scene.come(2 * LEAF);
    let reply = scene.world.get(&scene.target());
    assert_eq!((reply.status, reply.whole), (200, false));
    let car = scene.world.get(&format!("{}?format=car", scene.target()));
    assert_eq!((car.status, car.whole), (200, false));
}

#[test]
fn nobody_to_ask_is_a_504_at_once() {
    let scene = scene(LONG);
    let gone = "bafybeig5vezx7bk2mhg2mfuzflm4qw7epzpjkch6m5w4g23xzexaiyodfa";
    let asked = Instant::now();
    for query in ["", "?format=raw", "?format=car", "/a/b"] {
        let reply = scene.world.get(&format!("/ipfs/{gone}{query}"));
        assert_eq!(reply.status, 504, "{query}");
        assert_eq!(
            reply.text(),
            format!("{gone}: it is not here, and there is nobody to ask\n")
        );
    }
    assert!(asked.elapsed() < LONG, "nobody was waited for");
}

#[test]
fn a_fetch_that_fails_says_why() {
    let mut scene = scene(LONG);
    scene.come = None;
    let reply = scene.world.get(&scene.target());
    let cid = cid::text(scene.fetcher.sample.layout.root());
    assert_eq!(
        (reply.status, reply.text()),
        (504, format!("{cid}: the source went away\n"))
    );
}
