//! What can be wrong with an instance. What is wrong with one of its parts is told by that part's own error.

use std::io;
use std::path::{Path, PathBuf};

use crate::limits;

/// Why something could not be done with an instance.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refuses.
    #[error("failed to {doing} `{}`: {source}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of an instance is not what callao wrote.
    #[error("`{}` is damaged: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No instance of this name.
    #[error("there is no instance `{name}`")]
    NotFound {
        /// Its name.
        name: String,
    },
    /// There is one already.
    #[error("there is an instance `{name}` already")]
    Exists {
        /// Its name.
        name: String,
    },
    /// Something else is at work on it.
    #[error("instance `{name}` is in use by another callao")]
    Busy {
        /// Its name.
        name: String,
    },
    /// The directory lies too deep.
    #[error(
        "instance `{name}` would have the unix socket `{}`, whose path is longer than the {} bytes that the system allows",
        .path.display(),
        limits::SOCKET_PATH_BYTES_MAX
    )]
    SocketPath {
        /// Its name.
        name: String,
        /// The longest socket.
        path: PathBuf,
    },
}

impl Error {
    /// An error of the file system.
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Error::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}
