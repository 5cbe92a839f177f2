//! The statements: objects, digests, roots and files to rows and back.
//! Must not know where the database is, nor what to do about a damaged one.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use callao_content::digest::Digest;
use callao_content::{Cid, cid};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, named_params, params};

use super::{FileRecord, Held, Kind, Object, Verified};
use crate::disk::Stamp;

type Result<T> = rusqlite::Result<T>;

const SELECT: &str = "
    SELECT f.path, f.dev, f.inode, f.size, f.mtime_ns, f.ctime_ns, f.nlink, f.blocks, f.url, f.kind, f.used_at,
           o.id, o.size, o.verified, o.verified_at
    FROM files f JOIN objects o ON o.id = f.object";

const ORDER: &str = "ORDER BY f.kind, f.path";

pub(super) fn record(
    connection: &mut Connection,
    object: &Object,
    file: &FileRecord,
) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    insert(&transaction, object, file)?;
    drop_orphans(&transaction)?;
    transaction.commit()
}

pub(super) fn replace_files(connection: &mut Connection, files: &[Held]) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Digests, roots and files go with their objects.
    transaction.execute("DELETE FROM objects", [])?;
    for held in files {
        insert(&transaction, &held.object, &held.file)?;
        transaction.execute(
            "UPDATE files SET used_at = ? WHERE path = ?",
            params![held.used_at_unix, path_bytes(&held.file.path)],
        )?;
    }
    transaction.commit()
}

fn insert(transaction: &Transaction<'_>, object: &Object, file: &FileRecord) -> Result<()> {
    let id = merge(transaction, object)?;
    for digest in &object.digests {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO digests (digest, object) VALUES (?, ?)")?
            .execute(params![digest.to_string(), id])?;
    }
    for root in &object.roots {
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO roots (cid, multihash, object) VALUES (?, ?, ?)",
            )?
            .execute(params![cid::text(root), root.hash().to_bytes(), id])?;
    }
    insert_file(transaction, id, file, object.verified_at_unix)
}

pub(super) fn find_digest(connection: &Connection, digest: &Digest) -> Result<Vec<Held>> {
    let sql = format!("{SELECT} JOIN digests d ON d.object = o.id WHERE d.digest = ? {ORDER}");
    query(connection, &sql, params![digest.to_string()])
}

pub(super) fn find_root(connection: &Connection, root: &Cid) -> Result<Vec<Held>> {
    let sql =
        format!("{SELECT} WHERE o.id IN (SELECT object FROM roots WHERE multihash = ?) {ORDER}");
    query(connection, &sql, params![root.hash().to_bytes()])
}

pub(super) fn by_path(connection: &Connection, path: &Path) -> Result<Option<Held>> {
    let sql = format!("{SELECT} WHERE f.path = ?");
    Ok(query(connection, &sql, params![path_bytes(path)])?.pop())
}

pub(super) fn list(connection: &Connection) -> Result<Vec<Held>> {
    query(connection, &format!("{SELECT} ORDER BY f.path"), [])
}

pub(super) fn forget(connection: &mut Connection, path: &Path) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("DELETE FROM files WHERE path = ?", [path_bytes(path)])?;
    drop_orphans(&transaction)?;
    transaction.commit()
}

pub(super) fn touch(connection: &Connection, path: &Path, unix: i64) -> Result<()> {
    connection.execute(
        "UPDATE files SET used_at = max(used_at, ?) WHERE path = ?",
        params![unix, path_bytes(path)],
    )?;
    Ok(())
}

pub(super) fn restamp(connection: &Connection, before: &Stamp, after: &Stamp) -> Result<()> {
    connection.execute(
        "UPDATE files SET ctime_ns = :ctime, nlink = :nlink
         WHERE dev = :dev AND inode = :inode AND size = :size AND mtime_ns = :mtime AND ctime_ns = :before",
        named_params! {
            ":ctime": after.ctime_ns,
            ":nlink": to_sql(after.nlink),
            ":dev": to_sql(before.dev),
            ":inode": to_sql(before.inode),
            ":size": to_sql(before.size),
            ":mtime": before.mtime_ns,
            ":before": before.ctime_ns,
        },
    )?;
    Ok(())
}

/// The row for an object: an old one that has a digest or a root in common, or a new one.
fn merge(transaction: &Transaction<'_>, object: &Object) -> Result<i64> {
    let mut same = BTreeSet::new();
    for digest in &object.digests {
        same.extend(ids(
            transaction,
            "SELECT object FROM digests WHERE digest = ?",
            params![digest.to_string()],
        )?);
    }
    for root in &object.roots {
        let multihash = root.hash().to_bytes();
        same.extend(ids(
            transaction,
            "SELECT object FROM roots WHERE multihash = ?",
            params![multihash],
        )?);
    }
    let mut kept: Option<i64> = None;
    let mut verified = object.verified;
    for id in same {
        let (size, old): (i64, String) = transaction.query_row(
            "SELECT size, verified FROM objects WHERE id = ?",
            [id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        if size != to_sql(object.size) {
            // One content has one size: the older record is a lie.
            transaction.execute("DELETE FROM objects WHERE id = ?", [id])?;
            continue;
        }
        verified = parse_verified(&old).map_or(verified, |old| verified.and(old));
        match kept {
            None => kept = Some(id),
            Some(kept) => absorb(transaction, kept, id)?,
        }
    }
    if let Some(id) = kept {
        transaction.execute(
            "UPDATE objects SET verified = ?, verified_at = max(verified_at, ?) WHERE id = ?",
            params![verified.name(), object.verified_at_unix, id],
        )?;
        return Ok(id);
    }
    transaction.execute(
        "INSERT INTO objects (size, verified, verified_at) VALUES (?, ?, ?)",
        params![
            to_sql(object.size),
            verified.name(),
            object.verified_at_unix
        ],
    )?;
    Ok(transaction.last_insert_rowid())
}

fn absorb(transaction: &Transaction<'_>, kept: i64, other: i64) -> Result<()> {
    for table in ["digests", "roots", "files"] {
        transaction.execute(
            &format!("UPDATE {table} SET object = ? WHERE object = ?"),
            [kept, other],
        )?;
    }
    transaction.execute("DELETE FROM objects WHERE id = ?", [other])?;
    Ok(())
}

fn insert_file(
    transaction: &Transaction<'_>,
    object: i64,
    file: &FileRecord,
    now: i64,
) -> Result<()> {
    let kind = match file.kind {
        Kind::Lima => "lima",
        Kind::User => "user",
    };
    transaction
        .prepare_cached(
            "INSERT INTO files (path, object, dev, inode, size, mtime_ns, ctime_ns, nlink, blocks, url, kind, used_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (path) DO UPDATE SET object = excluded.object, dev = excluded.dev, inode = excluded.inode,
                 size = excluded.size, mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns,
                 nlink = excluded.nlink, blocks = excluded.blocks, url = coalesce(excluded.url, url),
                 kind = excluded.kind, used_at = max(used_at, excluded.used_at)",
        )?
        .execute(params![
            path_bytes(&file.path),
            object,
            to_sql(file.stamp.dev),
            to_sql(file.stamp.inode),
            to_sql(file.stamp.size),
            file.stamp.mtime_ns,
            file.stamp.ctime_ns,
            to_sql(file.stamp.nlink),
            to_sql(file.stamp.blocks),
            file.url,
            kind,
            now,
        ])?;
    Ok(())
}

fn drop_orphans(transaction: &Transaction<'_>) -> Result<()> {
    transaction.execute(
        "DELETE FROM objects WHERE NOT EXISTS (SELECT 1 FROM files WHERE files.object = objects.id)",
        [],
    )?;
    Ok(())
}

fn ids(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<i64>> {
    connection
        .prepare_cached(sql)?
        .query_map(params, |row| row.get(0))?
        .collect()
}

fn query(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Held>> {
    let mut held: Vec<(i64, Held)> = connection
        .prepare_cached(sql)?
        .query_map(params, read_row)?
        .collect::<Result<_>>()?;
    for (id, held) in &mut held {
        held.object.digests = texts(
            connection,
            "SELECT digest FROM digests WHERE object = ? ORDER BY digest",
            *id,
        )?
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
        held.object.roots = texts(
            connection,
            "SELECT cid FROM roots WHERE object = ? ORDER BY cid",
            *id,
        )?
        .iter()
        .filter_map(|text| cid::parse(text).ok())
        .collect();
    }
    Ok(held.into_iter().map(|(_, held)| held).collect())
}

fn texts(connection: &Connection, sql: &str, object: i64) -> Result<Vec<String>> {
    connection
        .prepare_cached(sql)?
        .query_map([object], |row| row.get(0))?
        .collect()
}

fn read_row(row: &Row<'_>) -> Result<(i64, Held)> {
    let number = |index: usize| row.get::<_, i64>(index).map(|value| value as u64);
    let unreadable = |index: usize| {
        rusqlite::Error::InvalidColumnType(index, "unknown word".to_owned(), Type::Text)
    };
    let path: Vec<u8> = row.get(0)?;
    let kind = match row.get::<_, String>(9)?.as_str() {
        "lima" => Kind::Lima,
        "user" => Kind::User,
        _ => return Err(unreadable(9)),
    };
    let held = Held {
        object: Object {
            digests: Vec::new(),
            roots: Vec::new(),
            size: number(12)?,
            verified: parse_verified(&row.get::<_, String>(13)?).ok_or_else(|| unreadable(13))?,
            verified_at_unix: row.get(14)?,
        },
        file: FileRecord {
            path: PathBuf::from(OsStr::from_bytes(&path)),
            stamp: Stamp {
                dev: number(1)?,
                inode: number(2)?,
                size: number(3)?,
                mtime_ns: row.get(4)?,
                ctime_ns: row.get(5)?,
                nlink: number(6)?,
                blocks: number(7)?,
            },
            url: row.get(8)?,
            kind,
        },
        used_at_unix: row.get(10)?,
    };
    Ok((row.get(11)?, held))
}

fn parse_verified(text: &str) -> Option<Verified> {
    [
        Verified::Digest,
        Verified::Cid,
        Verified::Both,
        Verified::ContentOnly,
    ]
    .into_iter()
    .find(|verified| verified.name() == text)
}

fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// SQLite has signed integers only; the bits are kept.
fn to_sql(value: u64) -> i64 {
    value as i64
}
