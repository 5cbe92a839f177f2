//! Unpacks a compressed image into a sparse file: gzip, bzip2, xz and zstd, by libraries, in bounded memory.
//!
//! It must not know what the image is. It blocks: run it on a thread for that.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ruzstd::decoding::FrameDecoder;
use tokio_util::sync::CancellationToken;

use crate::{files, limits, sparse};

mod frames;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    /// RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz; not the older LZMA.
    Xz,
    /// RFC 8878.
    Zstd,
}

impl Packed {
    /// What begins with these bytes; four to six are enough.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            // A frame, or one that is skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Compressed bytes that were read.
    pub read_bytes: u64,
    /// Length of the compressed file.
    pub of_bytes: u64,
    /// Unpacked bytes, holes included.
    pub unpacked_bytes: u64,
}

/// It cannot be unpacked. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not compressed, or in a way that is not known.
    #[error("{} is compressed neither by gzip, bzip2, xz nor zstd", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// It ends too early.
    #[error("{} ends in the middle of its {} data: it is not complete", path.display(), kind.name())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// How it is compressed.
        kind: Packed,
    },
    /// It is damaged, or something else follows.
    #[error("{} is damaged, or something else follows its {} data, {unpacked_bytes} bytes into the image: `{why}`",
        path.display(), kind.name())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it is compressed.
        kind: Packed,
        /// Where, counted in what it unpacks to.
        unpacked_bytes: u64,
        /// The library's own words.
        why: String,
    },
    /// It is a bomb.
    #[error("{} unpacks to more than {limit_bytes} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most that is unpacked.
        limit_bytes: u64,
    },
    /// It cannot be written: the disk is full, most often.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody changed their mind.
    #[error("unpacking {} was cancelled", path.display())]
    Cancelled {
        /// The file.
        path: PathBuf,
    },
}

/// How a file is compressed, by its first bytes.
///
/// # Errors
/// It cannot be read.
pub fn kind_of(path: &Path) -> io::Result<Option<Packed>> {
    let mut head = [0; 6];
    let count = sparse::fill(&mut files::open(path)?, &mut head)?;
    Ok(Packed::of(&head[..count]))
}

/// Unpacks `source` into `target`, which appears complete or not at all, and gives its length in bytes.
///
/// # Errors
/// See `UnpackError`; nothing is left at or beside `target`.
pub fn unpack(
    source: &Path,
    target: &Path,
    progress: &mut dyn FnMut(Progress),
    cancel: &CancellationToken,
) -> Result<u64, UnpackError> {
    unpack_at_most(source, target, limits::UNPACKED_BYTES_MAX, progress, cancel)
}

fn unpack_at_most(
    source: &Path,
    target: &Path,
    limit_bytes: u64,
    progress: &mut dyn FnMut(Progress),
    cancel: &CancellationToken,
) -> Result<u64, UnpackError> {
    let read_error = |error| UnpackError::Read {
        path: source.to_owned(),
        source: error,
    };
    let kind = kind_of(source).map_err(read_error)?;
    let kind = kind.ok_or_else(|| UnpackError::Unknown {
        path: source.to_owned(),
    })?;
    let input = Input {
        path: source,
        kind,
        limit_bytes,
        of_bytes: files::size(source).map_err(read_error)?,
        file: files::open(source).map_err(read_error)?,
    };
    let temporary = files::temporary_beside(target);
    let write_error = |error| UnpackError::Write {
        path: target.to_owned(),
        source: error,
    };
    // What a killed one of the same number left.
    files::remove(&temporary).map_err(write_error)?;
    let result = files::create_new(&temporary, files::PRIVATE_FILE)
        .map_err(write_error)
        .and_then(|file| input.into(file, target, progress, cancel))
        .and_then(|bytes| {
            let renamed = files::rename(&temporary, target);
            renamed.map(|()| bytes).map_err(write_error)
        });
    if result.is_err() {
        // The first error is the one to tell.
        let _ = files::remove(&temporary);
    }
    result
}

struct Input<'a> {
    path: &'a Path,
    kind: Packed,
    limit_bytes: u64,
    of_bytes: u64,
    file: File,
}

impl Input<'_> {
    fn into(
        self,
        file: File,
        target: &Path,
        progress: &mut dyn FnMut(Progress),
        cancel: &CancellationToken,
    ) -> Result<u64, UnpackError> {
        let write_error = |source| UnpackError::Write {
            path: target.to_owned(),
            source,
        };
        let read = Rc::new(Cell::new(0));
        let counted = Counted {
            inner: self.file,
            read: Rc::clone(&read),
        };
        let mut decoder = decoder(self.kind, BufReader::with_capacity(64 << 10, counted));
        let mut writer = sparse::Writer::new(file);
        let mut chunk = vec![0; sparse::CHUNK_BYTES];
        loop {
            let path = || self.path.to_owned();
            if cancel.is_cancelled() {
                return Err(UnpackError::Cancelled { path: path() });
            }
            let count = sparse::fill(&mut *decoder, &mut chunk)
                .map_err(|error| damage(path(), self.kind, writer.bytes(), &error))?;
            if writer.bytes() + count as u64 > self.limit_bytes {
                return Err(UnpackError::TooLong {
                    path: path(),
                    limit_bytes: self.limit_bytes,
                });
            }
            writer.add(&chunk[..count]).map_err(write_error)?;
            progress(Progress {
                read_bytes: read.get(),
                of_bytes: self.of_bytes,
                unpacked_bytes: writer.bytes(),
            });
            if count < chunk.len() {
                break;
            }
        }
        let bytes = writer.bytes();
        let file = writer.into_file();
        // A hole at the end has not made the file longer.
        file.set_len(bytes).map_err(write_error)?;
        file.sync_data().map_err(write_error)?;
        Ok(bytes)
    }
}

fn damage(path: PathBuf, kind: Packed, unpacked_bytes: u64, error: &io::Error) -> UnpackError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return UnpackError::Truncated { path, kind };
    }
    if error.raw_os_error().is_some() {
        // The file itself could not be read.
        let source = io::Error::new(error.kind(), error.to_string());
        return UnpackError::Read { path, source };
    }
    UnpackError::Damaged {
        path,
        kind,
        unpacked_bytes,
        why: crate::program::shown(&error.to_string()),
    }
}

fn decoder<'a>(kind: Packed, input: impl BufRead + 'a) -> Box<dyn Read + 'a> {
    match kind {
        Packed::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Packed::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Packed::Xz => {
            let limit = limits::UNPACK_MEMORY_BYTES_MAX / 1024;
            Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, limit))
        }
        Packed::Zstd => {
            let mut decoder = FrameDecoder::new();
            decoder.set_max_window_size(limits::UNPACK_WINDOW_BYTES_MAX);
            Box::new(frames::Frames::new(input, decoder))
        }
    }
}

/// Counts what is read.
struct Counted {
    inner: File,
    read: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

#[cfg(test)]
#[path = "unpack/tests.rs"]
mod tests;
