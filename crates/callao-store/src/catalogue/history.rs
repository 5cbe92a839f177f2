//! The statements of the history: one row for each fetch of a file that ended, well or not. Bounded.
//! Must not know what the details of a fetch are: they are text of the program's own.

use callao_content::Cid;
use callao_content::cid;
use callao_content::digest::Digest;
use rusqlite::{Connection, Row, TransactionBehavior, params};

use crate::limits::{HISTORY_ROWS_COUNT_MAX, HISTORY_ROWS_PER_LOCATION_COUNT_MAX};

type Result<T> = rusqlite::Result<T>;

/// One fetch of a file that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The location that was attempted, as written.
    pub location: String,
    /// The digest that was wanted or, where none was, the one that was computed.
    pub digest: Option<String>,
    /// The CID, as far as it was known in the end.
    pub cid: Option<String>,
    /// When it ended, in seconds since 1970.
    pub ended_at_unix: i64,
    /// Length of the file in bytes, as far as it was known.
    pub size: Option<u64>,
    /// Milliseconds that it took.
    pub elapsed_ms: u64,
    /// `done`, or why it failed, in one word.
    pub outcome: String,
    /// The version of [`Past::details`].
    pub details_version: i64,
    /// What happened on the way: text that the program writes and reads.
    pub details: String,
}

/// Names of one file; each of them finds its fetches.
#[derive(Debug, Clone, Default)]
pub struct Names<'a> {
    /// Its locations.
    pub locations: Vec<&'a str>,
    /// Its digest.
    pub digest: Option<&'a Digest>,
    /// Its CID.
    pub cid: Option<&'a Cid>,
}

/// Adds a row and takes away the oldest ones that are too many.
pub(super) fn remember(connection: &mut Connection, past: &Past) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(
        "INSERT INTO history (location, digest, cid, ended_at, size, elapsed_ms, outcome, details_version, details)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            past.location,
            past.digest,
            past.cid,
            past.ended_at_unix,
            past.size.map(to_sql),
            to_sql(past.elapsed_ms),
            past.outcome,
            past.details_version,
            past.details,
        ],
    )?;
    transaction.execute(
        "DELETE FROM history WHERE location = ?1 AND id NOT IN
             (SELECT id FROM history WHERE location = ?1 ORDER BY id DESC LIMIT ?2)",
        params![past.location, count(HISTORY_ROWS_PER_LOCATION_COUNT_MAX)],
    )?;
    transaction.execute(
        "DELETE FROM history WHERE id NOT IN (SELECT id FROM history ORDER BY id DESC LIMIT ?)",
        params![count(HISTORY_ROWS_COUNT_MAX)],
    )?;
    transaction.commit()
}

/// The last fetches of a file, the latest first.
pub(super) fn of(
    connection: &Connection,
    names: &Names<'_>,
    count_max: usize,
) -> Result<Vec<Past>> {
    let mut found: Vec<(i64, Past)> = Vec::new();
    let digest = names.digest.map(ToString::to_string);
    let cid = names.cid.map(cid::text);
    let by_location = names.locations.iter().map(|name| ("location", *name));
    let by_digest = digest.as_deref().map(|name| ("digest", name));
    let by_cid = cid.as_deref().map(|name| ("cid", name));
    for (column, name) in by_location.chain(by_digest).chain(by_cid) {
        let sql = format!(
            "SELECT id, location, digest, cid, ended_at, size, elapsed_ms, outcome, details_version, details
             FROM history WHERE {column} = ? ORDER BY id DESC LIMIT ?"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params![name, count(count_max)], read_row)?;
        found.extend(rows.collect::<Result<Vec<_>>>()?);
    }
    found.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    found.dedup_by_key(|(id, _)| *id);
    found.truncate(count_max);
    Ok(found.into_iter().map(|(_, past)| past).collect())
}

fn read_row(row: &Row<'_>) -> Result<(i64, Past)> {
    let past = Past {
        location: row.get(1)?,
        digest: row.get(2)?,
        cid: row.get(3)?,
        ended_at_unix: row.get(4)?,
        size: row.get::<_, Option<i64>>(5)?.map(|size| size as u64),
        elapsed_ms: row.get::<_, i64>(6)? as u64,
        outcome: row.get(7)?,
        details_version: row.get(8)?,
        details: row.get(9)?,
    };
    Ok((row.get(0)?, past))
}

fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// SQLite has signed integers only; the bits are kept.
fn to_sql(value: u64) -> i64 {
    value as i64
}
