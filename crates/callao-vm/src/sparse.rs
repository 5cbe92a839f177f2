//! Files with holes: zeros are not written, and take no place.
//!
//! It must not know what the bytes are.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::files;

/// The smallest hole that file systems have.
const GRAIN_BYTES: usize = 4096;

/// What is read at once.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// Writes into an empty file, one chunk after the other, all of them but the last a multiple of the grain.
pub(crate) struct Writer<F> {
    file: F,
    bytes: u64,
}

impl<F: Write + Seek> Writer<F> {
    pub(crate) fn new(file: F) -> Self {
        Self { file, bytes: 0 }
    }

    /// How far it is, holes included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a chunk: runs of grains with something in them are written, the others skipped.
    pub(crate) fn add(&mut self, chunk: &[u8]) -> io::Result<()> {
        let mut grains = chunk.chunks(GRAIN_BYTES).peekable();
        let mut from = 0;
        while let Some(grain) = grains.next() {
            let mut to = from + grain.len();
            if !is_zero(grain) {
                while let Some(more) = grains.next_if(|more| !is_zero(more)) {
                    to += more.len();
                }
                self.file.seek(SeekFrom::Start(self.bytes + from as u64))?;
                self.file.write_all(&chunk[from..to])?;
            }
            from = to;
        }
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    pub(crate) fn into_file(self) -> F {
        self.file
    }
}

/// The whole is looked at without stopping in between, which the compiler turns into wide instructions.
fn is_zero(grain: &[u8]) -> bool {
    grain.first() == Some(&0) && grain.iter().fold(0, |all, byte| all | byte) == 0
}

/// Reads until a buffer is full or there is no more.
pub(crate) fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Copies a file, gives the copy a length that is at least its own, and only then its name.
///
/// # Errors
/// It cannot be read or written.
pub(crate) fn copy(from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
    let temporary = files::temporary_beside(to);
    let copied = copy_to(from, &temporary, bytes).and_then(|()| files::rename(&temporary, to));
    if copied.is_err() {
        let _ = files::remove(&temporary);
    }
    copied
}

fn copy_to(from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
    let mut source = files::open(from)?;
    files::remove(to)?;
    let mut writer = Writer::new(files::create_new(to, files::PRIVATE_FILE)?);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let count = fill(&mut source, &mut buffer)?;
        writer.add(&buffer[..count])?;
        if count < buffer.len() {
            break;
        }
    }
    let bytes = bytes.max(writer.bytes());
    writer.into_file().set_len(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runs_with_something_in_them_are_written() {
        let mut writer = Writer::new(io::Cursor::new(vec![7; 6 * GRAIN_BYTES]));
        let mut chunk = vec![0; 4 * GRAIN_BYTES];
        chunk[2 * GRAIN_BYTES - 1] = 1;
        chunk[2 * GRAIN_BYTES] = 2;
        writer.add(&chunk).expect("written");
        writer.add(&[0, 0, 3]).expect("written");
        assert_eq!(writer.bytes(), 4 * GRAIN_BYTES as u64 + 3);
        let out = writer.into_file().into_inner();
        // What was skipped still has the sevens.
        let (skipped, written) = out.split_at(GRAIN_BYTES);
        assert!(skipped.iter().all(|byte| *byte == 7));
        assert_eq!(
            written[..2 * GRAIN_BYTES],
            chunk[GRAIN_BYTES..3 * GRAIN_BYTES]
        );
        let rest = &written[2 * GRAIN_BYTES..];
        assert!(rest[..GRAIN_BYTES].iter().all(|byte| *byte == 7));
        assert_eq!(rest[GRAIN_BYTES..GRAIN_BYTES + 4], [0, 0, 3, 7]);
    }
}
