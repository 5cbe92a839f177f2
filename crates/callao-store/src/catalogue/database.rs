//! Opening the database: schema, write-ahead log, bringing an older one up to date, and moving a damaged one aside.
//! Must not know what the rows mean.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::disk::{Disk, RealDisk};
use crate::error::{At, Error};
use crate::limits;
use crate::lock::{self, WaitChoice};

/// `PRAGMA user_version`. A database with an older one is brought up to date, one with a newer one is replaced.
const SCHEMA_VERSION: i64 = 3;

/// The tables of version 1.
const SCHEMA_1: &str = "
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
";

/// What version 2 added.
const SCHEMA_2: &str = "
    CREATE TABLE history (
        id INTEGER PRIMARY KEY,
        location TEXT NOT NULL,
        digest TEXT,
        cid TEXT,
        ended_at INTEGER NOT NULL,
        size INTEGER,
        elapsed_ms INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        details_version INTEGER NOT NULL,
        details TEXT NOT NULL
    );
    CREATE INDEX history_location ON history (location);
    CREATE INDEX history_digest ON history (digest);
    CREATE INDEX history_cid ON history (cid);
";

/// What version 3 added.
const SCHEMA_3: &str = "
    CREATE TABLE cars (
        path BLOB PRIMARY KEY,
        roots TEXT NOT NULL,
        added_at INTEGER NOT NULL
    ) WITHOUT ROWID;
";

enum Opened {
    Ready(Connection),
    /// Of an older version, and what it lacks.
    Old(Connection, &'static [&'static str]),
    Empty(Connection),
    Damaged,
}

/// How closely a database is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Version and tables.
    Quick,
    /// Every page: after an answer that made no sense.
    Thorough,
}

/// Opens, creates or replaces the database.
pub(super) fn open(path: &Path, told: &dyn Fn(&Path)) -> Result<Connection, Error> {
    open_looking(path, Look::Quick, told)
}

/// Like [`open`], when damage was seen; unless another process has replaced the database already, this one does.
pub(super) fn reopen(path: &Path, told: &dyn Fn(&Path)) -> Result<Connection, Error> {
    open_looking(path, Look::Thorough, told)
}

fn open_looking(path: &Path, look: Look, told: &dyn Fn(&Path)) -> Result<Connection, Error> {
    let sqlite = |source| Error::Catalogue {
        path: path.to_owned(),
        source,
    };
    let dir = path.parent().unwrap_or(Path::new("."));
    RealDisk.create_dir_all(dir).at("create", dir)?;
    if look == Look::Quick
        && let Opened::Ready(connection) = connect(path, look).map_err(sqlite)?
    {
        return Ok(connection);
    }
    // Only one process creates, changes or replaces it; the others find it done.
    let lock = lock::acquire(
        dir,
        &mut |waited| {
            if waited.since < Duration::from_millis(limits::CATALOGUE_BUSY_MS) {
                WaitChoice::KeepWaiting
            } else {
                WaitChoice::GiveUp
            }
        },
        || RealDisk.try_lock_dir(dir).at("lock", dir),
    )?;
    let connection = match connect(path, look).map_err(sqlite)? {
        Opened::Ready(connection) => connection,
        Opened::Old(connection, lacking) => upgrade(connection, lacking).map_err(sqlite)?,
        Opened::Empty(connection) => create(connection).map_err(sqlite)?,
        Opened::Damaged => {
            if let Some(aside) = move_aside(path)? {
                told(&aside);
            }
            create(prepare(path).map_err(sqlite)?).map_err(sqlite)?
        }
    };
    drop(lock);
    Ok(connection)
}

/// Is the database itself at fault, and not the way it was asked?
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, InvalidColumnType, SqlInputError};
    match error {
        FromSqlConversionFailure(..) | InvalidColumnType(..) | SqlInputError { .. } => true,
        other => matches!(
            other.sqlite_error_code(),
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown)
        ),
    }
}

/// Looks at every page; an error that [`is_damage`] if one of them makes no sense.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<()> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(code, Some(verdict)))
}

fn prepare(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_millis(limits::CATALOGUE_BUSY_MS))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // With the log, a power cut may cost the last transactions, never the database.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(connection)
}

fn connect(path: &Path, look: Look) -> rusqlite::Result<Opened> {
    let opened = prepare(path).and_then(|connection| {
        let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let version = number("PRAGMA user_version")?;
        let tables = number(
            "SELECT count(*) FROM sqlite_schema
             WHERE type = 'table' AND name IN ('objects', 'digests', 'roots', 'files', 'history', 'cars')",
        )?;
        let others = number("SELECT count(*) FROM sqlite_schema")? - tables;
        if look == Look::Thorough {
            check(&connection)?;
        }
        Ok(match (version, tables) {
            (SCHEMA_VERSION, 6) => Opened::Ready(connection),
            (2, 5) => Opened::Old(connection, &[SCHEMA_3]),
            (1, 4) => Opened::Old(connection, &[SCHEMA_2, SCHEMA_3]),
            (0, 0) if others == 0 => Opened::Empty(connection),
            _ => Opened::Damaged,
        })
    });
    match opened {
        Err(error) if is_damage(&error) => Ok(Opened::Damaged),
        other => other,
    }
}

fn create(mut connection: Connection) -> rusqlite::Result<Connection> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction()?;
    for tables in [SCHEMA_1, SCHEMA_2, SCHEMA_3] {
        transaction.execute_batch(tables)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    Ok(connection)
}

/// In place: every row stays.
fn upgrade(mut connection: Connection, lacking: &[&str]) -> rusqlite::Result<Connection> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for tables in lacking {
        transaction.execute_batch(tables)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    Ok(connection)
}

/// The log first: applied to a new database it would spoil that one too. Answers with the new name of the old one.
fn move_aside(path: &Path) -> Result<Option<PathBuf>, Error> {
    let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    for suffix in ["-wal", "-shm"] {
        let file = beside(suffix);
        RealDisk.remove(&file).at("remove", &file)?;
    }
    if RealDisk.stat(path).at("examine", path)?.is_none() {
        return Ok(None);
    }
    let aside = beside(".damaged");
    RealDisk.rename(path, &aside).at("move aside", path)?;
    Ok(Some(aside))
}
