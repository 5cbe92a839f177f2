//! The one error type of this crate; every variant names the path it is about.
//! Must not know how errors are shown, or which exit code they become.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong on disk. Messages are lower-case fragments; the cause is in `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A disk operation failed; `source` is the operating system's answer.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was tried, as a verb that takes the path as its object.
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },

    /// No space (or quota) is left on the file system that holds `path`.
    #[error("no space left on disk for {path} ({needed} more bytes needed)", path = path.display())]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
        /// Bytes that were asked for and not given.
        needed: u64,
    },

    /// Another process holds the lock, and the caller chose not to wait any longer.
    #[error("{path} is locked by another process", path = path.display())]
    Locked {
        /// The locked file or directory.
        path: PathBuf,
    },

    /// The name of a staging file is not usable as a file name.
    #[error("not a usable staging key: {key:?}")]
    BadKey {
        /// The key as given.
        key: String,
    },

    /// A read or a write beyond the end.
    #[error("bytes {offset}+{length} are beyond the end of {path} ({size} bytes)", path = path.display())]
    OutOfBounds {
        /// The file.
        path: PathBuf,
        /// First byte.
        offset: u64,
        /// Bytes from there.
        length: u64,
        /// Size of the file.
        size: u64,
    },

    /// A second layout for a staging file that already follows another one.
    #[error("{path} already follows the layout of another root", path = path.display())]
    LayoutChanged {
        /// The staging file.
        path: PathBuf,
    },

    /// A copy does not hash to what it is a copy of.
    #[error("{path} hashes to {actual}, not to {expected}", path = path.display())]
    DigestMismatch {
        /// The file.
        path: PathBuf,
        /// What its bytes had to hash to.
        expected: String,
        /// What they hash to.
        actual: String,
    },

    /// A file was replaced or written to after it had been verified.
    #[error("{path} changed after it was verified", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },

    /// A leaf that was verified earlier, or was expected to be good, is not.
    #[error("bytes {offset}+{length} of {path} do not match their hash", path = path.display())]
    CorruptLeaf {
        /// The file.
        path: PathBuf,
        /// First byte of the leaf.
        offset: u64,
        /// Length of the leaf.
        length: u64,
    },

    /// The catalogue could not be used. Nothing is lost: it can be rebuilt.
    #[error("cannot use the catalogue {path}", path = path.display())]
    Catalogue {
        /// The database file.
        path: PathBuf,
        /// SQLite's answer.
        #[source]
        source: rusqlite::Error,
    },

    /// Bytes on disk (proof, CAR, blocks, file to import) that the content rules refuse.
    #[error("cannot use the contents of {path}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The rule that was broken.
        #[source]
        source: Box<callao_content::Error>,
    },

    /// A directory without the marks of a kubo repository.
    #[error("{path} is not a kubo repository (no datastore_spec and no blocks/SHARDING)", path = path.display())]
    NotARepository {
        /// The directory.
        path: PathBuf,
    },

    /// A kubo repository whose blocks are not in flatfs.
    #[error(
        "{path} keeps its blocks in {kind}, which only kubo itself can read: \
         start the daemon and give its API address instead",
        path = path.display()
    )]
    UnsupportedDatastore {
        /// The repository.
        path: PathBuf,
        /// The datastore, as `datastore_spec` names it.
        kind: String,
    },

    /// A flatfs shard function that kubo does not have.
    #[error("{path} names an unknown shard function {text:?}", path = path.display())]
    BadSharding {
        /// The `SHARDING` file.
        path: PathBuf,
        /// Its text.
        text: String,
    },

    /// A CAR file that is not one, or that breaks a limit.
    #[error("{path} is not a usable CAR file: {reason}", path = path.display())]
    BadCar {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Error {
    /// Is this "no space left", so that another file system or a smaller file might do?
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }

    /// The path that the error is about, where there is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Io { path, .. }
            | Self::DiskFull { path, .. }
            | Self::Locked { path }
            | Self::OutOfBounds { path, .. }
            | Self::LayoutChanged { path }
            | Self::DigestMismatch { path, .. }
            | Self::Changed { path }
            | Self::CorruptLeaf { path, .. }
            | Self::Catalogue { path, .. }
            | Self::Content { path, .. }
            | Self::NotARepository { path }
            | Self::UnsupportedDatastore { path, .. }
            | Self::BadSharding { path, .. }
            | Self::BadCar { path, .. } => Some(path),
            Self::BadKey { .. } => None,
        }
    }
}

/// Puts the path and the action to an [`io::Error`].
pub(crate) trait At<T> {
    /// For operations that need next to no space.
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error>;
    /// For operations that need `needed` bytes: "no space" becomes [`Error::DiskFull`] with that number.
    fn at_needing(self, action: &'static str, path: &Path, needed: u64) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.at_needing(action, path, 0)
    }

    fn at_needing(self, action: &'static str, path: &Path, needed: u64) -> Result<T, Error> {
        self.map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull {
                path: path.to_owned(),
                needed,
            },
            _ => Error::Io {
                action,
                path: path.to_owned(),
                source,
            },
        })
    }
}
