//! Peers that break the rules, each in its own way: they are dropped or ignored, and whoever is honest is served and serves.

use std::sync::Arc;
use std::time::Duration;

use callao_content::Cid;
use callao_content::profile::Profile;
use callao_p2p::limits::WANTS_PER_PEER_COUNT_MAX;
use callao_p2p::{Node, NodeOptions};
use callao_store::served::Served;
use callao_testkit::image::Image;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::Stream;

use crate::fetching::fetch;
use crate::memory::{Memory, file};
use crate::nodes::{options, start, until};
use crate::raw::{Opener, Raw, STREAMS_COUNT, read_message};
use crate::speech::{Ask, Speech, framed, prefix};

const AGENT: &str = "nobody/1.0";
const SIZE: usize = 12_000_001;

/// How a peer answers wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    WrongBlock,
    NeverAsked,
    FiveMebibytes,
    EndlessVarint,
    BadPrefix,
    UnknownHash,
    Garbage,
    LengthOfNothing,
    Silence,
    Disconnects,
    SaysHaveThenDontHave,
    OneByteASecond,
    ResetsStreams,
}

const MANNERS: [Manner; 13] = [
    Manner::WrongBlock,
    Manner::NeverAsked,
    Manner::FiveMebibytes,
    Manner::EndlessVarint,
    Manner::BadPrefix,
    Manner::UnknownHash,
    Manner::Garbage,
    Manner::LengthOfNothing,
    Manner::Silence,
    Manner::Disconnects,
    Manner::SaysHaveThenDontHave,
    Manner::OneByteASecond,
    Manner::ResetsStreams,
];

/// Those that are thrown out; the others may be slow or poor by bad luck.
fn is_lie(manner: Manner) -> bool {
    matches!(
        manner,
        Manner::WrongBlock | Manner::NeverAsked | Manner::BadPrefix | Manner::Garbage
    )
}

/// Answers every want in this manner. The root, so that it is asked for leaves, is given honestly.
fn misbehave(raw: Raw, memory: Arc<Memory>, root: Cid, manner: Manner) {
    let (opener, mut streams) = raw.split();
    tokio::spawn(async move {
        while let Some(stream) = streams.recv().await {
            let (opener, memory) = (opener.clone(), Arc::clone(&memory));
            tokio::spawn(listen(stream, opener, memory, root, manner));
        }
    });
}

async fn listen(
    mut stream: Stream,
    opener: Opener,
    memory: Arc<Memory>,
    root: Cid,
    manner: Manner,
) {
    while let Some(message) = read_message(&mut stream).await {
        let mut wants = Speech::decode(&message).wants;
        wants.retain(|(_, ask)| *ask != Ask::Cancel);
        let root_wanted = wants.iter().any(|(cid, _)| *cid == root);
        wants.retain(|(cid, _)| *cid != root);
        if root_wanted {
            let mut block = Vec::new();
            memory.read(&root, &mut block);
            opener.say(&Speech::blocks([(root, block)]).encode()).await;
        }
        for (cid, _) in wants {
            misanswer(&opener, &memory, cid, manner).await;
        }
        if manner == Manner::ResetsStreams {
            return;
        }
    }
}

async fn misanswer(opener: &Opener, memory: &Memory, cid: Cid, manner: Manner) {
    let mut block = Vec::new();
    memory.read(&cid, &mut block);
    let speech = match manner {
        Manner::WrongBlock => {
            block[100] ^= 1;
            Speech::blocks([(cid, block)]).encode()
        }
        Manner::NeverAsked => {
            let other = Image::Random(u64::from(block[0]) + 77).bytes(1000);
            Speech::blocks([(cid, other)]).encode()
        }
        Manner::FiveMebibytes => framed(&vec![0x0a; 5 << 20]),
        Manner::EndlessVarint => vec![0x80; 1 << 16],
        Manner::BadPrefix => Speech {
            blocks: vec![(vec![0xff; 3], block)],
            ..Speech::default()
        }
        .encode(),
        Manner::UnknownHash => {
            let mut strange = prefix(&cid);
            strange[2] = 0x11;
            Speech {
                blocks: vec![(strange, block)],
                ..Speech::default()
            }
            .encode()
        }
        Manner::Garbage => framed(&Image::Random(1).bytes(5000)),
        Manner::LengthOfNothing => {
            // Says 3 MiB and sends nothing of them.
            let mut whole = framed(&vec![0; 3 << 20]);
            whole.truncate(4);
            return hold(opener, whole).await;
        }
        Manner::SaysHaveThenDontHave => Speech {
            presences: vec![(cid, true), (cid, false)],
            ..Speech::default()
        }
        .encode(),
        Manner::OneByteASecond => {
            let whole = Speech::blocks([(cid, block)]).encode();
            return trickle(opener.clone(), whole);
        }
        Manner::Disconnects => {
            opener.disconnect();
            return;
        }
        Manner::Silence | Manner::ResetsStreams => return,
    };
    opener.say(&speech).await;
}

/// Begins to send and never ends.
async fn hold(opener: &Opener, bytes: Vec<u8>) {
    if let Some(mut stream) = opener.open().await {
        drop(stream.write_all(&bytes).await);
        drop(stream.flush().await);
        tokio::spawn(async move {
            // Until the other side has had enough.
            drop(stream.read(&mut [0; 1]).await);
        });
    }
}

fn trickle(opener: Opener, bytes: Vec<u8>) {
    tokio::spawn(async move {
        let Some(mut stream) = opener.open().await else {
            return;
        };
        for byte in bytes {
            if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
}

async fn honest(memory: &Arc<Memory>) -> Node {
    start(NodeOptions {
        served: Some(Arc::clone(memory) as _),
        ..options()
    })
    .await
}

async fn comes_from_the_honest_one(manner: Manner) {
    let (bytes, layout, memory) = file(Image::Random(31).bytes(SIZE), Profile::KuboCidV1);
    let server = honest(&memory).await;
    let node = start(options()).await;
    let raw = Raw::start(AGENT).await;
    let liar = raw.peer_id.clone();
    node.connect(raw.address("/tcp/")).await.expect("connected");
    node.connect(&crate::nodes::address(&server, "/tcp/"))
        .await
        .expect("connected");
    misbehave(raw, memory, *layout.root(), manner);
    let sources = [liar.clone(), server.peer_id()].map(|peer| node.source(&peer).expect("a peer"));
    let (result, events) = fetch(*layout.root(), sources.to_vec(), None).await;
    let (got, finished) = result.unwrap_or_else(|error| panic!("{manner:?}: {error}"));
    assert!(got == *bytes, "{manner:?}");
    let of_liar = |share: &&callao_fetch::event::Share| share.source.place == liar;
    let shares = &finished.report.shares;
    assert!(
        shares
            .iter()
            .find(of_liar)
            .is_none_or(|share| share.bytes == 0)
    );
    if is_lie(manner) {
        let dropped = events.dropped();
        let known = dropped.contains(&(liar.clone(), true));
        assert!(known, "{manner:?}: {dropped:?}");
        until("the liar is out", || {
            node.peers().iter().all(|peer| peer.peer_id != liar)
        })
        .await;
    }
    assert!(!node.peers().is_empty(), "{manner:?}: the honest one stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_peer_answers_the_file_comes_from_the_other() {
    let all = MANNERS.map(|manner| tokio::spawn(comes_from_the_honest_one(manner)));
    for (manner, done) in MANNERS.into_iter().zip(all) {
        done.await
            .unwrap_or_else(|error| panic!("{manner:?}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_with_a_liar_the_fetch_ends_with_a_reason() {
    for manner in [Manner::WrongBlock, Manner::BadPrefix, Manner::Disconnects] {
        let (_, layout, memory) = file(Image::Random(32).bytes(SIZE), Profile::KuboCidV1);
        let node = start(options()).await;
        let raw = Raw::start(AGENT).await;
        let liar = node.source(&raw.peer_id).expect("a peer ID");
        node.connect(raw.address("/tcp/")).await.expect("connected");
        misbehave(raw, memory, *layout.root(), manner);
        let (result, _) = fetch(*layout.root(), vec![liar], None).await;
        let said = result.map(drop).expect_err("nobody has it").to_string();
        assert!(!said.is_empty(), "{manner:?}");
    }
}

/// A serving node, a hostile peer that is connected to it, and what is served.
async fn attacked() -> (Node, Raw, Arc<[u8]>, Cid) {
    let (bytes, layout, memory) = file(Image::Random(33).bytes(SIZE), Profile::KuboCidV1);
    let server = honest(&memory).await;
    let raw = Raw::start(AGENT).await;
    raw.connect(&server, "/tcp/").await;
    (server, raw, bytes, *layout.root())
}

/// Somebody honest still gets the file.
async fn still_serves(server: &Node, bytes: &[u8], root: Cid) {
    let client = start(options()).await;
    client
        .connect(&crate::nodes::address(server, "/tcp/"))
        .await
        .expect("connected");
    let source = client.source(&server.peer_id()).expect("a peer ID");
    let (result, _) = fetch(root, vec![source], None).await;
    assert!(result.expect("a file").0 == *bytes);
}

fn strange(number: u32) -> Cid {
    let mut digest = [7; 32];
    digest[..4].copy_from_slice(&number.to_be_bytes());
    callao_content::cid::raw_sha256(digest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wantlist_of_a_hundred_thousand_is_cut_or_refused() {
    let (server, raw, bytes, root) = attacked().await;
    let whole = Speech::wants((0..100_000).map(strange)).encode();
    raw.opener.say(&whole).await;
    still_serves(&server, &bytes, root).await;
    // The same in a hundred messages of a length that anybody may send.
    let (other, raw, bytes, root) = attacked().await;
    for part in 0..100_u32 {
        let wants = (0..1000).map(|number| strange(part * 1000 + number));
        raw.opener.say(&Speech::wants(wants).encode()).await;
    }
    let most = || other.peers().iter().map(|peer| peer.wants).max();
    assert!(
        most().unwrap_or(0) <= WANTS_PER_PEER_COUNT_MAX,
        "{:?}",
        most()
    );
    still_serves(&other, &bytes, root).await;
    assert!(
        most().unwrap_or(0) <= WANTS_PER_PEER_COUNT_MAX,
        "{:?}",
        most()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_streams_keep_nobody_out() {
    let (server, first, bytes, root) = attacked().await;
    let mut attackers = vec![first];
    for _ in 0..2 {
        let raw = Raw::start(AGENT).await;
        raw.connect(&server, "/tcp/").await;
        attackers.push(raw);
    }
    let mut open = Vec::new();
    for raw in &mut attackers {
        for _ in 0..STREAMS_COUNT * 5 / 6 {
            match raw.opener.open().await {
                Some(stream) => open.push(stream),
                // Refused, or thrown out altogether.
                None if raw.was_dropped() => break,
                None => {}
            }
        }
    }
    still_serves(&server, &bytes, root).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_asks_for_everything_and_reads_nothing_costs_little() {
    let (_, layout, memory) = file(Image::Random(34).bytes(200_000_000), Profile::KuboCidV1);
    let server = honest(&memory).await;
    let mut raw = Raw::start(AGENT).await;
    raw.connect(&server, "/tcp/").await;
    let leaves = (0..layout.leaves().len()).filter_map(|index| layout.leaf_cid(index));
    raw.opener.say(&Speech::wants(leaves).encode()).await;
    // Streams with answers are opened; one is read a byte at a time, the others never.
    let mut stream = raw.next().await;
    stream.read_exact(&mut [0; 1]).await.expect("a byte");
    let sent = || server.stats().sent_bytes;
    let mut before = u64::MAX;
    // Nothing moves any more.
    until("it is stuck", || {
        std::mem::replace(&mut before, sent()) == sent()
    })
    .await;
    assert!(
        sent() < 64 << 20,
        "{} bytes for one that does not read",
        sent()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_the_stream_or_the_connection_and_nothing_else() {
    let long = framed(&vec![0x0a; 5 << 20]);
    let garbage = framed(&Image::Random(2).bytes(3000));
    let not_wanted = Speech::blocks([(strange(1), vec![1; 1000])]).encode();
    let table: [(&str, Vec<u8>); 5] = [
        ("5 MiB", long),
        ("an endless varint", vec![0xff; 1 << 16]),
        ("garbage", garbage),
        ("blocks that nobody wants", not_wanted.repeat(50)),
        ("an empty message", vec![0]),
    ];
    for (what, bytes_said) in table {
        let (server, raw, bytes, root) = attacked().await;
        raw.opener.say(&bytes_said).await;
        still_serves(&server, &bytes, root).await;
        // Thrown out at the second block, though what was sent in one message is counted.
        let received = server.stats().received_bytes;
        assert!(received < 30_000, "{what}: {received}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_cannot_come_back() {
    let (_, layout, memory) = file(Image::Random(36).bytes(SIZE), Profile::KuboCidV1);
    let node = start(options()).await;
    let raw = Raw::start(AGENT).await;
    let place = raw.address("/tcp/").to_owned();
    let liar = node.source(&raw.peer_id).expect("a peer ID");
    node.connect(&place).await.expect("connected");
    misbehave(raw, memory, *layout.root(), Manner::WrongBlock);
    assert!(fetch(*layout.root(), vec![liar], None).await.0.is_err());
    until("the liar is out", || node.peers().is_empty()).await;
    let refused = node.connect(&place).await.expect_err("it lied");
    assert_eq!(
        refused.to_string(),
        format!("cannot connect to {place}: the peer sent false bytes before")
    );
}
