//! CARs: what is written is read, in pieces of any size; what is cut, oversized or malformed is refused.

use callao_content::car::{Event, Reader, SectionHead, V2_PRAGMA, Writer};
use callao_content::cid::{self, Cid};
use callao_content::limits::BLOCK_SIZE_BYTES_MAX;
use callao_content::{Error, hash, varint};
use proptest::prelude::*;

fn version_1(roots: &[Cid], blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Writer::header(roots);
    for block in blocks {
        let cid = cid::raw_sha256(hash::sha256(block));
        out.extend(Writer::block_prefix(&cid, block.len()));
        out.extend_from_slice(block);
    }
    out
}

/// A version 2 CAR around a version 1: padding before it and an index after it.
fn version_2(inner: &[u8], padding: usize) -> Vec<u8> {
    let mut out = V2_PRAGMA.to_vec();
    out.extend_from_slice(&[0; 16]);
    let start = 51 + padding;
    for field in [start, inner.len(), start + inner.len()] {
        out.extend_from_slice(&(field as u64).to_le_bytes());
    }
    out.resize(start, 0xee);
    out.extend_from_slice(inner);
    out.extend_from_slice(b"\x80\x08 an index that nobody reads");
    out
}

fn read(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Event>, Error> {
    let mut reader = Reader::new();
    let mut events = Vec::new();
    let mut rest = bytes;
    for cut in cuts.iter().cycle() {
        let (piece, after) = rest.split_at(rest.len().min(*cut));
        events.extend(reader.push(piece)?);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    reader.finish()?;
    Ok(events)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn reads_what_is_written(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..20),
        cuts in prop::collection::vec(1_usize..300, 1..20),
        root_count in 0_usize..40,
        padding in 0_usize..100,
    ) {
        let roots: Vec<Cid> = (0..root_count).map(|n| cid::raw_sha256(hash::sha256(&[n as u8]))).collect();
        let v1 = version_1(&roots, &blocks);
        for (bytes, start) in [(v1.clone(), 0), (version_2(&v1, padding), 51 + padding)] {
            let events = read(&bytes, &cuts).expect("a good CAR");
            prop_assert_eq!(&events[0], &Event::Header { roots: roots.clone() });
            prop_assert_eq!(events.len(), blocks.len() + 1);
            let mut at = start + Writer::header(&roots).len();
            for (event, block) in events[1..].iter().zip(&blocks) {
                let Event::Block { cid, offset, data } = event else { panic!("a second header") };
                prop_assert_eq!(cid::verify_block(cid, data), Ok(()));
                prop_assert_eq!(data, block);
                let place = *offset as usize..*offset as usize + data.len();
                prop_assert_eq!(&bytes[place.clone()], &block[..]);
                let head = SectionHead::decode(&bytes[at..], at as u64).expect("a good section").expect("all of it");
                prop_assert_eq!((head.cid, at + head.head_length, head.data_length), (*cid, place.start, data.len()));
                at = place.end;
            }
        }
    }

    #[test]
    fn a_cut_car_is_never_taken_for_a_whole_one(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 1..5),
        cut in any::<prop::sample::Index>(),
        padding in 0_usize..10,
    ) {
        let v1 = version_1(&[], &blocks);
        let mut borders = vec![Writer::header(&[]).len()];
        for block in &blocks {
            let prefix = Writer::block_prefix(&cid::raw_sha256(hash::sha256(block)), block.len()).len();
            borders.push(borders[borders.len() - 1] + prefix + block.len());
        }
        let at = cut.index(v1.len());
        // Between two sections nobody can tell; everywhere else it shows.
        prop_assert_eq!(read(&v1[..at], &[7]).is_ok(), borders.contains(&at));
        let v2 = version_2(&v1, padding);
        let inside = cut.index(51 + padding + v1.len());
        prop_assert!(read(&v2[..inside], &[7]).is_err());
    }
}

#[test]
fn refusals_say_what_and_where() {
    let good = version_1(&[], &[b"abc".to_vec()]);
    let header = Writer::header(&[]);
    let section = |length: u64, rest: &[u8]| {
        let mut out = header.clone();
        varint::write(length, &mut out);
        out.extend_from_slice(rest);
        out
    };
    let cid = cid::raw_sha256([0; 32]).to_bytes();
    let cbor = |body: &[u8]| [&[body.len() as u8], body].concat();
    let mut v2 = version_2(&good, 0);
    v2[35..43].copy_from_slice(&2_u64.to_le_bytes());
    let mut early = version_2(&good, 0);
    early[27..35].copy_from_slice(&50_u64.to_le_bytes());
    for (bytes, expected) in [
        (
            b"<html><body>429</body></html>".to_vec(),
            "not a map (byte 1)",
        ),
        (Vec::new(), "ends inside its header (byte 0)"),
        (vec![0], "a header of 0 bytes"),
        (vec![0xff; 20], "a bad length (byte 0)"),
        (vec![0x80, 0x80, 0x80, 0x01], "a header of 2097152 bytes"),
        (cbor(b"\xa1\x67version\x03"), "version is not 1 or 2"),
        (cbor(b"\xa1\x65roots\x80"), "has no version"),
        (
            cbor(b"\xa1\x65roots\x9b\x00\x00\x00\xff\xff\xff\xff\xff"),
            "too many roots",
        ),
        (
            cbor(b"\xa1\x65roots\x81\x01"),
            "a root is not a CID (byte 9)",
        ),
        (
            cbor(b"\xa1\x65roots\x81\xd8\x2a\x43\x00\x01\x55"),
            "a root is not a CID (byte 9)",
        ),
        (cbor(b"\xa1\x65roots\x9f\xff"), "indefinite length"),
        (cbor(b"\xa1\x65other\x80"), "unknown or repeated key"),
        (
            cbor(b"\xa1\x7b\xff\xff\xff\xff\xff\xff\xff\xff"),
            "beyond the header",
        ),
        (
            cbor(b"\xa1\x67version\x01\x00"),
            "bytes after the header's map",
        ),
        (section(0, b""), "an empty section (byte 18)"),
        (section(3 << 20, &cid), "a section of 3145728 bytes"),
        (
            section(
                36 + BLOCK_SIZE_BYTES_MAX as u64 + 1,
                &[&cid[..], &[0; 200]].concat(),
            ),
            "has 2097153 bytes",
        ),
        (section(10, &cid), "is not a CID"),
        (section(40, &[0xff; 40]), "is not a CID"),
        (good[..good.len() - 1].to_vec(), "ends inside a section"),
        (v2, "beyond the data that the header of version 2 announces"),
        (early, "places the data nowhere"),
    ] {
        let message = read(&bytes, &[5]).expect_err(expected).to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
    // Nothing but a header is a CAR.
    assert_eq!(read(&header, &[1]).map(|events| events.len()), Ok(1));
}

#[test]
fn little_is_kept_between_pushes() {
    // A section may claim 2 MiB; it is not believed before the bytes come.
    let block = vec![7; BLOCK_SIZE_BYTES_MAX];
    let bytes = version_1(&[], &[block.clone(), block]);
    assert_eq!(read(&bytes, &[65_536]).map(|events| events.len()), Ok(3));
}
