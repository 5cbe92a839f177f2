//! Files and blocks go from node to node.

use std::sync::Arc;
use std::time::Duration;

use callao_content::cid::{self, Cid};
use callao_content::layout::Layout;
use callao_content::profile::Profile;
use callao_fetch::source::{Source, SourceError};
use callao_p2p::{Node, NodeOptions, UploadLimits};
use callao_testkit::image::Image;
use libp2p::multihash::Multihash;

use crate::fetching::fetch;
use crate::memory::{Memory, file};
use crate::nodes::{PATIENCE, address, options, start, until};

/// A node that serves `memory`, one that is connected to it, and the first as a source for the second.
pub(crate) async fn pair(memory: Arc<Memory>, kind: &str) -> (Node, Node, Arc<dyn Source>) {
    let server = start(NodeOptions {
        served: Some(memory),
        ..options()
    })
    .await;
    let client = start(options()).await;
    client
        .connect(&address(&server, kind))
        .await
        .expect("connected");
    let source = client.source(&server.peer_id()).expect("a peer ID");
    (server, client, source)
}

async fn travels(bytes: Vec<u8>, profile: Profile, kind: &str) {
    let (bytes, layout, memory) = file(bytes, profile);
    let (server, client, source) = pair(memory, kind).await;
    let (result, _) = fetch(*layout.root(), vec![source], None).await;
    let (got, finished) = result.expect("a file");
    assert!(got == *bytes, "{profile:?} over {kind}");
    assert_eq!(finished.report.size, bytes.len() as u64);
    // What was written is counted a moment after it arrived.
    let received = client.stats().received_bytes;
    until("nothing is lost or sent twice", || {
        server.stats().sent_bytes == received
    })
    .await;
    // A file of one block is its own inner node: it is asked for once to see what it is.
    let times = if layout.nodes().is_empty() { 2 } else { 1 };
    let length = bytes.len() as u64;
    assert!((length..times * length + 100_000).contains(&received));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_profile_over_tcp() {
    for profile in [
        Profile::KuboCidV1,
        Profile::UnixfsV0_2015,
        Profile::UnixfsV1_2025,
    ] {
        travels(Image::Random(1).bytes(20_000_001), profile, "/tcp/").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_profile_over_quic() {
    for profile in [
        Profile::KuboCidV1,
        Profile::UnixfsV0_2015,
        Profile::UnixfsV1_2025,
    ] {
        travels(Image::Random(2).bytes(9_000_001), profile, "/quic-v1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_and_none() {
    for size in [0, 1, 1024, 1025, 262_144, 262_145] {
        for profile in [Profile::KuboCidV1, Profile::UnixfsV0_2015] {
            travels(Image::Random(3).bytes(size), profile, "/tcp/").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_repeats_is_sent_once() {
    let bytes = Image::Holes(4).bytes(12_000_000);
    let (bytes, layout, memory) = file(bytes, Profile::KuboCidV1);
    let (server, _client, source) = pair(memory, "/tcp/").await;
    let (result, _) = fetch(*layout.root(), vec![source], None).await;
    assert!(result.expect("a file").0 == *bytes);
    assert!(
        server.stats().sent_bytes < 9_000_000,
        "{}",
        server.stats().sent_bytes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_finds_the_peers_that_have_it() {
    let (bytes, layout, memory) = file(Image::Random(5).bytes(8_000_000), Profile::KuboCidV1);
    let client = start(options()).await;
    let late = client.sources(*layout.root());
    let without = start(options()).await;
    let mut servers = vec![without];
    for _ in 0..3 {
        servers.push(
            start(NodeOptions {
                served: Some(Arc::clone(&memory) as _),
                ..options()
            })
            .await,
        );
    }
    for server in &servers {
        client
            .connect(&address(server, "/tcp/"))
            .await
            .expect("connected");
    }
    let (result, _) = fetch(*layout.root(), Vec::new(), Some(late)).await;
    let (got, finished) = result.expect("a file");
    assert!(got == *bytes);
    let givers: Vec<String> = finished
        .report
        .shares
        .iter()
        .map(|share| share.source.place.clone())
        .collect();
    assert!(!givers.is_empty() && !givers.contains(&servers[0].peer_id()));
    assert_eq!(servers[0].stats().sent_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_block_is_said_to_be_missing_and_comes_when_it_is_there() {
    let (_, layout, memory) = file(Image::Random(6).bytes(3_000_000), Profile::KuboCidV1);
    let leaf = layout.leaf_cid(3).expect("a leaf");
    memory.hide([&leaf, layout.root()]);
    let (server, client, source) = pair(Arc::clone(&memory), "/tcp/").await;
    let missing = source.block(&leaf).await.expect_err("hidden");
    assert_eq!(
        missing.to_string(),
        format!("does not have it: block {}", cid::text(&leaf))
    );
    assert!(matches!(missing, SourceError::NotFound(_)));
    let mut sources = client.sources(*layout.root());
    memory.show_all();
    assert!(source.block(&leaf).await.is_ok());
    server.offer();
    let found = tokio::time::timeout(PATIENCE, sources.recv())
        .await
        .expect("in time");
    assert_eq!(found.expect("a source").id().place, server.peer_id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_gone_when_it_is_read_is_said_to_be_missing() {
    let (_, layout, memory) = file(Image::Random(7).bytes(3_000_000), Profile::KuboCidV1);
    let leaf = layout.leaf_cid(2).expect("a leaf");
    memory.lose(&leaf);
    let (_server, _client, source) = pair(memory, "/tcp/").await;
    assert!(matches!(
        source.block(&leaf).await,
        Err(SourceError::NotFound(_))
    ));
    let (result, _) = fetch(*layout.root(), vec![source], None).await;
    assert!(result.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_peer_lacks_another_gives() {
    let (bytes, layout, memory) = file(Image::Random(8).bytes(16_000_000), Profile::KuboCidV1);
    let partial = Arc::new(Memory::new().with(&layout, &bytes));
    let later: Vec<Cid> = (30..layout.leaves().len())
        .filter_map(|i| layout.leaf_cid(i))
        .collect();
    partial.hide(&later);
    let (_a, client, whole) = pair(memory, "/tcp/").await;
    let other = start(NodeOptions {
        served: Some(partial),
        ..options()
    })
    .await;
    client
        .connect(&address(&other, "/tcp/"))
        .await
        .expect("connected");
    let part = client.source(&other.peer_id()).expect("a peer ID");
    let (result, _) = fetch(*layout.root(), vec![part, whole], None).await;
    assert!(result.expect("a file").0 == *bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_goes_away_costs_only_its_spans() {
    let (bytes, layout, memory) = file(Image::Random(9).bytes(60_000_000), Profile::KuboCidV1);
    let (first, client, one) = pair(Arc::clone(&memory), "/tcp/").await;
    let second = start(NodeOptions {
        served: Some(memory),
        // Slow enough to be still at it when the other goes.
        upload: UploadLimits {
            rate_bytes_s_max: Some(30_000_000),
            ..UploadLimits::default()
        },
        ..options()
    })
    .await;
    client
        .connect(&address(&second, "/tcp/"))
        .await
        .expect("connected");
    let two = client.source(&second.peer_id()).expect("a peer ID");
    let root = *layout.root();
    let fetching = tokio::spawn(async move { fetch(root, vec![one, two], None).await });
    until("something was sent", || {
        first.stats().sent_bytes > 2_000_000
    })
    .await;
    first.shutdown().await;
    let (result, _) = fetching.await.expect("no panic");
    assert!(result.expect("a file").0 == *bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_cid_needs_nobody() {
    let (_, _, memory) = file(Vec::new(), Profile::KuboCidV1);
    let (server, _client, source) = pair(memory, "/tcp/").await;
    let inline = Cid::new_v1(
        cid::RAW,
        Multihash::wrap(cid::IDENTITY, b"hello").expect("short"),
    );
    assert_eq!(source.block(&inline).await.expect("itself"), &b"hello"[..]);
    assert_eq!(server.stats().sent_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_not_connected_is_said_to_be_away() {
    let client = start(options()).await;
    let nobody = callao_p2p::NodeKey::generate().peer_id();
    let source = client.source(&nobody).expect("a peer ID");
    let error = source
        .block(&cid::raw_sha256([0; 32]))
        .await
        .expect_err("away");
    assert_eq!(error.to_string(), "not connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_at_once_are_all_served() {
    let (bytes, layout, memory) = file(Image::Random(10).bytes(6_000_000), Profile::KuboCidV1);
    let server = start(NodeOptions {
        served: Some(memory),
        upload: UploadLimits {
            slots_count_max: 3,
            ..UploadLimits::default()
        },
        ..options()
    })
    .await;
    let place = address(&server, "/tcp/");
    let one = |_| {
        let (place, root, id) = (place.clone(), *layout.root(), server.peer_id());
        tokio::spawn(async move {
            let client = start(options()).await;
            client.connect(&place).await.expect("connected");
            let source = client.source(&id).expect("a peer ID");
            fetch(root, vec![source], None).await.0.expect("a file").0
        })
    };
    for client in (0..10).map(one).collect::<Vec<_>>() {
        assert!(client.await.expect("no panic") == *bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_not_sent_to_the_end() {
    let (_, layout, memory) = file(Image::Random(11).bytes(100_000_000), Profile::KuboCidV1);
    let server = start(NodeOptions {
        served: Some(memory),
        upload: UploadLimits {
            rate_bytes_s_max: Some(20_000_000),
            ..UploadLimits::default()
        },
        ..options()
    })
    .await;
    let client = start(options()).await;
    client
        .connect(&address(&server, "/tcp/"))
        .await
        .expect("connected");
    let source = client.source(&server.peer_id()).expect("a peer ID");
    let root = *layout.root();
    let fetching = tokio::spawn(async move { fetch(root, vec![source], None).await.0.is_ok() });
    until("something was sent", || {
        server.stats().sent_bytes > 1_000_000
    })
    .await;
    fetching.abort();
    until("the wants are withdrawn", || server.peers()[0].wants == 0).await;
    assert!(server.stats().sent_bytes < 60_000_000);
}

/// The layout that a walk over a source finds is the one that was imported.
#[tokio::test(flavor = "multi_thread")]
async fn a_deep_tree_is_walked() {
    let bytes = Image::Random(12).bytes(3_000_000);
    let (bytes, layout, memory) = file(bytes, Profile::UnixfsV0_2015);
    let (_server, _client, source) = pair(memory, "/quic-v1").await;
    let (result, _) = fetch(*layout.root(), vec![source], None).await;
    let (got, finished) = result.expect("a file");
    assert!(got == *bytes);
    let found: &Layout = &finished.layout;
    assert_eq!(found, &*layout);
}

/// Nothing is asked of a peer for ever: one that takes wants and never answers is given up.
#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_ends_what_is_under_way() {
    let (_, layout, memory) = file(Image::Random(13).bytes(50_000_000), Profile::KuboCidV1);
    let (server, client, source) = pair(memory, "/tcp/").await;
    let root = *layout.root();
    let fetching = tokio::spawn(async move { fetch(root, vec![source], None).await.0.is_ok() });
    until("something was sent", || {
        server.stats().sent_bytes > 1_000_000
    })
    .await;
    let ended = tokio::time::timeout(Duration::from_secs(10), client.shutdown()).await;
    assert!(ended.is_ok());
    fetching.abort();
    server.shutdown().await;
}
