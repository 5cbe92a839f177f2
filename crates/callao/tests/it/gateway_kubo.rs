//! The same requests to kubo's gateway and to ours, over the same blocks: the same answers, byte for byte.

use std::fs;
use std::net::SocketAddr;

use callao_testkit::image::Image;
use callao_testkit::real::kubo::Kubo;
use serde_json::json;

use crate::gateway_world::{Shelf, World, ask};

const LEAF: usize = 256 * 1024;
const PATHS: [&str; 10] = [
    "",
    "/disk.qcow2",
    "/zeros.img",
    "/empty.bin",
    "/sub%20dir",
    "/sub%20dir/%C3%A9%20%2541.txt",
    "/many/7.txt",
    "/many/large.img",
    "/many",
    "/link",
];
const FORMS: [&str; 8] = [
    "format=raw",
    "format=car",
    "format=car&dag-scope=entity",
    "format=car&dag-scope=block",
    "format=car&car-dups=y",
    "format=car&dag-scope=entity&entity-bytes=300000:300010",
    "format=car&dag-scope=entity&entity-bytes=-10:*",
    "format=car&dag-scope=entity&entity-bytes=0:*",
];
/// Headers that both must agree on. (kubo's types of plain files depend on the computer's tables.)
const HEADERS: [&str; 4] = [
    "content-range",
    "cache-control",
    "accept-ranges",
    "x-ipfs-roots",
];
/// And of verifiable forms: there kubo buffers small CARs, so that a length is known; here none has one.
const FORM_HEADERS: [&str; 2] = ["content-type", "x-content-type-options"];
/// And of everything else.
const PLAIN_HEADERS: [&str; 2] = ["content-length", "content-disposition"];

/// The CIDs of a directory, its files and a sharded directory, imported by kubo, and the CAR of it all.
fn import(kubo: &Kubo, dir: &std::path::Path) -> (String, Vec<u8>) {
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("sub dir")).expect("a directory");
    fs::write(
        tree.join("disk.qcow2"),
        Image::Random(90).bytes(5 * LEAF + 77),
    )
    .expect("a file");
    fs::write(tree.join("zeros.img"), vec![0; 4 * LEAF]).expect("a file");
    fs::write(tree.join("sub dir/é %41.txt"), "hello\n").expect("a file");
    fs::write(tree.join("empty.bin"), "").expect("a file");
    for number in 0..300 {
        let many = tree.join("many");
        fs::create_dir_all(&many).expect("a directory");
        fs::write(many.join(format!("{number}.txt")), format!("{number}\n")).expect("a file");
    }
    fs::write(
        tree.join("many/large.img"),
        Image::Random(91).bytes(2 * LEAF),
    )
    .expect("a file");
    std::os::unix::fs::symlink("disk.qcow2", tree.join("link")).expect("a link");
    let root = kubo.run(&[
        "add",
        "-r",
        "-Q",
        "--cid-version=1",
        &tree.to_string_lossy(),
    ]);
    let car = kubo
        .output(&["dag", "export", "--progress=false", &root])
        .stdout;
    (root, car)
}

/// Requests: an address and headers.
type Cases = Vec<(String, Vec<(&'static str, &'static str)>)>;

const RAW: (&str, &str) = ("Accept", "application/vnd.ipld.raw");
const CAR: (&str, &str) = (
    "Accept",
    "application/vnd.ipld.car; version=1; order=dfs; dups=y",
);

fn range(value: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![("Range", value)]
}

/// Blocks and CARs of everything below the root `t`.
fn forms(t: &str) -> Cases {
    let mut cases = Cases::new();
    for path in PATHS {
        for query in FORMS {
            cases.push((format!("{t}{path}?{query}"), vec![]));
        }
    }
    cases.push((format!("{t}/disk.qcow2"), vec![RAW]));
    cases.push((format!("{t}/disk.qcow2"), vec![CAR]));
    cases.push(("/ipfs/bafkqaaa?format=raw".to_owned(), vec![]));
    cases
}

/// Files as they are.
fn files(t: &str) -> Cases {
    let mut cases = Cases::new();
    for path in ["/disk.qcow2", "/empty.bin", "/many/large.img", "/zeros.img"] {
        for query in ["", "?filename=x.qcow2", "?filename=x.img&download=true"] {
            cases.push((format!("{t}{path}{query}"), vec![]));
        }
        cases.push((format!("{t}{path}"), range("bytes=0-9")));
        if path != "/empty.bin" {
            // kubo answers 500 to the end of an empty file.
            cases.push((format!("{t}{path}"), range("bytes=-5")));
        }
        cases.push((format!("{t}{path}"), range("bytes=262140-262150")));
        cases.push((format!("{t}{path}?format=raw"), range("bytes=0-9")));
    }
    cases
}

/// What is refused, or leads elsewhere.
fn refused(t: &str) -> Cases {
    let gone = "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    let here = ("Cache-Control", "only-if-cached");
    vec![
        (format!("{t}/nothing"), vec![]),
        (format!("{t}/many/nothing"), vec![]),
        (format!("{t}/disk.qcow2/x"), vec![]),
        (format!("{t}/disk.qcow2"), range("bytes=99999999-")),
        (format!("{t}/disk.qcow2?format=car&entity-bytes=x"), vec![]),
        (format!("{t}/disk.qcow2?format=car&car-version=2"), vec![]),
        (format!("{t}/disk.qcow2?format=dag-json"), vec![]),
        ("/ipfs/nonsense".to_owned(), vec![]),
        (gone.to_owned(), vec![here]),
        (format!("{gone}?format=raw"), vec![here]),
        (format!("{t}/sub%20dir"), vec![]),
    ]
}

#[test]
fn kubo_gives_the_same_answers() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(kubo) = Kubo::init(&dir.path().join("repo"), &[]) else {
        return;
    };
    let sharded = json!({ "UnixFSHAMTDirectorySizeThreshold": "2KiB" });
    kubo.configure(&[("/Import", sharded)]);
    let (root, car) = import(&kubo, dir.path());
    let daemon = kubo.daemon(true);
    let theirs: SocketAddr = daemon.gateway_url()["http://".len()..]
        .parse()
        .expect("an address");
    let mut shelf = Shelf::default();
    shelf.put_car(&car);
    let ours = World::start(shelf);
    let t = format!("/ipfs/{root}");
    let cases = [forms(&t), files(&t)].concat();
    let mut wrong = Vec::new();
    for (target, headers) in &cases {
        let (a, b) = (
            ask(theirs, "GET", target, headers),
            ours.ask("GET", target, headers),
        );
        if (a.status, &a.body) != (b.status, &b.body) {
            wrong.push(format!(
                "{target} {headers:?}: {} {} bytes, ours {} {} bytes",
                a.status,
                a.body.len(),
                b.status,
                b.body.len()
            ));
        }
        let is_form =
            target.contains("format=") || headers.iter().any(|(name, _)| *name == "Accept");
        let more = if is_form { FORM_HEADERS } else { PLAIN_HEADERS };
        for name in HEADERS.into_iter().chain(more) {
            if a.header(name) != b.header(name) {
                wrong.push(format!(
                    "{target} {headers:?}: {name} `{}`, ours `{}`",
                    a.header(name),
                    b.header(name)
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    // What is refused is refused with the same status; the words are our own.
    for (target, headers) in refused(&t) {
        for method in ["GET", "HEAD"] {
            let a = ask(theirs, method, &target, &headers);
            let b = ours.ask(method, &target, &headers);
            let both = format!("{method} {target} {headers:?}: {} / {}", a.text(), b.text());
            assert_eq!(a.status, b.status, "{both}");
            assert_eq!(a.header("location"), b.header("location"), "{both}");
        }
    }
}
