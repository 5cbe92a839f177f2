//! What the daemon needs while nobody asks anything of it, and while many do.

use std::time::{Duration, Instant};

use crate::Outcome;
use crate::measure;
use crate::peers::{CallaoHolder, bitswap_from};
use crate::process::{all_succeed, cpu_seconds, peak_mib, resident_mib};
use crate::report::{Claim, Goal, Section};
use crate::scene::{Scene, Subject};

/// How long it is watched while it is idle.
const IDLE: Duration = Duration::from_secs(60);
/// It may still be looking at what it holds for this long after it said that it is ready.
const SETTLE: Duration = Duration::from_secs(5);
/// Clients at the same time, of each kind.
const CLIENTS_COUNT: usize = 16;

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let callao = CallaoHolder::start(scene, "holder-idle", &[image])?;
    let pid = callao.serve.borrow_mut().pid();
    std::thread::sleep(SETTLE);
    let (before, since) = (cpu_seconds(pid)?, Instant::now());
    std::thread::sleep(IDLE);
    let share = (cpu_seconds(pid)? - before) / since.elapsed().as_secs_f64() * 100.0;
    let idle = resident_mib(pid)?;
    let url = format!("{}/ipfs/{}", callao.serve.borrow().gateway(), image.cid);
    let http = everyone_by_http(scene, &url)?;
    let after_http = peak_mib(pid)?;
    let bitswap = everyone_by_bitswap(scene, image, &callao.address())?;
    let after_bitswap = peak_mib(pid)?;
    let claims = vec![
        Claim::worst("resident, idle", vec![idle], Goal::AtMost(40.0), " MiB"),
        Claim::worst(
            "of one core, idle for a minute",
            vec![share],
            Goal::AtMost(0.5),
            " %",
        ),
        Claim::worst(
            "peak resident, 16 clients at once by HTTP",
            vec![after_http],
            Goal::AtMost(128.0),
            " MiB",
        ),
        Claim::worst(
            "peak resident, then 16 clients at once by bitswap",
            vec![after_bitswap],
            Goal::AtMost(128.0),
            " MiB",
        ),
    ];
    let rate = |seconds: f64, mib: f64| CLIENTS_COUNT as f64 * mib / seconds;
    let note = format!(
        "{CLIENTS_COUNT} times {:.0} MiB by HTTP (`curl -o /dev/null`) in {http:.1} s, {:.0} MiB/s in all; {CLIENTS_COUNT} times \
         the same by bitswap (`callao get`, which writes and syncs) in {bitswap:.1} s, {:.0} MiB/s in all. \
         The peak is that of the whole life of the process.",
        image.mib(),
        rate(http, image.mib()),
        rate(bitswap, image.mib()),
    );
    scene.fresh()?;
    Ok(Section {
        claims,
        notes: vec![note],
        ..Section::default()
    })
}

/// Seconds until all clients have everything.
fn everyone_by_http(scene: &Scene, url: &str) -> Outcome<f64> {
    scene.fresh()?;
    let one = format!("curl -sSf -o /dev/null {url} & pids=\"$pids $!\"; ");
    at_once(scene, &one.repeat(CLIENTS_COUNT))
}

fn everyone_by_bitswap(scene: &Scene, image: &Subject, address: &str) -> Outcome<f64> {
    scene.fresh()?;
    let what = format!("ipfs://{}", image.cid);
    let arguments = bitswap_from(address);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let started = Instant::now();
    let mut clients = Vec::new();
    for index in 0..CLIENTS_COUNT {
        let world = scene.scratch().join(format!("client-{index}"));
        let mut all = vec!["get", &what, "--no-progress"];
        all.extend(&arguments);
        let mut command = scene.callao_in(&world, &all);
        command.stdout(std::process::Stdio::null());
        clients.push(command.spawn()?);
    }
    all_succeed(clients, "clients")?;
    Ok(started.elapsed().as_secs_f64())
}

/// Runs background jobs whose ids are collected in `$pids`; all must succeed.
fn at_once(scene: &Scene, jobs: &str) -> Outcome<f64> {
    let text = format!("pids=; {jobs} for pid in $pids; do wait $pid || exit 1; done");
    Ok(measure::run(&mut scene.shell(&text), scene.notes())?.wall)
}
