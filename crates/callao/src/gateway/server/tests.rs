//! What guests may have: they are simulated by connections in memory, since tests leave loopback alone.

use std::sync::atomic::{AtomicU64, Ordering};

use callao_content::digest::Digest;
use callao_content::{Cid, cid, hash};
use callao_store::served::Served;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::gateway::{Counters, Held, HeldFile, Options, RateLimit};

const BLOCK_BYTES: usize = 1 << 20;

/// One block.
#[derive(Debug)]
struct One(Vec<u8>);

impl One {
    fn cid(&self) -> Cid {
        cid::raw_sha256(hash::sha256(&self.0))
    }
}

impl Served for One {
    fn length(&self, cid: &Cid) -> Option<u32> {
        (*cid == self.cid()).then_some(self.0.len() as u32)
    }

    fn read(&self, cid: &Cid, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        buffer.extend_from_slice(&self.0);
        *cid == self.cid()
    }
}

impl Held for One {
    fn file(&self, _: &Cid) -> Option<Arc<dyn HeldFile>> {
        None
    }

    fn with_digest(&self, _: &Digest) -> Vec<Cid> {
        Vec::new()
    }
}

/// Counts what leaves.
#[derive(Debug, Default)]
struct Rate(AtomicU64);

impl RateLimit for Rate {
    fn take(&self, bytes: u64) -> BoxFuture<'_, ()> {
        assert!(bytes <= 2 << 20);
        self.0.fetch_add(bytes, Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    }
}

struct Scene {
    gateway: Arc<Gateway>,
    rate: Arc<Rate>,
    target: String,
}

fn scene(lan_answers_max: usize) -> Scene {
    let block = One(vec![7; BLOCK_BYTES]);
    let target = format!("/ipfs/{}?format=raw", block.cid());
    let rate = Arc::new(Rate::default());
    let backend = Backend {
        shelf: Arc::new(block),
        fetcher: None,
        router: None,
        names: None,
        pages: None,
        rate: Some(Arc::clone(&rate) as Arc<dyn RateLimit>),
        counters: Arc::new(Counters::default()),
        options: Options {
            lan_answers_max,
            ..Options::default()
        },
    };
    Scene {
        gateway: Gateway::new(Arc::new(backend)),
        rate,
        target,
    }
}

impl Scene {
    /// A request from this address; nothing of the answer is read yet.
    async fn ask(&self, address: [u8; 4], target: &str) -> DuplexStream {
        let client = Client {
            address: SocketAddr::from((address, 1234)),
            port: 80,
        };
        let (near, mut far) = tokio::io::duplex(1000);
        let seat = Seat::take(&self.gateway, client).expect("a seat");
        let gateway = Arc::clone(&self.gateway);
        tokio::spawn(connection(
            near,
            client,
            gateway,
            seat,
            CancellationToken::new(),
        ));
        let head = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        far.write_all(head.as_bytes()).await.expect("it is sent");
        far
    }
}

async fn read(mut stream: DuplexStream) -> String {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.expect("an answer");
    String::from_utf8_lossy(&all).into_owned()
}

const GUEST: [u8; 4] = [192, 168, 1, 7];
const LOCAL: [u8; 4] = [127, 0, 0, 1];

#[tokio::test]
async fn a_guest_who_is_one_too_many_is_told_to_come_again() {
    let scene = scene(1);
    let mut first = scene.ask(GUEST, &scene.target).await;
    // The answer has begun, so the seat is taken.
    first.read_u8().await.expect("the answer begins");
    let second = read(scene.ask([192, 168, 1, 8], &scene.target).await).await;
    assert!(
        second.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
        "{second}"
    );
    assert!(second.contains("retry-after: 2\r\n"), "{second}");
    assert!(
        second.ends_with("too many others are being served; ask again later\n"),
        "{second}"
    );
    let local = read(scene.ask(LOCAL, &scene.target).await).await;
    assert!(local.starts_with("HTTP/1.1 200"), "the owner is no guest");
    assert!(read(first).await.len() > BLOCK_BYTES);
    let third = read(scene.ask(GUEST, &scene.target).await).await;
    assert!(third.starts_with("HTTP/1.1 200"), "the seat was given back");
}

#[tokio::test]
async fn only_what_guests_take_is_slowed_down() {
    let scene = scene(8);
    read(scene.ask(LOCAL, &scene.target).await).await;
    assert_eq!(scene.rate.0.load(Ordering::SeqCst), 0);
    read(scene.ask(GUEST, &scene.target).await).await;
    assert_eq!(scene.rate.0.load(Ordering::SeqCst), BLOCK_BYTES as u64);
    let sent = scene.gateway.backend.counters.sent();
    assert_eq!(sent, 2 * BLOCK_BYTES as u64);
}

#[tokio::test]
async fn one_guest_has_only_so_many_connections() {
    let scene = scene(8);
    let client = |last: u8| Client {
        address: SocketAddr::from(([192, 168, 1, last], 1)),
        port: 80,
    };
    let seats: Vec<Seat> = (0..CONNECTIONS_PER_GUEST_COUNT_MAX)
        .map(|_| Seat::take(&scene.gateway, client(7)).expect("a seat"))
        .collect();
    assert!(Seat::take(&scene.gateway, client(7)).is_none());
    assert!(Seat::take(&scene.gateway, client(8)).is_some());
    assert!(!scene.gateway.by_guest().contains_key(&client(8).ip()));
    drop(seats);
    assert!(Seat::take(&scene.gateway, client(7)).is_some());
}
