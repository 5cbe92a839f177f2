//! `callao service` with a real systemd: what the unit allows is enough for the daemon, and no more than that.

use std::fs;
use std::path::{Path, PathBuf};

use callao_content::digest::{Algorithm, Digest};
use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::real::UserManager;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::env::{Run, Sample};
use crate::serve_world::{get, until};

const MIB: usize = 1 << 20;
const SETTINGS: &str = "\
discovery = \"none\"
[serve]
gateway = \"127.0.0.1:0\"
listen = [\"/ip4/127.0.0.1/tcp/0\"]
";

/// An ordinary user with a systemd, and a callao of his own.
struct World {
    manager: UserManager,
    gateway: Gateway,
    dir: TempDir,
}

impl World {
    fn new(sample: &Sample) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("home/.config/callao");
        fs::create_dir_all(&config).expect("a home");
        fs::write(config.join("config.toml"), SETTINGS).expect("settings");
        fs::copy(env!("CARGO_BIN_EXE_callao"), dir.path().join("callao")).expect("a program");
        let gateway = Gateway::start(vec![sample.file()], Vec::new(), GatewayBehaviour::default());
        let manager = UserManager::start(dir.path())?;
        Some(World {
            manager,
            gateway,
            dir,
        })
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> Run {
        let variables = [format!("IPFS_GATEWAY={}", self.gateway.url())];
        let mut command = self.manager.command(&variables, program);
        let output = command.args(arguments).current_dir(self.home()).output();
        Run::of(output.expect("it starts"))
    }

    fn succeed(&self, arguments: &[&str]) -> Run {
        let run = self.run(&self.dir.path().join("callao"), arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}\n{}", run.stderr);
        run
    }

    /// The daemon, as `service status` tells.
    fn daemon(&self) -> Option<(i32, String)> {
        let status = self
            .succeed(&["service", "status", "--json"])
            .last("service");
        let daemon = &status["daemon"];
        if daemon["answers"] != Value::Bool(true) {
            return None;
        }
        let pid = daemon["pid"].as_i64().and_then(|pid| pid.try_into().ok());
        Some((pid?, daemon["gateway"].as_str()?.to_owned()))
    }
}

#[test]
fn a_real_systemd_runs_it_with_no_more_rights_than_it_needs() {
    let sample = Sample::random(801, 3 * MIB + 1);
    let Some(world) = World::new(&sample) else {
        return;
    };
    world.succeed(&["service", "install", "--now"]);
    let (pid, gateway) = world.daemon().expect("a daemon");
    let address = gateway
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    // It fetches into the cache, by what was exported when it was installed.
    let cid = sample.cid();
    let answer = get(address, &format!("/ipfs/{cid}"));
    assert!(
        answer.whole && answer.body == *sample.bytes,
        "{}",
        answer.head
    );
    let key = Digest::of(Algorithm::Sha256, format!("ipfs://{cid}").as_bytes()).hex();
    let entry = world
        .home()
        .join(".cache/lima/download/by-url-sha256")
        .join(key);
    assert!(fs::read(entry.join("data")).expect("the entry") == *sample.bytes);
    // It serves what is published, wherever it lies.
    let other = Sample::random(802, MIB);
    fs::write(world.home().join("b.img"), &other.bytes).expect("a file");
    let run = world.succeed(&["publish", "b.img"]);
    assert!(run.stderr.contains("Served now"), "{}", run.stderr);
    let answer = get(address, &format!("/ipfs/{}", other.cid()));
    assert!(answer.body == *other.bytes, "{}", answer.head);
    is_confined(&world, pid);
    starts_again(&world, pid);
    world.succeed(&["service", "remove"]);
    assert_eq!(world.daemon(), None);
    assert!(
        !world
            .home()
            .join(".config/systemd/user/callao.service")
            .exists()
    );
}

/// What the kernel says of the process.
fn is_confined(world: &World, pid: i32) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    for line in [
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "CapEff:\t0000000000000000",
        "Umask:\t0077",
    ] {
        assert!(status.lines().any(|one| one == line), "{line}\n{status}");
    }
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("its mounts");
    let is_read_only = mounts.lines().any(|line| line.contains(" / / ro"));
    // Where the kernel forbids it, systemd leaves it out.
    let arguments = ["--user", "--mount", "true"];
    if world.run(Path::new("unshare"), &arguments).code == Some(0) {
        assert!(is_read_only, "{mounts}");
    }
}

/// One that dies is replaced, and one that is installed again is another one.
fn starts_again(world: &World, first: i32) {
    let first = Pid::from_raw(first).expect("a pid");
    kill_process(first, Signal::KILL).expect("it runs");
    let another = |old: Pid| {
        move || {
            world
                .daemon()
                .filter(|(pid, _)| *pid != old.as_raw_nonzero().get())
        }
    };
    let (second, _) = until("it is started again", another(first));
    world.succeed(&["service", "install", "--now"]);
    let second = Pid::from_raw(second).expect("a pid");
    until("it is another one", another(second));
}
