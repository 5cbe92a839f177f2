//! `callao cache repair`: what is damaged comes back, nothing else is fetched, and nobody else's bytes are touched.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use callao_content::digest::{Algorithm, Digest};
use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::origin::{Behaviour, Origin};
use insta::assert_snapshot;
use rustix::fs::{FlockOperation, flock};

use crate::cache::{SIZE, made_by_limactl};
use crate::env::{Sample, TestEnvironment};

const LEAF: u64 = 256 * 1024;

/// A cache with one entry that `get` made from a server that is still there.
struct World {
    env: TestEnvironment,
    sample: Sample,
    origin: Origin,
    url: String,
}

impl World {
    fn new(seed: u64) -> Self {
        let (env, sample) = (TestEnvironment::new(), Sample::random(seed, SIZE));
        let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
        let url = origin.url();
        let world = World {
            env,
            sample,
            origin,
            url,
        };
        world.get(&world.url);
        world
    }

    fn get(&self, url: &str) {
        let (digest, cid) = (self.sample.digest.to_string(), self.sample.cid());
        self.env
            .succeed(&["get", url, "--digest", &digest, "--cid", &cid]);
    }

    fn data(&self) -> std::path::PathBuf {
        self.env.entry(&self.url).join("data")
    }

    /// Bytes that the server sends while `run` runs.
    fn sent(&self, run: impl FnOnce()) -> u64 {
        let before = self.origin.bytes_sent();
        run();
        self.origin.bytes_sent() - before
    }

    fn is_whole(&self, url: &str) {
        let dir = self.env.entry(url);
        assert!(fs::read(dir.join("data")).expect("data") == *self.sample.bytes);
        let mark = fs::read_to_string(dir.join("sha256.digest")).expect("a digest file");
        assert_eq!(mark, self.sample.digest.to_string());
        self.env.succeed(&["cache", "verify"]);
    }
}

fn damage(path: &Path, offset: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    file.write_all_at(b"damage", offset).expect("written");
}

#[test]
fn one_damaged_leaf_is_one_leaf_fetched() {
    let world = World::new(700);
    let env = &world.env;
    let outside = env.path("a link.img");
    fs::hard_link(world.data(), &outside).expect("a link outside of the cache");
    let time = fs::read(env.entry(&world.url).join("time")).expect("time");
    fs::write(env.entry(&world.url).join("notes.txt"), "mine").expect("a foreign file");
    damage(&world.data(), 600_000);
    let damaged = fs::read(world.data()).expect("data");
    let mut told = String::new();
    let sent = world.sent(|| told = env.told(&env.succeed(&["cache", "repair"])));
    assert_eq!(sent, LEAF);
    assert_snapshot!(told, @r##"
    exit 0
    warning: `$DIR/cache/lima/download/by-url-sha256/KEY/data` has 1 more hard links outside of the cache: they 
          keep the damaged bytes
    `$DIR/cache/lima/download/by-url-sha256/KEY/data`: 256.00 KiB of 3.00 MiB are damaged
    Going on where it stopped: 2.75 MiB are here already
    "##);
    world.is_whole(&world.url);
    assert!(
        fs::read(&outside).expect("the link") == damaged,
        "no file is written to in place"
    );
    let dir = env.entry(&world.url);
    assert_eq!(fs::read(dir.join("time")).expect("time"), time);
    assert_eq!(
        fs::read_to_string(dir.join("notes.txt")).expect("a file"),
        "mine"
    );
    let again = env.succeed(&[
        "get",
        &world.url,
        "--digest",
        &world.sample.digest.to_string(),
        "--offline",
    ]);
    assert!(!again.stderr.contains("hashed"), "{}", again.stderr);
    let run = env.succeed(&["cache", "repair"]);
    assert!(run.stdout.starts_with("good "), "{}", run.stdout);
}

#[test]
fn json_says_what_was_fetched_and_kept() {
    let world = World::new(701);
    damage(&world.data(), 0);
    let line = world
        .env
        .succeed(&["cache", "repair", "--json", &world.url])
        .last("repair");
    assert_eq!(line["outcome"], "repaired");
    assert_eq!(line["fetched_bytes"], LEAF);
    assert_eq!(line["kept_bytes"], SIZE as u64 - LEAF);
    assert_eq!(line["urls"][0], world.url);
    assert_eq!(line["cids"][0], world.sample.cid());
    let explain = ["explain", "--offline", "--json", &world.url];
    let explanation = world.env.succeed(&explain).last("explanation");
    let history = explanation["history"].as_array().expect("a list");
    assert_eq!(history.len(), 2, "the repair was a fetch as any other");
    assert_eq!(history[0]["resumed"], SIZE as u64 - LEAF);
}

#[test]
fn all_names_of_a_file_are_repaired_as_one_file() {
    let world = World::new(702);
    let other = world.origin.url_of("/other.img");
    world.get(&other);
    damage(&world.data(), 1_000_000);
    let sent = world.sent(|| drop(world.env.succeed(&["cache", "repair", &other])));
    assert!(
        sent <= 2 * LEAF,
        "{sent}: each URL may be asked for the last piece"
    );
    world.is_whole(&world.url);
    world.is_whole(&other);
    let inode = |url: &str| {
        let data = world.env.entry(url).join("data");
        fs::metadata(data).expect("data").ino()
    };
    assert_eq!(inode(&world.url), inode(&other));
}

#[test]
fn what_is_cut_too_long_or_gone_is_completed() {
    let world = World::new(703);
    let set_len = |length: u64| {
        let file = OpenOptions::new().write(true).open(world.data());
        file.and_then(|file| file.set_len(length)).expect("cut");
    };
    let repair = || drop(world.env.succeed(&["cache", "repair"]));
    set_len(SIZE as u64 / 2);
    let sent = world.sent(repair);
    assert!(sent < SIZE as u64 / 2 + 2 * LEAF, "{sent}");
    world.is_whole(&world.url);
    set_len(SIZE as u64 + 100);
    let sent = world.sent(|| drop(world.env.succeed(&["cache", "repair", "--offline"])));
    assert_eq!(sent, 0, "there is only too much");
    world.is_whole(&world.url);
    fs::remove_file(world.data()).expect("removed");
    assert_eq!(world.env.run(&["cache", "verify"]).code, Some(5));
    repair();
    world.is_whole(&world.url);
    fs::write(world.data(), "quite another file").expect("overwritten");
    repair();
    world.is_whole(&world.url);
}

#[test]
fn digest_files_that_are_wrong_are_put_right() {
    let world = World::new(704);
    let mark = world.env.entry(&world.url).join("sha256.digest");
    for text in [&format!("sha256:{}", "0".repeat(64)), "", "no digest"] {
        fs::write(&mark, text).expect("a wrong digest file");
        assert_eq!(world.env.run(&["cache", "verify"]).code, Some(5), "{text}");
        let sent = world.sent(|| {
            let run = world.env.succeed(&["cache", "repair", "--offline"]);
            assert!(run.stdout.contains("was put right"), "{}", run.stdout);
        });
        assert_eq!(sent, 0);
        world.is_whole(&world.url);
    }
}

#[test]
fn a_digest_file_that_says_nothing_of_unknown_bytes_is_removed() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(705, SIZE));
    let location = "https://host.invalid/a.img";
    made_by_limactl(&env, location, &sample);
    let mark = env.entry(location).join("sha256.digest");
    fs::write(&mark, "").expect("an empty digest file");
    env.succeed(&["cache", "repair", "--offline"]);
    assert!(!mark.exists(), "limactl would refuse the entry for good");
    assert!(fs::read(env.entry(location).join("data")).expect("data") == *sample.bytes);
    let run = env.succeed(&["cache", "repair", "--offline"]);
    assert_snapshot!(env.steady(&run.stdout), @r##"
    unknown   $DIR/cache/lima/download/by-url-sha256/KEY/data
      nothing says what its bytes should be
    "##);
}

#[test]
fn without_the_catalogue_the_proofs_tell_which_bytes_are_good() {
    let world = World::new(706);
    damage(&world.data(), 2_000_000);
    fs::remove_file(world.env.cache_dir().join("callao/v1/catalogue.sqlite")).expect("removed");
    let sent = world.sent(|| {
        let run = world.env.succeed(&["cache", "repair"]);
        assert!(run.stderr.contains("is gone"), "{}", run.stderr);
    });
    assert_eq!(sent, LEAF);
    world.is_whole(&world.url);
}

#[test]
fn without_a_layout_the_whole_file_is_fetched_and_that_is_said() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(707, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    made_by_limactl(&env, &origin.url(), &sample);
    let sha512 = Digest::of(Algorithm::Sha512, &sample.bytes).to_string();
    let dir = env.entry(&origin.url());
    fs::write(dir.join("sha512.digest"), &sha512).expect("another digest file");
    damage(&dir.join("data"), 5);
    let run = env.succeed(&["cache", "repair"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 0
    `$DIR/cache/lima/download/by-url-sha256/KEY/data` is damaged, and nothing tells which of its bytes are good: 
          the whole file is fetched
    "##);
    assert!(fs::read(dir.join("data")).expect("data") == *sample.bytes);
    for (name, digest) in [("sha256", sample.digest.to_string()), ("sha512", sha512)] {
        let mark = fs::read_to_string(dir.join(format!("{name}.digest")));
        assert_eq!(mark.expect("a digest file"), digest);
    }
    env.succeed(&["cache", "verify"]);
}

#[test]
fn an_entry_that_had_no_digest_file_gets_none() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(708, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    env.succeed(&["get", &origin.url()]);
    let dir = env.entry(&origin.url());
    let time = fs::read(dir.join("time")).expect("time");
    damage(&dir.join("data"), 5);
    let before = origin.bytes_sent();
    env.succeed(&["cache", "repair"]);
    assert_eq!(origin.bytes_sent() - before, LEAF);
    assert!(fs::read(dir.join("data")).expect("data") == *sample.bytes);
    assert!(!dir.join("sha256.digest").exists());
    assert_eq!(fs::read(dir.join("time")).expect("time"), time);
}

#[test]
fn any_source_will_do() {
    let mut world = World::new(709);
    world.origin.stop();
    let gateway = Gateway::start(
        vec![world.sample.file()],
        Vec::new(),
        GatewayBehaviour::default(),
    );
    damage(&world.data(), 300_000);
    world
        .env
        .succeed(&["cache", "repair", "--gateway", &gateway.url()]);
    world.is_whole(&world.url);
    assert!(
        gateway.bytes_sent() < 2 * LEAF,
        "{} sent",
        gateway.bytes_sent()
    );
    let mirror = Origin::start(world.sample.bytes.clone(), Behaviour::default());
    damage(&world.data(), 300_000);
    world
        .env
        .succeed(&["cache", "repair", &world.url, "--mirror", &mirror.url()]);
    assert_eq!(mirror.bytes_sent(), LEAF);
    world.is_whole(&world.url);
}

#[test]
fn another_file_with_the_same_bytes_is_as_good_as_a_source() {
    let mut world = World::new(710);
    world.origin.stop();
    world.env.write("own.img", &world.sample.bytes);
    world.env.succeed(&["add", "own.img"]);
    damage(&world.data(), 0);
    let run = world.env.succeed(&["cache", "repair", "--offline"]);
    assert!(run.stdout.contains("has the same bytes"), "{}", run.stdout);
    world.is_whole(&world.url);
    let inode = |path: &Path| fs::metadata(path).expect("a file").ino();
    assert_ne!(
        inode(&world.data()),
        inode(&world.env.path("own.img")),
        "a file of the user's is never linked"
    );
}

#[test]
fn what_cannot_be_repaired_is_listed_and_stays_as_it_is() {
    let mut world = World::new(711);
    let other = Sample::random(712, SIZE);
    let good = "https://host.invalid/good.img";
    made_by_limactl(&world.env, good, &other);
    damage(&world.data(), 2_000_000);
    let damaged = fs::read(world.data()).expect("data");
    world.origin.stop();
    let run = world.env.run(&["cache", "repair"]);
    assert_eq!(run.code, Some(5), "{}", run.stderr);
    assert!(
        run.stderr
            .contains("error: 1 of the files could not be repaired"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr
            .contains("hint: other places can be named with --mirror, --gateway, --kubo and --car"),
        "{}",
        run.stderr
    );
    assert!(run.stdout.contains("failed  "), "{}", run.stdout);
    assert!(run.stdout.contains("good  "), "{}", run.stdout);
    assert!(fs::read(world.data()).expect("data") == damaged);
    let offline = world.env.run(&["cache", "repair", "--offline"]);
    assert_eq!(offline.code, Some(5));
    assert!(
        offline.stderr.contains("is not here, and --offline allows"),
        "{}",
        offline.stderr
    );
}

#[test]
fn a_source_that_sends_other_bytes_is_not_believed() {
    let world = World::new(713);
    world.origin.set_behaviour(Behaviour {
        flipped: vec![600_001],
        ..Behaviour::default()
    });
    damage(&world.data(), 600_000);
    let damaged = fs::read(world.data()).expect("data");
    let run = world.env.run(&["cache", "repair"]);
    assert_eq!(run.code, Some(5), "{}", run.stderr);
    assert!(
        run.stderr.contains("is not to be trusted"),
        "{}",
        run.stderr
    );
    assert!(fs::read(world.data()).expect("data") == damaged);
    world.origin.set_behaviour(Behaviour::default());
    let sent = world.sent(|| drop(world.env.succeed(&["cache", "repair"])));
    assert_eq!(sent, LEAF, "what the first try kept is used");
    world.is_whole(&world.url);
}

#[test]
fn a_file_of_the_users_is_looked_at_and_never_written_to() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(714, SIZE));
    let path = env.write("own.img", &sample.bytes);
    env.succeed(&["add", "own.img"]);
    let run = env.succeed(&["cache", "repair"]);
    assert!(run.stdout.starts_with("good "), "{}", run.stdout);
    damage(&path, 10);
    let damaged = fs::read(&path).expect("the file");
    let run = env.run(&["cache", "repair"]);
    assert_snapshot!(env.told(&run), @r##"
    exit 5
    error: 1 of the files could not be repaired
      `$DIR/in/own.img`: it is a file of your own, and not what it was when it was added; callao does not write 
          to it
    hint: other places can be named with --mirror, --gateway, --kubo and --car
    "##);
    assert!(fs::read(&path).expect("the file") == damaged);
}

#[test]
fn an_entry_that_is_locked_is_repaired_later() {
    let world = World::new(715);
    damage(&world.data(), 0);
    let held = File::open(world.env.entry(&world.url)).expect("the directory");
    flock(&held, FlockOperation::LockExclusive).expect("the lock that limactl takes");
    let run = world.env.run(&["cache", "repair", "--lock-seconds", "1"]);
    assert_eq!(run.code, Some(5), "{}", run.stderr);
    assert!(
        run.stderr.contains("is locked by another process"),
        "{}",
        run.stderr
    );
    drop(held);
    let sent = world.sent(|| drop(world.env.succeed(&["cache", "repair"])));
    assert_eq!(sent, 0, "what was fetched was kept");
    world.is_whole(&world.url);
}

#[test]
fn a_repair_that_is_killed_leaves_the_file_as_it_was_and_goes_on_later() {
    let world = World::new(718);
    let cut = OpenOptions::new().write(true).open(world.data());
    cut.and_then(|file| file.set_len(LEAF)).expect("cut");
    let damaged = fs::read(world.data()).expect("data");
    world.origin.set_behaviour(Behaviour {
        rate: Some(2 * 1024 * 1024),
        ..Behaviour::default()
    });
    let before = world.origin.bytes_sent();
    let mut child = world.env.start(&["cache", "repair"]);
    while world.origin.bytes_sent() < before + 6 * LEAF
        && child.try_wait().expect("a child").is_none()
    {
        std::thread::yield_now();
    }
    child.kill().expect("killed");
    child.wait().expect("it ends");
    assert!(fs::read(world.data()).expect("data") == damaged);
    world.origin.set_behaviour(Behaviour::default());
    let sent = world.sent(|| drop(world.env.succeed(&["cache", "repair"])));
    assert!(
        sent < SIZE as u64 - 4 * LEAF,
        "{sent}: what came before the kill is kept"
    );
    world.is_whole(&world.url);
}

#[test]
fn mirrors_are_for_one_file() {
    let world = World::new(716);
    made_by_limactl(
        &world.env,
        "https://host.invalid/b.img",
        &Sample::random(717, 1000),
    );
    let run = world.env.run(&["cache", "repair", "--mirror", &world.url]);
    assert_snapshot!(world.env.told(&run), @r##"
    exit 2
    error: --mirror is for a single file, and 2 are meant
    hint: name the file: callao cache repair WHAT --mirror URL
    "##);
    let run = world
        .env
        .run(&["cache", "repair", "https://host.invalid/none"]);
    assert_snapshot!(world.env.told(&run), @r##"
    exit 3
    error: the cache has nothing of `https://host.invalid/none`
    "##);
}
