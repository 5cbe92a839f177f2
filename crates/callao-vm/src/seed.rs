//! The seed volume: documents in, the bytes of a small FAT file system with the label `CIDATA` out, made in memory.
//!
//! The same documents give the same bytes. It must not know what is in them, nor touch a file.

use std::collections::BTreeSet;
use std::io::{self, Cursor, Write};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

use crate::cloud_init::Document;
use crate::limits::{SEED_BYTES_MAX, SEED_BYTES_MIN};

/// By this cloud-init finds the volume (`NoCloud`, with file system labels in capitals as FAT has them).
const LABEL: [u8; 11] = *b"CIDATA     ";
/// Fixed, so that the bytes depend on the documents alone.
const VOLUME_ID: u32 = 0x00ca_11a0;
/// Small files are the rule.
const CLUSTER_BYTES: usize = 512;
/// What the volume needs for itself: boot sector and what rounding takes.
const VOLUME_OVERHEAD_BYTES: usize = 16 << 10;
/// An entry of a directory.
const ENTRY_BYTES: usize = 32;
/// Characters of a long name that one more entry holds.
const ENTRY_CHARS: usize = 13;

/// Why there is no seed volume.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// All documents together are too large.
    #[error(
        "the seed volume would have {size} bytes, and at most {max} are allowed: `{largest}` alone has {largest_size}; \
         large files are better copied once the machine runs"
    )]
    TooLarge {
        /// The size that it would have, in bytes.
        size: usize,
        /// The limit in bytes.
        max: usize,
        /// The largest document.
        largest: String,
        /// Its size in bytes.
        largest_size: usize,
    },
    /// A document has a name that no file can have, or that another one has.
    #[error("`{name}` cannot be the name of a file in the seed volume: {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The library refuses.
    #[error("the seed volume cannot be made: {document}: {source}")]
    Volume {
        /// What was being written.
        document: String,
        /// What the library says.
        source: io::Error,
    },
}

/// A volume with the documents, as the bytes of a disk.
///
/// # Errors
/// A document has no usable name, or all of them are larger than [`SEED_BYTES_MAX`].
pub fn image(documents: &[Document]) -> Result<Vec<u8>, SeedError> {
    check_names(documents)?;
    let mut disk = Cursor::new(vec![0; size(documents)?]);
    let failed = |document: &str| {
        let document = document.to_owned();
        |source| SeedError::Volume { document, source }
    };
    let entries = u16::try_from(entries(documents)).unwrap_or(u16::MAX);
    let options = FormatVolumeOptions::new()
        .bytes_per_cluster(u32::try_from(CLUSTER_BYTES).unwrap_or(512))
        .max_root_dir_entries(entries)
        .volume_id(VOLUME_ID)
        .volume_label(LABEL);
    fatfs::format_volume(&mut disk, options).map_err(failed("format"))?;
    let volume = FileSystem::new(&mut disk, FsOptions::new()).map_err(failed("open"))?;
    for document in documents {
        write(&volume, document).map_err(failed(&document.name))?;
    }
    volume.unmount().map_err(failed("close"))?;
    Ok(disk.into_inner())
}

type Volume<'a> = FileSystem<&'a mut Cursor<Vec<u8>>>;

fn write(volume: &Volume<'_>, document: &Document) -> io::Result<()> {
    // All files are in the root: directories that this library makes have long names for `.` and `..`, which fsck.fat
    // takes for damage.
    let mut file = volume.root_dir().create_file(&document.name)?;
    file.write_all(&document.bytes)?;
    file.flush()
}

/// Entries of the root directory, which has a fixed length: two for a short name, and one for the label; full sectors.
fn entries(documents: &[Document]) -> usize {
    let names = documents.iter().map(|document| document.name.len());
    let entries: usize = names.map(|chars| 1 + chars.div_ceil(ENTRY_CHARS)).sum();
    (entries + 1).next_multiple_of(CLUSTER_BYTES / ENTRY_BYTES)
}

fn size(documents: &[Document]) -> Result<usize, SeedError> {
    let lengths = documents.iter().map(|document| document.bytes.len());
    let files: usize = lengths
        .map(|bytes| bytes.next_multiple_of(CLUSTER_BYTES))
        .sum();
    // Two tables with 2 bytes for each cluster, of which there are a few more than the files need.
    let tables = (files + VOLUME_OVERHEAD_BYTES).div_ceil(CLUSTER_BYTES) * 4;
    let size = files + tables + entries(documents) * ENTRY_BYTES + VOLUME_OVERHEAD_BYTES;
    let size = size.next_multiple_of(CLUSTER_BYTES).max(SEED_BYTES_MIN);
    match documents.iter().max_by_key(|document| document.bytes.len()) {
        Some(largest) if size > SEED_BYTES_MAX => Err(SeedError::TooLarge {
            size,
            max: SEED_BYTES_MAX,
            largest: largest.name.clone(),
            largest_size: largest.bytes.len(),
        }),
        _ => Ok(size),
    }
}

/// Names are ours, but FAT is particular: it knows no case, and would answer with a file that is another one.
fn check_names(documents: &[Document]) -> Result<(), SeedError> {
    let mut seen = BTreeSet::new();
    for Document { name, .. } in documents {
        let is_usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let reason = if name.is_empty() || name.ends_with('.') || !name.chars().all(is_usual) {
            "only letters, digits and `.-_` are used"
        } else if !seen.insert(name.to_ascii_lowercase()) {
            "there are two of them"
        } else {
            continue;
        };
        return Err(SeedError::Name {
            name: name.clone(),
            reason,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn document(name: &str, bytes: impl Into<Vec<u8>>) -> Document {
        Document {
            name: name.to_owned(),
            bytes: bytes.into(),
        }
    }

    fn read(image: &[u8], name: &str) -> Vec<u8> {
        let volume = FileSystem::new(Cursor::new(image.to_vec()), FsOptions::new()).unwrap();
        let mut bytes = Vec::new();
        let mut file = volume.root_dir().open_file(name).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn documents_come_back_from_the_volume() {
        let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
        let mut documents = vec![
            document("user-data", "#cloud-config\n"),
            document("empty", ""),
            document("provision.data.00000003", large),
        ];
        documents.extend((0..300).map(|at| document(&format!("provision.system.{at:08}"), "x")));
        let image = image(&documents).unwrap();
        assert_eq!(image.len() % 512, 0);
        let volume = FileSystem::new(Cursor::new(image.clone()), FsOptions::new()).unwrap();
        assert_eq!(volume.volume_label(), "CIDATA");
        for document in &documents {
            assert_eq!(
                read(&image, &document.name),
                document.bytes,
                "{}",
                document.name
            );
        }
    }

    #[test]
    fn the_same_documents_give_the_same_bytes() {
        let documents = [document("a-b", "1"), document("c", "2")];
        let first = image(&documents).unwrap();
        assert_eq!(first, image(&documents).unwrap());
        assert_ne!(first, image(&documents[..1]).unwrap());
        assert_eq!(first.len(), SEED_BYTES_MIN);
    }

    #[test]
    fn every_size_up_to_the_limit_fits() {
        for size in [0, 1, 511, 512, 900_000, 2_000_000, 8_000_000, 16_000_000] {
            let documents = [document("data", vec![7; size])];
            let image = image(&documents).unwrap();
            assert!(image.len() <= SEED_BYTES_MAX, "{size}");
            assert_eq!(read(&image, "data").len(), size);
        }
    }

    #[test]
    fn too_much_is_refused_by_name() {
        let documents = [
            document("user-data", "x"),
            document("provision.data.00000001", vec![0; 17 << 20]),
        ];
        let error = image(&documents).unwrap_err().to_string();
        assert_eq!(
            error,
            "the seed volume would have 17982976 bytes, and at most 16777216 are allowed: `provision.data.00000001` \
             alone has 17825792; large files are better copied once the machine runs"
        );
    }

    #[test]
    fn names_are_told_apart_as_fat_does() {
        let table: [(&[&str], &str); 5] = [
            (
                &["a", "A"],
                "`A` cannot be the name of a file in the seed volume: there are two of them",
            ),
            (
                &["a b"],
                "`a b` cannot be the name of a file in the seed volume: only letters, digits and `.-_` are used",
            ),
            (
                &["../a"],
                "`../a` cannot be the name of a file in the seed volume: only letters, digits and `.-_` are used",
            ),
            (
                &[""],
                "`` cannot be the name of a file in the seed volume: only letters, digits and `.-_` are used",
            ),
            (
                &["a/b"],
                "`a/b` cannot be the name of a file in the seed volume: only letters, digits and `.-_` are used",
            ),
        ];
        for (names, wanted) in table {
            let documents: Vec<Document> = names.iter().map(|name| document(name, "")).collect();
            assert_eq!(image(&documents).unwrap_err().to_string(), wanted);
        }
    }
}
