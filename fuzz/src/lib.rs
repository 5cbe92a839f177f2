//! What each fuzz target does with its bytes. The same functions run over the committed corpus as an ordinary test of
//! `callao-content`, which includes this file; so it uses that crate and the standard library only.

use callao_content::car::{Event, Reader, Writer};
use callao_content::walk::{Limits, Walk};
use callao_content::{address, dag_pb, layout, unixfs};

/// What a target does.
pub type Body = fn(&[u8]);

/// Every target by name.
pub const ALL: [(&str, Body); 5] = [
    ("cid", cid),
    ("dag_pb", dag_pb),
    ("unixfs", unixfs),
    ("car", car),
    ("walk", walk),
];

/// Text and binary CIDs, and addresses: what is accepted reads back from its usual text.
pub fn cid(data: &[u8]) {
    use callao_content::cid;
    if let Ok(found) = cid::from_bytes(data) {
        assert_eq!(cid::from_bytes(&found.to_bytes()), Ok(found));
        if cid::check_allowed(&found).is_ok() {
            assert_eq!(cid::parse(&cid::text(&found)), Ok(found));
        }
    }
    let text = String::from_utf8_lossy(data);
    if let Ok(found) = cid::parse(&text) {
        assert_eq!(cid::parse(&cid::text(&found)), Ok(found));
    }
    if let Some(Ok(found)) = address::IpfsAddress::parse(&text) {
        assert_eq!(
            address::IpfsAddress::parse(&found.to_string()),
            Some(Ok(found))
        );
    }
    drop(text.parse::<callao_content::digest::Digest>());
}

/// A node that is accepted means the same after it is written again.
pub fn dag_pb(data: &[u8]) {
    if let Ok(node) = dag_pb::decode(data) {
        assert_eq!(dag_pb::decode(&dag_pb::encode(&node)), Ok(node));
    }
}

/// Data that is accepted means the same after it is written again.
pub fn unixfs(data: &[u8]) {
    if let Ok(found) = unixfs::decode(data) {
        assert_eq!(unixfs::decode(&unixfs::encode(&found)), Ok(found));
    }
}

/// A CAR gives the same events in one piece and in pieces of seven bytes, and every block lies where the event says.
pub fn car(data: &[u8]) {
    let whole = read_car(data, data.len().max(1));
    let pieces = read_car(data, 7);
    assert_eq!(whole, pieces);
    let Some(events) = whole else { return };
    for event in events {
        match event {
            Event::Header { roots } => assert!(Reader::new().push(&Writer::header(&roots)).is_ok()),
            Event::Block {
                offset,
                data: block,
                ..
            } => {
                assert_eq!(
                    &data[offset as usize..offset as usize + block.len()],
                    &block[..]
                );
            }
        }
    }
}

/// All events, or nothing if the CAR is refused.
fn read_car(data: &[u8], step: usize) -> Option<Vec<Event>> {
    let mut reader = Reader::new();
    let mut events = Vec::new();
    for piece in data.chunks(step) {
        events.extend(reader.push(piece).ok()?);
    }
    reader.finish().ok()?;
    Some(events)
}

/// The bytes are blocks, each after its length in two bytes; the last is the root, and links lead to the others if their
/// hashes do. A tree that is accepted covers its file without gap or overlap and is found again from its own nodes.
pub fn walk(data: &[u8]) {
    use callao_content::{cid, hash};
    let mut blocks = Vec::new();
    let mut rest = data;
    while let Some((head, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*head)).min(after.len());
        blocks.push(&after[..length]);
        rest = &after[length..];
    }
    let Some(last) = blocks.last() else { return };
    let find = |wanted: &cid::Cid| {
        blocks
            .iter()
            .copied()
            .find(|block| cid::verify_block(wanted, block).is_ok())
    };
    let root = cid::dag_pb_sha256(cid::Version::V1, hash::sha256(last));
    let limits = Limits {
        size: None,
        size_max: 1 << 40,
    };
    let Ok(mut walk) = Walk::new(root, limits) else {
        return;
    };
    while let Some((wanted, block)) = walk
        .wants()
        .into_iter()
        .find_map(|wanted| Some((wanted, find(&wanted)?)))
    {
        if walk.supply(&wanted, block).is_err() {
            return;
        }
    }
    let Ok(layout) = walk.finish() else { return };
    let mut end = 0;
    for leaf in layout.leaves() {
        assert_eq!(leaf.offset, end);
        end = leaf.end();
    }
    assert_eq!(layout.size(), end);
    assert!(end <= limits.size_max);
    let is_wrapped = |leaf: &layout::Leaf| matches!(leaf.form, layout::LeafForm::Wrapped { .. });
    if layout.nodes().is_empty() || layout.leaves().iter().any(is_wrapped) {
        return;
    }
    let again = Walk::new(root, limits).and_then(|mut walk| {
        while let Some(node) = layout
            .nodes()
            .iter()
            .find(|node| walk.wants().contains(&node.cid))
        {
            walk.supply(&node.cid, &node.bytes)?;
        }
        walk.finish()
    });
    // Leaves that do not show by their Tsize had to be read, and are not among the nodes; a complete tree is the same.
    assert!(again.is_err() || again == Ok(layout));
}
