//! Signed records of `/ipns` names, the newest one of each: so that nobody can bring an older one back, and so that a name
//! can be followed while nobody answers. Must not know where a record came from, nor what time it is.
//!
//! A record is verified whenever it is read, so a damaged one is as good as none. Nothing here is synced: a record that is
//! lost is one that was never seen.

use callao_content::ipns::Record;
use callao_content::limits::IPNS_RECORD_BYTES_MAX;
use callao_content::{Cid, peer_id};

use crate::disk::{self, Disk};
use crate::error::{At, Error};
use crate::limits::NAMES_COUNT_MAX;
use crate::places::Places;
use crate::text_file::{self, Durability};

/// Keeps a record, in place of the one that its name had. When there are too many names, the one that was written first is
/// forgotten.
pub fn save(disk: &dyn Disk, places: &Places, record: &Record) -> Result<(), Error> {
    let path = places.name(record.name());
    disk::make_dirs(disk, &places.names())?;
    let temporary = path.with_added_extension(format!("{}.tmp", std::process::id()));
    text_file::replace(disk, &temporary, &path, record.bytes(), Durability::Lax)?;
    let mut known = list(disk, places)?;
    if known.len() <= NAMES_COUNT_MAX {
        return Ok(());
    }
    known.retain(|name| name != record.name());
    let written = |name: &Cid| {
        let stamp = disk.stat(&places.name(name)).ok().flatten();
        stamp.map(|stamp| stamp.mtime_ns)
    };
    match known.iter().min_by_key(|name| written(name)) {
        Some(oldest) => remove(disk, places, oldest),
        None => Ok(()),
    }
}

/// The record of a name, if there is one and it is good.
pub fn load(disk: &dyn Disk, places: &Places, name: &Cid) -> Option<Record> {
    let bytes = disk::read_small(disk, &places.name(name), IPNS_RECORD_BYTES_MAX);
    Record::verify(name, &bytes.ok()??).ok()
}

/// The names that have a record, good or not.
pub fn list(disk: &dyn Disk, places: &Places) -> Result<Vec<Cid>, Error> {
    let dir = places.names();
    let files = disk.list(&dir).at("list", &dir)?;
    let name = |file: &String| peer_id::parse(file.strip_suffix(".ipns-record")?).ok();
    Ok(files.iter().filter_map(name).collect())
}

fn remove(disk: &dyn Disk, places: &Places, name: &Cid) -> Result<(), Error> {
    let path = places.name(name);
    disk.remove(&path).at("remove", &path).map(drop)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::faulty::FaultyDisk;

    const FIRST: &[u8] = include_bytes!("../../callao-content/tests/data/ipns/first.ipns-record");
    const SECOND: &[u8] = include_bytes!("../../callao-content/tests/data/ipns/second.ipns-record");
    const RSA: &[u8] = include_bytes!("../../callao-content/tests/data/ipns/rsa.ipns-record");

    fn name(text: &str) -> Cid {
        peer_id::parse(text).expect("a name")
    }

    fn ed25519() -> Cid {
        name("k51qzi5uqu5dguzwleig8sytsvxqgb6d1wxwquj7oz30lczvhx9m5fk24le4yc")
    }

    #[test]
    fn a_record_comes_back_if_its_name_still_signed_it() -> Result<(), Error> {
        let (disk, places) = (FaultyDisk::new(), Places::new(Path::new("/c")));
        let rsa = name("k2k4r8pj5hxfaf4bsuzedoljirm18m7smmq3ss6d8p06yv1y6ysbo2xd");
        assert_eq!(list(&disk, &places)?, []);
        for (name, bytes) in [(ed25519(), FIRST), (ed25519(), SECOND), (rsa, RSA)] {
            let record = Record::verify(&name, bytes).expect("a record");
            save(&disk, &places, &record)?;
            assert_eq!(load(&disk, &places, &name), Some(record));
        }
        let mut known = list(&disk, &places)?;
        known.sort();
        let mut wanted = vec![ed25519(), rsa];
        wanted.sort();
        assert_eq!(known, wanted);
        disk.plant(&places.name(&rsa), FIRST);
        assert_eq!(load(&disk, &places, &rsa), None, "another name's");
        Ok(())
    }

    #[test]
    fn one_name_too_many_makes_room() -> Result<(), Error> {
        let (disk, places) = (FaultyDisk::new(), Places::new(Path::new("/c")));
        for number in 0..NAMES_COUNT_MAX {
            // The CID of a key of four bytes.
            let other = callao_content::cid::parse(&format!("f01720004{number:08x}"));
            disk.plant(&places.name(&other.expect("a CID")), b"x");
        }
        assert_eq!(list(&disk, &places)?.len(), NAMES_COUNT_MAX);
        let record = Record::verify(&ed25519(), FIRST).expect("a record");
        save(&disk, &places, &record)?;
        let known = list(&disk, &places)?;
        assert_eq!(known.len(), NAMES_COUNT_MAX);
        assert!(known.contains(&ed25519()));
        Ok(())
    }
}
