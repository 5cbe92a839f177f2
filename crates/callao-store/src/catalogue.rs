//! What is held where: a SQLite database that the processes of one user share.
//! Must not be needed: everything in it can be found again by hashing, so a damaged one is moved aside.
//!
//! ```text
//! objects   one per content: size, how and when it was verified
//!  |- digests   sha256:<hex> ...       -> object
//!  |- roots     multihash, CID text    -> object
//!  '- files     path, stamp, URL, kind -> object; last use
//! history   one per fetch that ended; belongs to no object, since a fetch may fail
//! cars      CAR files that the user added: they hold blocks, not one object
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use callao_content::Cid;
use callao_content::digest::Digest;
use rusqlite::Connection;

use crate::disk::Stamp;
use crate::error::Error;

mod cars;
mod database;
mod history;
mod rows;

pub use cars::CarRecord;
pub use history::{Names, Past};

/// How bytes came to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verified {
    /// The whole file has the digest that was asked for.
    Digest,
    /// Every leaf has the hash that the CID's tree gives it.
    Cid,
    /// Both.
    Both,
    /// Nothing was asked for: digest and CID are computed from whatever was there.
    ContentOnly,
}

impl Verified {
    /// As `cache list` and the database spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Cid => "cid",
            Self::Both => "both",
            Self::ContentOnly => "content-only",
        }
    }

    /// What is known when both are known.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (same, other) if same == other => same,
            (known, Self::ContentOnly) | (Self::ContentOnly, known) => known,
            _ => Self::Both,
        }
    }
}

/// Content: what is the same for all files that hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Digests of the whole, computed by callao.
    pub digests: Vec<Digest>,
    /// Roots of the trees that are known for it.
    pub roots: Vec<Cid>,
    /// Bytes.
    pub size: u64,
    /// How it was verified.
    pub verified: Verified,
    /// When, in seconds since 1970.
    pub verified_at_unix: i64,
}

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `data` of an entry of Lima's cache.
    Lima,
    /// A file of the user's own: `get -o`, `add`.
    User,
}

/// One file that holds an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Absolute path.
    pub path: PathBuf,
    /// Its state when its bytes were verified.
    pub stamp: Stamp,
    /// The location that it was published under.
    pub url: Option<String>,
    /// Whose it is.
    pub kind: Kind,
}

/// An answer of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What the file holds.
    pub object: Object,
    /// The file.
    pub file: FileRecord,
    /// Last use, in seconds since 1970.
    pub used_at_unix: i64,
}

/// The open database. Shared by threads; every method is one transaction.
#[derive(Debug)]
pub struct Catalogue {
    path: PathBuf,
    connection: Mutex<Connection>,
    told: Told,
}

/// Who is told that a database that could not be used was moved aside, and to which path.
struct Told(Box<dyn Fn(&Path) + Send + Sync>);

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

impl Catalogue {
    /// Opens or creates the database. One of an older version is brought up to date where it is; one that is damaged, or
    /// of a newer version, is moved aside (`<path>.damaged`) and replaced by an empty one.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_telling(path, |_| {})
    }

    /// Like [`Catalogue::open`]; `told` gets the path to which a database was moved that could not be used, be it now
    /// or when the damage shows itself later.
    pub fn open_telling(
        path: &Path,
        told: impl Fn(&Path) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let told = Told(Box::new(told));
        Ok(Self {
            path: path.to_owned(),
            connection: Mutex::new(database::open(path, &told.0)?),
            told,
        })
    }

    /// Looks at every page of the database; a damaged one is moved aside and replaced by an empty one.
    pub fn check(&self) -> Result<(), Error> {
        self.run(|connection| database::check(connection))
    }

    /// Replaces everything that is known of files, in one transaction: what each holds, and its last use.
    pub fn replace_files(&self, files: &[Held]) -> Result<(), Error> {
        self.run(|connection| rows::replace_files(connection, files))
    }

    /// Notes that a file holds an object. Objects that turn out to be the same (a digest or a root in common) become
    /// one; a path that held something else holds this now.
    pub fn record(&self, object: &Object, file: &FileRecord) -> Result<(), Error> {
        self.run(|connection| rows::record(connection, object, file))
    }

    /// Files that hold the bytes with this digest; entries of Lima first.
    pub fn find_digest(&self, digest: &Digest) -> Result<Vec<Held>, Error> {
        self.run(|connection| rows::find_digest(connection, digest))
    }

    /// Files that hold the tree with this root, in either version of the CID; entries of Lima first.
    pub fn find_root(&self, root: &Cid) -> Result<Vec<Held>, Error> {
        self.run(|connection| rows::find_root(connection, root))
    }

    /// What a file holds.
    pub fn by_path(&self, path: &Path) -> Result<Option<Held>, Error> {
        self.run(|connection| rows::by_path(connection, path))
    }

    /// Everything, by path.
    pub fn list(&self) -> Result<Vec<Held>, Error> {
        self.run(|connection| rows::list(connection))
    }

    /// Forgets a file (the file itself stays), and its object if that was the last one.
    pub fn forget(&self, path: &Path) -> Result<(), Error> {
        self.run(|connection| rows::forget(connection, path))
    }

    /// Notes a CAR file that the user added.
    pub fn record_car(&self, car: &CarRecord) -> Result<(), Error> {
        self.run(|connection| cars::record(connection, car))
    }

    /// The CAR files that were added, by path.
    pub fn cars(&self) -> Result<Vec<CarRecord>, Error> {
        self.run(|connection| cars::list(connection))
    }

    /// Forgets a CAR file; the file itself stays.
    pub fn forget_car(&self, path: &Path) -> Result<(), Error> {
        self.run(|connection| cars::forget(connection, path))
    }

    /// Notes a use, in seconds since 1970.
    pub fn touch(&self, path: &Path, unix: i64) -> Result<(), Error> {
        self.run(|connection| rows::touch(connection, path, unix))
    }

    /// Notes a fetch that ended, and forgets the oldest ones beyond the limits.
    pub fn remember(&self, past: &Past) -> Result<(), Error> {
        self.run(|connection| history::remember(connection, past))
    }

    /// The last fetches of a file, the latest first, at most `count_max`.
    pub fn history(&self, names: &Names<'_>, count_max: usize) -> Result<Vec<Past>, Error> {
        self.run(|connection| history::of(connection, names, count_max))
    }

    /// After our own link(2): every name of the inode that was in the state `before` is now in the state `after`.
    /// Only ctime and the number of links may differ; otherwise nothing is noted.
    pub fn restamp(&self, before: &Stamp, after: &Stamp) -> Result<(), Error> {
        if !after.same_bytes(before) {
            return Ok(());
        }
        self.run(|connection| rows::restamp(connection, before, after))
    }

    /// Is a file in the state `now` still the one that was verified? Same inode, size, mtime and ctime. A changed ctime
    /// may be a mere link or chmod, but mtime can be set by anybody, so the file is hashed once more.
    pub fn trusted(held: &Held, now: &Stamp) -> bool {
        held.file.stamp.same_bytes(now) && held.file.stamp.ctime_ns == now.ctime_ns
    }

    /// Runs one transaction; if the database turns out to be damaged, once more with a new one.
    fn run<T>(&self, work: impl Fn(&mut Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let mut connection = self.lock();
        let result = match work(&mut connection) {
            Err(error) if database::is_damage(&error) => {
                // Closed before it is moved aside.
                *connection = Connection::open_in_memory().map_err(|source| self.error(source))?;
                *connection = database::reopen(&self.path, &self.told.0)?;
                work(&mut connection)
            }
            other => other,
        };
        result.map_err(|source| self.error(source))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, source: rusqlite::Error) -> Error {
        Error::Catalogue {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests;
