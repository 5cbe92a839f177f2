//! The official CIDs: the reference importer's, and those that kubo's own tests assert.
#![expect(
    clippy::disallowed_methods,
    reason = "the vectors are a file beside the tests"
)]

use std::collections::BTreeMap;

use ::cid::Version;
use callao_content::cid::{self, Cid};
use callao_content::digest::Algorithm;
use callao_content::import::{self, Importer};
use callao_content::profile::{self, Profile, Shape};
use serde::Deserialize;

use crate::blocks::Blocks;
use crate::images;

#[derive(Deserialize)]
struct Vectors {
    files: Vec<File>,
    chacha_files: Vec<ChachaFile>,
    kubo_fixtures: Vec<Fixture>,
    hello_world: BTreeMap<String, String>,
    empty_dir: BTreeMap<String, String>,
    small_trees: Vec<SmallTree>,
    wrap_with_directory: Vec<Wrapped>,
    raw_blocks_hex: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct File {
    size: u64,
    sha256: String,
    cids: BTreeMap<String, String>,
    dag_size: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct ChachaFile {
    seed: String,
    size: u64,
    sha256: String,
    cids: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Fixture {
    profile: String,
    seed: String,
    size: u64,
    cid: String,
}

#[derive(Deserialize)]
struct SmallTree {
    size: u64,
    chunk: u32,
    links: u32,
    cids: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Wrapped {
    profile: String,
    dir_cid: String,
    dir_size: u64,
    size: Option<u64>,
    name: Option<String>,
    files: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    size: u64,
}

fn vectors() -> Vectors {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/unixfs-vectors.json"
    );
    let text = std::fs::read_to_string(path).expect("the vectors are in the repository");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

/// The profile that a name in the vectors means.
fn profile(name: &str) -> Profile {
    match name {
        "kubo-cidv1-rawleaves-256k-174" => Profile::KuboCidV1,
        "kubo-cidv1-norawleaves-256k-174" => Profile::KuboCidV1DagPb,
        "kubo-cidv0-rawleaves-256k-174" => Profile::KuboRawLeaves,
        "test-cid-v1-1m-174" => Profile::Legacy1Mib,
        other => other.parse().expect("a known profile"),
    }
}

/// Importers of several profiles that are fed the same bytes; the first also makes the digest.
struct Importers(Vec<(Profile, Importer)>);

impl Importers {
    fn new<'a>(names: impl Iterator<Item = &'a String>) -> Self {
        Self(
            names
                .enumerate()
                .map(|(index, name)| {
                    let digests: &[Algorithm] = if index == 0 {
                        &[Algorithm::Sha256]
                    } else {
                        &[]
                    };
                    (
                        profile(name),
                        Importer::new(profile(name).shape(), digests).expect("a good shape"),
                    )
                })
                .collect(),
        )
    }

    fn update(&mut self, bytes: &[u8]) {
        for (_, importer) in &mut self.0 {
            importer.update(bytes);
        }
    }

    fn check(
        self,
        cids: &BTreeMap<String, String>,
        sizes: Option<&BTreeMap<String, u64>>,
        sha256: &str,
    ) {
        for ((profile, importer), (name, expected)) in self.0.into_iter().zip(cids) {
            let (layout, digests) = importer.finish();
            assert_eq!(
                cid::text(layout.root()),
                *expected,
                "{name}, {} bytes",
                layout.size()
            );
            if let Some(digest) = digests.first() {
                assert_eq!(digest.hex(), sha256);
            }
            if let Some(sizes) = sizes {
                assert_eq!(
                    layout.dag_size(),
                    sizes[name],
                    "{name}, {} bytes",
                    layout.size()
                );
            }
            let detected = profile::detect(&layout).expect("made by a known profile");
            let again = import_like(&layout, detected);
            assert_eq!(again, *layout.root(), "{profile} was taken for {detected}");
        }
    }
}

/// The root that another profile gives to the same leaves.
fn import_like(layout: &callao_content::layout::Layout, profile: Profile) -> Cid {
    let mut builder = import::Builder::new(profile.shape()).expect("a good shape");
    for leaf in layout.leaves() {
        let Some(callao_content::layout::LeafHash::Sha256(hash)) = leaf.form.hash() else {
            panic!("an odd leaf")
        };
        builder.leaf_hash(*hash, leaf.length);
    }
    *builder.finish().root()
}

#[test]
fn generator_a_in_every_profile() {
    for file in vectors().files {
        let mut importers = Importers::new(file.cids.keys());
        images::generator_a(file.size, |piece| importers.update(piece));
        importers.check(&file.cids, Some(&file.dag_size), &file.sha256);
    }
}

#[test]
fn keystreams() {
    for file in vectors().chacha_files {
        let mut importers = Importers::new(file.cids.keys());
        images::keystream(&file.seed, &[file.size], |_, piece| importers.update(piece));
        importers.check(&file.cids, None, &file.sha256);
    }
}

#[test]
fn the_cids_that_kubo_asserts() {
    let mut by_seed: BTreeMap<(String, String), Vec<Fixture>> = BTreeMap::new();
    for fixture in vectors().kubo_fixtures {
        by_seed
            .entry((fixture.profile.clone(), fixture.seed.clone()))
            .or_default()
            .push(fixture);
    }
    for ((name, seed), mut fixtures) in by_seed {
        fixtures.sort_by_key(|fixture| fixture.size);
        let stops: Vec<u64> = fixtures.iter().map(|fixture| fixture.size).collect();
        let mut importer = Importer::new(profile(&name).shape(), &[]).expect("a good shape");
        images::keystream(&seed, &stops, |position, piece| {
            importer.update(piece);
            for fixture in fixtures.iter().filter(|fixture| fixture.size == position) {
                let (layout, _) = importer.clone().finish();
                assert_eq!(cid::text(layout.root()), fixture.cid, "{seed} {position}");
                assert_eq!(layout.size(), position);
            }
        });
    }
}

#[test]
fn deep_trees() {
    for tree in vectors().small_trees {
        let bytes = images::bytes_a(tree.size);
        for (name, expected) in &tree.cids {
            let (cid_version, raw_leaves) = match name.as_str() {
                "v0_dagpb" => (Version::V0, false),
                _ => (Version::V1, true),
            };
            let shape = Shape {
                cid_version,
                raw_leaves,
                chunk_size: tree.chunk,
                width: tree.links,
            };
            let layout = import::import(&bytes, shape).expect("a good shape");
            assert_eq!(
                cid::text(layout.root()),
                *expected,
                "{} bytes, {name}",
                tree.size
            );
            let walked = Blocks::of(&layout, &bytes).walk(*layout.root());
            assert_eq!(walked, Ok(layout));
        }
    }
}

#[test]
fn directories_around_files() {
    for wrapped in vectors().wrap_with_directory {
        let files = wrapped.files.unwrap_or_else(|| {
            let name = wrapped.name.clone().expect("a name");
            vec![Entry {
                name,
                size: wrapped.size.expect("a size"),
            }]
        });
        let shape = profile(&wrapped.profile).shape();
        let entries: Vec<_> = files
            .iter()
            .map(|file| {
                let layout =
                    import::import(&images::bytes_a(file.size), shape).expect("a good shape");
                (file.name.as_str(), *layout.root(), layout.dag_size())
            })
            .collect();
        let (directory, size) = Blocks::default().directory(shape.cid_version, &entries);
        assert_eq!(
            (cid::text(&directory), size),
            (wrapped.dir_cid, wrapped.dir_size),
            "{}",
            wrapped.profile
        );
    }
}

#[test]
fn raw_blocks_and_small_texts() {
    let vectors = vectors();
    let v0 = Profile::UnixfsV0_2015.shape();
    let hex = |name: &str| vectors.raw_blocks_hex[name].clone();
    let to_hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };

    let root = import::import(&images::bytes_a(262_145), v0).expect("a good shape");
    assert_eq!(to_hex(&root.nodes()[0].bytes), hex("root_262145_v0"));

    let empty = import::import(b"", v0).expect("a good shape");
    assert_eq!(to_hex(&empty.block(0, b"")), hex("empty_file_v0"));

    let byte = import::import(&images::bytes_a(1), v0).expect("a good shape");
    let mut blocks = Blocks::default();
    let (directory, _) = blocks.directory(
        Version::V0,
        &[("disk.qcow2", *byte.root(), byte.dag_size())],
    );
    assert_eq!(
        to_hex(&blocks.0[&directory]),
        hex("dir_disk_qcow2_1byte_v0")
    );

    for (version, name) in [(Version::V0, "v0"), (Version::V1, "v1")] {
        let (cid, _) = blocks.directory(version, &[]);
        assert_eq!(cid::text(&cid), vectors.empty_dir[name]);
    }
    for (name, expected) in vectors
        .hello_world
        .iter()
        .filter(|(name, _)| *name != "text")
    {
        let layout = import::import(b"hello world", profile(name).shape()).expect("a good shape");
        assert_eq!(cid::text(layout.root()), *expected);
    }
}
