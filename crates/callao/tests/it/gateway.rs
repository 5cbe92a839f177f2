//! The gateway over real sockets: blocks, CARs, files, directories, and what it refuses.

use std::sync::Arc;

use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_content::import::import;
use callao_content::profile::Profile;
use callao_store::catalogue::Catalogue;
use callao_store::disk::RealDisk;
use callao_store::places::Places;
use callao_store::shelf::{Policy, Shelf as RealShelf};

use crate::env::{Sample, TestEnvironment};
use crate::gateway_world::{Connection, Shelf, World};

const LEAF: usize = 256 * 1024;
const RAW: &str = "application/vnd.ipld.raw";
const CAR: &str = "application/vnd.ipld.car";
const FOR_EVER: &str = "public, max-age=29030400, immutable";

fn sample() -> Sample {
    Sample::random(60, 5 * LEAF + 1000)
}

#[test]
fn a_block_is_given_as_it_is() {
    let sample = sample();
    let world = World::start(Shelf::of(&[&sample]));
    let (root, leaf) = (
        sample.cid(),
        cid::text(&sample.layout.leaf_cid(1).expect("a leaf")),
    );
    let node = &sample.layout.nodes()[0].bytes;
    for (cid, wanted) in [(&root, &node[..]), (&leaf, &sample.bytes[LEAF..2 * LEAF])] {
        let reply = world.get(&format!("/ipfs/{cid}?format=raw"));
        assert_eq!((reply.status, &reply.body[..]), (200, wanted));
        for (name, value) in [
            ("content-type", RAW),
            ("content-length", &wanted.len().to_string()),
            ("etag", &format!("\"{cid}.raw\"")),
            ("cache-control", FOR_EVER),
            ("x-content-type-options", "nosniff"),
            ("x-ipfs-roots", cid),
            ("x-ipfs-path", &format!("/ipfs/{cid}")),
            ("accept-ranges", "bytes"),
            ("access-control-allow-origin", "*"),
            ("content-location", ""),
            (
                "content-disposition",
                &format!("attachment; filename=\"{cid}.bin\"; filename*=UTF-8''{cid}.bin"),
            ),
        ] {
            assert_eq!(reply.header(name), value, "{name}");
        }
        let negotiated = world.ask("GET", &format!("/ipfs/{cid}"), &[("Accept", RAW)]);
        assert_eq!((negotiated.status, &negotiated.body), (200, &reply.body));
        let location = format!("/ipfs/{cid}?format=raw");
        assert_eq!(negotiated.header("content-location"), location);
        let head = world.ask("HEAD", &location, &[]);
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), wanted.len().to_string());
        let part = world.ask("GET", &location, &[("Range", "bytes=10-19")]);
        assert_eq!((part.status, &part.body[..]), (206, &wanted[10..20]));
        assert_eq!(
            part.header("content-range"),
            format!("bytes 10-19/{}", wanted.len())
        );
        let etag = format!("W/\"x\", \"{cid}.raw\"");
        let known = world.ask("GET", &location, &[("If-None-Match", &etag)]);
        assert_eq!((known.status, known.body.len()), (304, 0));
    }
}

#[test]
fn the_probe_of_gateways_is_answered() {
    let world = World::start(Shelf::default());
    for target in [
        "/ipfs/bafkqaaa",
        "/ipfs/bafkqaaa?format=raw",
        "/ipfs/f01550003616263",
    ] {
        for method in ["GET", "HEAD"] {
            let reply = world.ask(method, target, &[]);
            assert_eq!(reply.status, 200, "{method} {target}");
        }
    }
    let car = world.get("/ipfs/bafkqaaa?format=car");
    assert_eq!(
        (car.status, car.blocks().len()),
        (200, 0),
        "an identity CID is in no CAR"
    );
    let here = [("Cache-Control", "only-if-cached")];
    assert_eq!(world.ask("HEAD", "/ipfs/bafkqaaa", &here).status, 200);
}

/// Address of a CAR in `wide`, and the blocks in it by their names there.
const CARS: &str = "
FILE?format=car | file 0 1 2 3 4 5
FILE?format=car&dag-scope=entity | file 0 1 2 3 4 5
FILE?format=car&dag-scope=block | file
FILE?format=car&entity-bytes=0:0 | file 0
FILE?format=car&entity-bytes=262144:262144 | file 1
FILE?format=car&entity-bytes=-10:* | file 5
FILE?format=car&entity-bytes=300000:-1 | file 1 2 3 4 5
FILE?format=car&entity-bytes=99999999:* | file
OUTER?format=car | outer inner file 0 1 2 3 4 5 link
OUTER?format=car&dag-scope=entity | outer
OUTER?format=car&dag-scope=entity&entity-bytes=0:5 | outer
OUTER?format=car&dag-scope=block | outer
OUTER/in%20ner?format=car&dag-scope=block | outer inner
OUTER/in%20ner/f.img?format=car | outer inner file 0 1 2 3 4 5
OUTER/in%20ner/f.img?format=car&entity-bytes=0:0 | outer inner file 0
OUTER/link?format=car | outer link
";

#[test]
fn cars_hold_what_was_asked_for() {
    let sample = sample();
    let mut shelf = Shelf::of(&[&sample]);
    let file = *sample.layout.root();
    let inner = shelf.directory(&[("f.img", file)]);
    let link = shelf.symlink("f.img");
    let outer = shelf.directory(&[("in ner", inner), ("link", link)]);
    let world = World::start(shelf);
    let named = |name: &str| match name {
        "file" => file,
        "inner" => inner,
        "outer" => outer,
        "link" => link,
        leaf => sample
            .layout
            .leaf_cid(leaf.parse().expect("a number"))
            .expect("a leaf"),
    };
    let (f, o) = (format!("/ipfs/{file}"), format!("/ipfs/{outer}"));
    for line in CARS.trim().lines() {
        let (target, blocks) = line.split_once(" | ").expect("two columns");
        let target = target.replace("FILE", &f).replace("OUTER", &o);
        let wanted: Vec<_> = blocks.split(' ').map(named).collect();
        let reply = world.get(&target);
        assert_eq!(
            (reply.status, reply.whole),
            (200, true),
            "{target}: {}",
            reply.text()
        );
        assert_eq!(reply.blocks(), wanted, "{target}");
        let kind = format!("{CAR}; version=1; order=dfs; dups=n");
        assert_eq!(reply.header("content-type"), kind);
        assert!(reply.header("etag").starts_with("W/\""));
        assert_eq!(reply.header("accept-ranges"), "none");
        let known = world.ask("GET", &target, &[("If-None-Match", reply.header("etag"))]);
        assert_eq!(known.status, 304, "{target}");
        assert_eq!(world.ask("HEAD", &target, &[]).status, 200);
    }
    let roots = world.get(&format!("{o}/in%20ner/f.img?format=car"));
    assert_eq!(
        roots.header("x-ipfs-roots"),
        format!("{outer},{inner},{file}")
    );
    let etags = ["", "&dag-scope=block", "&entity-bytes=0:1", "&car-dups=y"].map(|more| {
        let reply = world.get(&format!("{f}?format=car{more}"));
        reply.header("etag").to_owned()
    });
    assert!(
        (1..4).all(|index| !etags[..index].contains(&etags[index])),
        "{etags:?}"
    );
}

#[test]
fn repeated_blocks_come_once_unless_all_are_wanted() {
    let sample = Sample::of(vec![7; 4 * LEAF]);
    let world = World::start(Shelf::of(&[&sample]));
    let target = format!("/ipfs/{}?format=car", sample.cid());
    assert_eq!(world.get(&target).blocks().len(), 2);
    let accept = format!("{CAR}; version=1; order=unk; dups=y");
    let typed = world.ask(
        "GET",
        &format!("/ipfs/{}", sample.cid()),
        &[("Accept", &accept)],
    );
    assert_eq!(
        typed.header("content-type"),
        format!("{CAR}; version=1; order=dfs; dups=y")
    );
    assert_eq!(
        typed.header("content-location"),
        format!("{target}&car-dups=y")
    );
    for reply in [typed, world.get(&format!("{target}&car-dups=y"))] {
        assert_eq!(reply.blocks().len(), 5);
    }
}

#[test]
fn a_car_that_cannot_be_completed_does_not_end_well() {
    let (mut shelf, sample) = (Shelf::default(), sample());
    shelf.put_blocks(&sample);
    shelf.lose(&sample.layout.leaf_cid(3).expect("a leaf"));
    let world = World::start(shelf);
    let reply = world.get(&format!("/ipfs/{}?format=car", sample.cid()));
    assert!(!reply.whole && matches!(reply.status, 0 | 200));
    assert!(reply.blocks().len() < 7);
    // What is known to be incomplete is refused before anything is sent.
    let shelf = Shelf::default();
    let part = shelf.add_part("", &sample, std::slice::from_ref(&(0..2 * LEAF as u64)));
    drop(part);
    let world = World::start(shelf);
    let target = format!("/ipfs/{}?format=car", sample.cid());
    assert_eq!(world.get(&target).status, 404);
    let first = world.get(&format!("{target}&entity-bytes=0:10"));
    assert_eq!((first.status, first.blocks().len()), (200, 2));
}

#[test]
fn a_file_is_given_whole_and_in_ranges() {
    let sample = sample();
    let mut shelf = Shelf::default();
    shelf.add("disk.qcow2", &sample);
    let world = World::start(shelf);
    let target = format!("/ipfs/{}", sample.cid());
    let size = sample.bytes.len();
    let reply = world.get(&target);
    assert_eq!((reply.status, &reply.body[..]), (200, &sample.bytes[..]));
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-length", &size.to_string()),
        ("etag", &format!("\"{}\"", sample.cid())),
        ("cache-control", FOR_EVER),
        ("accept-ranges", "bytes"),
        ("content-disposition", ""),
        ("content-security-policy", "sandbox"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
    for (range, wanted) in [
        ("bytes=0-0", 0..1),
        ("bytes=5-", 5..size),
        ("bytes=-7", size - 7..size),
        ("bytes=262143-262144", 262_143..262_145),
        ("bytes=300000-1200000", 300_000..1_200_001),
        ("bytes=0-99999999999", 0..size),
        // Of several ranges the first one, as kubo does.
        ("bytes=3-4,9-10", 3..5),
    ] {
        let part = world.ask("GET", &target, &[("Range", range)]);
        assert_eq!(
            (part.status, &part.body[..]),
            (206, &sample.bytes[wanted.clone()]),
            "{range}"
        );
        let said = format!("bytes {}-{}/{size}", wanted.start, wanted.end - 1);
        assert_eq!(part.header("content-range"), said);
        let head = world.ask("HEAD", &target, &[("Range", range)]);
        assert_eq!((head.status, head.header("content-range")), (206, &*said));
    }
    for range in ["bytes=9999999999-", "bytes=5-4", "bytes=x", "bytes=-0"] {
        let none = world.ask("GET", &target, &[("Range", range)]);
        assert_eq!(none.status, 416, "{range}");
        assert_eq!(none.header("content-range"), format!("bytes */{size}"));
    }
    let etag = reply.header("etag");
    let same = [("Range", "bytes=0-0"), ("If-Range", etag)];
    assert_eq!(world.ask("GET", &target, &same).status, 206);
    let other = [("Range", "bytes=0-0"), ("If-Range", "\"other\"")];
    assert_eq!(world.ask("GET", &target, &other).status, 200);
    assert_eq!(
        world.ask("GET", &target, &[("If-None-Match", etag)]).status,
        304
    );
    assert_eq!(
        world.ask("HEAD", &target, &[]).header("content-length"),
        size.to_string()
    );
}

#[test]
fn a_file_may_be_given_a_name() {
    let sample = Sample::of(b"<html>hello</html>".to_vec());
    let world = World::start(Shelf::of(&[&sample]));
    for (query, kind, disposition) in [
        ("", "text/html; charset=utf-8", ""),
        (
            "?filename=x.qcow2",
            "application/octet-stream",
            "inline; filename=\"x.qcow2\"; filename*=UTF-8''x.qcow2",
        ),
        (
            "?filename=x.img&download=true",
            "application/octet-stream",
            "attachment; filename=\"x.img\"; filename*=UTF-8''x.img",
        ),
        (
            "?filename=a%20%C3%A9%22%0d%0aX:y.txt",
            "text/plain; charset=utf-8",
            "inline; filename=\"a ____X:y.txt\"; filename*=UTF-8''a%20%C3%A9%22%0D%0AX%3Ay.txt",
        ),
        (
            "?filename=../../etc/passwd",
            "text/html; charset=utf-8",
            "inline; filename=\".._.._etc_passwd\"; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd",
        ),
    ] {
        let reply = world.get(&format!("/ipfs/{}{query}", sample.cid()));
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), kind, "{query}");
        assert_eq!(reply.header("content-disposition"), disposition, "{query}");
    }
}

#[test]
fn every_form_of_a_cid_names_the_file() {
    let bytes = Sample::random(61, 2 * LEAF).bytes;
    let layout = import(&bytes, Profile::UnixfsV0_2015.shape()).expect("a layout");
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let sample = Sample {
        bytes,
        layout,
        digest,
    };
    let world = World::start(Shelf::of(&[&sample]));
    let root = sample.layout.root();
    let v1 = cid::Cid::new_v1(cid::DAG_PB, *root.hash());
    let hex: String = v1
        .to_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for text in [
        sample.cid(),
        v1.to_string(),
        v1.to_string().to_uppercase(),
        format!("f{hex}"),
    ] {
        let reply = world.get(&format!("/ipfs/{text}"));
        assert_eq!(reply.status, 200, "{text}");
        assert_eq!(reply.body, &*sample.bytes);
        let raw = world.get(&format!("/ipfs/{text}?format=raw"));
        assert_eq!(raw.status, 200, "{text}");
        let car = world.get(&format!("/ipfs/{text}?format=car"));
        assert_eq!(car.blocks().len(), 3, "{text}");
    }
}

#[test]
fn directories_are_pages_or_their_index() {
    let (mut shelf, sample) = (Shelf::default(), sample());
    // As in a CAR: blocks, and no file that is known as such.
    shelf.put_blocks(&sample);
    let page = shelf.put(cid::RAW, b"<html>home</html>".to_vec());
    let plain = shelf.directory(&[("a&b.img", *sample.layout.root()), ("x", page)]);
    let site = shelf.directory(&[("index.html", page), ("sub", plain)]);
    let link = shelf.symlink("sub/x");
    let top = shelf.directory(&[("link", link), ("site", site)]);
    let world = World::start(shelf);
    let listed = world.get(&format!("/ipfs/{plain}/"));
    assert_eq!(listed.status, 200);
    assert_eq!(listed.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(listed.header("content-security-policy"), "sandbox");
    assert!(
        listed
            .text()
            .contains("<a href=\"./a%26b.img\">a&amp;b.img</a>"),
        "{}",
        listed.text()
    );
    let known = [("If-None-Match", listed.header("etag"))];
    assert_eq!(
        world.ask("GET", &format!("/ipfs/{plain}/"), &known).status,
        304
    );
    for (target, location) in [
        (format!("/ipfs/{plain}"), format!("/ipfs/{plain}/")),
        (
            format!("/ipfs/{top}/site?a=b"),
            format!("/ipfs/{top}/site/?a=b"),
        ),
    ] {
        let moved = world.get(&target);
        assert_eq!((moved.status, moved.header("location")), (301, &*location));
    }
    let home = world.get(&format!("/ipfs/{top}/site/"));
    assert_eq!(
        (home.status, home.text()),
        (200, "<html>home</html>".to_owned())
    );
    assert_eq!(home.header("x-ipfs-roots"), format!("{top},{site}"));
    let file = world.get(&format!("/ipfs/{top}/site/sub/a%26b.img"));
    assert_eq!((file.status, file.body.len()), (200, sample.bytes.len()));
    assert_eq!(file.body, &*sample.bytes);
    let target = format!("/ipfs/{top}/site/sub/a%26b.img");
    let part = world.ask("GET", &target, &[("Range", "bytes=262140-524300")]);
    assert_eq!(
        (part.status, &part.body[..]),
        (206, &sample.bytes[262_140..=524_300])
    );
    let symlink = world.get(&format!("/ipfs/{top}/link"));
    assert_eq!((symlink.status, symlink.text()), (200, "sub/x".to_owned()));
    assert_eq!(symlink.header("content-type"), "inode/symlink");
}

#[test]
fn paths_lead_through_dag_cbor() {
    let mut shelf = Shelf::default();
    let leaf = shelf.put(cid::RAW, b"hello".to_vec());
    let bytes = leaf.to_bytes();
    let link = [&[0xd8, 42, 0x58, bytes.len() as u8 + 1, 0][..], &bytes].concat();
    let block = [b"\xa1\x61a\x81".as_slice(), &link].concat();
    let cbor = shelf.put(0x71, block.clone());
    let world = World::start(shelf);
    let hello = world.get(&format!("/ipfs/{cbor}/a/0"));
    assert_eq!((hello.status, hello.text()), (200, "hello".to_owned()));
    let itself = world.get(&format!("/ipfs/{cbor}"));
    assert_eq!((itself.status, &itself.body), (200, &block));
    assert_eq!(
        itself.header("content-type"),
        "application/vnd.ipld.dag-cbor"
    );
    let car = world.get(&format!("/ipfs/{cbor}?format=car"));
    assert_eq!(car.blocks(), [cbor, leaf]);
    let car = world.get(&format!("/ipfs/{cbor}/a/0?format=car"));
    assert_eq!(car.blocks(), [cbor, leaf]);
    let none = world.get(&format!("/ipfs/{cbor}/a/1"));
    assert_eq!(
        (none.status, none.text()),
        (404, format!("no link at `a/1` in {cbor}\n"))
    );
}

/// Address, status, and what is said.
const REFUSED: &str = "
/ipfs/GONE | 404 | GONE is not here
/ipfs/GONE?format=raw | 404 | GONE is not here
/ipfs/GONE?format=car | 404 | GONE is not here
/ipfs/DIR/nothing | 404 | no link named `nothing` under DIR
/ipfs/DIR/../f | 404 | no link named `..` under DIR
/ipfs/DIR/%2e%2e%2f%2e%2e%2fetc | 404 | no link named `../../etc` under DIR
/ipfs/DIR/f/x | 404 | no link named `x` under ROOT
/ipfs/ROOT/x.img | 404 | no link named `x.img` under ROOT
/ipfs/ | 400 | `` is not a CID: too short
/ipfs/nonsense | 400 | `nonsense` is not a CID: unknown multibase prefix
/ipfs/ROOT/%ff | 400 | the path is not UTF-8
/ipfs/ROOT?format=car&entity-bytes=x | 400 | entity-bytes `x` is not FROM:TO with whole numbers, or `*` for TO
/ipfs/ROOT?format=car&car-version=2 | 400 | CAR version `2` is not known; 1 is
/ipfs/ROOT?format=tar | 406 | tar is not given here; raw, car and the file itself are
/ipfs/ROOT?format=dag-json | 406 | dag-json is not given here; raw, car and the file itself are
/ipfs/ROOT?format=ipns-record | 406 | an IPNS record has no CID
/ipns/k51/x | 400 | `k51` is not the name of a key
/ipns/ | 400 | `` is not the name of a key
/ipns/%ff | 400 | the path is not UTF-8
/ipns/a.example/x | 501 | `a.example` is a name of DNS (DNSLink), which nothing proves: ask for the name of a key, or for /ipfs and a CID
/ipns/k51qzi5uqu5dguzwleig8sytsvxqgb6d1wxwquj7oz30lczvhx9m5fk24le4yc | 501 | names are not resolved here; ask for /ipfs and a CID
/api/v0/version | 404 | there is nothing at this address
/ | 404 | there is nothing at this address
/etc/passwd | 404 | there is nothing at this address
";

#[test]
fn what_is_refused_and_how() {
    let sample = sample();
    let mut shelf = Shelf::of(&[&sample]);
    let dir = shelf.directory(&[("f", *sample.layout.root())]).to_string();
    let world = World::start(shelf);
    let gone = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    let root = sample.cid();
    let filled = REFUSED
        .replace("GONE", gone)
        .replace("DIR", &dir)
        .replace("ROOT", &root);
    for line in filled.trim().lines() {
        let columns: Vec<&str> = line.split(" | ").collect();
        let (target, status) = (columns[0], columns[1].parse().expect("a status"));
        let reply = world.get(target);
        assert_eq!(
            (reply.status, reply.text()),
            (status, format!("{}\n", columns[2])),
            "{target}"
        );
        assert_eq!(reply.header("cache-control"), "no-store");
        assert_eq!(world.ask("HEAD", target, &[]).status, status, "{target}");
    }
    let long = "x".repeat(3000);
    assert_eq!(world.get(&format!("/ipfs/{long}")).status, 400);
    let tree = "bafybeig5vezx7bk2mhg2mfuzflm4qw7epzpjkch6m5w4g23xzexaiyodfa";
    for target in [
        format!("/ipfs/{gone}"),
        format!("/ipfs/{gone}?format=car"),
        format!("/ipfs/{tree}/a?format=raw"),
    ] {
        let here = [("Cache-Control", "no-cache, Only-If-Cached")];
        assert_eq!(world.ask("HEAD", &target, &here).status, 412, "{target}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        let reply = world.ask(method, &format!("/ipfs/{root}"), &[("Content-Length", "0")]);
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, "GET, HEAD, OPTIONS")
        );
        assert_eq!(reply.text(), "only GET and HEAD are understood here\n");
    }
    let preflight = world.ask("OPTIONS", &format!("/ipfs/{root}"), &[]);
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        "GET, HEAD, OPTIONS"
    );
}

#[test]
fn nonsense_on_the_wire_hurts_nobody() {
    let sample = sample();
    let world = World::start(Shelf::of(&[&sample]));
    let huge = format!(
        "GET /ipfs/{} HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        sample.cid(),
        "y".repeat(400 << 10)
    );
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(2000));
    for (bytes, statuses) in [
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
            &[400][..],
        ),
        (b"GET\r\n\r\n".to_vec(), &[400]),
        (b"GET /ipfs/\0 HTTP/1.1\r\n\r\n".to_vec(), &[400]),
        (
            b"GET / HTTP/1.1\r\nRange: \x01\x02\r\n\r\n".to_vec(),
            &[400],
        ),
        (huge.into_bytes(), &[431]),
        (many.into_bytes(), &[431]),
        (
            b"GET http://evil.example/ipfs/bafkqaaa HTTP/1.1\r\nHost: evil.example\r\n\r\n"
                .to_vec(),
            &[200],
        ),
    ] {
        let mut connection = Connection::open(world.address);
        connection.write(&bytes);
        let status = connection.read(false).status;
        assert!(
            statuses.contains(&status),
            "{status} {:?}",
            String::from_utf8_lossy(&bytes[..40.min(bytes.len())])
        );
    }
    assert_eq!(
        world.get(&format!("/ipfs/{}", sample.cid())).body,
        &*sample.bytes
    );
}

#[test]
fn a_file_that_somebody_changed_is_not_served() {
    let sample = sample();
    let mut shelf = Shelf::default();
    let file = shelf.add("", &sample);
    let world = World::start(shelf);
    let target = format!("/ipfs/{}", sample.cid());
    assert_eq!(world.get(&target).status, 200);
    *file.changed.lock().expect("a lock") = true;
    let reply = world.get(&target);
    assert_eq!(
        (reply.status, reply.text()),
        (404, format!("{} is not here\n", sample.cid()))
    );
}

#[test]
fn the_users_own_file_is_served_from_where_it_lies_until_it_is_changed() {
    let (env, sample) = (TestEnvironment::new(), sample());
    let path = env.write("disk.img", &sample.bytes);
    env.succeed(&["add", &path.to_string_lossy()]);
    let places = Places::new(&env.cache_dir());
    let catalogue = Catalogue::open(&places.catalogue()).expect("a catalogue");
    let shelf = Arc::new(RealShelf::new(
        Arc::new(RealDisk),
        places,
        Policy::default(),
    ));
    shelf.refresh(Some(&catalogue)).expect("a look");
    let world = World::with(shelf, |_| {});
    let target = format!("/ipfs/{}", sample.cid());
    assert_eq!(world.get(&target).body, &*sample.bytes);
    let part = world.ask("GET", &target, &[("Range", "bytes=300000-900000")]);
    assert_eq!(part.body, &sample.bytes[300_000..=900_000]);
    assert_eq!(world.get(&format!("{target}?format=car")).blocks().len(), 7);
    let have = world.get(&format!("/callao/v1/have/{}", sample.cid()));
    assert!(have.text().contains("\"complete\":true"), "{}", have.text());
    let mut changed = sample.bytes.to_vec();
    changed[5] ^= 1;
    env.write("disk.img", &changed);
    let reply = world.get(&target);
    assert_eq!(reply.status, 404, "{}", reply.text());
    assert_eq!(world.get(&target).status, 404);
}

#[test]
fn callao_get_takes_a_file_from_it() {
    let (env, sample) = (TestEnvironment::new(), sample());
    let world = World::start(Shelf::of(&[&sample]));
    let location = format!("ipfs://{}/a.img", sample.cid());
    let run = env.succeed(&["get", &location, "--gateway", &world.url()]);
    let path = run.stdout.trim();
    assert_eq!(std::fs::read(path).expect("the file"), &*sample.bytes);
}

#[test]
fn callao_get_takes_the_plain_file_by_its_url() {
    let (env, sample) = (TestEnvironment::new(), sample());
    let world = World::start(Shelf::of(&[&sample]));
    let url = format!("{}/ipfs/{}?filename=x.qcow2", world.url(), sample.cid());
    let run = env.succeed(&["get", &url]);
    assert_eq!(
        std::fs::read(run.stdout.trim()).expect("the file"),
        &*sample.bytes
    );
}
