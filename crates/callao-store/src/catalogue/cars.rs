//! The statements of the CAR files that the user added: one row each. Must not know what is in them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use callao_content::{Cid, cid};
use rusqlite::{Connection, params};

type Result<T> = rusqlite::Result<T>;

/// A CAR file that is served where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarRecord {
    /// Absolute path.
    pub path: PathBuf,
    /// The roots that its header names.
    pub roots: Vec<Cid>,
    /// When it was added, in seconds since 1970.
    pub added_at_unix: i64,
}

pub(super) fn record(connection: &mut Connection, car: &CarRecord) -> Result<()> {
    let roots: Vec<String> = car.roots.iter().map(cid::text).collect();
    connection.execute(
        "INSERT OR REPLACE INTO cars (path, roots, added_at) VALUES (?, ?, ?)",
        params![
            car.path.as_os_str().as_bytes(),
            roots.join(" "),
            car.added_at_unix
        ],
    )?;
    Ok(())
}

pub(super) fn list(connection: &Connection) -> Result<Vec<CarRecord>> {
    let mut statement =
        connection.prepare("SELECT path, roots, added_at FROM cars ORDER BY path")?;
    let rows = statement.query_map([], |row| {
        let path: Vec<u8> = row.get(0)?;
        let roots: String = row.get(1)?;
        Ok(CarRecord {
            path: Path::new(OsStr::from_bytes(&path)).to_owned(),
            roots: roots
                .split(' ')
                .filter_map(|text| cid::parse(text).ok())
                .collect(),
            added_at_unix: row.get(2)?,
        })
    })?;
    rows.collect()
}

pub(super) fn forget(connection: &Connection, path: &Path) -> Result<()> {
    connection.execute(
        "DELETE FROM cars WHERE path = ?",
        [path.as_os_str().as_bytes()],
    )?;
    Ok(())
}
