//! The real kubo, both ways, over every transport that both speak. Skipped where there is none.

use std::sync::Arc;

use callao_content::cid;
use callao_content::profile::Profile;
use callao_p2p::NodeOptions;
use callao_testkit::image::Image;
use callao_testkit::real::kubo::Kubo;
use callao_testkit::real::kubo::peer::Transport;

use crate::fetching::fetch;
use crate::memory::file;
use crate::nodes::{address, options, start};

/// A kubo that offers one transport.
fn kubo(dir: &tempfile::TempDir, transport: Transport) -> Option<Kubo> {
    let kubo = Kubo::init(&dir.path().join("ipfs"), &[])?;
    kubo.offer(transport);
    Some(kubo)
}

const PROFILES: [(Profile, &[&str]); 3] = [
    (Profile::KuboCidV1, &["--cid-version=1"]),
    (Profile::UnixfsV0_2015, &["--cid-version=0"]),
    (
        Profile::UnixfsV1_2025,
        &[
            "--cid-version=1",
            "--chunker=size-1048576",
            "--max-file-links=1024",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn files_come_from_kubo() {
    for transport in Transport::ALL {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let Some(kubo) = kubo(&dir, transport) else {
            return;
        };
        let path = dir.path().join("image.raw");
        let _daemon = kubo.daemon(false);
        let client = start(options()).await;
        let id = client.connect(&kubo.address()).await.expect("connected");
        for (seed, (profile, how)) in PROFILES.into_iter().enumerate() {
            let (bytes, layout, _) =
                file(Image::Random(30 + seed as u64).bytes(30_000_001), profile);
            std::fs::write(&path, &*bytes).expect("a file");
            assert_eq!(
                kubo.add(&path, how),
                cid::text(layout.root()),
                "{profile:?}"
            );
            let source = client.source(&id).expect("a peer ID");
            let (result, _) = fetch(*layout.root(), vec![source], None).await;
            assert!(
                result.expect("a file").0 == *bytes,
                "{profile:?} over {transport:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_to_kubo() {
    for transport in Transport::ALL {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let Some(kubo) = kubo(&dir, transport) else {
            return;
        };
        let _daemon = kubo.daemon(false);
        for (seed, (profile, _)) in PROFILES.into_iter().enumerate() {
            let (bytes, layout, memory) =
                file(Image::Random(40 + seed as u64).bytes(12_000_001), profile);
            let server = start(NodeOptions {
                served: Some(memory as Arc<_>),
                ..options()
            })
            .await;
            let part = match transport {
                Transport::Quic => "/quic-v1",
                Transport::Tls | Transport::Noise => "/tcp/",
            };
            kubo.connect(&address(&server, part));
            let out = dir.path().join(format!("out{seed}"));
            let mut get = kubo.get(&cid::text(layout.root()), &out, 60);
            let status = tokio::task::spawn_blocking(move || get.status()).await;
            assert!(status.expect("no panic").expect("ipfs starts").success());
            assert!(
                std::fs::read(&out).expect("the file") == *bytes,
                "{profile:?} over {transport:?}"
            );
            server.shutdown().await;
        }
    }
}
