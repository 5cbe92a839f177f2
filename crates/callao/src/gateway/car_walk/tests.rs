//! Which blocks CARs hold, against small DAGs.

use super::*;
use callao_content::dag_pb::{Link, Node};
use callao_content::hash;
use callao_content::import::import;
use callao_content::layout::Layout;
use callao_content::profile::{Profile, Shape};
use callao_content::unixfs::Data;

/// Blocks by multihash.
#[derive(Debug, Default)]
struct Map(HashMap<Box<[u8]>, Vec<u8>>);

impl Served for Map {
    fn length(&self, cid: &Cid) -> Option<u32> {
        self.0.get(&key(cid)).map(|block| block.len() as u32)
    }

    fn read(&self, cid: &Cid, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        let block = self.0.get(&key(cid));
        buffer.extend_from_slice(block.map(Vec::as_slice).unwrap_or_default());
        block.is_some()
    }
}

impl Map {
    fn put(&mut self, codec: u64, block: Vec<u8>) -> Cid {
        let raw = cid::raw_sha256(hash::sha256(&block));
        self.0.insert(key(&raw), block);
        Cid::new_v1(codec, *raw.hash())
    }

    fn file(&mut self, content: &[u8]) -> Layout {
        let shape = Shape {
            chunk_size: 10,
            width: 3,
            ..Profile::KuboCidV1.shape()
        };
        let layout = import(content, shape).expect("a layout");
        for node in layout.nodes() {
            self.put(cid::DAG_PB, node.bytes.to_vec());
        }
        for leaf in layout.leaves() {
            let range = leaf.offset as usize..leaf.end() as usize;
            self.put(cid::RAW, content[range].to_vec());
        }
        layout
    }

    fn directory(&mut self, entries: &[(&str, Cid)]) -> Cid {
        let data = unixfs::encode(&Data::empty(Kind::Directory));
        let mut links = Vec::new();
        for (name, cid) in entries {
            links.push(Link {
                cid: *cid,
                name: name.as_bytes(),
                tsize: Some(1),
            });
        }
        let node = Node {
            links,
            data: Some(&data),
        };
        self.put(cid::DAG_PB, dag_pb::encode(&node))
    }
}

/// The blocks of the CAR, and how it ended.
fn blocks(map: &Map, mut walk: CarWalk) -> (Vec<Cid>, Step) {
    let mut bytes = car::Writer::header(&[]);
    let end = loop {
        match walk.step(map, &mut bytes) {
            Step::More => {}
            other => break other,
        }
        if bytes.len() > 64 << 20 {
            break Step::Bad("endless".to_owned());
        }
    };
    let events = car::Reader::new().push(&bytes).expect("a CAR");
    let cids = events.into_iter().filter_map(|event| match event {
        car::Event::Block { cid, .. } => Some(cid),
        _ => None,
    });
    (cids.collect(), end)
}

fn content() -> Vec<u8> {
    (0..95).collect()
}

fn part(range: Range<u64>) -> (Below, Range<u64>) {
    let below = Below::File {
        start: 0,
        whole: false,
    };
    (below, range)
}

#[test]
fn a_file_is_written_depth_first_and_only_what_is_wanted_of_it() {
    let mut map = Map::default();
    let layout = map.file(&content());
    let root = *layout.root();
    let all = CarWalk::new(&[], root, Below::All, 0..u64::MAX, false);
    let (everything, end) = blocks(&map, all);
    assert_eq!(end, Step::Done);
    assert_eq!(
        everything.len(),
        layout.nodes().len() + layout.leaves().len()
    );
    let nodes: Vec<Cid> = everything
        .iter()
        .copied()
        .filter(|cid| cid.codec() == cid::DAG_PB)
        .collect();
    let written: Vec<Cid> = layout.nodes().iter().map(|node| node.cid).collect();
    assert_eq!(nodes, written, "in the order of the layout");

    for (range, leaves) in [
        (0..95, 0..10),
        (0..1, 0..1),
        (9..10, 0..1),
        (10..11, 1..2),
        (9..11, 0..2),
        (45..70, 4..7),
        (94..95, 9..10),
        (95..95, 0..0),
    ] {
        let (below, wanted) = part(range.clone());
        let (cids, end) = blocks(&map, CarWalk::new(&[], root, below, wanted, false));
        assert_eq!(end, Step::Done);
        let given: Vec<Cid> = cids
            .into_iter()
            .filter(|cid| cid.codec() == cid::RAW)
            .collect();
        let wanted: Vec<Cid> = leaves.filter_map(|index| layout.leaf_cid(index)).collect();
        assert_eq!(given, wanted, "{range:?}");
    }
    let nothing = part(95..95);
    let (cids, _) = blocks(&map, CarWalk::new(&[], root, nothing.0, nothing.1, false));
    assert_eq!(cids, [root], "past the end: the root alone");
}

#[test]
fn repeated_blocks_are_written_once_or_every_time() {
    let mut map = Map::default();
    let layout = map.file(&[7; 100]);
    for (dups, leaves) in [(false, 1), (true, 10)] {
        let walk = CarWalk::new(&[], *layout.root(), Below::All, 0..u64::MAX, dups);
        let (cids, end) = blocks(&map, walk);
        assert_eq!(end, Step::Done);
        let raw = cids.iter().filter(|cid| cid.codec() == cid::RAW).count();
        assert_eq!(raw, leaves, "{dups}");
    }
    // A part that was entered for some of its bytes is entered again for others.
    let (below, wanted) = part(5..95);
    let walk = CarWalk::new(&[], *layout.root(), below, wanted, false);
    let (cids, end) = blocks(&map, walk);
    assert_eq!(end, Step::Done);
    assert_eq!(cids.len(), {
        let mut unique = cids.clone();
        unique.sort_unstable();
        unique.dedup();
        unique.len()
    });
}

#[test]
fn directories_give_themselves_or_everything_below() {
    let mut map = Map::default();
    let file = *map.file(&content()).root();
    let inner = map.directory(&[("f", file)]);
    let inline = cid::parse("f01550003616263").expect("an identity CID");
    let outer = map.directory(&[("again", file), ("i", inline), ("inner", inner)]);
    let (below, size) = entity(&outer, &map.0[&key(&outer)]);
    assert_eq!((below.clone(), size), (Below::Nothing, None));
    let (cids, _) = blocks(&map, CarWalk::new(&[], outer, below, 0..u64::MAX, false));
    assert_eq!(cids, [outer]);
    let walk = CarWalk::new(&[], outer, Below::All, 0..u64::MAX, false);
    let (cids, end) = blocks(&map, walk);
    assert_eq!(end, Step::Done);
    assert_eq!(
        (cids[0], cids[1], *cids.last().expect("blocks")),
        (outer, file, inner)
    );
    assert!(
        !cids.contains(&inline),
        "identity blocks never are in a CAR"
    );
    let walk = CarWalk::new(&[outer], inner, Below::Nothing, 0..u64::MAX, false);
    assert_eq!(
        blocks(&map, walk).0,
        [outer, inner],
        "the way there comes first"
    );
}

#[test]
fn what_is_missing_is_said_and_can_be_supplied() {
    let mut map = Map::default();
    let layout = map.file(&content());
    let gone = layout.leaf_cid(4).expect("a leaf");
    let block = map.0.remove(&key(&gone)).expect("it was there");
    let (below, wanted) = part(0..95);
    let mut walk = CarWalk::new(&[], *layout.root(), below, wanted, false);
    let mut out = Vec::new();
    let step = walk.step(&map, &mut out);
    assert_eq!(
        step,
        Step::Missing {
            cid: gone,
            start: Some(40)
        }
    );
    assert_eq!(walk.supply(&block, &mut out), Ok(()));
    assert_eq!(walk.step(&map, &mut out), Step::Done);
}

#[test]
fn a_small_dag_that_repeats_itself_ends_soon() {
    let mut map = Map::default();
    let mut at = *map.file(b"x").root();
    for _ in 0..40 {
        at = map.directory(&[("a", at), ("b", at), ("c", at)]);
    }
    let (cids, end) = blocks(&map, CarWalk::new(&[], at, Below::All, 0..u64::MAX, false));
    assert_eq!((cids.len(), end), (41, Step::Done));
    for _ in 0..300 {
        at = map.directory(&[("a", at)]);
    }
    let (_, end) = blocks(&map, CarWalk::new(&[], at, Below::All, 0..u64::MAX, false));
    assert!(matches!(end, Step::Bad(why) if why.ends_with("lies too deep")));
}
