//! CAR files of both versions, whole, cut and broken.
#![expect(clippy::disallowed_methods, reason = "writes the files")]

use std::error::Error as StdError;
use std::fs;

use callao_content::{cid, hash};
use proptest::prelude::*;

use super::*;

type Outcome = Result<(), Box<dyn StdError>>;

fn blocks() -> Vec<Vec<u8>> {
    [0, 1, 100, 5000, 262_144, 17]
        .iter()
        .map(|&length| vec![length as u8; length])
        .collect()
}

fn raw(block: &[u8]) -> Cid {
    cid::raw_sha256(hash::sha256(block))
}

fn version_1(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = car::Writer::header(&[raw(&blocks[0])]);
    for block in blocks {
        bytes.extend(car::Writer::block_prefix(&raw(block), block.len()));
        bytes.extend_from_slice(block);
    }
    bytes
}

fn version_2(inner: &[u8]) -> Vec<u8> {
    let mut bytes = V2_PRAGMA.to_vec();
    bytes.extend([0; 16]);
    for number in [V2_HEAD_BYTES as u64 + 9, inner.len() as u64, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([0xEE; 9]);
    bytes.extend_from_slice(inner);
    bytes.extend(b"an index, which is not read");
    bytes
}

fn open(bytes: &[u8]) -> Result<CarFile, Box<dyn StdError>> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), bytes)?;
    Ok(CarFile::open(file.path())?)
}

#[test]
fn blocks_are_found_in_both_versions() -> Outcome {
    let blocks = blocks();
    let one = version_1(&blocks);
    for bytes in [version_2(&one), one] {
        let car = open(&bytes)?;
        assert_eq!(car.roots(), [raw(&blocks[0])]);
        assert_eq!(car.block_count(), blocks.len());
        assert!(!car.is_truncated());
        for block in &blocks {
            assert_eq!(car.get(&raw(block))?.as_deref(), Some(&block[..]));
        }
        assert_eq!(car.get(&raw(b"none"))?, None);
    }
    Ok(())
}

#[test]
fn a_cut_file_serves_what_is_whole() -> Outcome {
    let blocks = blocks();
    let bytes = version_1(&blocks);
    let last = blocks.last().expect("there are blocks");
    for cut in 1..last.len() + 30 {
        let car = open(&bytes[..bytes.len() - cut])?;
        assert!(car.is_truncated(), "{cut} bytes cut");
        assert_eq!(car.block_count(), blocks.len() - 1);
        assert_eq!(car.get(&raw(last))?, None);
        assert_eq!(car.get(&raw(&blocks[4]))?.as_deref(), Some(&blocks[4][..]));
    }
    Ok(())
}

#[test]
fn what_is_no_car_is_refused() -> Outcome {
    let good = version_1(&blocks());
    let mut huge = good.clone();
    huge[0] = 0xFF;
    huge[1] = 0xFF;
    huge[2] = 0x7F;
    let mut nowhere = version_2(&good);
    nowhere[27..35].fill(0xFF);
    for bytes in [
        &b""[..],
        b"QFI\xfb",
        b"<html>not found</html>",
        &huge,
        &nowhere,
    ] {
        assert!(open(bytes).is_err(), "{:?}", &bytes[..bytes.len().min(20)]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is broken: an error or an index, never a panic, and never a block beyond the end.
    #[test]
    fn broken_bytes_do_no_harm(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let blocks: Vec<Vec<u8>> = (0..20_u8).map(|number| vec![number; 50]).collect();
        let mut bytes = version_2(&version_1(&blocks));
        for (place, value) in flips {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(car) = open(&bytes) {
            for block in &blocks {
                let _ = car.get(&raw(block)).expect("reading works");
            }
        }
    }
}
