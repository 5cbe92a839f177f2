//! Messages: what is written is read again, and nothing that arrives can do harm.

use callao_content::cid::{Version, dag_pb_sha256, raw_sha256};
use callao_content::hash::sha256;
use proptest::prelude::*;

use super::*;

fn entry(cid: Cid, what: Asked, priority: i32) -> Entry {
    Entry {
        cid,
        priority,
        what,
        send_dont_have: what != Asked::Cancel,
    }
}

/// The bytes of a message after its length.
fn body(framed: &[u8]) -> Bytes {
    let mut rest = Rest(framed);
    let length = rest.varint().expect("a length") as usize;
    assert_eq!(rest.0.len(), length, "the length is that of the message");
    Bytes::copy_from_slice(rest.0)
}

fn reply(blocks: &[(Cid, Vec<u8>)], presences: &[(Cid, Presence)]) -> Vec<u8> {
    let sizes: Vec<(Cid, usize)> = blocks
        .iter()
        .map(|(cid, data)| (*cid, data.len()))
        .collect();
    let reply = encode_reply(&sizes, presences, 7);
    let mut out = Vec::new();
    for (head, (_, data)) in reply.heads.iter().zip(blocks) {
        out.extend_from_slice(head);
        out.extend_from_slice(data);
    }
    out.extend_from_slice(&reply.tail);
    out
}

#[test]
fn a_want_looks_like_kubos() {
    let cid = raw_sha256(sha256(b"x"));
    let framed = encode_wants(&[entry(cid, Asked::Have, 9)], false);
    let mut expected = vec![48, 0x0a, 46, 0x0a, 44, 0x0a, 36];
    expected.extend(cid.to_bytes());
    expected.extend([0x10, 9, 0x20, 1, 0x28, 1]);
    assert_eq!(framed, expected);
    assert_eq!(encode_wants(&[], true), [4, 0x0a, 2, 0x10, 1]);
}

#[test]
fn a_reply_without_anything_still_has_a_wantlist() {
    assert_eq!(reply(&[], &[]), [4, 0x0a, 0, 0x28, 7]);
}

#[test]
fn prefixes_are_checked() {
    let v0 = Prefix::of(&dag_pb_sha256(Version::V0, [1; 32]));
    assert_eq!(Prefix::decode(&[0, 0x70, 0x12, 32]), Ok(v0));
    assert_eq!(
        Prefix::decode(&[1, 0x55, 0x12, 32]),
        Ok(Prefix::of(&raw_sha256([1; 32])))
    );
    for bad in [
        &[][..],
        &[1, 0x55, 0x12],
        &[1, 0x55, 0x12, 32, 0],
        &[2, 0x55, 0x12, 32],
        &[0, 0x55, 0x12, 32],
        &[0xff; 20],
    ] {
        assert_eq!(Prefix::decode(bad), Err(Malformed::Prefix), "{bad:?}");
    }
}

#[test]
fn faults_are_told_apart() {
    let decoded = |bytes: &[u8]| decode(&Bytes::copy_from_slice(bytes));
    assert_eq!(decoded(&[0x0a, 5, 1]), Err(Malformed::Cut));
    assert_eq!(decoded(&[0xff; 12]), Err(Malformed::Varint));
    assert_eq!(decoded(&[0x0b]), Err(Malformed::WireType));
    // A block without a prefix, and one with a bad prefix.
    assert_eq!(decoded(&[0x1a, 3, 0x12, 1, 9]), Err(Malformed::Prefix));
    assert_eq!(decoded(&[0x1a, 3, 0x0a, 1, 9]), Err(Malformed::Prefix));
    let mut large = Vec::new();
    let cid = raw_sha256([0; 32]);
    large.extend(reply(&[(cid, vec![0; BLOCK_SIZE_BYTES_MAX + 1])], &[]));
    assert_eq!(decode(&body(&large)), Err(Malformed::Block));
}

#[test]
fn long_and_unknown_cids_are_left_out() {
    let mut entry = Vec::new();
    put_bytes(&mut entry, 1, &[0x55; 169]);
    let mut list = Vec::new();
    put_bytes(&mut list, 1, &entry);
    let mut message = Vec::new();
    put_bytes(&mut message, 1, &list);
    put_bytes(&mut message, 4, &entry);
    assert_eq!(decode(&Bytes::from(message)), Ok(Message::default()));
}

#[test]
fn blocks_are_slices_of_the_message() {
    let cid = raw_sha256(sha256(b"hello"));
    let message = body(&reply(&[(cid, b"hello".to_vec())], &[]));
    let read = decode(&message).expect("a message");
    let (start, end) = (
        message.as_ptr(),
        message.as_ptr().wrapping_add(message.len()),
    );
    assert!((start..end).contains(&read.blocks[0].data.as_ptr()));
}

prop_compose! {
    fn any_cid()(digest in any::<[u8; 32]>(), kind in 0..3) -> Cid {
        match kind {
            0 => raw_sha256(digest),
            1 => dag_pb_sha256(Version::V0, digest),
            _ => dag_pb_sha256(Version::V1, digest),
        }
    }
}

proptest! {
    #[test]
    fn wants_survive(wants in proptest::collection::vec((any_cid(), 0..3, any::<i32>()), 0..40), full: bool) {
        let what = |kind| [Asked::Block, Asked::Have, Asked::Cancel][kind as usize];
        let entries: Vec<Entry> = wants.iter().map(|(cid, kind, priority)| {
            // A missing priority is 1 to everybody, and zero is written as missing.
            entry(*cid, what(*kind), if *priority == 0 { 1 } else { *priority })
        }).collect();
        let read = decode(&body(&encode_wants(&entries, full))).expect("a message");
        prop_assert_eq!(read, Message { entries, full, ..Message::default() });
    }

    #[test]
    fn replies_survive(
        blocks in proptest::collection::vec((any_cid(), proptest::collection::vec(any::<u8>(), 0..300)), 0..20),
        presences in proptest::collection::vec((any_cid(), any::<bool>()), 0..20),
    ) {
        let kind = |have| if have { Presence::Have } else { Presence::DontHave };
        let presences: Vec<_> = presences.into_iter().map(|(cid, have)| (cid, kind(have))).collect();
        let read = decode(&body(&reply(&blocks, &presences))).expect("a message");
        prop_assert_eq!(&read.presences, &presences);
        prop_assert_eq!(read.blocks.len(), blocks.len());
        for (read, (cid, data)) in read.blocks.iter().zip(&blocks) {
            prop_assert_eq!(read.prefix, Prefix::of(cid));
            prop_assert_eq!(&read.data[..], &data[..]);
        }
    }

    #[test]
    fn anything_may_arrive(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(decode(&Bytes::from(bytes)));
    }

    /// A good message with one byte changed or its end missing: read or refused, never a panic.
    #[test]
    fn damaged_messages_do_no_harm(at in any::<prop::sample::Index>(), byte: u8, keep in any::<prop::sample::Index>()) {
        let cid = raw_sha256([3; 32]);
        let mut message = body(&reply(&[(cid, vec![5; 50])], &[(cid, Presence::Have)])).to_vec();
        let at = at.index(message.len());
        message[at] = byte;
        message.truncate(keep.index(message.len() + 1));
        drop(decode(&Bytes::from(message)));
    }
}
