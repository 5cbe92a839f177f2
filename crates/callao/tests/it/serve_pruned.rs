//! Files of Lima's cache that somebody cuts, replaces, deletes or prunes while `callao serve` gives them away: wrong bytes
//! never leave, whoever reads them learns that they end, and the daemon lives.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::real::Serve;

#[cfg(feature = "p2p")]
use crate::env::Run;
use crate::env::{Sample, TestEnvironment};
use crate::serve_world::{answer, command, get, open, served, status, until};

const MIB: usize = 1 << 20;
const SIZE: usize = 12 * MIB;

/// What somebody does to `data` of an entry.
type Harm = fn(&Path);

const HARMS: [(&str, Harm); 6] = [
    ("truncated", |data| {
        open_to_write(data).set_len(MIB as u64 + 7).expect("cut");
    }),
    ("overwritten", |data| {
        let mut file = open_to_write(data);
        std::io::Write::write_all(&mut file, &vec![0; SIZE]).expect("written");
    }),
    ("overwritten and dated back", |data| {
        let about = fs::metadata(data).expect("the file");
        let mut file = open_to_write(data);
        std::io::Write::write_all(&mut file, &vec![0; SIZE]).expect("written");
        let date = about.modified().expect("a date");
        file.set_modified(date).expect("dated back");
    }),
    ("replaced", |data| {
        let other = data.with_extension("new");
        fs::write(&other, vec![1; SIZE]).expect("written");
        fs::rename(&other, data).expect("renamed");
    }),
    ("deleted", |data| fs::remove_file(data).expect("removed")),
    // As `limactl prune` does.
    ("pruned", |data| {
        let downloads = data.ancestors().nth(3).expect("lima/download");
        assert!(downloads.ends_with("lima/download"));
        fs::remove_dir_all(downloads).expect("removed");
    }),
];

fn open_to_write(data: &Path) -> fs::File {
    let file = fs::OpenOptions::new().write(true).open(data);
    file.expect("the file")
}

/// A daemon that holds one file, which lies in Lima's cache alone, and writes a log.
struct Scene {
    env: TestEnvironment,
    sample: Sample,
    gateway: Gateway,
    serve: Serve,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut env = TestEnvironment::new();
        env.set_section("\n[serve]\nupload_rate_max = \"4MiB\"\n");
        let sample = Sample::random(seed, SIZE);
        let files = vec![sample.file()];
        let gateway = Gateway::start(files, Vec::new(), GatewayBehaviour::default());
        let log = fs::File::create(env.path("log")).expect("a log");
        let serve = Serve::start(command(&env, &[]).stderr(log));
        let scene = Scene {
            env,
            sample,
            gateway,
            serve,
        };
        scene.fill();
        scene
    }

    /// Puts the file into Lima's cache.
    fn fill(&self) {
        let url = self.gateway.url();
        self.env
            .succeed(&["get", &self.sample.cid(), "--gateway", &url]);
        served(&self.serve, &self.sample.cid());
    }

    fn harm(&self, harm: Harm) {
        let entry = self.env.entry(&format!("ipfs://{}", self.sample.cid()));
        harm(&entry.join("data"));
    }

    /// It is not served any more, which the log tells, and is again when it has been fetched again.
    fn assert_it_lives(&self, name: &str) {
        let url = format!("/ipfs/{}", self.sample.cid());
        until(name, || {
            let files = status(&self.serve)["files"].clone();
            let mut files = files.as_array().expect("files").iter();
            files.all(|file| file["served"] == false).then_some(())
        });
        // What was open already may be read to its end, as far as it is right.
        until(name, || {
            let asked = get(self.serve.gateway_address(), &url);
            let right = asked.status >= 400 || self.sample.bytes.starts_with(&asked.body);
            assert!(right, "{name}: wrong bytes");
            (asked.status >= 400).then_some(())
        });
        until(name, || {
            let log = fs::read_to_string(self.env.path("log")).expect("the log");
            let told = log.contains("not served any more") || log.contains("\"gone\"");
            told.then_some(())
        });
        // What was replaced is not what the user wants to keep.
        drop(fs::remove_dir_all(self.env.cache_dir().join("lima")));
        self.fill();
    }
}

/// Each harm in a scene of its own, all at the same time: most of it is waiting.
fn with_each_harm(seed: u64, show: fn(&Scene, &str, Harm)) {
    std::thread::scope(|scope| {
        for (number, (name, harm)) in (seed..).zip(HARMS) {
            scope.spawn(move || show(&Scene::new(number), name, harm));
        }
    });
}

#[test]
fn a_program_that_reads_slowly_gets_no_wrong_byte() {
    with_each_harm(1400, |scene, name, harm| {
        let url = format!("/ipfs/{}", scene.sample.cid());
        let mut stream = open(scene.serve.gateway_address(), "GET", &url, "", b"");
        let mut bytes = vec![0; 64 << 10];
        stream.read_exact(&mut bytes).expect("it began");
        scene.harm(harm);
        let ended = stream.read_to_end(&mut bytes).is_ok();
        let answer = answer(bytes, ended);
        let right = scene.sample.bytes.starts_with(&answer.body);
        assert!(right, "{name}: wrong bytes");
        let is_all = answer.body.len() == scene.sample.bytes.len();
        assert_eq!(answer.whole, is_all, "{name}: the end is not seen");
        scene.assert_it_lives(name);
    });
}

#[cfg(feature = "p2p")]
#[test]
fn a_peer_gets_no_wrong_byte() {
    with_each_harm(1410, |scene, name, harm| {
        let other = TestEnvironment::new();
        let sent = || status(&scene.serve)["totals"]["sent_bytes"].as_u64();
        let peer = scene.serve.address("/tcp/");
        let cid = scene.sample.cid();
        let line = ["get", &*cid, "--peer", &*peer];
        let child = other.start(&line);
        until("something is on its way", || {
            (sent() >= Some(2 * MIB as u64)).then_some(())
        });
        scene.harm(harm);
        let run = Run::of(child.wait_with_output().expect("it ends"));
        other.assert_nothing_false_in_lima(&scene.sample);
        if run.code != Some(0) {
            // What came before is kept, and is no reason to distrust the peer.
            assert_eq!(run.code, Some(3), "{name}: {}", run.stderr);
            assert!(run.stderr.contains("are kept"), "{name}: {}", run.stderr);
        }
        scene.assert_it_lives(name);
        let run = other.succeed(&[&line[..], &["--json"]].concat());
        let kept = run.last("result")["resumed"].as_u64();
        let was_whole = run.last("result")["from"] != "fetch";
        assert!(was_whole || kept >= Some(MIB as u64), "{}", run.stdout);
    });
}
