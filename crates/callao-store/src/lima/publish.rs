//! Publishing an entry: the order of writes that leaves, at each moment, the old entry or the new one.
//! Must not know how the digests were computed; who calls vouches for them.
//!
//! ```text
//! bytes synced -> entry directory (parents synced if new) -> flock -> look again
//!   |- the bytes are there: `data` stays
//!   '- else: digest files and `time` that belong to older bytes removed, synced -> `url` -> rename to `data` -> synced
//! -> `type`, `time` -> digest files (synced, then renamed) -> directory synced -> unlock
//! ```

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use callao_content::digest::{Algorithm, Digest};

use super::{ALGORITHMS, DigestFile, digest_path, read_digest};
use crate::check;
use crate::disk::{self, DirLock, Disk, Stamp};
use crate::error::{At, Error};
use crate::links::{self, How};
use crate::lock::{self, Wait};
use crate::places::Places;
use crate::staging::Staging;
use crate::text_file::{self, Durability};

/// Where the bytes are that are to be published.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one value per publication, moved once"
)]
pub enum From<'a> {
    /// A complete staging file; it is gone afterwards. It stays, to be continued, if publishing fails.
    Staging(Staging),
    /// A file that nobody writes to in place, such as another entry's `data`: it becomes a hard link where possible.
    /// The stamp is that of the moment when the bytes were hashed; [`Error::Changed`] if it is not true any more.
    File(&'a Path, Stamp),
    /// Like `File`, but never hard linked: the owner may write to it. Reflink, else copy.
    UserFile(&'a Path, Stamp),
}

/// What the origin said about the bytes, verbatim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Last-Modified`. Without a digest in the template this is all that lets limactl use the entry.
    pub last_modified: Option<String>,
}

/// A published entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The `data` file.
    pub path: PathBuf,
    /// How the bytes came there.
    pub how: How,
    /// Its state now. After a hard link the other names have this state too.
    pub stamp: Stamp,
}

/// Publishes bytes under a location, complete or not at all.
///
/// `digests` are those of these bytes, computed by the caller; for each of them a digest file is written, so give none
/// for a file without a digest in its template (limactl renews such an entry without removing digest files).
/// While somebody holds the entry's lock, `wait` is asked every 100 ms; limactl may hold it for a whole download.
pub fn publish(
    disk: &dyn Disk,
    places: &Places,
    location: &str,
    from: From<'_>,
    digests: &[Digest],
    meta: &Meta,
    wait: Wait<'_>,
) -> Result<Published, Error> {
    // Before the lock: this may take a while, and limactl waits silently.
    let source = match &from {
        From::Staging(staging) => staging.sync().and_then(|()| staging.stamp())?,
        From::File(path, stamp) | From::UserFile(path, stamp) => sync_unchanged(disk, path, stamp)?,
    };
    let dir = places.entry(location);
    let lock = lock_entry(disk, &dir, wait)?;
    let entry = Publishing {
        disk,
        dir: &dir,
        data: dir.join("data"),
        digests,
    };
    entry.sweep()?;
    let how = entry.place(&from, &source, location)?;
    entry.describe(location, meta)?;
    entry.commit()?;
    let stamp = entry.stamp()?;
    drop(lock);
    // The entry is complete: what cannot be removed now is rubbish for `Staging::remove_leftover`.
    if let From::Staging(staging) = from {
        let _ = if how == How::Renamed {
            staging.remove_notes()
        } else {
            staging.discard()
        };
    }
    Ok(Published {
        path: entry.data,
        how,
        stamp,
    })
}

/// A file that was hashed earlier: still the same, and durable.
fn sync_unchanged(disk: &dyn Disk, path: &Path, hashed: &Stamp) -> Result<Stamp, Error> {
    let file = disk.open_read(path).at("open", path)?;
    file.sync_data().at("sync", path)?;
    let now = file.stamp().at("examine", path)?;
    if now.same_bytes(hashed) {
        Ok(now)
    } else {
        Err(Error::Changed {
            path: path.to_owned(),
        })
    }
}

/// Creates the entry's directory, makes its name durable, and locks it.
fn lock_entry(disk: &dyn Disk, dir: &Path, wait: Wait<'_>) -> Result<Box<dyn DirLock>, Error> {
    lock::acquire(dir, wait, || {
        disk::make_dirs(disk, dir)?;
        match disk.try_lock_dir(dir) {
            // `limactl prune` came in between: it is made again.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            other => other.at("lock", dir),
        }
    })
}

/// An entry whose lock is held.
struct Publishing<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    data: PathBuf,
    digests: &'a [Digest],
}

impl Publishing<'_> {
    /// Removes what a publisher that died here left. Everybody who makes such files holds the lock meanwhile.
    fn sweep(&self) -> Result<(), Error> {
        for name in self.disk.list(self.dir).at("list", self.dir)? {
            if name.starts_with("data.tmp.") && name.ends_with(TEMPORARY_SUFFIX) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Sees to it that `data` is durable and has the bytes.
    fn place(&self, from: &From<'_>, source: &Stamp, location: &str) -> Result<How, Error> {
        let existing = self.disk.stat(&self.data).at("examine", &self.data)?;
        if let Some(existing) = &existing
            && self.is_there(existing, source)?
        {
            let file = self.disk.open_read(&self.data).at("open", &self.data)?;
            file.sync_data().at("sync", &self.data)?;
            self.heal(false)?;
            self.disk.sync_dir(self.dir).at("sync", self.dir)?;
            return Ok(How::AlreadyThere);
        }
        // Costly things first: nothing of the old entry is touched before the new bytes are on this file system.
        let ready = self.ready(from, source)?;
        if existing.is_some() {
            self.drop_converted()?;
        }
        self.heal(true)?;
        self.write_text("url", location, Durability::Lax)?;
        let how = self.rename_to_data(ready, from, source)?;
        self.disk.sync_dir(self.dir).at("sync", self.dir)?;
        Ok(how)
    }

    /// Did somebody else finish meanwhile? Then the bytes are there; a digest file alone does not prove that, since
    /// nobody keeps it true when `data` changes.
    fn is_there(&self, existing: &Stamp, source: &Stamp) -> Result<bool, Error> {
        if existing.same_file(source) {
            return Ok(true);
        }
        let Some(wanted) = self.cheapest_digest() else {
            return Ok(false);
        };
        if existing.size != source.size {
            return Ok(false);
        }
        let (actual, stamp) =
            check::hash_file(self.disk, &self.data, &[wanted.algorithm()], &|_| {})?;
        Ok(stamp.same_file(existing) && actual.contains(&wanted))
    }

    /// Bytes that only need the name `data`; `None` if the staging file itself can be renamed.
    fn ready(&self, from: &From<'_>, source: &Stamp) -> Result<Option<(PathBuf, How)>, Error> {
        match from {
            From::Staging(staging) => {
                let dir = self.disk.stat(self.dir).at("examine", self.dir)?;
                if dir.is_none_or(|dir| dir.dev == source.dev) {
                    return Ok(None);
                }
                self.own_copy(staging.path(), source).map(Some)
            }
            From::UserFile(path, _) => self.own_copy(path, source).map(Some),
            From::File(path, _) => {
                let temporary = self.temporary();
                let how = links::place(self.disk, path, &temporary)?;
                self.verified(path, source, temporary, how).map(Some)
            }
        }
    }

    fn own_copy(&self, from: &Path, source: &Stamp) -> Result<(PathBuf, How), Error> {
        let temporary = self.temporary();
        let how = links::place_own(self.disk, from, &temporary)?;
        self.verified(from, source, temporary, how)
    }

    fn verified(
        &self,
        from: &Path,
        source: &Stamp,
        temporary: PathBuf,
        how: How,
    ) -> Result<(PathBuf, How), Error> {
        self.verify(from, source, &temporary, how)
            .inspect_err(|_| {
                let _ = self.disk.remove(&temporary);
            })?;
        Ok((temporary, how))
    }

    /// A link must be to the file that was hashed; a copy must have its bytes.
    fn verify(&self, from: &Path, source: &Stamp, temporary: &Path, how: How) -> Result<(), Error> {
        let disk = self.disk;
        if how == How::HardLinked {
            let linked = disk.stat(temporary).at("examine", temporary)?;
            return match linked {
                Some(linked) if linked.same_bytes(source) => Ok(()),
                _ => Err(Error::Changed {
                    path: from.to_owned(),
                }),
            };
        }
        let expected = match self.cheapest_digest() {
            Some(digest) => digest,
            None => first_digest(
                check::hash_file(disk, from, &[Algorithm::Sha256], &|_| {})?.0,
                from,
            )?,
        };
        let algorithm = expected.algorithm();
        let actual = first_digest(
            check::hash_file(disk, temporary, &[algorithm], &|_| {})?.0,
            temporary,
        )?;
        if actual == expected {
            return disk
                .open_read(temporary)
                .and_then(|file| file.sync_data())
                .at("sync", temporary);
        }
        Err(Error::DigestMismatch {
            path: temporary.to_owned(),
            expected: expected.to_string(),
            actual: actual.to_string(),
        })
    }

    fn rename_to_data(
        &self,
        ready: Option<(PathBuf, How)>,
        from: &From<'_>,
        source: &Stamp,
    ) -> Result<How, Error> {
        let (path, how) = match (ready, from) {
            (Some((path, how)), _) => (path, how),
            (None, From::Staging(staging)) => {
                // The name, not the handle, is renamed: it must still lead to the file that is locked.
                let named = self
                    .disk
                    .stat(staging.path())
                    .at("examine", staging.path())?;
                if !named.is_some_and(|named| named.same_bytes(source)) {
                    return Err(Error::Changed {
                        path: staging.path().to_owned(),
                    });
                }
                (staging.path().to_owned(), How::Renamed)
            }
            (None, From::File(path, _) | From::UserFile(path, _)) => {
                return Err(Error::Changed {
                    path: path.to_path_buf(),
                });
            }
        };
        match self.disk.rename(&path, &self.data) {
            // Two mounts of one file system: one device, but no way from here to there.
            Err(error) if how == How::Renamed && error.kind() == ErrorKind::CrossesDevices => {
                let (copy, how) = self.own_copy(&path, source)?;
                self.disk
                    .rename(&copy, &self.data)
                    .at("publish", &self.data)?;
                Ok(how)
            }
            other => other.at("publish", &self.data).map(|()| how),
        }
    }

    /// Removes what speaks for other bytes: digest files that disagree; with `replacing` all of them (also an equal
    /// one, which is not true of the old `data`), and `time` and `type`. Durable before anything else happens.
    fn heal(&self, replacing: bool) -> Result<(), Error> {
        let mut removed = false;
        for algorithm in ALGORITHMS {
            let wanted = self.digest(algorithm);
            let stale = match read_digest(self.disk, self.dir, algorithm)? {
                DigestFile::Missing => false,
                DigestFile::Says(said) => replacing || wanted.is_some_and(|wanted| wanted != said),
                DigestFile::Unusable => replacing || wanted.is_some(),
            };
            if stale {
                removed |= self.remove(&format!("{}.digest", algorithm.name()))?;
            }
        }
        if replacing {
            removed |= self.remove("time")?;
            removed |= self.remove("type")?;
        }
        if removed {
            self.disk.sync_dir(self.dir).at("sync", self.dir)?;
        }
        Ok(())
    }

    /// What limactl converted from the old bytes: it would be used if the new `data` has an older mtime.
    fn drop_converted(&self) -> Result<(), Error> {
        let removed = [
            self.remove("imgconv/raw.digest")?,
            self.remove("imgconv/raw")?,
        ];
        if removed.contains(&true) {
            let dir = self.dir.join("imgconv");
            self.disk.sync_dir(&dir).at("sync", &dir)?;
        }
        Ok(())
    }

    /// `url`, `type`, `time`: what differs. Where there is no digest `time` is the commit mark, so it is synced; else a
    /// power cut may leave these empty, and limactl does without them.
    fn describe(&self, location: &str, meta: &Meta) -> Result<(), Error> {
        self.write_text("url", location, Durability::Lax)?;
        if let Some(text) = &meta.content_type {
            self.write_text("type", text, Durability::Lax)?;
        }
        if let Some(text) = &meta.last_modified {
            let durability = if self.digests.is_empty() {
                Durability::Synced
            } else {
                Durability::Lax
            };
            self.write_text("time", text, durability)?;
        }
        Ok(())
    }

    /// The commit marks.
    fn commit(&self) -> Result<(), Error> {
        for algorithm in ALGORITHMS {
            let Some(digest) = self.digest(algorithm) else {
                continue;
            };
            if read_digest(self.disk, self.dir, algorithm)? != DigestFile::Says(digest) {
                let path = digest_path(self.dir, algorithm);
                let text = digest.to_string();
                text_file::replace(
                    self.disk,
                    &self.temporary(),
                    &path,
                    text.as_bytes(),
                    Durability::Synced,
                )?;
            }
        }
        self.disk.sync_dir(self.dir).at("sync", self.dir)
    }

    fn stamp(&self) -> Result<Stamp, Error> {
        self.disk
            .stat(&self.data)
            .at("examine", &self.data)?
            .ok_or_else(|| Error::Changed {
                path: self.data.clone(),
            })
    }

    fn digest(&self, algorithm: Algorithm) -> Option<Digest> {
        self.digests
            .iter()
            .copied()
            .find(|digest| digest.algorithm() == algorithm)
    }

    /// SHA-256 if it is there: it has instructions of its own.
    fn cheapest_digest(&self) -> Option<Digest> {
        self.digest(Algorithm::Sha256)
            .or_else(|| self.digests.first().copied())
    }

    fn write_text(&self, name: &str, text: &str, durability: Durability) -> Result<(), Error> {
        let path = self.dir.join(name);
        if text_file::read(self.disk, &path)?.as_deref() == Some(text.trim()) {
            return Ok(());
        }
        text_file::replace(
            self.disk,
            &self.temporary(),
            &path,
            text.as_bytes(),
            durability,
        )
    }

    fn remove(&self, name: &str) -> Result<bool, Error> {
        let path = self.dir.join(name);
        self.disk.remove(&path).at("remove", &path)
    }

    /// A name that `limactl prune` sweeps, and [`Publishing::sweep`] too.
    fn temporary(&self) -> PathBuf {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!(
            "data.tmp.{}.{number}{TEMPORARY_SUFFIX}",
            process::id()
        ))
    }
}

/// Tells our temporary files from those of limactl.
const TEMPORARY_SUFFIX: &str = "-callao";

fn first_digest(digests: Vec<Digest>, path: &Path) -> Result<Digest, Error> {
    digests.into_iter().next().ok_or_else(|| Error::Changed {
        path: path.to_owned(),
    })
}
