//! Blocks and bytes that are on this machine: a kubo repository, a CAR, a file; whole, damaged, incomplete.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use callao_content::car::Writer;
use callao_content::cid;
use callao_content::import::import;
use callao_content::layout::Layout;
use callao_content::profile::Profile;
use callao_fetch::error::Error;
use callao_fetch::event::Proof;
use callao_fetch::source::blocks::Blocks;
use callao_fetch::source::file::LocalFile;
use callao_fetch::source::{Source, SourceError, SourceKind};
use callao_store::disk::RealDisk;
use callao_store::foreign::car::CarFile;
use callao_store::foreign::flatfs::Flatfs;
use callao_testkit::image::Image;
use callao_testkit::origin::{Behaviour, Origin};

use crate::bench::{Bench, http};

const SIZE: usize = 5_000_000;

/// Writes a repository as kubo does.
fn repository(bench: &Bench) -> PathBuf {
    let repository = bench.dir.path().join("ipfs");
    let blocks = repository.join("blocks");
    std::fs::create_dir_all(&blocks).expect("a directory");
    let sharding = "/repo/flatfs/shard/v1/next-to-last/2\n";
    std::fs::write(blocks.join("SHARDING"), sharding).expect("a file");
    for (cid, block) in all_blocks(&bench.layout, &bench.image) {
        let path = block_path(&repository, &cid);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, block).expect("a block");
    }
    repository
}

fn block_path(repository: &Path, cid: &cid::Cid) -> PathBuf {
    let key = cid::multihash_base32_upper(cid);
    let shard = &key[key.len() - 3..key.len() - 1];
    repository
        .join("blocks")
        .join(shard)
        .join(format!("{key}.data"))
}

fn all_blocks(layout: &Layout, image: &[u8]) -> Vec<(cid::Cid, Vec<u8>)> {
    let nodes = layout.nodes().iter();
    let mut all: Vec<_> = nodes.map(|node| (node.cid, node.bytes.to_vec())).collect();
    for (index, leaf) in layout.leaves().iter().enumerate() {
        let Some(cid) = layout.leaf_cid(index) else {
            continue;
        };
        let start = leaf.offset as usize;
        let payload = &image[start..start + leaf.length as usize];
        all.push((cid, layout.block(index, payload)));
    }
    all
}

fn kubo(repository: &Path) -> Arc<dyn Source> {
    let reader = Flatfs::open(repository).expect("a repository");
    let place = repository.display().to_string();
    Arc::new(Blocks::new(SourceKind::KuboRepo, place, Arc::new(reader)))
}

fn car(path: &Path) -> Arc<dyn Source> {
    let reader = CarFile::open(path).expect("a CAR");
    let place = path.display().to_string();
    Arc::new(Blocks::new(SourceKind::Car, place, Arc::new(reader)))
}

fn file(path: &Path) -> Arc<dyn Source> {
    Arc::new(LocalFile::open(&RealDisk::new(), path).expect("a file"))
}

#[tokio::test]
async fn a_repository_gives_every_profile() {
    for profile in Profile::ALL {
        for size in [0, 1, 262_145, SIZE] {
            let image = Image::Holes(7).bytes(size);
            let layout = import(&image, profile.shape()).expect("a valid shape");
            let bench = Bench::with_layout(image, layout);
            let sources = vec![kubo(&repository(&bench))];
            let done = bench.fetch(bench.by_cid(), sources).await.expect("a file");
            assert_eq!(done.report.proof, Proof::Cid, "{} {size}", profile.name());
        }
    }
}

#[tokio::test]
async fn a_car_gives_the_file() {
    let bench = Bench::new(Image::Holes(8).bytes(SIZE));
    let path = bench.dir.path().join("image.car");
    let mut bytes = Writer::header(&[bench.cid()]);
    for (cid, block) in all_blocks(&bench.layout, &bench.image) {
        bytes.extend(Writer::block_prefix(&cid, block.len()));
        bytes.extend(block);
    }
    std::fs::write(&path, bytes).expect("a CAR");
    let done = bench.fetch(bench.by_both(), vec![car(&path)]).await;
    assert_eq!(done.expect("a file").report.proof, Proof::DigestAndCid);
}

#[tokio::test]
async fn a_bad_block_comes_from_elsewhere_and_the_rest_from_the_repository() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 4] = [
        ("missing", |path| {
            std::fs::remove_file(path).expect("a block")
        }),
        ("damaged", |path| {
            let mut block = std::fs::read(path).expect("a block");
            block[1000] ^= 1;
            std::fs::write(path, block).expect("a block");
        }),
        ("short", |path| {
            std::fs::write(path, b"short").expect("a block");
        }),
        ("unreadable", |path| {
            std::fs::remove_file(path).expect("a block");
            std::fs::create_dir(path).expect("a directory in its place");
        }),
    ];
    for (name, harm) in harms {
        for profile in [Profile::KuboCidV1, Profile::UnixfsV0_2015] {
            let image = Image::Random(71).bytes(SIZE);
            let layout = import(&image, profile.shape()).expect("a valid shape");
            let bench = Bench::with_layout(image, layout);
            let repository = repository(&bench);
            let bad = bench.layout.leaf_cid(7).expect("a leaf with a block");
            harm(&block_path(&repository, &bad));
            let case = format!("{name} {}", profile.name());

            let alone = bench
                .run(bench.by_cid(), vec![kubo(&repository)], None)
                .await;
            match alone {
                Err(Error::AllFailed { kept, refusals, .. }) => {
                    assert!(kept > SIZE as u64 - 600_000, "{case}: {kept} bytes kept");
                    assert!(
                        !matches!(refusals[0].error, SourceError::Network(_)),
                        "{case}"
                    );
                }
                Err(other) => panic!("{case}: {other:?}"),
                Ok(_) => panic!("{case}: it cannot have the file"),
            }

            std::fs::remove_dir_all(bench.part().parent().expect("a parent")).expect("staging");
            let origin = Origin::start(
                bench.image.clone(),
                Behaviour {
                    rate: Some(2_000_000),
                    ..Behaviour::default()
                },
            );
            let sources = vec![kubo(&repository), http(&origin.url())];
            bench.fetch(bench.by_cid(), sources).await.expect(&case);
        }
    }
}

#[tokio::test]
async fn a_local_file_is_proven_like_any_other() {
    let bench = Bench::new(Image::Random(72).bytes(SIZE));
    let path = bench.dir.path().join("image.raw");
    std::fs::write(&path, &*bench.image).expect("a file");
    let done = bench.fetch(bench.by_digest(), vec![file(&path)]).await;
    assert_eq!(done.expect("a file").report.proof, Proof::Digest);

    let bench = Bench::new(Image::Random(73).bytes(SIZE));
    match bench.run(bench.by_digest(), vec![file(&path)], None).await {
        Err(Error::DigestMismatch { .. }) => {}
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("another file"),
    }
    let missing = LocalFile::open(&RealDisk::new(), &bench.dir.path().join("none"));
    assert!(matches!(missing.err(), Some(SourceError::NotFound(_))));
}

#[tokio::test]
async fn a_file_that_shrank_since_is_said_to_have_changed() {
    let bench = Bench::new(Image::Random(74).bytes(SIZE));
    let path = bench.dir.path().join("image.raw");
    std::fs::write(&path, &*bench.image).expect("a file");
    let source = file(&path);
    std::fs::write(&path, &bench.image[..SIZE / 2]).expect("a file");
    match bench.run(bench.by_digest(), vec![source], None).await {
        Err(Error::AllFailed { refusals, .. }) => {
            assert!(matches!(refusals[0].error, SourceError::Changed(_)));
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("half a file"),
    }
}
