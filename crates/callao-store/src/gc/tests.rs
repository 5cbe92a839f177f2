//! Removing, stopped at every single disk operation: afterwards nothing is there that limactl would believe wrongly,
//! the neighbours are as they were, and the next run finishes.

use std::path::PathBuf;
use std::sync::Arc;

use callao_content::digest::{Algorithm, Digest};

use super::*;
use crate::disk::faulty::{Fault, FaultyDisk, Survive};
use crate::lock::do_not_wait;
use crate::staging::{About, Staging};

const LOCATION: &str = "https://example.com/a.img";
const OTHER: &str = "https://example.com/other.img";
const BYTES: &[u8] = b"the bytes of an image";

fn places() -> Places {
    Places::new(Path::new("/c"))
}

fn entry() -> PathBuf {
    places().entry(LOCATION)
}

/// The entry in all its parts, a hard link of its `data` in another entry, and a file of somebody else.
fn disk() -> FaultyDisk {
    let disk = FaultyDisk::new();
    let plant = |name: &str, bytes: &[u8]| disk.plant(&entry().join(name), bytes);
    plant("data", BYTES);
    plant("url", LOCATION.as_bytes());
    plant("time", b"Mon, 01 Jan 2024 00:00:00 GMT");
    plant("type", b"");
    plant("data.tmp.12.1", b"half");
    plant("data.part", b"half");
    plant("imgconv/raw", b"converted");
    plant("imgconv/raw.digest", b"sha256:00");
    for algorithm in ALGORITHMS {
        let digest = Digest::of(algorithm, BYTES).to_string();
        plant(&format!("{}.digest", algorithm.name()), digest.as_bytes());
    }
    let other = places().entry(OTHER);
    disk.plant(&other.join("url"), OTHER.as_bytes());
    disk.hard_link(&entry().join("data"), &other.join("data"))
        .and_then(|()| disk.sync_dir(&other))
        .expect("a link");
    disk.plant(Path::new("/c/lima/foreign"), b"foreign");
    disk
}

fn seen(disk: &FaultyDisk) -> Option<Stamp> {
    disk.stat(&entry().join("data")).expect("the disk works")
}

fn check_invariants(disk: &FaultyDisk, case: &str) {
    let data = disk.peek(&entry().join("data"));
    for algorithm in ALGORITHMS {
        if disk.peek(&digest_path(&entry(), algorithm)).is_some() {
            assert!(
                data.as_deref() == Some(BYTES),
                "{case}: a digest file without its data"
            );
        }
    }
    assert!(
        data.is_none() || data.as_deref() == Some(BYTES),
        "{case}: other data"
    );
    if disk.peek(&entry().join("time")).is_some() {
        assert!(data.is_some(), "{case}: `time` without its data");
    }
    let other = disk.peek(&places().entry(OTHER).join("data"));
    assert!(other.as_deref() == Some(BYTES), "{case}: the linked entry");
    let foreign = disk.peek(Path::new("/c/lima/foreign"));
    assert!(foreign.as_deref() == Some(b"foreign"), "{case}: foreign");
}

#[test]
fn an_entry_goes_in_an_order_that_is_safe_at_every_step() {
    let fresh = disk();
    let before = fresh.ops();
    let state = seen(&fresh);
    let done = remove_entry(&fresh, &entry(), state.as_ref()).expect("nothing fails");
    assert_eq!(done, Removal::Gone);
    assert_eq!(fresh.stat(&entry()).expect("the disk works"), None);
    check_invariants(&fresh, "without a fault");
    let total = fresh.ops() - before;
    assert!(total > 15, "the run does something");
    for at in 0..total {
        for fault in [Fault::Error, Fault::Crash] {
            for survive in [
                Survive::Worst,
                Survive::Best,
                Survive::Seed(at),
                Survive::Seed(at + 1000),
            ] {
                let case = format!("operation {at} of {total}, {fault:?}, {survive:?}");
                let disk = disk();
                let state = seen(&disk);
                disk.arm(at, fault);
                let _ = remove_entry(&disk, &entry(), state.as_ref());
                disk.disarm();
                let disk = match fault {
                    Fault::Crash => disk.recover(survive),
                    _ => disk,
                };
                check_invariants(&disk, &case);
                let state = seen(&disk);
                let again = remove_entry(&disk, &entry(), state.as_ref());
                assert_eq!(again.expect("the next run"), Removal::Gone, "{case}");
                check_invariants(&disk, &case);
                assert!(disk.peek(&entry().join("url")).is_none(), "{case}");
            }
        }
    }
}

#[test]
fn foreign_names_stay_and_keep_the_directory() -> Result<(), Error> {
    let disk = disk();
    disk.plant(&entry().join("notes.txt"), b"mine");
    disk.plant(&entry().join("imgconv/own"), b"mine too");
    let state = seen(&disk);
    let removal = remove_entry(&disk, &entry(), state.as_ref())?;
    assert_eq!(
        removal,
        Removal::Emptied(vec!["imgconv".to_owned(), "notes.txt".to_owned()])
    );
    for name in ["notes.txt", "imgconv/own"] {
        assert!(disk.peek(&entry().join(name)).is_some(), "{name}");
    }
    for name in ["data", "url", "sha256.digest", "imgconv/raw"] {
        assert!(disk.peek(&entry().join(name)).is_none(), "{name}");
    }
    Ok(())
}

#[test]
fn what_is_locked_or_has_changed_stays() -> Result<(), Error> {
    let disk = disk();
    let state = seen(&disk);
    let lock = disk.try_lock_dir(&entry()).at("lock", &entry())?;
    assert_eq!(
        remove_entry(&disk, &entry(), state.as_ref())?,
        Removal::Busy
    );
    drop(lock);
    assert_eq!(remove_entry(&disk, &entry(), None)?, Removal::Changed);
    disk.plant(&entry().join("data"), b"renewed by limactl");
    assert_eq!(
        remove_entry(&disk, &entry(), state.as_ref())?,
        Removal::Changed
    );
    assert!(disk.peek(&entry().join("sha256.digest")).is_some());
    assert_eq!(
        remove_entry(&disk, &places().entry("none"), None)?,
        Removal::Gone
    );
    Ok(())
}

#[test]
fn digest_files_alone_are_removed_under_the_lock() -> Result<(), Error> {
    let disk = disk();
    let lock = disk.try_lock_dir(&entry()).at("lock", &entry())?;
    assert!(!remove_digests(&disk, &entry(), &[Algorithm::Sha512])?);
    drop(lock);
    assert!(remove_digests(&disk, &entry(), &[Algorithm::Sha512])?);
    let disk = disk.recover(Survive::Worst);
    assert!(disk.peek(&entry().join("sha512.digest")).is_none());
    assert!(disk.peek(&entry().join("sha256.digest")).is_some());
    assert!(disk.peek(&entry().join("data")).is_some());
    Ok(())
}

#[test]
fn old_temporary_files_are_swept_unless_somebody_works_there() -> Result<(), Error> {
    let disk = disk();
    let path = entry().join("data.part");
    let stamp = disk.stat(&path).at("examine", &path)?;
    let written = stamp.map_or(0, |stamp| stamp.mtime_ns);
    let lock = disk.try_lock_dir(&entry()).at("lock", &entry())?;
    assert_eq!(sweep_entry(&disk, &entry(), i64::MAX)?, 0);
    drop(lock);
    // `data.tmp.12.1` was written a moment before.
    assert!(sweep_entry(&disk, &entry(), written)? > 0);
    assert!(disk.peek(&path).is_some());
    assert!(disk.peek(&entry().join("data.tmp.12.1")).is_none());
    assert!(sweep_entry(&disk, &entry(), i64::MAX)? > 0);
    assert!(disk.peek(&path).is_none());
    assert!(disk.peek(&entry().join("data")).is_some());
    Ok(())
}

#[test]
fn leftovers_are_found_by_their_keys() -> Result<(), Error> {
    let disk = FaultyDisk::new();
    let open = |key: &str| {
        let about = About {
            digest: Some(Digest::of(Algorithm::Sha256, BYTES).to_string()),
            ..About::default()
        };
        Staging::open(
            Arc::new(disk.clone()),
            &places(),
            key,
            &about,
            &mut do_not_wait,
        )
    };
    let one = open("one")?;
    one.set_size(100_000)?;
    drop(one);
    drop(open("two")?);
    disk.plant(&places().staging().join("README"), b"foreign");
    let found = leftovers(&disk, &places())?;
    let keys: Vec<&str> = found.iter().map(|left| left.key.as_str()).collect();
    assert_eq!(keys, ["one", "two"]);
    assert!(found[0].bytes >= 100_000, "{found:?}");
    assert!(Staging::remove_leftover(&disk, &places(), "one")?);
    assert_eq!(leftovers(&disk, &places())?.len(), 1);
    assert!(disk.peek(&places().staging().join("README")).is_some());
    Ok(())
}
