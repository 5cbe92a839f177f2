//! Names: records that a real kubo has signed, as `callao serve` looks for them, gives them, and follows them.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use callao_testkit::http::{Handler, Next, Reply, Request, Server};
use callao_testkit::image::Image;
use callao_testkit::real::kubo::Kubo;
use callao_testkit::real::serve::Serve;
use serde_json::json;

use crate::env::TestEnvironment;
use crate::serve_world::{Answer, ask, command, get, serve_with, until};

const RECORD: &str = "Accept: application/vnd.ipfs.ipns-record\r\n";
const ONLY_HERE: &str = "Cache-Control: only-if-cached\r\n";

/// A gateway that answers everything with this record; none: 404.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Option<Vec<u8>>>>);

impl Fake {
    fn give(&self, record: Option<&[u8]>) {
        *self.0.lock().expect("a lock") = record.map(<[u8]>::to_vec);
    }
}

impl Handler for Fake {
    async fn answer(&self, request: Request, reply: &mut Reply) -> io::Result<Next> {
        let record = self.0.lock().expect("a lock").clone();
        let kind = [("Content-Type", "application/vnd.ipfs.ipns-record".into())];
        match record {
            Some(record) => reply.whole(&request, 200, &kind, &record).await,
            None => reply.whole(&request, 404, &[], b"no record\n").await,
        }
    }
}

/// A kubo that finds its own records, and nobody else.
fn kubo(dir: &Path) -> Option<Kubo> {
    let kubo = Kubo::init(dir, &[])?;
    let routing = json!({ "Type": "dht", "DelegatedRouters": [] });
    kubo.configure(&[("/Routing", routing)]);
    Some(kubo)
}

/// The name of a new key.
fn key(kubo: &Kubo, kind: &str, name: &str) -> String {
    kubo.run(&["key", "gen", &format!("--type={kind}"), name])
}

fn publish(kubo: &Kubo, key: &str, more: &[&str], path: &str) {
    let key = format!("--key={key}");
    let mut arguments = vec![
        "name",
        "publish",
        "--allow-offline",
        "--resolve=false",
        &key,
    ];
    arguments.extend(more);
    arguments.push(path);
    kubo.run(&arguments);
}

/// The record as kubo has it.
fn record(kubo: &Kubo, name: &str) -> Vec<u8> {
    let output = kubo.output(&["routing", "get", &format!("/ipns/{name}")]);
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// A daemon that knows one gateway.
fn daemon(env: &TestEnvironment, gateway: &str) -> Serve {
    serve_with(command(env, &[]).env("IPFS_GATEWAY", gateway))
}

fn told(address: SocketAddr, name: &str, lines: &str) -> Answer {
    ask(address, "GET", &format!("/ipns/{name}"), lines, b"")
}

fn max_age(answer: &Answer) -> u64 {
    let line = answer
        .head
        .lines()
        .find_map(|line| line.strip_prefix("cache-control: public, max-age="));
    line.and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{}", answer.head))
}

/// In every way in which it can be asked for; afterwards by guests, too.
fn the_record_is_given(at: SocketAddr, name: &str, wanted: &[u8]) {
    let by_accept = told(at, name, RECORD);
    assert_eq!(by_accept.status, 200, "{}", by_accept.text());
    assert!(by_accept.body == wanted, "{name}");
    for line in [
        "content-type: application/vnd.ipfs.ipns-record".to_owned(),
        format!("content-location: /ipns/{name}?format=ipns-record"),
        format!("content-disposition: attachment; filename=\"{name}.ipns-record\""),
    ] {
        assert!(by_accept.head.contains(&line), "{line}\n{}", by_accept.head);
    }
    for path in ["ipns/NAME?format=ipns-record", "routing/v1/ipns/NAME"] {
        let answer = get(at, &format!("/{}", path.replace("NAME", name)));
        assert!(answer.body == wanted, "{path}: {}", answer.text());
    }
    assert!(told(at, name, &format!("Host: evil.example\r\n{RECORD}")).body == wanted);
    assert!(told(at, name, &format!("{ONLY_HERE}{RECORD}")).body == wanted);
}

#[test]
fn names_of_a_real_kubo_give_the_same_records_and_the_same_files() {
    let env = TestEnvironment::new();
    let Some(kubo) = kubo(&env.path("kubo")) else {
        return;
    };
    let mut node = kubo.daemon(false);
    let bytes = Image::Random(5).bytes(600_000);
    std::fs::create_dir_all(env.path("d/sub")).expect("a directory");
    let file = env.write("d/sub/a.img", &bytes);
    let cid = kubo.add(&file, &["--cid-version=1"]);
    let dir = kubo.add(&env.path("d"), &["--cid-version=1", "-r"]);
    let [file, tree, old, again, round] = [
        ("ed25519", "file"),
        ("ed25519", "tree"),
        ("rsa", "old"),
        ("ed25519", "again"),
        ("ed25519", "round"),
    ]
    .map(|(kind, name)| key(&kubo, kind, name));
    publish(&kubo, "file", &["--ttl=10m"], &format!("/ipfs/{cid}"));
    publish(&kubo, "tree", &["--ttl=1m"], &format!("/ipfs/{dir}"));
    publish(&kubo, "old", &[], &format!("/ipfs/{cid}"));
    publish(&kubo, "again", &[], &format!("/ipns/{tree}/sub"));
    publish(&kubo, "round", &[], &format!("/ipns/{round}"));
    let serve = daemon(&env, node.gateway_url());
    let at = serve.gateway_address();
    // What is not held, nobody but the owner gets, and not if he wants what is here.
    let guest = format!("Host: evil.example\r\n{RECORD}");
    assert_eq!(told(at, &file, &guest).status, 404);
    assert_eq!(told(at, &file, &format!("{ONLY_HERE}{RECORD}")).status, 412);
    for name in [&file, &tree, &old] {
        the_record_is_given(at, name, &record(&kubo, name));
    }
    assert!((500..=600).contains(&max_age(&told(at, &file, RECORD))));
    let answer = told(at, &file, "");
    assert!(answer.body == bytes, "{}", answer.text());
    for line in [
        format!("etag: \"{cid}\""),
        format!("x-ipfs-path: /ipns/{file}"),
    ] {
        assert!(answer.head.contains(&line), "{line}\n{}", answer.head);
    }
    // The bytes of a CID are for ever, those of a name are not.
    assert!(max_age(&answer) <= 600 && !answer.head.contains("immutable"));
    for path in [
        format!("{tree}/sub/a.img"),
        format!("{again}/a.img"),
        old.clone(),
        // The other spelling of a key.
        callao_content::peer_id::base58(&callao_content::peer_id::parse(&file).expect("a name")),
    ] {
        let answer = told(at, &path, "");
        assert!(answer.body == bytes, "{path}: {}", answer.text());
    }
    assert!(max_age(&told(at, &format!("{again}/a.img"), "")) <= 60);
    assert_eq!(told(at, &format!("{tree}/nothing"), "").status, 404);
    let moved = told(at, &format!("{tree}/sub"), "");
    assert_eq!(moved.status, 301);
    assert!(moved.head.contains(&format!("location: /ipns/{tree}/sub/")));
    assert_eq!(told(at, &format!("{tree}/sub/"), "").status, 200);
    assert_eq!(
        told(at, &format!("{tree}/sub?format=ipns-record"), "").status,
        400
    );
    assert_eq!(told(at, &round, "").status, 508);
    // What was seen is in the cache: nobody is needed the next time.
    drop(serve);
    node.stop();
    let serve = daemon(&env, node.gateway_url());
    let answer = told(serve.gateway_address(), &file, "");
    assert!(answer.body == bytes, "{}", answer.text());
}

#[test]
fn a_name_never_goes_back_and_no_false_record_counts() {
    let env = TestEnvironment::new();
    let Some(kubo) = kubo(&env.path("kubo")) else {
        return;
    };
    // It hands out its records while it is online.
    let _node = kubo.daemon(false);
    let name = key(&kubo, "ed25519", "name");
    let other = key(&kubo, "ed25519", "other");
    let short = key(&kubo, "ed25519", "short");
    publish(&kubo, "name", &["--ttl=1s"], "/ipfs/bafkqabtpnrsgk4qk");
    let first = record(&kubo, &name);
    publish(&kubo, "name", &["--ttl=1s"], "/ipfs/bafkqabtimvwgy3yk");
    let second = record(&kubo, &name);
    publish(
        &kubo,
        "short",
        &["--ttl=1s", "--lifetime=1s"],
        "/ipfs/bafkqaaa",
    );
    let ending = record(&kubo, &short);
    let fake = Fake::default();
    let server = Server::start("fake-gateway", fake.clone());
    let serve = daemon(&env, &server.base());
    let at = serve.gateway_address();
    let said = |name: &str, status: u16, text: &str| {
        let answer = told(at, name, RECORD);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(text), "{}", answer.text());
    };
    said(&name, 404, "there is no record of this name");
    let mut flipped = second.clone();
    *flipped.last_mut().expect("bytes") ^= 1;
    fake.give(Some(&flipped));
    said(&name, 502, "not an IPNS record of this name");
    fake.give(Some(&second));
    said(
        &other,
        502,
        "not an IPNS record of this name: its signature is not that of the name's key",
    );
    fake.give(Some(b"rubbish"));
    said(&name, 502, "not an IPNS record of this name");
    fake.give(Some(&first));
    assert!(told(at, &name, RECORD).body == first);
    fake.give(Some(&second));
    until("the newer record is found", || {
        (told(at, &name, RECORD).body == second).then_some(())
    });
    assert_eq!(told(at, &name, "").body, b"hello\n");
    // From now on others have the older one, nothing, or rubbish again.
    for given in [Some(&*first), None, Some(b"rubbish")] {
        fake.give(given);
        let before = server.requests().len();
        until("it is asked for again", || {
            let answer = told(at, &name, RECORD);
            assert!(answer.body == second, "{}", answer.text());
            (server.requests().len() >= before + 2).then_some(())
        });
    }
    fake.give(Some(&ending));
    until("the record expires", || {
        let answer = told(at, &short, RECORD);
        let text = "the newest record of this name has expired";
        (answer.status == 502 && answer.text().contains(text)).then_some(())
    });
    assert_eq!(told(at, &short, ONLY_HERE).status, 412);
    assert_eq!(get(at, &format!("/routing/v1/ipns/{short}")).status, 404);
    // A daemon that starts again has not forgotten which one is the newest.
    drop(serve);
    fake.give(Some(&first));
    let serve = daemon(&env, &server.base());
    assert!(told(serve.gateway_address(), &name, RECORD).body == second);
}
