//! What an upload is handed: the bytes of a file by position, and a memory of where it was left. Speaks to nobody.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use callao_content::digest::Digest;
use callao_fetch::oci::push::{Bulk, Watch};
use callao_fetch::oci::reference::Reference;
use callao_store::disk::{Disk, DiskFile};
use callao_store::documents;
use callao_store::places::Places;
use indicatif::ProgressBar;

use super::artifact::Artifact;
use crate::app::App;
use crate::error::CommandError;
use crate::interrupt::Interrupt;
use crate::output::progress;

/// A file that is open.
pub(super) struct FileBytes {
    file: Arc<dyn DiskFile>,
    size: u64,
}

impl FileBytes {
    pub(super) fn open(app: &App, path: &Path) -> Result<Self, CommandError> {
        let failed = |error| CommandError::io("read", path, &error);
        let file = app.disk.open_read(path).map_err(failed)?;
        let size = file.stamp().map_err(failed)?.size;
        Ok(FileBytes { file, size })
    }

    pub(super) fn begins_with(&self, magic: &[u8; 4]) -> bool {
        let mut head = [0; 4];
        self.size >= 4 && self.read(0, &mut head).is_ok() && head == *magic
    }
}

impl Bulk for FileBytes {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match self
                .file
                .read_at(&mut buffer[done..], offset + done as u64)?
            {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => done += count,
            }
        }
        Ok(())
    }
}

/// Bytes in memory.
pub(super) struct SmallBytes<'a>(pub(super) &'a [u8]);

impl Bulk for SmallBytes<'_> {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let part = self.0.get(start..start + buffer.len());
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// For what is too small to be continued.
pub(super) struct Unwatched;

impl Watch for Unwatched {
    fn left_at(&self) -> Option<String> {
        None
    }
    fn goes_on_at(&self, _location: Option<&str>) {}
    fn at(&self, _bytes: u64) {}
    fn is_stopped(&self) -> bool {
        false
    }
}

/// The upload of one file, remembered on disk.
pub(super) struct Session {
    disk: Arc<dyn Disk>,
    places: Places,
    blob: Digest,
    target: String,
    left_at: Mutex<Option<String>>,
    interrupt: Interrupt,
    bar: ProgressBar,
}

impl Session {
    pub(super) fn new(app: &App, reference: &Reference, artifact: &Artifact) -> Self {
        let target = format!("{}/{}", reference.registry, reference.repository);
        let (disk, places) = (Arc::clone(&app.disk), app.places.clone());
        let left_at = documents::upload(&*disk, &places, &artifact.digest, &target);
        Session {
            blob: artifact.digest,
            left_at: Mutex::new(left_at),
            interrupt: app.interrupt.clone(),
            bar: progress::reading_bar(&app.output, artifact.size),
            disk,
            places,
            target,
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Session {
    fn left_at(&self) -> Option<String> {
        let left_at = self.left_at.lock();
        left_at.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn goes_on_at(&self, location: Option<&str>) {
        *self.left_at.lock().unwrap_or_else(PoisonError::into_inner) = location.map(str::to_string);
        let noted = documents::note_upload(
            &*self.disk,
            &self.places,
            &self.blob,
            &self.target,
            location,
        );
        // Not noted: after an interruption it begins again, that is all.
        noted.unwrap_or(());
    }

    fn at(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    fn is_stopped(&self) -> bool {
        self.interrupt.is_set()
    }
}
