//! Staging and publishing, stopped at every single disk operation: by an error, a full disk, a power cut. Afterwards
//! there is the old entry or the new one, nothing that limactl would believe wrongly, and the next run finishes.

use std::path::Path;
use std::sync::Arc;

use callao_content::digest::{Algorithm, Digest};
use callao_content::import::import;
use callao_content::layout::Layout;
use callao_content::profile::{Profile, Shape};

use super::*;
use crate::check;
use crate::disk::faulty::{Fault, FaultyDisk, Survive};
use crate::lock::do_not_wait;
use crate::proof;
use crate::staging::{About, Staging};

const LOCATION: &str = "https://example.com/a.img";
const KEY: &str = "key";
const OLD_TIME: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
const NEW_TIME: &str = "Tue, 02 Jan 2024 00:00:00 GMT";

/// What is there before the run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    /// A complete entry with other bytes, and what limactl converted from them.
    OldEntry,
    /// An interrupted download of limactl.
    OnlyUrl,
    /// The bytes, without any digest file.
    Undigested,
    /// The bytes, with a digest file that says something else.
    WrongMark,
}

/// The way that the bytes take.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Rename,
    /// Staging is on another file system.
    Copy,
    /// Without a layout: the journal of leaves is in use.
    Journal,
    /// From the `data` of another entry.
    Link,
}

struct Scenario {
    before: Before,
    way: Way,
    places: Places,
    content: Vec<u8>,
    old: Vec<u8>,
    layout: Arc<Layout>,
    digests: [Digest; 2],
}

impl Scenario {
    fn new(before: Before, way: Way) -> Self {
        // The journal counts leaves of 256 KiB; the others need not be as long.
        let length = if way == Way::Journal {
            300_000
        } else {
            30_000_u32
        };
        let content: Vec<u8> = (0..length).map(|index| (index / 3 % 241) as u8).collect();
        let shape = Shape {
            chunk_size: 10_000,
            ..Profile::KuboCidV1.shape()
        };
        Self {
            before,
            way,
            places: Places::new(Path::new("/c")),
            layout: Arc::new(import(&content, shape).expect("the shape is a usable one")),
            digests: [Algorithm::Sha256, Algorithm::Sha512]
                .map(|algorithm| Digest::of(algorithm, &content)),
            // As long as the new bytes, so that the length alone tells nothing.
            old: content.iter().rev().copied().collect(),
            content,
        }
    }

    fn entry(&self) -> PathBuf {
        self.places.entry(LOCATION)
    }

    fn disk(&self) -> FaultyDisk {
        let disk = FaultyDisk::new();
        let plant = |name: &str, bytes: &[u8]| disk.plant(&self.entry().join(name), bytes);
        match self.before {
            Before::Nothing => {}
            Before::OldEntry => {
                plant("data", &self.old);
                plant("url", LOCATION.as_bytes());
                plant("time", OLD_TIME.as_bytes());
                plant("type", b"old/type");
                plant("imgconv/raw", b"converted");
                plant("imgconv/raw.digest", b"sha256:00");
                for algorithm in ALGORITHMS {
                    let digest = Digest::of(algorithm, &self.old).to_string();
                    plant(&format!("{}.digest", algorithm.name()), digest.as_bytes());
                }
            }
            Before::OnlyUrl => plant("url", LOCATION.as_bytes()),
            Before::Undigested => plant("data", &self.content),
            Before::WrongMark => {
                plant("data", &self.content);
                plant("sha256.digest", b"");
            }
        }
        if self.way == Way::Link {
            disk.plant(&self.source(), &self.content);
        }
        if self.way == Way::Copy {
            disk.plant(&self.places.staging().join("keep"), b"");
            disk.mount(&self.places.staging());
        }
        disk
    }

    fn source(&self) -> PathBuf {
        self.places.entry("https://example.org/same").join("data")
    }

    /// What a `get` does with the disk.
    fn run(&self, disk: &FaultyDisk) -> Result<Published, Error> {
        let data = self.entry().join("data");
        let entry = read_entry(disk, &self.places, LOCATION)?;
        if let Some(entry) = entry
            && let Some(stamp) = entry.stamp
            && self
                .digests
                .iter()
                .all(|digest| entry.digests.contains(digest))
            && check::hash_file(disk, &data, &[Algorithm::Sha256], &|_| {})?.0 == self.digests[..1]
            && entry.time.as_deref() == Some(NEW_TIME)
            && entry.url.as_deref() == Some(LOCATION)
            && entry.content_type.as_deref() == Some("new/type")
        {
            Staging::remove_leftover(disk, &self.places, KEY)?;
            return Ok(Published {
                path: data,
                how: How::AlreadyThere,
                stamp,
            });
        }
        let meta = Meta {
            content_type: Some("new/type".to_owned()),
            last_modified: Some(NEW_TIME.to_owned()),
        };
        let source = self.source();
        let from = if self.way == Way::Link {
            let stamp = disk.stat(&source).at("examine", &source)?;
            From::File(&source, stamp.expect("the other entry stays"))
        } else {
            From::Staging(self.stage(disk)?)
        };
        publish(
            disk,
            &self.places,
            LOCATION,
            from,
            &self.digests,
            &meta,
            &mut do_not_wait,
        )
    }

    fn stage(&self, disk: &FaultyDisk) -> Result<Staging, Error> {
        let about = About {
            digest: Some(self.digests[0].to_string()),
            ..About::default()
        };
        let staging = Staging::open(
            Arc::new(disk.clone()),
            &self.places,
            KEY,
            &about,
            &mut do_not_wait,
        )?;
        staging.set_size(self.content.len() as u64)?;
        if self.way == Way::Journal {
            self.fill_in_order(&staging)?;
        } else {
            self.fill_by_layout(disk, &staging)?;
        }
        Ok(staging)
    }

    fn fill_by_layout(&self, disk: &FaultyDisk, staging: &Staging) -> Result<(), Error> {
        proof::save(disk, &self.places, &self.layout)?;
        staging.use_layout(Arc::clone(&self.layout))?;
        if staging.is_resumed() {
            staging.rescan(&self.layout, &|_| {})?;
        }
        for (index, leaf) in self.layout.leaves().iter().enumerate() {
            let bytes = &self.content[leaf.offset as usize..leaf.end() as usize];
            if staging.is_held(index) {
                let mut found = vec![0; bytes.len()];
                staging.read(leaf.offset, &mut found)?;
                assert!(found == bytes, "a held leaf has its bytes");
                continue;
            }
            staging.write(leaf.offset, bytes)?;
            staging.start_writeback(leaf.offset..leaf.end());
            let verified = self
                .layout
                .verify(index, bytes)
                .expect("the bytes are right");
            staging.hold(&verified);
        }
        Ok(())
    }

    fn fill_in_order(&self, staging: &Staging) -> Result<(), Error> {
        let leaves: Vec<&[u8]> = self
            .content
            .chunks(crate::limits::JOURNAL_LEAF_BYTES as usize)
            .collect();
        let good = staging.resume_prefix()?;
        for (index, leaf) in leaves.iter().enumerate() {
            let hash = callao_content::hash::sha256(leaf);
            match good.get(index) {
                Some(noted) => assert_eq!(*noted, hash),
                None => {
                    staging.write(index as u64 * crate::limits::JOURNAL_LEAF_BYTES, leaf)?;
                    staging.journal_leaf(hash)?;
                }
            }
        }
        Ok(())
    }

    /// True at each moment, whatever happened.
    fn check_invariants(&self, disk: &FaultyDisk, case: &str) {
        let data = disk.peek(&self.entry().join("data"));
        if let Some(data) = &data {
            assert!(
                *data == self.content || *data == self.old,
                "{case}: `data` is neither old nor new"
            );
        }
        for algorithm in ALGORITHMS {
            let Some(text) = disk.peek(&digest_path(&self.entry(), algorithm)) else {
                continue;
            };
            if self.before == Before::WrongMark && text.is_empty() {
                continue;
            }
            let said: Digest = String::from_utf8(text)
                .ok()
                .and_then(|text| text.parse().ok())
                .unwrap_or_else(|| panic!("{case}: an unreadable digest file"));
            let data = data
                .as_ref()
                .unwrap_or_else(|| panic!("{case}: a digest file without `data`"));
            assert_eq!(
                said,
                Digest::of(algorithm, data),
                "{case}: the digest file lies"
            );
        }
        let time = disk.peek(&self.entry().join("time")).unwrap_or_default();
        if time == OLD_TIME.as_bytes() {
            assert!(
                data.as_ref() == Some(&self.old),
                "{case}: old time, new data"
            );
        } else if !time.is_empty() {
            assert!(
                data.as_ref() == Some(&self.content),
                "{case}: new time, old data"
            );
        }
        if disk.peek(&self.entry().join("imgconv/raw")).is_some() {
            assert!(
                data.as_ref() == Some(&self.old),
                "{case}: converted from other bytes"
            );
        }
        if self.way == Way::Link {
            assert!(
                disk.peek(&self.source()).as_ref() == Some(&self.content),
                "{case}: the source is damaged"
            );
        }
    }

    /// What a run that ended well leaves.
    fn check_done(&self, disk: &FaultyDisk, case: &str) {
        self.check_invariants(disk, case);
        let text = |name: &str| {
            let bytes = disk.peek(&self.entry().join(name)).unwrap_or_default();
            String::from_utf8(bytes).expect("the text files are text")
        };
        assert!(
            disk.peek(&self.entry().join("data")).as_ref() == Some(&self.content),
            "{case}"
        );
        assert_eq!(text("url"), LOCATION, "{case}");
        assert_eq!(text("time"), NEW_TIME, "{case}");
        assert_eq!(text("type"), "new/type", "{case}");
        assert_eq!(text("sha256.digest"), self.digests[0].to_string(), "{case}");
        assert_eq!(text("sha512.digest"), self.digests[1].to_string(), "{case}");
        assert!(
            disk.peek(&self.places.staging_part(KEY)).is_none(),
            "{case}: staging is left"
        );
        // A proof whose rename a power cut undid is not saved again by a run that does not need it.
        for file in disk.files() {
            let ours = file.starts_with(self.places.proofs());
            let name = file.display();
            let temporary = name.to_string().contains(".tmp");
            assert!(ours || !temporary, "{case}: {name} is left");
        }
    }

    /// What is there after a power cut right after the end: the bytes and what speaks for them.
    fn check_durable(&self, disk: &FaultyDisk) {
        self.check_invariants(disk, "a power cut at the end");
        let entry = read_entry(disk, &self.places, LOCATION)
            .expect("the disk works")
            .expect("the entry is there");
        assert!(disk.peek(&entry.path).as_ref() == Some(&self.content));
        assert_eq!(entry.digests, self.digests);
    }

    fn stop_everywhere(&self) {
        let disk = self.disk();
        let planted = disk.ops();
        self.run(&disk).expect("nothing fails without a fault");
        self.check_done(&disk, "without a fault");
        self.check_durable(&disk.recover(Survive::Worst));
        let disk = self.disk();
        self.run(&disk).expect("nothing fails without a fault");
        let total = disk.ops() - planted;
        assert!(total > 10, "the run does something");
        for at in 0..total {
            let case = format!(
                "{:?} {:?}, operation {at} of {total}",
                self.before, self.way
            );
            self.stop_by_error(at, Fault::Error, &case);
            self.stop_by_error(at, Fault::NoSpace, &case);
            self.stop_by_crash(at, &case);
        }
    }

    fn stop_by_error(&self, at: u64, fault: Fault, case: &str) {
        let case = &format!("{case}, {fault:?}");
        let disk = self.disk();
        disk.arm(at, fault);
        let result = self.run(&disk);
        disk.disarm();
        self.check_invariants(&disk, case);
        if let (Fault::NoSpace, Err(error)) = (fault, result) {
            assert!(error.is_disk_full(), "{case}: {error}");
        }
        self.run(&disk)
            .unwrap_or_else(|error| panic!("{case}: the next run fails: {error}"));
        self.check_done(&disk, case);
    }

    fn stop_by_crash(&self, at: u64, case: &str) {
        let survivals = [Survive::Worst, Survive::Best]
            .into_iter()
            .chain((0..2).map(|number| Survive::Seed(at * 2 + number)));
        for survive in survivals {
            let case = format!("{case}, power cut, {survive:?}");
            let disk = self.disk();
            disk.arm(at, Fault::Crash);
            let _ = self.run(&disk);
            let disk = disk.recover(survive);
            self.check_invariants(&disk, &case);
            if let Err(error) = self.run(&disk) {
                panic!("{case}: the next run fails: {error}");
            }
            self.check_done(&disk, &case);
        }
    }
}

#[test]
fn renamed_from_staging() {
    for before in [
        Before::Nothing,
        Before::OldEntry,
        Before::OnlyUrl,
        Before::Undigested,
        Before::WrongMark,
    ] {
        Scenario::new(before, Way::Rename).stop_everywhere();
    }
}

#[test]
fn copied_from_another_file_system() {
    for before in [Before::Nothing, Before::OldEntry] {
        Scenario::new(before, Way::Copy).stop_everywhere();
    }
}

#[test]
fn fetched_in_order_without_a_layout() {
    Scenario::new(Before::Nothing, Way::Journal).stop_everywhere();
}

#[test]
fn linked_from_another_entry() {
    for before in [Before::Nothing, Before::OldEntry] {
        Scenario::new(before, Way::Link).stop_everywhere();
    }
}
