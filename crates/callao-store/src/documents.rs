//! Small documents that a digest names (manifests of registries), and notes of what came out of packed blobs.
//! Must not know what is in a document, nor where it came from.
//!
//! A document is hashed whenever it is read, so a damaged one is as good as none. A note is a hint like the catalogue:
//! whoever follows it verifies the bytes that it names. Nothing here is synced: it can be fetched again.

use callao_content::digest::Digest;

use crate::disk::{self, Disk};
use crate::error::{At, Error};
use crate::limits;
use crate::places::Places;
use crate::text_file::{self, Durability};

/// Keeps bytes that have this digest.
pub fn save(disk: &dyn Disk, places: &Places, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
    let path = places.document(digest);
    if load(disk, places, digest).is_some_and(|present| present == bytes) {
        return Ok(());
    }
    disk::make_dirs(disk, &places.documents())?;
    let temporary = path.with_added_extension(format!("{}.tmp", std::process::id()));
    text_file::replace(disk, &temporary, &path, bytes, Durability::Lax)
}

/// The bytes of a digest, if they are here and have it.
pub fn load(disk: &dyn Disk, places: &Places, digest: &Digest) -> Option<Vec<u8>> {
    let path = places.document(digest);
    let bytes = disk::read_small(disk, &path, limits::DOCUMENT_BYTES_MAX)
        .ok()
        .flatten()?;
    (Digest::of(digest.algorithm(), &bytes) == *digest).then_some(bytes)
}

/// Notes that the file with digest `file` came out of `blob`; `member` is its path in it, where it has one.
pub fn note_unpacked(
    disk: &dyn Disk,
    places: &Places,
    blob: &Digest,
    member: Option<&str>,
    file: &Digest,
) -> Result<(), Error> {
    let path = places.unpacked(blob, member);
    disk::make_dirs(disk, &places.documents())?;
    let temporary = path.with_added_extension(format!("{}.tmp", std::process::id()));
    let text = file.to_string();
    text_file::replace(disk, &temporary, &path, text.as_bytes(), Durability::Lax)
}

/// What came out of `blob` before, as far as that was noted.
pub fn unpacked(
    disk: &dyn Disk,
    places: &Places,
    blob: &Digest,
    member: Option<&str>,
) -> Option<Digest> {
    let text = text_file::read(disk, &places.unpacked(blob, member)).ok()??;
    text.parse().ok()
}

/// Where the upload of a blob to `target` was left.
pub fn upload(disk: &dyn Disk, places: &Places, blob: &Digest, target: &str) -> Option<String> {
    text_file::read(disk, &places.upload(blob, target)).ok()?
}

/// Notes where the upload of a blob goes on; `None`: it is over.
pub fn note_upload(
    disk: &dyn Disk,
    places: &Places,
    blob: &Digest,
    target: &str,
    location: Option<&str>,
) -> Result<(), Error> {
    let path = places.upload(blob, target);
    let Some(location) = location else {
        disk.remove(&path).at("remove", &path)?;
        return Ok(());
    };
    disk::make_dirs(disk, &places.documents())?;
    let temporary = path.with_added_extension(format!("{}.tmp", std::process::id()));
    text_file::replace(
        disk,
        &temporary,
        &path,
        location.as_bytes(),
        Durability::Lax,
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use callao_content::digest::Algorithm;

    use super::*;
    use crate::disk::faulty::FaultyDisk;

    #[test]
    fn a_document_comes_back_if_it_is_still_what_its_digest_names() -> Result<(), Error> {
        let (disk, places) = (FaultyDisk::new(), Places::new(Path::new("/c")));
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, b"{}");
            assert_eq!(load(&disk, &places, &digest), None);
            save(&disk, &places, &digest, b"{}")?;
            assert_eq!(load(&disk, &places, &digest), Some(b"{}".to_vec()));
            disk.plant(&places.document(&digest), b"[]");
            assert_eq!(load(&disk, &places, &digest), None, "damaged is none");
            save(&disk, &places, &digest, b"{}")?;
            assert_eq!(
                load(&disk, &places, &digest),
                Some(b"{}".to_vec()),
                "and is replaced"
            );
        }
        Ok(())
    }

    #[test]
    fn an_upload_is_remembered_for_its_target_until_it_is_over() -> Result<(), Error> {
        let (disk, places) = (FaultyDisk::new(), Places::new(Path::new("/c")));
        let blob = Digest::of(Algorithm::Sha256, b"blob");
        note_upload(&disk, &places, &blob, "h/a", Some("https://h/uploads/1"))?;
        assert_eq!(
            upload(&disk, &places, &blob, "h/a").as_deref(),
            Some("https://h/uploads/1")
        );
        assert_eq!(upload(&disk, &places, &blob, "h/b"), None);
        note_upload(&disk, &places, &blob, "h/a", None)?;
        note_upload(&disk, &places, &blob, "h/a", None)?;
        assert_eq!(upload(&disk, &places, &blob, "h/a"), None);
        Ok(())
    }

    #[test]
    fn notes_are_per_blob_and_member() -> Result<(), Error> {
        let (disk, places) = (FaultyDisk::new(), Places::new(Path::new("/c")));
        let digest = |text: &str| Digest::of(Algorithm::Sha256, text.as_bytes());
        let (blob, file) = (digest("blob"), digest("file"));
        note_unpacked(&disk, &places, &blob, None, &file)?;
        note_unpacked(&disk, &places, &blob, Some("disk/a.img"), &digest("other"))?;
        assert_eq!(unpacked(&disk, &places, &blob, None), Some(file));
        assert_eq!(
            unpacked(&disk, &places, &blob, Some("disk/a.img")),
            Some(digest("other"))
        );
        assert_eq!(unpacked(&disk, &places, &blob, Some("disk/b.img")), None);
        assert_eq!(unpacked(&disk, &places, &file, None), None);
        disk.plant(&places.unpacked(&blob, None), b"rubbish");
        assert_eq!(unpacked(&disk, &places, &blob, None), None);
        Ok(())
    }
}
