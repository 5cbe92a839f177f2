//! Peers that behave as js-libp2p's Helia was seen to: each side closes its half of a stream at once and answers on a new
//! one, a new stream for each message, fifty streams with one want each, answers packed up to 3.9 MB, at most 1024 wants,
//! and no second answer to a want that was not cancelled first.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callao_content::Cid;
use callao_content::import::import;
use callao_content::profile::Profile;
use callao_p2p::{Node, NodeOptions};
use callao_store::served::Served;
use callao_testkit::image::Image;
use futures::AsyncWriteExt;
use libp2p::Stream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::fetching::fetch;
use crate::memory::{Memory, file};
use crate::nodes::{PATIENCE, options, start, until};
use crate::raw::{Opener, Raw, read_message};
use crate::speech::{Ask, Speech};

const AGENT: &str = "helia/7.1.15 js-libp2p/3.3.11 node/24.0.0";
/// What one answer holds at most: 15 leaves of 256 KiB.
const ANSWER_BYTES_MAX: usize = 3_932_584;
/// Wants of one peer that it keeps; what comes beyond is lost without a word.
const WANTS_COUNT_MAX: usize = 1024;
/// Streams with one want each that a fetching Helia opens at once.
const STREAMS_AT_ONCE_COUNT: usize = 50;

/// What a serving Helia saw.
#[derive(Debug, Default)]
struct Seen {
    /// Wants beyond the 1024.
    lost: AtomicUsize,
    /// Wants of what was answered and not cancelled.
    repeated: AtomicUsize,
    /// Want streams that it gave up because nothing came on them.
    aborted: AtomicUsize,
}

/// Serves `memory` as Helia does; gives up a stream on which nothing comes for `patience` (10 s in Helia).
fn serve(raw: Raw, memory: Arc<Memory>, patience: Duration) -> Arc<Seen> {
    let seen = Arc::new(Seen::default());
    let (opener, mut streams) = raw.split();
    let (messages, inbox) = mpsc::unbounded_channel();
    tokio::spawn(answer(opener, memory, inbox, Arc::clone(&seen)));
    let for_streams = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Some(mut stream) = streams.recv().await {
            let (messages, seen) = (messages.clone(), Arc::clone(&for_streams));
            tokio::spawn(async move {
                drop(stream.close().await);
                loop {
                    match timeout(patience, read_message(&mut stream)).await {
                        Ok(Some(message)) => drop(messages.send(message)),
                        Ok(None) => return,
                        Err(_) => {
                            seen.aborted.fetch_add(1, Ordering::Relaxed);
                            return;
                        }
                    }
                }
            });
        }
    });
    seen
}

async fn answer(
    opener: Opener,
    memory: Arc<Memory>,
    mut inbox: mpsc::UnboundedReceiver<Vec<u8>>,
    seen: Arc<Seen>,
) {
    // Whether each want was answered.
    let mut wants: HashMap<Vec<u8>, bool> = HashMap::new();
    while let Some(message) = inbox.recv().await {
        let mut due = Vec::new();
        for (cid, ask) in Speech::decode(&message).wants {
            let key = cid.hash().to_bytes();
            match (ask, wants.get(&key)) {
                (Ask::Cancel, _) => drop(wants.remove(&key)),
                (_, Some(true)) => drop(seen.repeated.fetch_add(1, Ordering::Relaxed)),
                (_, Some(false)) => {}
                (_, None) if wants.len() >= WANTS_COUNT_MAX => {
                    seen.lost.fetch_add(1, Ordering::Relaxed);
                }
                (_, None) => {
                    wants.insert(key, true);
                    due.push((cid, ask));
                }
            }
        }
        let mut speech = Speech::default();
        let mut size = 0;
        for (cid, ask) in due {
            let mut block = Vec::new();
            if !memory.read(&cid, &mut block) {
                speech.presences.push((cid, false));
                continue;
            }
            if ask == Ask::Have && block.len() >= 1024 {
                speech.presences.push((cid, true));
                continue;
            }
            if size + block.len() > ANSWER_BYTES_MAX {
                opener.say(&std::mem::take(&mut speech).encode()).await;
                size = 0;
            }
            size += block.len() + 50;
            speech.blocks.extend(Speech::blocks([(cid, block)]).blocks);
        }
        if !speech.blocks.is_empty() || !speech.presences.is_empty() {
            opener.say(&speech.encode()).await;
        }
    }
}

/// A node that is connected to a serving Helia, and what that one sees.
async fn node_and_helia(memory: Arc<Memory>, patience: Duration) -> (Node, String, Arc<Seen>) {
    let raw = Raw::start(AGENT).await;
    let node = start(options()).await;
    node.connect(raw.address("/tcp/")).await.expect("connected");
    until("identify", || {
        node.peers().iter().any(|peer| peer.agent == AGENT)
    })
    .await;
    let id = raw.peer_id.clone();
    (node, id, serve(raw, memory, patience))
}

#[tokio::test(flavor = "multi_thread")]
async fn helia_gives_files_of_every_profile() {
    for profile in [
        Profile::KuboCidV1,
        Profile::UnixfsV0_2015,
        Profile::UnixfsV1_2025,
    ] {
        let (bytes, layout, memory) = file(Image::Random(21).bytes(40_000_001), profile);
        let (node, id, seen) = node_and_helia(memory, PATIENCE).await;
        let source = node.source(&id).expect("a peer ID");
        let (result, _) = fetch(*layout.root(), vec![source], None).await;
        assert!(result.expect("a file").0 == *bytes, "{profile:?}");
        assert_eq!(seen.lost.load(Ordering::Relaxed), 0, "{profile:?}");
        assert_eq!(seen.repeated.load(Ordering::Relaxed), 0, "{profile:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_leaves_than_helia_keeps_wants_all_arrive() {
    let bytes = Image::Random(22).bytes(5_000 * 4096 + 5);
    let mut shape = Profile::KuboCidV1.shape();
    shape.chunk_size = 4096;
    let layout = import(&bytes, shape).expect("a valid shape");
    let memory = Arc::new(Memory::new().with(&layout, &bytes));
    let (node, id, seen) = node_and_helia(memory, PATIENCE).await;
    let source = node.source(&id).expect("a peer ID");
    let (result, _) = fetch(*layout.root(), vec![source], None).await;
    assert!(result.expect("a file").0 == bytes);
    assert_eq!(seen.lost.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_helia_lacked_is_asked_again_with_a_cancel_before() {
    let (_, layout, memory) = file(Image::Random(23).bytes(2_000_000), Profile::KuboCidV1);
    let leaf = layout.leaf_cid(1).expect("a leaf");
    memory.hide([&leaf]);
    let (node, id, seen) = node_and_helia(Arc::clone(&memory), PATIENCE).await;
    let source = node.source(&id).expect("a peer ID");
    assert!(source.block(&leaf).await.is_err());
    memory.show_all();
    let block = source.block(&leaf).await.expect("it is there now");
    assert_eq!(block.len(), 262_144);
    // And once more, though it was sent.
    assert_eq!(source.block(&leaf).await.expect("again").len(), 262_144);
    assert_eq!(seen.repeated.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_want_stream_that_helia_gave_up_is_opened_anew() {
    let (_, layout, memory) = file(Image::Random(24).bytes(2_000_000), Profile::KuboCidV1);
    let (node, id, seen) = node_and_helia(memory, Duration::from_millis(50)).await;
    let source = node.source(&id).expect("a peer ID");
    for index in 0..3 {
        let leaf = layout.leaf_cid(index).expect("a leaf");
        assert!(source.block(&leaf).await.is_ok(), "leaf {index}");
        let before = seen.aborted.load(Ordering::Relaxed);
        until("the stream is given up", || {
            seen.aborted.load(Ordering::Relaxed) > before || index == 0
        })
        .await;
    }
}

/// All blocks of a file, fetched as Helia does: one want per stream, fifty streams at once.
async fn helia_fetches(node: &Node, part: &str, cids: Vec<Cid>) -> HashMap<Vec<u8>, Vec<u8>> {
    let raw = Raw::start(AGENT).await;
    raw.connect(node, part).await;
    let (opener, mut streams) = raw.split();
    let got = Arc::new(Mutex::new(HashMap::new()));
    let keep = Arc::clone(&got);
    tokio::spawn(async move {
        while let Some(stream) = streams.recv().await {
            tokio::spawn(read_blocks(stream, Arc::clone(&keep)));
        }
    });
    let slots = Arc::new(Semaphore::new(STREAMS_AT_ONCE_COUNT));
    let wanted = cids.len();
    for cid in cids {
        let slot = Arc::clone(&slots)
            .acquire_owned()
            .await
            .expect("never closed");
        let (opener, got) = (opener.clone(), Arc::clone(&got));
        tokio::spawn(async move {
            opener.say(&Speech::wants([cid]).encode()).await;
            let key = cid.hash().to_bytes();
            until("the block arrives", || {
                got.lock().expect("no panic").contains_key(&key)
            })
            .await;
            drop(slot);
        });
    }
    until("all blocks arrive", || {
        got.lock().expect("no panic").len() == wanted
    })
    .await;
    std::mem::take(&mut *got.lock().expect("no panic"))
}

async fn read_blocks(mut stream: Stream, got: Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>) {
    drop(stream.close().await);
    while let Some(message) = read_message(&mut stream).await {
        // One js client dies on a message that has no wantlist field.
        assert_eq!(message.first(), Some(&0x0a), "no wantlist");
        assert!(message.len() <= 4 << 20, "{} bytes", message.len());
        for (prefix, data) in Speech::decode(&message).blocks {
            let digest = callao_content::digest::Digest::of(
                callao_content::digest::Algorithm::Sha256,
                &data,
            );
            let mut key = vec![0x12, 0x20];
            key.extend(digest.as_bytes());
            assert_eq!(prefix[2..], [0x12, 0x20]);
            got.lock().expect("no panic").insert(key, data);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn helia_gets_every_block_though_it_opens_fifty_streams_at_once() {
    for (part, profile) in [
        ("/tcp/", Profile::KuboCidV1),
        ("/tcp/", Profile::UnixfsV1_2025),
        ("/quic-v1", Profile::KuboCidV1),
    ] {
        let (_, layout, memory) = file(Image::Random(25).bytes(50_000_000), profile);
        let node = start(NodeOptions {
            served: Some(Arc::clone(&memory) as _),
            ..options()
        })
        .await;
        let mut cids = vec![*layout.root()];
        cids.extend((0..layout.leaves().len()).filter_map(|index| layout.leaf_cid(index)));
        let got = helia_fetches(&node, part, cids.clone()).await;
        for cid in cids {
            let mut block = Vec::new();
            assert!(memory.read(&cid, &mut block));
            assert!(got.get(&cid.hash().to_bytes()) == Some(&block), "{part}");
        }
    }
}
