//! The catalogue on a real disk: shared, rebuilt when damaged, never trusting a changed file.
#![expect(
    clippy::disallowed_methods,
    reason = "damages the database behind the catalogue's back"
)]

use std::error::Error as StdError;
use std::fs;
use std::sync::Arc;
use std::thread;

use callao_content::digest::Algorithm;
use callao_content::{cid, hash};

use super::*;
use crate::disk::{Disk, RealDisk};
use crate::limits;

type Outcome = Result<(), Box<dyn StdError>>;

fn object(bytes: &[u8], verified: Verified) -> Object {
    Object {
        digests: vec![Digest::of(Algorithm::Sha256, bytes)],
        roots: vec![cid::raw_sha256(hash::sha256(bytes))],
        size: bytes.len() as u64,
        verified,
        verified_at_unix: 100,
    }
}

fn file(path: &str, inode: u64) -> FileRecord {
    FileRecord {
        path: PathBuf::from(path),
        stamp: Stamp {
            dev: u64::MAX,
            inode,
            size: 5,
            mtime_ns: 10,
            ctime_ns: 20,
            nlink: 1,
            blocks: 8,
        },
        url: Some(format!("https://example.com{path}")),
        kind: Kind::Lima,
    }
}

fn paths(held: &[Held]) -> Vec<&str> {
    held.iter()
        .filter_map(|held| held.file.path.to_str())
        .collect()
}

#[test]
fn what_is_recorded_is_found() -> Outcome {
    let dir = tempfile::tempdir()?;
    let catalogue = Catalogue::open(&dir.path().join("a/b/catalogue.sqlite"))?;
    let bytes = b"bytes";
    let one = object(bytes, Verified::Digest);
    catalogue.record(&one, &file("/one", 1))?;
    catalogue.record(
        &one,
        &FileRecord {
            kind: Kind::User,
            url: None,
            ..file("/a user's", 2)
        },
    )?;
    let found = catalogue.find_digest(&one.digests[0])?;
    assert_eq!(paths(&found), ["/one", "/a user's"]);
    assert_eq!(found[0].object, one);
    assert_eq!(found[0].file, file("/one", 1));
    assert_eq!(found[0].used_at_unix, 100);
    assert_eq!(catalogue.find_root(&one.roots[0])?, found);
    assert_eq!(
        catalogue.by_path(Path::new("/one"))?.as_ref(),
        Some(&found[0])
    );
    assert_eq!(catalogue.by_path(Path::new("/none"))?, None);
    assert_eq!(
        catalogue.find_digest(&Digest::of(Algorithm::Sha256, b""))?,
        []
    );

    catalogue.touch(Path::new("/one"), 500)?;
    catalogue.touch(Path::new("/one"), 400)?;
    assert_eq!(paths(&catalogue.list()?), ["/a user's", "/one"]);
    assert_eq!(catalogue.list()?[1].used_at_unix, 500);
    catalogue.forget(Path::new("/one"))?;
    catalogue.forget(Path::new("/a user's"))?;
    assert_eq!(catalogue.find_root(&one.roots[0])?, []);
    Ok(())
}

#[test]
fn a_root_is_found_in_either_version() -> Outcome {
    let dir = tempfile::tempdir()?;
    let catalogue = Catalogue::open(&dir.path().join("catalogue.sqlite"))?;
    let v0 = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn")?;
    let v1 = cid::parse("bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")?;
    assert!(cid::same_block(&v0, &v1));
    let mut object = object(b"bytes", Verified::Cid);
    object.roots = vec![v0];
    catalogue.record(&object, &file("/one", 1))?;
    assert_eq!(paths(&catalogue.find_root(&v1)?), ["/one"]);
    Ok(())
}

#[test]
fn objects_that_turn_out_to_be_the_same_become_one() -> Outcome {
    let dir = tempfile::tempdir()?;
    let catalogue = Catalogue::open(&dir.path().join("catalogue.sqlite"))?;
    let whole = object(b"bytes", Verified::Digest);
    let (mut by_digest, mut by_root) = (whole.clone(), whole.clone());
    by_digest.roots.clear();
    by_root.digests.clear();
    by_root.verified = Verified::Cid;
    catalogue.record(&by_digest, &file("/digest", 1))?;
    catalogue.record(&by_root, &file("/root", 2))?;
    assert_eq!(
        paths(&catalogue.find_digest(&whole.digests[0])?),
        ["/digest"]
    );
    catalogue.record(&whole, &file("/both", 3))?;
    let found = catalogue.find_digest(&whole.digests[0])?;
    assert_eq!(paths(&found), ["/both", "/digest", "/root"]);
    assert!(
        found
            .iter()
            .all(|held| held.object.verified == Verified::Both)
    );

    // A path that holds something else now; an object of another size cannot be the same.
    catalogue.record(&object(b"other", Verified::ContentOnly), &file("/root", 4))?;
    assert_eq!(
        paths(&catalogue.find_digest(&whole.digests[0])?),
        ["/both", "/digest"]
    );
    let mut longer = whole.clone();
    longer.size = 6;
    catalogue.record(&longer, &file("/longer", 5))?;
    assert_eq!(
        paths(&catalogue.find_digest(&whole.digests[0])?),
        ["/longer"]
    );
    Ok(())
}

#[test]
fn only_the_same_state_is_trusted() -> Outcome {
    let held = Held {
        object: object(b"bytes", Verified::Digest),
        file: file("/one", 1),
        used_at_unix: 0,
    };
    let same = held.file.stamp;
    let table = [
        (same, true),
        (
            Stamp {
                nlink: 2,
                blocks: 16,
                ..same
            },
            true,
        ),
        (Stamp { dev: 1, ..same }, false),
        (Stamp { inode: 2, ..same }, false),
        (Stamp { size: 6, ..same }, false),
        (
            Stamp {
                mtime_ns: 11,
                ..same
            },
            false,
        ),
        (
            Stamp {
                ctime_ns: 21,
                ..same
            },
            false,
        ),
    ];
    for (stamp, expected) in table {
        assert_eq!(Catalogue::trusted(&held, &stamp), expected, "{stamp:?}");
    }
    Ok(())
}

#[test]
fn our_own_link_is_no_change() -> Outcome {
    let dir = tempfile::tempdir()?;
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    fs::write(&one, b"bytes")?;
    let stamp = |path: &Path| RealDisk.stat(path).map(|stamp| stamp.expect("it is there"));
    let before = stamp(&one)?;
    let catalogue = Catalogue::open(&dir.path().join("catalogue.sqlite"))?;
    let object = object(b"bytes", Verified::Digest);
    let record = |path: &Path, stamp| FileRecord {
        path: path.to_owned(),
        stamp,
        ..file("", 0)
    };
    catalogue.record(&object, &record(&one, before))?;
    RealDisk.hard_link(&one, &two)?;
    let after = stamp(&two)?;
    catalogue.restamp(&before, &after)?;
    let held = catalogue.by_path(&one)?.expect("it is recorded");
    assert!(Catalogue::trusted(&held, &stamp(&one)?));

    // Written to: never re-stamped.
    fs::write(&two, b"evil!")?;
    let changed = Stamp {
        mtime_ns: after.mtime_ns + 1,
        ..stamp(&one)?
    };
    catalogue.restamp(&after, &changed)?;
    let held = catalogue.by_path(&one)?.expect("it is recorded");
    assert!(!Catalogue::trusted(&held, &changed));
    Ok(())
}

fn aside(path: &Path) -> PathBuf {
    path.with_added_extension("damaged")
}

/// Where a database went that has these bytes.
fn told_on_open(path: &Path, bytes: &[u8]) -> Result<Vec<PathBuf>, Box<dyn StdError>> {
    fs::write(path, bytes)?;
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    drop(Catalogue::open_telling(path, move |aside| {
        listener.lock().expect("a list").push(aside.to_owned());
    })?);
    let told = told.lock().expect("a list").clone();
    Ok(told)
}

#[test]
fn files_are_replaced_all_at_once() -> Outcome {
    let dir = tempfile::tempdir()?;
    let catalogue = Catalogue::open(&dir.path().join("catalogue.sqlite"))?;
    catalogue.record(&object(b"old", Verified::Both), &file("/old", 1))?;
    let held = |path: &str, inode, used_at_unix| Held {
        object: object(b"bytes", Verified::Digest),
        file: file(path, inode),
        used_at_unix,
    };
    let new = [held("/one", 1, 7), held("/two", 2, 900)];
    catalogue.replace_files(&new)?;
    assert_eq!(catalogue.list()?, new);
    assert_eq!(
        catalogue.find_digest(&Digest::of(Algorithm::Sha256, b"old"))?,
        []
    );
    catalogue.replace_files(&[])?;
    assert_eq!(catalogue.list()?, []);
    Ok(())
}

#[test]
fn damage_in_a_page_that_nobody_asked_for_is_found() -> Outcome {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("catalogue.sqlite");
    let catalogue = Catalogue::open(&path)?;
    catalogue.check()?;
    for number in 0..200 {
        let path = format!("/{number}");
        catalogue.record(
            &object(path.as_bytes(), Verified::Digest),
            &file(&path, number),
        )?;
    }
    // Closed, so that the log is in the database.
    drop(catalogue);
    let database = fs::OpenOptions::new().write(true).open(&path)?;
    let length = database.metadata()?.len();
    database.write_all_at(&[0xa5; 4096], length / 4096 / 2 * 4096)?;
    let catalogue = Catalogue::open(&path)?;
    catalogue.check()?;
    assert!(fs::exists(aside(&path))?);
    assert_eq!(catalogue.list()?, []);
    Ok(())
}

#[test]
fn a_damaged_database_is_moved_aside() -> Outcome {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("catalogue.sqlite");
    let one = object(b"bytes", Verified::Digest);
    let damage = b"not a database, but long enough to be taken for one".repeat(90);
    fs::write(&path, &damage)?;
    {
        let catalogue = Catalogue::open(&path)?;
        assert_eq!(catalogue.list()?, []);
        catalogue.record(&one, &file("/one", 1))?;
        assert!(fs::read(dir.path().join("catalogue.sqlite.damaged"))? == damage);
    }
    assert_eq!(told_on_open(&path, &damage)?, [aside(&path)]);
    // Another version, and another program's database.
    for statement in ["PRAGMA user_version = 99", "DROP TABLE files"] {
        let catalogue = Catalogue::open(&path)?;
        catalogue.record(&one, &file("/one", 1))?;
        Connection::open(&path)?.execute_batch(statement)?;
        let reopened = Catalogue::open(&path)?;
        assert_eq!(reopened.list()?, [], "{statement}");
        reopened.record(&one, &file("/one", 1))?;
        assert_eq!(reopened.list()?.len(), 1);
    }
    Ok(())
}

#[test]
fn damage_while_it_is_open_is_survived() -> Outcome {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("catalogue.sqlite");
    let catalogue = Catalogue::open(&path)?;
    let one = object(b"bytes", Verified::Digest);
    for number in 0..500 {
        catalogue.record(&one, &file(&format!("/{number}"), number))?;
    }
    catalogue
        .lock()
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA cache_size = 0")?;
    let mut bytes = fs::read(&path)?;
    let body = bytes.len().min(4096 * 3)..;
    bytes[body].fill(0xAA);
    fs::write(&path, bytes)?;
    let reopened = Catalogue::open(&path)?;
    assert_eq!(reopened.list()?, []);
    reopened.record(&one, &file("/one", 1))?;
    assert_eq!(reopened.list()?.len(), 1);
    Ok(())
}

#[test]
fn many_open_and_write_at_once() -> Outcome {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("catalogue.sqlite");
    let write = |number: u64| -> Result<(), Error> {
        // Each with a connection of its own, as processes have.
        let catalogue = Catalogue::open(&path)?;
        let bytes = number.to_le_bytes();
        for round in 0..5 {
            catalogue.record(
                &object(&bytes, Verified::Digest),
                &file(&format!("/{number}/{round}"), round),
            )?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| scope.spawn(move || write(number)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    assert_eq!(Catalogue::open(&path)?.list()?.len(), 40);
    Ok(())
}

fn past(location: &str, ended_at_unix: i64) -> Past {
    Past {
        location: location.to_owned(),
        digest: None,
        cid: None,
        ended_at_unix,
        size: Some(u64::MAX),
        elapsed_ms: 7,
        outcome: "done".to_owned(),
        details_version: 1,
        details: "{}".to_owned(),
    }
}

fn times(catalogue: &Catalogue, names: &Names<'_>) -> Result<Vec<i64>, Error> {
    let found = catalogue.history(names, usize::MAX)?;
    Ok(found.iter().map(|past| past.ended_at_unix).collect())
}

#[test]
fn a_fetch_is_found_by_each_of_its_names_once() -> Outcome {
    let dir = tempfile::tempdir()?;
    let catalogue = Catalogue::open(&dir.path().join("catalogue.sqlite"))?;
    let digest = Digest::of(Algorithm::Sha256, b"bytes");
    let root = cid::raw_sha256(hash::sha256(b"bytes"));
    let first = Past {
        digest: Some(digest.to_string()),
        cid: Some(cid::text(&root)),
        ..past("https://a/1", 1)
    };
    catalogue.remember(&first)?;
    catalogue.remember(&Past {
        digest: Some(digest.to_string()),
        ..past("https://b/1", 2)
    })?;
    catalogue.remember(&past("https://c/1", 3))?;
    let names = |locations: &[&'static str], digest, cid| Names {
        locations: locations.to_vec(),
        digest,
        cid,
    };
    let table = [
        (names(&["https://a/1"], None, None), vec![1]),
        (
            names(&["https://a/1"], Some(&digest), Some(&root)),
            vec![2, 1],
        ),
        (names(&[], None, Some(&root)), vec![1]),
        (
            names(&["https://c/1", "https://a/1"], None, None),
            vec![3, 1],
        ),
        (names(&["https://d/1"], None, None), vec![]),
    ];
    for (names, expected) in table {
        assert_eq!(times(&catalogue, &names)?, expected, "{names:?}");
    }
    assert_eq!(
        catalogue.history(&names(&["https://a/1"], None, None), 1)?,
        [first]
    );
    Ok(())
}

#[test]
fn the_oldest_fetches_are_forgotten() -> Outcome {
    let dir = tempfile::tempdir()?;
    let catalogue = Catalogue::open(&dir.path().join("catalogue.sqlite"))?;
    let kept = limits::HISTORY_ROWS_PER_LOCATION_COUNT_MAX as i64;
    for time in 0..kept + 3 {
        catalogue.remember(&past("https://a/1", time))?;
    }
    let of = |location| Names {
        locations: vec![location],
        ..Names::default()
    };
    let left = times(&catalogue, &of("https://a/1"))?;
    assert_eq!(
        (left.len() as i64, left[0], left.last()),
        (kept, kept + 2, Some(&3))
    );
    let filled: String = "
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :max)
        INSERT INTO history (location, ended_at, elapsed_ms, outcome, details_version, details)
        SELECT 'https://many/' || i, 0, 0, 'done', 1, '{}' FROM n"
        .replace(":max", &limits::HISTORY_ROWS_COUNT_MAX.to_string());
    catalogue.lock().execute_batch(&filled)?;
    catalogue.remember(&past("https://b/1", 1))?;
    assert_eq!(times(&catalogue, &of("https://a/1"))?, [] as [i64; 0]);
    assert_eq!(times(&catalogue, &of("https://many/1"))?, [] as [i64; 0]);
    assert_eq!(times(&catalogue, &of("https://many/2"))?, [0]);
    Ok(())
}

/// The schema as version 0.1.0 wrote it, word for word.
const VERSION_1: &str = "
    CREATE TABLE objects (
        id INTEGER PRIMARY KEY,
        size INTEGER NOT NULL,
        verified TEXT NOT NULL,
        verified_at INTEGER NOT NULL
    );
    CREATE TABLE digests (
        digest TEXT PRIMARY KEY,
        object INTEGER NOT NULL REFERENCES objects ON DELETE CASCADE
    ) WITHOUT ROWID;
    CREATE INDEX digests_object ON digests (object);
    CREATE TABLE roots (
        cid TEXT PRIMARY KEY,
        multihash BLOB NOT NULL,
        object INTEGER NOT NULL REFERENCES objects ON DELETE CASCADE
    ) WITHOUT ROWID;
    CREATE INDEX roots_multihash ON roots (multihash);
    CREATE INDEX roots_object ON roots (object);
    CREATE TABLE files (
        path BLOB PRIMARY KEY,
        object INTEGER NOT NULL REFERENCES objects ON DELETE CASCADE,
        dev INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        nlink INTEGER NOT NULL,
        blocks INTEGER NOT NULL,
        url TEXT,
        kind TEXT NOT NULL,
        used_at INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX files_object ON files (object);
    CREATE INDEX files_inode ON files (inode);
    PRAGMA user_version = 1;
";

#[test]
fn a_database_of_version_1_is_brought_up_to_date_and_loses_nothing() -> Outcome {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("catalogue.sqlite");
    let one = object(b"bytes", Verified::Both);
    {
        let old = Connection::open(&path)?;
        old.pragma_update(None, "journal_mode", "WAL")?;
        old.execute_batch(VERSION_1)?;
        old.execute("INSERT INTO objects VALUES (4, 5, 'both', 100)", [])?;
        old.execute(
            "INSERT INTO digests VALUES (?, 4)",
            [one.digests[0].to_string()],
        )?;
        let root = &one.roots[0];
        old.execute(
            "INSERT INTO roots VALUES (?, ?, 4)",
            rusqlite::params![cid::text(root), root.hash().to_bytes()],
        )?;
        old.execute(
            "INSERT INTO files VALUES (?, 4, -1, 1, 5, 10, 20, 1, 8, 'https://example.com/one', 'lima', 300)",
            [b"/one".as_slice()],
        )?;
    }
    // Several processes may find it at the same time.
    thread::scope(|scope| {
        let openers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| Catalogue::open(&path)))
            .collect();
        openers
            .into_iter()
            .try_for_each(|opener| opener.join().expect("no thread panics").map(drop))
    })?;
    let catalogue = Catalogue::open(&path)?;
    let found = catalogue.find_digest(&one.digests[0])?;
    assert_eq!(found, catalogue.find_root(&one.roots[0])?);
    assert_eq!(
        found,
        [Held {
            object: one,
            file: file("/one", 1),
            used_at_unix: 300
        }]
    );
    catalogue.remember(&past("https://a/1", 1))?;
    let names = Names {
        locations: vec!["https://a/1"],
        ..Names::default()
    };
    assert_eq!(times(&Catalogue::open(&path)?, &names)?, [1]);
    assert!(!fs::exists(dir.path().join("catalogue.sqlite.damaged"))?);
    Ok(())
}

#[test]
fn cars_are_noted_and_forgotten() -> Outcome {
    let dir = tempfile::tempdir()?;
    let catalogue = Catalogue::open(&dir.path().join("catalogue.sqlite"))?;
    let roots = [b"a", b"b"].map(|bytes| cid::raw_sha256(hash::sha256(bytes)));
    let mut car = CarRecord {
        path: "/d/a.car".into(),
        roots: roots.to_vec(),
        added_at_unix: 7,
    };
    catalogue.record_car(&car)?;
    car.roots.clear();
    catalogue.record_car(&car)?;
    assert_eq!(catalogue.cars()?, [car.clone()], "noted anew");
    catalogue.forget_car(&car.path)?;
    assert_eq!(catalogue.cars()?, []);
    Ok(())
}

#[test]
fn a_database_of_version_2_gets_its_table_of_cars() -> Outcome {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("catalogue.sqlite");
    let one = object(b"bytes", Verified::Digest);
    let catalogue = Catalogue::open(&path)?;
    catalogue.record(&one, &file("/one", 1))?;
    catalogue
        .run(|connection| connection.execute_batch("DROP TABLE cars; PRAGMA user_version = 2"))?;
    drop(catalogue);
    let catalogue = Catalogue::open_telling(&path, |_| panic!("nothing is damaged"))?;
    assert_eq!((catalogue.list()?.len(), catalogue.cars()?.len()), (1, 0));
    Ok(())
}
