//! Resuming, locking, and what is counted as held.

use std::path::Path;

use callao_content::hash;
use callao_content::import::import;
use callao_content::profile::{Profile, Shape};
use proptest::prelude::*;

use super::*;
use crate::disk::RealDisk;
use crate::disk::faulty::{Fault, FaultyDisk};
use crate::lock::do_not_wait;

fn places() -> Places {
    Places::new(Path::new("/c"))
}

fn about() -> About {
    About {
        digest: Some("D".to_owned()),
        ..About::default()
    }
}

fn open(disk: &FaultyDisk, about: &About) -> Result<Staging, Error> {
    Staging::open(
        Arc::new(disk.clone()),
        &places(),
        "key",
        about,
        &mut do_not_wait,
    )
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index / 5 % 253) as u8).collect()
}

fn layout(bytes: &[u8], chunk_size: u32) -> Arc<Layout> {
    let shape = Shape {
        chunk_size,
        ..Profile::KuboCidV1.shape()
    };
    Arc::new(import(bytes, shape).expect("the shape is a usable one"))
}

#[test]
fn keys_are_file_names() {
    let long = "k".repeat(201);
    for bad in [
        "",
        ".",
        "../x",
        "a/b",
        "a b",
        ".hidden",
        "\u{e9}",
        long.as_str(),
    ] {
        let disk = FaultyDisk::new();
        let result = Staging::open(Arc::new(disk), &places(), bad, &about(), &mut do_not_wait);
        assert!(matches!(result, Err(Error::BadKey { .. })), "{bad:?}");
    }
}

#[test]
fn good_leaves_are_found_again() -> Result<(), Error> {
    let (disk, bytes) = (FaultyDisk::new(), content(10_500));
    let layout = layout(&bytes, 1000);
    {
        let staging = open(&disk, &about())?;
        assert!(!staging.is_resumed());
        staging.set_size(10_500)?;
        staging.write(0, &bytes[..5_300])?;
        staging.write(9_000, &bytes[9_000..])?;
    }
    let staging = open(&disk, &about())?;
    assert!(staging.is_resumed());
    assert_eq!(staging.size(), 10_500);
    staging.use_layout(Arc::clone(&layout))?;
    assert_eq!(staging.held_count(), 0);
    assert_eq!(staging.rescan(&layout, &|_| {})?, 5_000 + 1_500);
    let held: Vec<usize> = (0..12).filter(|&index| staging.is_held(index)).collect();
    assert_eq!(held, [0, 1, 2, 3, 4, 9, 10]);
    assert_eq!(staging.held_count(), 7);
    Ok(())
}

#[test]
fn of_a_damaged_file_the_good_leaves_are_taken_over() -> Result<(), Error> {
    let bytes = content(100_500);
    let layout = layout(&bytes, 1000);
    let path = Path::new("/d/data");
    let mut damaged = bytes.clone();
    damaged[5_500] ^= 1;
    let longer = [&bytes[..], b"more"].concat();
    for (file, held) in [
        (&damaged[..], 99_500),
        (&bytes[..90_100], 90_000),
        (&longer[..], 100_500),
        (&[], 0),
    ] {
        let disk = FaultyDisk::new();
        disk.plant(path, file);
        let staging = open(&disk, &about())?;
        assert!(!staging.is_resumed());
        staging.take_over(path)?;
        assert!(staging.is_resumed());
        staging.use_layout(Arc::clone(&layout))?;
        staging.set_size(layout.size())?;
        assert_eq!(staging.rescan(&layout, &|_| {})?, held);
        assert!(disk.peek(path).as_deref() == Some(file), "only read");
    }
    Ok(())
}

#[test]
fn other_bytes_start_anew() -> Result<(), Error> {
    let disk = FaultyDisk::new();
    {
        let staging = open(&disk, &about())?;
        staging.set_size(100)?;
        staging.write(0, &[1; 100])?;
        staging.journal_leaf([1; 32])?;
    }
    let other = About {
        digest: Some("E".to_owned()),
        ..About::default()
    };
    let staging = open(&disk, &other)?;
    assert!(!staging.is_resumed());
    assert_eq!(staging.stamp()?.size, 0);
    assert!(staging.resume_prefix()?.is_empty());
    drop(staging);
    // Without its notes a file is nobody's.
    disk.remove(&places().staging_json("key"))
        .at("remove", Path::new("json"))?;
    disk.plant(&places().staging_part("key"), b"bytes");
    assert!(!open(&disk, &other)?.is_resumed());
    Ok(())
}

#[test]
fn a_prefix_is_continued_without_a_layout() -> Result<(), Error> {
    let leaf = limits::JOURNAL_LEAF_BYTES as usize;
    let bytes = content(6 * leaf + 100);
    let hashes: Vec<[u8; 32]> = bytes.chunks(leaf).map(hash::sha256).collect();
    // Damage in leaf n: what is before it stays.
    for (damaged, expected) in [
        (None, 7),
        (Some(0), 0),
        (Some(3), 3),
        (Some(5), 5),
        (Some(6), 6),
    ] {
        let disk = FaultyDisk::new();
        {
            let staging = open(&disk, &about())?;
            staging.set_size(bytes.len() as u64)?;
            staging.write(0, &bytes)?;
            for hash in &hashes {
                staging.journal_leaf(*hash)?;
            }
            if let Some(index) = damaged {
                staging.write((index * leaf) as u64, &[255])?;
            }
        }
        {
            let staging = open(&disk, &about())?;
            assert_eq!(
                staging.resume_prefix()?,
                hashes[..expected],
                "damage in {damaged:?}"
            );
            staging.write(0, &bytes)?;
            for hash in &hashes[expected..] {
                staging.journal_leaf(*hash)?;
            }
        }
        assert_eq!(open(&disk, &about())?.resume_prefix()?, hashes);
    }
    Ok(())
}

#[test]
fn a_killed_process_loses_at_most_8_leaves() -> Result<(), Error> {
    let leaf = limits::JOURNAL_LEAF_BYTES as usize;
    let bytes = vec![9; leaf * 44];
    let disk = FaultyDisk::new();
    let staging = open(&disk, &about())?;
    staging.set_size(bytes.len() as u64)?;
    staging.write(0, &bytes)?;
    for chunk in bytes.chunks(leaf) {
        staging.journal_leaf(hash::sha256(chunk))?;
    }
    // No destructor, and the lock goes with the process.
    std::mem::forget(staging);
    let disk = disk.recover(crate::disk::faulty::Survive::Best);
    assert_eq!(open(&disk, &about())?.resume_prefix()?.len(), 40);
    Ok(())
}

#[test]
fn the_second_process_waits_and_finds_the_name_free() -> Result<(), Error> {
    let disk = FaultyDisk::new();
    let mut first = Some(open(&disk, &about())?);
    assert!(matches!(open(&disk, &about()), Err(Error::Locked { .. })));
    let part = places().staging_part("key");
    let second = Staging::open(
        Arc::new(disk.clone()),
        &places(),
        "key",
        &about(),
        &mut |waited| {
            assert_eq!(waited.path, part);
            // The first one publishes: its file gets another name, and the lock goes.
            disk.rename(&part, Path::new("/c/data"))
                .expect("the name is free");
            first = None;
            WaitChoice::KeepWaiting
        },
    )?;
    assert!(second.waited() && !second.is_resumed());
    second.set_size(10)?;
    assert_eq!(
        disk.peek(Path::new("/c/data")).as_deref(),
        Some(&b""[..]),
        "the published file is not touched"
    );
    second.discard()?;
    assert_eq!(disk.files(), [Path::new("/c/data")]);
    Ok(())
}

#[test]
fn a_file_with_another_name_is_never_written_to() -> Result<(), Error> {
    let disk = FaultyDisk::new();
    let staging = open(&disk, &about())?;
    staging.set_size(3)?;
    staging.write(0, b"abc")?;
    let other = Path::new("/c/callao/other");
    disk.hard_link(staging.path(), other).at("link", other)?;
    drop(staging);
    let staging = open(&disk, &about())?;
    assert!(!staging.is_resumed());
    staging.set_size(3)?;
    staging.write(0, b"xyz")?;
    assert_eq!(disk.peek(other).as_deref(), Some(&b"abc"[..]));
    Ok(())
}

#[test]
fn a_full_disk_says_how_much_is_missing() -> Result<(), Error> {
    let disk = FaultyDisk::new();
    let staging = open(&disk, &about())?;
    disk.arm(0, Fault::NoSpace);
    // The stamp is asked first, and needs none.
    let error = staging.set_size(1000).expect_err("the disk is full");
    assert!(
        matches!(&error, Error::DiskFull { needed: 1000, .. }),
        "{error}"
    );
    disk.disarm();
    staging.set_size(1000)?;
    disk.arm(0, Fault::NoSpace);
    let error = staging.write(0, &[1; 1000]).expect_err("the disk is full");
    assert!(error.is_disk_full(), "{error}");
    Ok(())
}

#[test]
fn ranges_and_layouts_are_checked() -> Result<(), Error> {
    let disk = FaultyDisk::new();
    let staging = open(&disk, &about())?;
    staging.set_size(100)?;
    for (offset, length) in [(100, 1), (0, 101), (u64::MAX, 1)] {
        let bytes = vec![0; length];
        assert!(matches!(
            staging.write(offset, &bytes),
            Err(Error::OutOfBounds { .. })
        ));
    }
    let bytes = content(100);
    let (one, other) = (layout(&bytes, 10), layout(&bytes, 20));
    let first = one.verify(0, &bytes[..10]).expect("the bytes are right");
    staging.hold(&first);
    assert_eq!(staging.held_count(), 0, "no layout yet");
    staging.use_layout(Arc::clone(&one))?;
    staging.use_layout(Arc::clone(&one))?;
    assert!(matches!(
        staging.use_layout(other),
        Err(Error::LayoutChanged { .. })
    ));
    staging.hold(&first);
    assert!(staging.is_held(0) && !staging.is_held(1));
    Ok(())
}

#[test]
fn on_a_real_disk_it_is_preallocated_and_locked() -> Result<(), Box<dyn std::error::Error>> {
    let root = tempfile::tempdir()?;
    let places = Places::new(root.path());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let open = || {
        Staging::open(
            Arc::clone(&disk),
            &places,
            "key",
            &about(),
            &mut do_not_wait,
        )
    };
    let bytes = content(3_000_000);
    let layout = layout(&bytes, 100_000);
    let staging = open()?;
    staging.set_size(3_000_000)?;
    assert!(matches!(open(), Err(Error::Locked { .. })));
    staging.use_layout(Arc::clone(&layout))?;
    staging.write(123, &bytes[123..2_999_000])?;
    staging.start_writeback(0..1 << 20);
    assert_eq!(staging.rescan(&layout, &|_| {})?, 2_800_000);
    drop(staging);
    assert_eq!(open()?.about(), about());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was written where, exactly the leaves whose bytes are right are found.
    #[test]
    fn rescan_holds_exactly_the_good_leaves(
        chunk in 1_u32..300,
        length in 1_usize..5_000,
        flips in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = content(length);
        let layout = layout(&bytes, chunk);
        let disk = FaultyDisk::new();
        let staging = open(&disk, &about()).expect("the disk works");
        let mut found = bytes.clone();
        for flip in flips {
            found[flip.index(length)] ^= 1;
        }
        found.truncate(length - cut.index(length) / 2);
        staging.set_size(found.len() as u64).expect("the disk works");
        staging.write(0, &found).expect("the disk works");
        let held = staging.rescan(&layout, &|_| {}).expect("the disk works");
        let mut sum = 0;
        for (index, leaf) in layout.leaves().iter().enumerate() {
            let range = leaf.offset as usize..leaf.end() as usize;
            let good = found.get(range.clone()) == Some(&bytes[range]);
            prop_assert_eq!(staging.is_held(index), good, "leaf {}", index);
            sum += if good { u64::from(leaf.length) } else { 0 };
        }
        prop_assert_eq!(held, sum);
    }
}

#[test]
fn a_leftover_is_looked_at_without_touching_it() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let places = Places::new(dir.path());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    assert_eq!(look(&*disk, &places, "key")?, None);
    let open = || {
        Staging::open(
            Arc::clone(&disk),
            &places,
            "key",
            &About::default(),
            &mut do_not_wait,
        )
    };
    let staging = open()?;
    staging.set_size(1 << 20)?;
    staging.write(0, &[7; 4096])?;
    let seen = look(&*disk, &places, "key")?.expect("it is there");
    assert!(seen.in_use && seen.size == 1 << 20 && seen.bytes_at_most >= 4096);
    drop(staging);
    let seen = look(&*disk, &places, "key")?.expect("it is still there");
    assert!(!seen.in_use);
    assert!(open().is_ok(), "the look left no lock behind");
    assert!(matches!(
        look(&*disk, &places, "../key"),
        Err(Error::BadKey { .. })
    ));
    Ok(())
}
