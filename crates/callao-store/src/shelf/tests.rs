//! The shelf on a real disk: what it serves, what it does not, and what it notices.
#![expect(
    clippy::disallowed_methods,
    reason = "changes files behind the shelf's back"
)]

use std::error::Error as StdError;
use std::fs;
use std::path::{Path, PathBuf};

use callao_content::digest::Algorithm;
use callao_content::hash;
use callao_content::import::import;
use callao_content::layout::Layout;
use callao_content::profile::{Profile, Shape};
use callao_testkit::image::Image;

use super::*;
use crate::catalogue::{CarRecord, FileRecord, Kind, Object, Verified};
use crate::disk::{Disk, RealDisk};
use crate::places::lima_key;
use crate::proof;
use crate::staging::{About, Staging, WaitChoice};

type Outcome = Result<(), Box<dyn StdError>>;

const PUBLIC: &str = "https://example.com/a.img";

struct Scene {
    dir: tempfile::TempDir,
    places: Places,
    catalogue: Catalogue,
    shelf: Shelf,
}

impl Scene {
    fn new(policy: Policy) -> Result<Self, Box<dyn StdError>> {
        let dir = tempfile::tempdir()?;
        let places = Places::new(dir.path());
        let catalogue = Catalogue::open(&places.catalogue())?;
        let shelf = Shelf::new(Arc::new(RealDisk), places.clone(), policy);
        Ok(Scene {
            dir,
            places,
            catalogue,
            shelf,
        })
    }

    fn refresh(&self) -> Result<Vec<What>, Error> {
        let changes = self.shelf.refresh(Some(&self.catalogue))?;
        Ok(changes.into_iter().map(|change| change.what).collect())
    }

    /// A file with its records, as `get` and `add` leave them.
    fn held(
        &self,
        bytes: &[u8],
        url: Option<&str>,
        shapes: &[Shape],
    ) -> Result<PathBuf, Box<dyn StdError>> {
        let path = match url {
            Some(url) => self.places.entry(url).join("data"),
            None => self.dir.path().join("own.img"),
        };
        fs::create_dir_all(path.parent().expect("a directory"))?;
        fs::write(&path, bytes)?;
        let mut roots = Vec::new();
        for shape in shapes {
            let layout = import(bytes, *shape)?;
            proof::save(&RealDisk, &self.places, &layout)?;
            roots.push(*layout.root());
        }
        let object = Object {
            digests: vec![Digest::of(Algorithm::Sha256, bytes)],
            roots,
            size: bytes.len() as u64,
            verified: Verified::Both,
            verified_at_unix: 1,
        };
        let file = FileRecord {
            stamp: RealDisk.stat(&path)?.expect("just written"),
            path: path.clone(),
            url: url.map(str::to_owned),
            kind: if url.is_some() {
                Kind::Lima
            } else {
                Kind::User
            },
        };
        self.catalogue.record(&object, &file)?;
        Ok(path)
    }

    fn why_not(&self, path: &Path) -> Option<String> {
        let all = self.shelf.all();
        let listed = all.into_iter().find(|listed| listed.path == path);
        listed.expect("the file is listed").why_not
    }
}

fn shape(profile: Profile) -> Shape {
    Shape {
        chunk_size: 10_000,
        width: 6,
        ..profile.shape()
    }
}

/// Every block of a layout, by the shelf, is what it has to be.
fn all_blocks(shelf: &Shelf, layout: &Layout) -> usize {
    let leaves = (0..layout.leaves().len()).filter_map(|index| layout.leaf_cid(index));
    let nodes = layout.nodes().iter().map(|node| node.cid);
    let (mut buffer, mut count) = (Vec::new(), 0);
    for cid in leaves.chain(nodes) {
        let length = shelf.length(&cid);
        assert_eq!(shelf.read(&cid, &mut buffer), length.is_some());
        if let Some(length) = length {
            assert_eq!(buffer.len(), length as usize);
            cid::verify_block(&cid, &buffer).expect("the very block");
            count += 1;
        }
    }
    count
}

#[test]
fn one_file_is_served_under_all_its_layouts() -> Outcome {
    let scene = Scene::new(Policy::default())?;
    let bytes = Image::Random(3).bytes(205_000);
    let shapes = Profile::ALL.map(shape);
    let path = scene.held(&bytes, Some(PUBLIC), &shapes)?;
    assert!(
        matches!(&scene.refresh()?[..], [What::Appeared(roots)] if roots.len() == scene.shelf.roots().len())
    );
    for shape in shapes {
        let layout = import(&bytes, shape)?;
        assert_eq!(
            all_blocks(&scene.shelf, &layout),
            layout.leaves().len() + layout.nodes().len()
        );
        let file = scene.shelf.file(layout.root()).expect("it is served");
        assert!(file.is_complete() && file.have().contains(&(0..205_000)));
        let mut buffer = Vec::new();
        assert!(file.read_leaves(3..7, &mut buffer));
        assert!(buffer == bytes[30_000..70_000]);
        assert!(!file.read_leaves(3..70, &mut buffer) && buffer.is_empty());
    }
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    assert_eq!(scene.shelf.by_digest(&digest), scene.shelf.roots());
    assert_eq!(scene.why_not(&path), None);
    assert_eq!(scene.refresh()?, [], "nothing has changed");
    Ok(())
}

#[test]
fn identity_cids_and_strangers() -> Outcome {
    let scene = Scene::new(Policy::default())?;
    let mut buffer = Vec::new();
    let identity = cid::parse("bafkqaaa")?;
    assert_eq!(scene.shelf.length(&identity), Some(0));
    assert!(scene.shelf.read(&identity, &mut buffer));
    let stranger = cid::raw_sha256([7; 32]);
    assert_eq!(scene.shelf.length(&stranger), None);
    assert!(!scene.shelf.read(&stranger, &mut buffer));
    Ok(())
}

#[test]
fn only_public_origins_and_own_files_are_served() -> Outcome {
    let private = "http://10.0.0.1/a.img";
    let (one, two) = (
        Image::Random(1).bytes(20_000),
        Image::Random(2).bytes(20_000),
    );
    for (policy, served) in [
        (Policy::default(), 1),
        (
            Policy {
                private_origins: true,
                nothing: false,
            },
            2,
        ),
        (
            Policy {
                private_origins: true,
                nothing: true,
            },
            0,
        ),
    ] {
        let scene = Scene::new(policy)?;
        let path = scene.held(&one, Some(private), &[shape(Profile::KuboCidV1)])?;
        scene.held(&two, None, &[shape(Profile::KuboCidV1)])?;
        scene.refresh()?;
        assert_eq!(scene.shelf.files().len(), served, "{policy:?}");
        let said = scene.why_not(&path);
        let want = match served {
            0 => Some("serving is switched off"),
            1 => Some("it is from a server that is not public"),
            _ => None,
        };
        assert_eq!(said.as_deref(), want);
    }
    Ok(())
}

#[test]
fn a_file_that_was_changed_goes_out_of_service() -> Outcome {
    type Damage = fn(&Path) -> std::io::Result<()>;
    let damages: [(Damage, &str); 3] = [
        (
            |path| fs::write(path, b"short"),
            "205000 bytes of it are not what they were",
        ),
        (
            |path| {
                let mut bytes = fs::read(path)?;
                bytes[100_000] ^= 1;
                fs::write(path, bytes)
            },
            "10000 bytes of it are not what they were",
        ),
        (
            |path| {
                let other = path.with_extension("other");
                fs::write(&other, vec![1; 205_000])?;
                fs::rename(other, path)
            },
            "205000 bytes of it are not what they were",
        ),
    ];
    let bytes = Image::Random(3).bytes(205_000);
    for (damage, reason) in damages {
        let scene = Scene::new(Policy::default())?;
        let path = scene.held(&bytes, Some(PUBLIC), &[shape(Profile::KuboCidV1)])?;
        scene.refresh()?;
        damage(&path)?;
        let retired = What::Retired(reason.to_owned());
        let told = scene.refresh()?;
        assert!(told.contains(&retired), "{told:?}");
        assert_eq!(
            (scene.shelf.files().len(), scene.why_not(&path).as_deref()),
            (0, Some(reason))
        );
        assert_eq!(scene.refresh()?, [], "told once");
        fs::write(&path, &bytes)?;
        assert!(
            matches!(&scene.refresh()?[..], [What::Appeared(_)]),
            "good again"
        );
    }
    Ok(())
}

#[test]
fn damage_is_noticed_by_whoever_reads_it() -> Outcome {
    let scene = Scene::new(Policy::default())?;
    let bytes = Image::Random(3).bytes(205_000);
    let layout = import(&bytes, shape(Profile::KuboCidV1))?;
    let path = scene.held(&bytes, Some(PUBLIC), &[shape(Profile::KuboCidV1)])?;
    scene.refresh()?;
    let mut damaged = bytes.clone();
    damaged[55_000] ^= 1;
    fs::write(&path, damaged)?;
    let mut buffer = Vec::new();
    let (good, bad) = (
        layout.leaf_cid(4).expect("a leaf"),
        layout.leaf_cid(5).expect("a leaf"),
    );
    assert!(scene.shelf.read(&good, &mut buffer));
    assert!(!scene.shelf.read(&bad, &mut buffer) && buffer.is_empty());
    assert_eq!(scene.shelf.length(&good), None, "out of service as a whole");
    assert!(scene.shelf.file(layout.root()).is_none());
    let reason = "a block of it does not have its hash any more".to_owned();
    assert_eq!(scene.refresh()?, [What::Retired(reason)]);
    fs::remove_file(&path)?;
    assert_eq!(scene.refresh()?, []);
    Ok(())
}

#[test]
fn a_file_that_is_removed_is_gone() -> Outcome {
    let scene = Scene::new(Policy::default())?;
    let bytes = Image::Random(3).bytes(50_000);
    let path = scene.held(&bytes, Some(PUBLIC), &[shape(Profile::KuboCidV1)])?;
    scene.refresh()?;
    fs::remove_file(&path)?;
    assert_eq!(scene.refresh()?, [What::Gone]);
    assert_eq!(scene.shelf.files().len(), 0);
    Ok(())
}

#[test]
fn what_limactl_fetched_is_hashed_and_served() -> Outcome {
    let scene = Scene::new(Policy::default())?;
    let bytes = Image::Random(9).bytes(700_000);
    let entry = scene.places.lima_download().join(lima_key(PUBLIC));
    fs::create_dir_all(&entry)?;
    fs::write(entry.join("url"), PUBLIC)?;
    fs::write(entry.join("data"), &bytes)?;
    let digest = Digest::of(Algorithm::Sha512, &bytes);
    fs::write(entry.join("sha512.digest"), digest.to_string())?;
    assert_eq!(scene.refresh()?, [What::Hashed]);
    let layout = import(&bytes, Profile::KuboCidV1.shape())?;
    assert_eq!(scene.refresh()?, [What::Appeared(vec![*layout.root()])]);
    assert_eq!(all_blocks(&scene.shelf, &layout), 4);
    assert_eq!(scene.shelf.by_digest(&digest), [*layout.root()]);
    assert_eq!(scene.refresh()?, []);
    Ok(())
}

#[test]
fn an_entry_with_a_false_digest_is_not_served() -> Outcome {
    let scene = Scene::new(Policy::default())?;
    let entry = scene.places.lima_download().join(lima_key(PUBLIC));
    fs::create_dir_all(&entry)?;
    fs::write(entry.join("url"), PUBLIC)?;
    fs::write(entry.join("data"), b"bytes")?;
    let digest = Digest::of(Algorithm::Sha256, b"others");
    fs::write(entry.join("sha256.digest"), digest.to_string())?;
    let reason = format!("it does not have the digest {digest} that is noted for it");
    assert_eq!(scene.refresh()?, [What::Retired(reason.clone())]);
    scene.refresh()?;
    assert_eq!(scene.why_not(&entry.join("data")), Some(reason));
    assert_eq!(scene.shelf.files().len(), 0);
    Ok(())
}

#[test]
fn leaves_of_a_running_fetch_are_served_and_its_end_is_no_gap() -> Outcome {
    let scene = Scene::new(Policy::default())?;
    let bytes = Image::Random(5).bytes(205_000);
    let layout = Arc::new(import(&bytes, shape(Profile::KuboCidV1))?);
    let about = About {
        name: "image".into(),
        url: Some(PUBLIC.into()),
        cid: Some(cid::text(layout.root())),
        ..About::default()
    };
    let staging = Staging::open(Arc::new(RealDisk), &scene.places, "k", &about, &mut |_| {
        WaitChoice::GiveUp
    })?;
    staging.set_size(205_000)?;
    scene.refresh()?;
    assert_eq!(scene.shelf.files().len(), 0, "no layout is known");
    assert!(staging.is_untouched());
    staging.use_layout(Arc::clone(&layout))?;
    scene.refresh()?;
    assert!(scene.shelf.file(layout.root()).is_some(), "it is expected");
    assert_eq!(scene.shelf.all(), [], "and nothing of it is here");
    for leaf in [0, 1, 20] {
        let (from, to) = (leaf * 10_000, (leaf * 10_000 + 10_000).min(205_000));
        staging.write(from as u64, &bytes[from..to])?;
        staging.hold(&layout.verify(leaf, &bytes[from..to])?);
    }
    scene.refresh()?;
    assert!(!staging.is_untouched());
    let have = || scene.shelf.all().first().map(|listed| listed.have_bytes);
    assert_eq!(have(), Some(25_000));
    let file = scene
        .shelf
        .file(layout.root())
        .expect("a part of it is served");
    assert_eq!(
        (file.is_complete(), file.have()),
        (false, vec![0..20_000, 200_000..205_000])
    );
    assert_eq!(
        scene.shelf.roots(),
        [],
        "others are told of whole files only"
    );
    assert_eq!(all_blocks(&scene.shelf, &layout), 3 + layout.nodes().len());
    for leaf in 2..20 {
        let range = leaf * 10_000..leaf * 10_000 + 10_000;
        staging.write(range.start as u64, &bytes[range.clone()])?;
        staging.hold(&layout.verify(leaf, &bytes[range])?);
    }
    scene.refresh()?;
    assert_eq!(all_blocks(&scene.shelf, &layout), 21 + layout.nodes().len());
    // Published: renamed, and a moment later in the catalogue.
    let data = scene.places.entry(PUBLIC).join("data");
    fs::create_dir_all(data.parent().expect("a directory"))?;
    fs::write(data.with_file_name("url"), PUBLIC)?;
    fs::rename(staging.path(), &data)?;
    staging.discard()?;
    assert_eq!(all_blocks(&scene.shelf, &layout), 21 + layout.nodes().len());
    scene.refresh()?;
    assert_eq!(all_blocks(&scene.shelf, &layout), 21 + layout.nodes().len());
    scene.held(&bytes, Some(PUBLIC), &[shape(Profile::KuboCidV1)])?;
    scene.refresh()?;
    let file = scene.shelf.file(layout.root()).expect("it is served");
    assert_eq!((file.is_complete(), file.owner()), (true, Owner::Lima));
    Ok(())
}

#[test]
fn a_map_that_lies_costs_nothing() -> Outcome {
    let scene = Scene::new(Policy::default())?;
    let bytes = Image::Random(5).bytes(50_000);
    let layout = Arc::new(import(&bytes, shape(Profile::KuboCidV1))?);
    let about = About {
        url: Some(PUBLIC.into()),
        cid: Some(cid::text(layout.root())),
        ..About::default()
    };
    let staging = Staging::open(Arc::new(RealDisk), &scene.places, "k", &about, &mut |_| {
        WaitChoice::GiveUp
    })?;
    staging.set_size(50_000)?;
    staging.use_layout(Arc::clone(&layout))?;
    let map = scene.places.staging_have("k");
    let mut lie = fs::read(&map)?;
    lie[128] = 0xff;
    fs::write(&map, lie)?;
    scene.refresh()?;
    let mut buffer = Vec::new();
    let leaf = layout.leaf_cid(0).expect("a leaf");
    assert!(scene.shelf.length(&leaf).is_some());
    assert!(!scene.shelf.read(&leaf, &mut buffer));
    assert_eq!(scene.shelf.length(&leaf), None, "asked for once");
    assert!(scene.shelf.length(&layout.nodes()[0].cid).is_some());
    Ok(())
}

#[test]
fn every_block_of_a_car_is_served_where_it_lies() -> Outcome {
    let scene = Scene::new(Policy::default())?;
    let bytes = Image::Random(8).bytes(95_000);
    let layout = import(&bytes, shape(Profile::UnixfsV0_2015))?;
    let mut car = callao_content::car::Writer::header(&[*layout.root()]);
    let mut put = |cid: &Cid, block: &[u8]| {
        car.extend(callao_content::car::Writer::block_prefix(cid, block.len()));
        car.extend_from_slice(block);
    };
    for node in layout.nodes() {
        put(&node.cid, &node.bytes);
    }
    for (index, leaf) in layout.leaves().iter().enumerate() {
        let payload = &bytes[leaf.offset as usize..leaf.end() as usize];
        put(
            &layout.leaf_cid(index).expect("a block"),
            &layout.block(index, payload),
        );
    }
    let other = Cid::new_v1(0x71, *cid::raw_sha256(hash::sha256(b"\xa0")).hash());
    put(&other, b"\xa0");
    let path = scene.dir.path().join("a.car");
    fs::write(&path, &car)?;
    scene.catalogue.record_car(&CarRecord {
        path: path.clone(),
        roots: vec![*layout.root()],
        added_at_unix: 1,
    })?;
    assert_eq!(scene.refresh()?, [What::Appeared(vec![*layout.root()])]);
    assert_eq!(scene.shelf.roots(), [*layout.root()]);
    assert_eq!(
        all_blocks(&scene.shelf, &layout),
        layout.leaves().len() + layout.nodes().len()
    );
    assert_eq!(scene.shelf.length(&other), Some(1), "dag-cbor as well");
    let file = scene.shelf.packed_file(layout.root()).expect("a file");
    let mut buffer = Vec::new();
    assert!(file.read_leaves(2..5, &mut buffer) && buffer == bytes[20_000..50_000]);
    assert!(file.have().contains(&(0..95_000)));
    assert_eq!(scene.refresh()?, []);

    let at = car.len() - 1_000;
    car[at] ^= 1;
    fs::write(&path, &car)?;
    scene.refresh()?;
    let last = layout.leaf_cid(layout.leaves().len() - 1).expect("a block");
    assert!(
        !scene.shelf.read(&last, &mut buffer),
        "hashed before it leaves"
    );
    let reason = "a block of it is not what its CID says".to_owned();
    assert!(scene.refresh()?.contains(&What::Retired(reason)));
    assert_eq!(scene.shelf.length(layout.root()), None);
    fs::remove_file(&path)?;
    scene.refresh()?;
    assert!(scene.shelf.all().is_empty());
    Ok(())
}
