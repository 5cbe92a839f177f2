//! Disks: whether an image may be the base of one, and the overlay that the guest writes to.
//!
//! It must not know where an image came from. The format of an image is decided once, by its own bytes, and named to every
//! program from then on: a guest could write what looks like another format into its disk.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::program::{self, ProgramError};
use crate::{files, limits, sparse};

pub mod format;
pub mod report;

pub use format::{Format, Refusal};
pub use report::{Health, ReportError};

/// Sectors of a disk.
const SECTOR_BYTES: u64 = 512;

/// An image that may be the base of a disk: as it is, in all formats. (QEMU reads vmdk, vhdx, vpc and vdi below an overlay as
/// well as qcow2; nothing is converted.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Its format.
    pub format: Format,
    /// The size that a guest sees.
    pub virtual_bytes: u64,
}

/// A disk cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The image cannot be read.
    #[error("cannot read the image {}: {source}", path.display())]
    Read {
        /// The image.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The image is not taken.
    #[error("the image {} cannot be used: {why}", path.display())]
    Refused {
        /// The image.
        path: PathBuf,
        /// Why.
        why: Refusal,
    },
    /// qemu-img does not say what is needed.
    #[error("the image {} cannot be used: {why}", path.display())]
    Report {
        /// The image.
        path: PathBuf,
        /// Why.
        why: ReportError,
    },
    /// The template asks for less than the image has.
    #[error(
        "`disk:` is smaller than the image: {disk_bytes} bytes are asked for, and the image has {image_bytes}"
    )]
    TooSmall {
        /// What is asked for.
        disk_bytes: u64,
        /// What the image has.
        image_bytes: u64,
    },
    /// Disks only grow: what is at their end would be lost.
    #[error("the disk {} has {now_bytes} bytes and cannot be made smaller ({asked_bytes} are asked for)", path.display())]
    Shrink {
        /// The disk.
        path: PathBuf,
        /// What it has.
        now_bytes: u64,
        /// What is asked for.
        asked_bytes: u64,
    },
    /// qemu-img failed.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// Says what an image is, if a disk can be based on it. It is looked at before qemu-img is asked, which would open the files
/// that it names.
///
/// # Errors
/// It cannot be read or is not taken.
pub async fn inspect(qemu_img: &Path, path: &Path) -> Result<Image, DiskError> {
    let read_error = |source| DiskError::Read {
        path: path.to_owned(),
        source,
    };
    let (head, tail, bytes) = ends(path).map_err(read_error)?;
    let format = format::judge(&head, &tail, bytes).map_err(|why| DiskError::Refused {
        path: path.to_owned(),
        why,
    })?;
    let virtual_bytes = ask_size(qemu_img, path, format).await?;
    Ok(Image {
        format,
        virtual_bytes,
    })
}

/// First bytes, last sector, length.
fn ends(path: &Path) -> std::io::Result<(Vec<u8>, Vec<u8>, u64)> {
    if !files::is_file(path) {
        // A pipe or a device would be opened for ever, or by mistake.
        return Err(std::io::Error::other("it is no regular file, or not there"));
    }
    let mut head = vec![0; limits::IMAGE_HEAD_BYTES];
    let count = sparse::fill(&mut files::open(path)?, &mut head)?;
    head.truncate(count);
    let tail = files::read_end(path, 0, SECTOR_BYTES)?;
    Ok((head, tail, files::size(path)?))
}

async fn ask_size(qemu_img: &Path, path: &Path, format: Format) -> Result<u64, DiskError> {
    // Another instance may be running on it: it is only looked at.
    let mut arguments = words(&[
        "info",
        "--output=json",
        "--force-share",
        "-f",
        format.name(),
    ]);
    arguments.push(as_file(path));
    let report = program::ask_well(qemu_img, &arguments, limits::IMAGE_WAIT).await?;
    report::virtual_bytes(&report, format).map_err(|why| report_error(path, why))
}

/// Makes an overlay in the directory of its base, which it names without the directory, so that both can be moved together.
///
/// # Errors
/// The image is bigger than the disk, or qemu-img fails.
pub async fn create_overlay(
    qemu_img: &Path,
    dir: &Path,
    base: &str,
    image: Image,
    overlay: &str,
    disk_bytes: u64,
) -> Result<(), DiskError> {
    let disk_bytes = disk_bytes.next_multiple_of(SECTOR_BYTES);
    if image.virtual_bytes > disk_bytes {
        return Err(DiskError::TooSmall {
            disk_bytes,
            image_bytes: image.virtual_bytes,
        });
    }
    let format = image.format.name();
    let mut arguments = words(&["create", "-q", "-f", "qcow2", "-F", format, "-b", base]);
    arguments.push(as_file(&dir.join(overlay)));
    arguments.push(disk_bytes.to_string().into());
    program::ask_well(qemu_img, &arguments, limits::IMAGE_WAIT).await?;
    Ok(())
}

/// Makes an overlay bigger. Nothing happens if it has that size already.
///
/// # Errors
/// It is bigger, or in use, or qemu-img fails.
pub async fn resize(qemu_img: &Path, overlay: &Path, bytes: u64) -> Result<(), DiskError> {
    let bytes = bytes.next_multiple_of(SECTOR_BYTES);
    let now_bytes = overlay_bytes(qemu_img, overlay).await?;
    if bytes < now_bytes {
        return Err(DiskError::Shrink {
            path: overlay.to_owned(),
            now_bytes,
            asked_bytes: bytes,
        });
    }
    if bytes > now_bytes {
        let mut arguments = words(&["resize", "-q", "-f", "qcow2"]);
        arguments.push(as_file(overlay));
        arguments.push(bytes.to_string().into());
        program::ask_well(qemu_img, &arguments, limits::IMAGE_WAIT).await?;
    }
    Ok(())
}

/// The size of an overlay of ours as its header has it. (Its backing file is no reason to refuse it.)
async fn overlay_bytes(qemu_img: &Path, overlay: &Path) -> Result<u64, DiskError> {
    let mut arguments = words(&["info", "--output=json", "--force-share", "-f", "qcow2"]);
    arguments.push(as_file(overlay));
    let said = program::ask_well(qemu_img, &arguments, limits::IMAGE_WAIT).await?;
    report::overlay_bytes(&said).map_err(|why| report_error(overlay, why))
}

/// Looks through the tables of an overlay that is not in use. Worth its time only after QEMU or the computer was stopped the
/// hard way: qcow2 is written so that this leaves leaks at worst, which do no harm.
///
/// # Errors
/// It is in use, or qemu-img cannot read it.
pub async fn check(qemu_img: &Path, overlay: &Path) -> Result<Health, DiskError> {
    let mut arguments = words(&["check", "--output=json", "-f", "qcow2"]);
    arguments.push(as_file(overlay));
    let answer = program::ask(qemu_img, &arguments, limits::IMAGE_CHECK_WAIT).await?;
    // 2 is damaged, 3 has leaks; both have a report.
    if !matches!(answer.status.code(), Some(0 | 2 | 3)) {
        return Err(DiskError::Program(ProgramError::Failed {
            program: qemu_img.to_owned(),
            status: answer.status,
            words: program::shown(answer.stderr.trim()),
        }));
    }
    report::health(&answer.stdout).map_err(|why| report_error(overlay, why))
}

fn report_error(path: &Path, why: ReportError) -> DiskError {
    DiskError::Report {
        path: path.to_owned(),
        why,
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// A path that QEMU does not take for an option or for the name of a protocol (`nbd:...`).
fn as_file(path: &Path) -> OsString {
    if path.is_absolute() {
        return path.as_os_str().to_owned();
    }
    Path::new(".").join(path).into_os_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn no_path_is_an_option_or_a_protocol() {
        assert_eq!(as_file(Path::new("nbd:host")), OsStr::new("./nbd:host"));
        assert_eq!(as_file(Path::new("-q")), OsStr::new("./-q"));
        assert_eq!(as_file(Path::new("/a:b")), OsStr::new("/a:b"));
    }
}
