//! Entries against the facts about limactl: the decision table of its downloader, locks, healing, links.
#![expect(
    clippy::disallowed_methods,
    reason = "looks at a real entry behind the disk's back"
)]

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::disk::faulty::FaultyDisk;
use crate::disk::{DirLock, RealDisk};
use crate::lock::do_not_wait;
use crate::staging::{About, Staging};

const LOCATION: &str = "https://example.com/a.img";
const TIME: &str = "Mon, 23 Nov 2026 18:59:57 GMT";

/// What `getCached` of Lima v2.2.0 does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Decision {
    UsedCache,
    Download,
    Stuck,
}

/// What the origin answers to HEAD.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Head {
    Time(&'static str),
    Fails,
}

/// A model of `getCached` (`pkg/downloader/downloader.go`): the decision, and whether it needed the network.
fn limactl(disk: &FaultyDisk, dir: &Path, wanted: Option<Digest>, head: Head) -> (Decision, bool) {
    let text = |name: &str| {
        let bytes = disk.peek(&dir.join(name))?;
        Some(String::from_utf8(bytes).expect("text").trim().to_owned())
    };
    let Some(data) = disk.peek(&dir.join("data")) else {
        return (Decision::Download, true);
    };
    let time = text("time").filter(|time| !time.is_empty());
    let fresh = |time: &str| match head {
        Head::Time(remote) => remote == time,
        Head::Fails => true,
    };
    let Some(wanted) = wanted else {
        return match time {
            Some(time) if fresh(&time) => (Decision::UsedCache, true),
            _ => (Decision::Download, true),
        };
    };
    match (text(&format!("{}.digest", wanted.algorithm().name())), time) {
        (Some(said), _) if said == wanted.to_string() => (Decision::UsedCache, false),
        (Some(_), _) => (Decision::Stuck, false),
        (None, Some(time)) if fresh(&time) && Digest::of(wanted.algorithm(), &data) == wanted => {
            (Decision::UsedCache, true)
        }
        (None, _) => (Decision::Download, true),
    }
}

fn places() -> Places {
    Places::new(Path::new("/c"))
}

fn entry() -> PathBuf {
    places().entry(LOCATION)
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn staged(disk: &FaultyDisk, bytes: &[u8]) -> Result<Staging, Error> {
    let about = About::default();
    let staging = Staging::open(
        Arc::new(disk.clone()),
        &places(),
        "key",
        &about,
        &mut do_not_wait,
    )?;
    staging.set_size(bytes.len() as u64)?;
    staging.write(0, bytes)?;
    Ok(staging)
}

fn publish_bytes(disk: &FaultyDisk, bytes: &[u8], digests: &[Digest]) -> Result<Published, Error> {
    let from = From::Staging(staged(disk, bytes)?);
    publish(
        disk,
        &places(),
        LOCATION,
        from,
        digests,
        &meta(),
        &mut do_not_wait,
    )
}

fn meta() -> Meta {
    Meta {
        content_type: Some("application/octet-stream".to_owned()),
        last_modified: Some(TIME.to_owned()),
    }
}

#[test]
fn the_decision_table_before_and_after_publishing() -> Result<(), Error> {
    use Decision::{Download, Stuck, UsedCache};
    let bytes = b"the right bytes";
    let sha256 = Some(digest(bytes));
    let sha512 = Some(Digest::of(Algorithm::Sha512, bytes));
    let (now, later) = (Head::Time(TIME), Head::Time("Tue"));
    // Template digest, files in the entry, answer to HEAD, what limactl does, whether it needs the network.
    let table = [
        (sha256, "data mark", Head::Fails, UsedCache, false),
        (sha256, "data wrong-mark", now, Stuck, false),
        (sha512, "data mark", now, Download, true),
        (sha256, "data time", now, UsedCache, true),
        (None, "data", now, Download, true),
        (None, "data empty-time", now, Download, true),
        (None, "data time", now, UsedCache, true),
        (None, "data time", later, Download, true),
        (None, "data time", Head::Fails, UsedCache, true),
    ];
    for (row, (wanted, files, head, decision, network)) in table.into_iter().enumerate() {
        let disk = FaultyDisk::new();
        for file in files.split(' ') {
            let (name, text) = match file {
                "mark" => ("sha256.digest", digest(bytes).to_string()),
                "wrong-mark" => ("sha256.digest", digest(b"other").to_string()),
                "time" => ("time", TIME.to_owned()),
                "empty-time" => ("time", String::new()),
                _ => ("data", String::from_utf8_lossy(bytes).into_owned()),
            };
            disk.plant(&entry().join(name), text.as_bytes());
        }
        let before = limactl(&disk, &entry(), wanted, head);
        assert_eq!(before, (decision, network), "row {row}");
        // Whatever was there: what callao publishes is used, without the network if there is a digest.
        publish_bytes(&disk, bytes, wanted.as_slice())?;
        let after = limactl(&disk, &entry(), wanted, Head::Fails);
        assert_eq!(after, (UsedCache, wanted.is_none()), "row {row} published");
    }
    Ok(())
}

#[test]
fn an_entry_is_read_as_it_is() -> Result<(), Error> {
    let disk = FaultyDisk::new();
    assert_eq!(read_entry(&disk, &places(), LOCATION)?, None);
    disk.plant(&entry().join("url"), LOCATION.as_bytes());
    disk.plant(
        &entry().join("sha256.digest"),
        format!("{}\n", digest(b"x")).as_bytes(),
    );
    disk.plant(
        &entry().join("sha384.digest"),
        digest(b"x").to_string().as_bytes(),
    );
    disk.plant(&entry().join("sha512.digest"), b"sha512:beef");
    let found = read_entry(&disk, &places(), LOCATION)?.expect("the directory is there");
    assert_eq!(found.stamp, None);
    assert_eq!(
        found.digests,
        [digest(b"x")],
        "a newline is fine, another algorithm or a short one is not"
    );
    assert_eq!(found.url.as_deref(), Some(LOCATION));
    assert_eq!(found.time, None);
    disk.plant(&places().lima_download().join("foreign/data"), b"");
    assert_eq!(list_entries(&disk, &places())?, [found]);
    Ok(())
}

#[test]
fn a_lock_is_waited_for_and_can_be_given_up() -> Result<(), Error> {
    let disk = FaultyDisk::new();
    disk.plant(&entry().join("url"), LOCATION.as_bytes());
    let mut lock: Option<Box<dyn DirLock>> = disk.try_lock_dir(&entry()).at("lock", &entry())?;
    assert!(lock.is_some());
    let error = publish_bytes(&disk, b"bytes", &[digest(b"bytes")]).expect_err("it is locked");
    assert!(
        matches!(&error, Error::Locked { path } if *path == entry()),
        "{error}"
    );
    assert!(
        disk.peek(&places().staging_part("key")).is_some(),
        "what was fetched stays"
    );

    let mut asked = 0;
    let from = From::Staging(staged(&disk, b"bytes")?);
    let digests = [digest(b"bytes")];
    let published = publish(
        &disk,
        &places(),
        LOCATION,
        from,
        &digests,
        &meta(),
        &mut |waited| {
            assert_eq!(waited.path, entry());
            asked += 1;
            if asked == 2 {
                lock = None;
            }
            WaitChoice::KeepWaiting
        },
    )?;
    assert_eq!((asked, published.how), (2, How::Renamed));
    Ok(())
}

#[test]
fn a_second_location_is_a_hard_link() -> Result<(), Error> {
    let disk = FaultyDisk::new();
    let first = publish_bytes(&disk, b"bytes", &[digest(b"bytes")])?;
    let second = "https://example.org/b.img";
    let from = || From::File(&first.path, first.stamp);
    let digests = [digest(b"bytes")];
    let linked = publish(
        &disk,
        &places(),
        second,
        from(),
        &digests,
        &Meta::default(),
        &mut do_not_wait,
    )?;
    assert_eq!(linked.how, How::HardLinked);
    assert!(linked.stamp.same_bytes(&first.stamp));
    assert_eq!(linked.stamp.nlink, 2);
    let again = publish(
        &disk,
        &places(),
        second,
        from(),
        &digests,
        &Meta::default(),
        &mut do_not_wait,
    )?;
    assert_eq!(again.how, How::AlreadyThere);

    let user = From::UserFile(&first.path, first.stamp);
    let third = "https://example.net/c.img";
    let copied = publish(
        &disk,
        &places(),
        third,
        user,
        &digests,
        &Meta::default(),
        &mut do_not_wait,
    )?;
    assert_eq!(copied.how, How::Copied);
    assert!(!copied.stamp.same_file(&first.stamp));
    Ok(())
}

#[test]
fn a_file_that_changed_since_it_was_hashed_is_refused() -> Result<(), Error> {
    let disk = FaultyDisk::new();
    let path = Path::new("/u/f");
    disk.plant(path, b"bytes");
    let stamp = disk.stat(path).at("examine", path)?.expect("it is there");
    disk.open_write(path)
        .and_then(|file| file.write_at(b"other", 0))
        .at("write", path)?;
    let from = From::File(path, stamp);
    let result = publish(
        &disk,
        &places(),
        LOCATION,
        from,
        &[digest(b"bytes")],
        &meta(),
        &mut do_not_wait,
    );
    assert!(matches!(result, Err(Error::Changed { .. })), "{result:?}");
    assert_eq!(read_entry(&disk, &places(), LOCATION)?, None);
    Ok(())
}

#[test]
fn wrong_bytes_behind_a_right_mark_are_replaced() -> Result<(), Error> {
    let disk = FaultyDisk::new();
    disk.plant(&entry().join("data"), b"wrong");
    disk.plant(
        &entry().join("sha256.digest"),
        digest(b"right").to_string().as_bytes(),
    );
    let published = publish_bytes(&disk, b"right", &[digest(b"right")])?;
    assert_eq!(published.how, How::Renamed);
    assert_eq!(disk.peek(&published.path).as_deref(), Some(&b"right"[..]));
    Ok(())
}

#[test]
fn a_missing_mark_is_added_and_foreign_names_stay() -> Result<(), Error> {
    let disk = FaultyDisk::new();
    disk.plant(&entry().join("data"), b"bytes");
    disk.plant(
        &entry().join("sha256.digest"),
        digest(b"bytes").to_string().as_bytes(),
    );
    disk.plant(&entry().join("data.tmp.77.1"), b"limactl's");
    disk.plant(
        &entry().join("data.tmp.77.1-callao"),
        b"left by a dead process",
    );
    disk.plant(&entry().join("notes"), b"the user's");
    let before = disk.stat(&entry().join("data")).at("examine", &entry())?;
    let sha512 = Digest::of(Algorithm::Sha512, b"bytes");
    let published = publish_bytes(&disk, b"bytes", &[digest(b"bytes"), sha512])?;
    assert_eq!(published.how, How::AlreadyThere);
    assert_eq!(Some(published.stamp), before);
    let names = disk.list(&entry()).at("list", &entry())?;
    assert_eq!(
        names,
        [
            "data",
            "data.tmp.77.1",
            "notes",
            "sha256.digest",
            "sha512.digest",
            "time",
            "type",
            "url"
        ]
    );
    assert!(
        disk.peek(&places().staging_part("key")).is_none(),
        "ours is dropped"
    );
    Ok(())
}

#[test]
fn on_a_real_disk_it_looks_as_limactl_makes_it() -> Result<(), Box<dyn std::error::Error>> {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir()?;
    let places = Places::new(root.path());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let staging = Staging::open(
        Arc::clone(&disk),
        &places,
        "key",
        &About::default(),
        &mut do_not_wait,
    )?;
    let bytes = vec![7; 200_000];
    staging.set_size(bytes.len() as u64)?;
    staging.write(0, &bytes)?;
    let from = From::Staging(staging);
    let published = publish(
        &*disk,
        &places,
        LOCATION,
        from,
        &[digest(&bytes)],
        &meta(),
        &mut do_not_wait,
    )?;
    assert_eq!(published.how, How::Renamed);

    let entry = places.entry(LOCATION);
    assert_eq!(std::fs::read(entry.join("data"))?, bytes);
    assert_eq!(std::fs::read_to_string(entry.join("url"))?, LOCATION);
    assert_eq!(
        std::fs::read_to_string(entry.join("sha256.digest"))?.len(),
        71
    );
    for dir in [&entry, &places.lima_download(), &root.path().join("lima")] {
        assert_eq!(std::fs::metadata(dir)?.permissions().mode() & 0o777, 0o700);
    }
    assert_eq!(disk.list(&places.staging())?, [""; 0]);

    let second = From::File(&published.path, published.stamp);
    let linked = publish(
        &*disk,
        &places,
        "second",
        second,
        &[digest(&bytes)],
        &Meta::default(),
        &mut do_not_wait,
    )?;
    assert_eq!((linked.how, linked.stamp.nlink), (How::HardLinked, 2));
    Ok(())
}
