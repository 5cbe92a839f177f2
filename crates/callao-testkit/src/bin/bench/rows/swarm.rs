//! Hosts of one network that start together, with an origin that is the bottleneck: what it has to send, and how long the
//! last one takes.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use callao_testkit::real::{Daemon, Kubo, Network, Nginx, NginxOptions, Serve};

use crate::Outcome;
use crate::process::all_succeed;
use crate::report::{Claim, Goal, Section};
use crate::rounds::median;
use crate::scene::{Scene, Subject};

const HOSTS: u8 = 8;
const ORIGIN: u8 = HOSTS;
const MIB: u64 = 1 << 20;
/// What the origin sends to all together, in bytes per second,
const ORIGIN_RATE: u64 = 20 * MIB;
/// and what each host sends and gets.
const LAN_RATE: u64 = 100 * MIB;
/// Rounds: each takes half a minute, and eight times the file on disk.
const RUNS_MAX: usize = 3;
/// Nobody else reaches the origin of this network, so what comes from it is public to all.
const SETTINGS: &str = "[peers]\nbootstrap = []\n[serve]\nprivate_origins = true\n";

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let origin = Origin::start(scene, image)?;
    let once = image.size as f64 / ORIGIN_RATE as f64;
    let (mut sent, mut last) = (Vec::new(), Vec::new());
    for _ in 0..scene.runs().min(RUNS_MAX) {
        scene.fresh()?;
        rustix::fs::sync();
        let before = origin.network.sent_bytes(ORIGIN);
        let seconds = round(scene, &origin, image)?;
        let bytes = origin.network.sent_bytes(ORIGIN) - before;
        sent.push(bytes as f64 / image.size as f64);
        last.push(seconds / once);
    }
    let note = format!(
        "{HOSTS} hosts with a `callao serve --lan` and a `callao get` each, the origin (nginx for the file, a kubo for its inner \
         nodes) and a bridge, all of them network namespaces of this computer, with limits on their cables (`tc tbf`). Bytes \
         are counted on the cable of the origin, with headers and everything that is sent twice. The last host was done after \
         {:.1} s in the median; the origin needs {once:.1} s to send the file once. All {HOSTS} share two cores and one disk.",
        median(&last) * once,
    );
    let claims = vec![
        Claim::median(
            "bytes that the origin sent / bytes of the file",
            sent,
            Goal::AtMost(1.2),
            "",
        ),
        Claim::median(
            "time until the last host was done / time in which the origin sends the file once",
            last,
            Goal::AtMost(1.3),
            "",
        ),
    ];
    scene.fresh()?;
    Ok(Section {
        claims,
        notes: vec![note],
        ..Section::default()
    })
}

/// The network, and what runs at its origin.
struct Origin {
    nginx: Nginx,
    kubo: Daemon,
    network: Network,
}

impl Origin {
    fn start(scene: &Scene, image: &Subject) -> Outcome<Self> {
        let network = Network::start(HOSTS + 1).ok_or("there are no network namespaces")?;
        let kubo = Kubo::init(&scene.lasting("kubo-origin"), &[]).ok_or("there is no kubo")?;
        kubo.add(&image.path, &["--cid-version=1"]);
        let nginx = Nginx::start_on(&network, ORIGIN, &scene.files(), &NginxOptions::default());
        let origin = Origin {
            nginx: nginx.ok_or("there is no nginx")?,
            kubo: kubo.daemon_on(&network, ORIGIN),
            network,
        };
        (0..HOSTS).for_each(|host| origin.network.limit(host, LAN_RATE));
        origin.network.limit(ORIGIN, ORIGIN_RATE);
        Ok(origin)
    }
}

/// Seconds until all hosts have the file.
fn round(scene: &Scene, origin: &Origin, image: &Subject) -> Outcome<f64> {
    let mut daemons = Vec::new();
    for host in 0..HOSTS {
        let settings = world(scene, host).join("home/config/callao");
        fs::create_dir_all(&settings)?;
        fs::write(settings.join("config.toml"), SETTINGS)?;
        let line =
            "serve --json --gateway 127.0.0.1:0 --listen /ip4/0.0.0.0/tcp/0 --lan 0.0.0.0:22554";
        let mut serve = on(scene, origin, host, &line.split(' ').collect::<Vec<_>>());
        daemons.push(Serve::start(serve.stderr(Stdio::null())));
    }
    let url = origin.nginx.url(image.name);
    let line = [
        "get",
        &url,
        "--digest",
        &image.digest,
        "--cid",
        &image.cid,
        "--gateway",
        origin.kubo.gateway_url(),
        "--no-progress",
    ];
    let begun = Instant::now();
    let mut fetching = Vec::new();
    for host in 0..HOSTS {
        let log = fs::File::create(scene.notes().join(format!("host-{host}.log")))?;
        let mut get = on(scene, origin, host, &line);
        fetching.push(get.stdout(Stdio::null()).stderr(log).spawn()?);
    }
    all_succeed(fetching, "hosts")?;
    Ok(begun.elapsed().as_secs_f64())
}

fn world(scene: &Scene, host: u8) -> PathBuf {
    scene.scratch().join(format!("host-{host}"))
}

fn on(scene: &Scene, origin: &Origin, host: u8, line: &[&str]) -> Command {
    let mut command = scene.callao_in(&world(scene, host), line);
    command.env("CALLAO_DISCOVERY", "lan");
    origin.network.moved(host, &command)
}
