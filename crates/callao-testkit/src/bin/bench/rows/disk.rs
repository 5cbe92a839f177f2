//! How much disk a file takes after it was fetched from a peer and while it is served on.

use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::measure;
use crate::peers::{CallaoHolder, KuboHolder, Taker, bitswap_from, serve_in};
use crate::report::{Claim, Goal, Section};
use crate::scene::Scene;

/// Rounds: the figures hardly vary.
const RUNS: usize = 2;
/// Per cent.
const PART: f64 = 100.0;

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let beyond = |used: u64| (used as f64 / image.size as f64 - 1.0) * PART;
    let holder = CallaoHolder::start(scene, "holder-disk", &[image])?;
    for _ in 0..scene.runs().min(RUNS) {
        scene.fresh()?;
        let empty = disk_bytes(&scene.scratch())?;
        let what = format!("ipfs://{}", image.cid);
        let arguments = bitswap_from(&holder.address());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        measure::run(&mut scene.get(&what, &arguments), scene.notes())?;
        let serve = serve_in(scene, &scene.scratch())?;
        // It is served: every byte, from where it lies.
        let url = format!("{}/ipfs/{}", serve.gateway(), image.cid);
        let digest = scene.shell(&format!("curl -sSf {url} | openssl dgst -sha256 -r"));
        measure::run(&mut { digest }, scene.notes())?;
        let served = measure::stdout(scene.notes())?;
        if !image
            .digest
            .ends_with(served.split(' ').next().unwrap_or("?"))
        {
            return Err(format!("callao serves other bytes: {served}").into());
        }
        ours.push(beyond(disk_bytes(&scene.scratch())?.saturating_sub(empty)));
    }
    let (kubo, _named) = KuboHolder::start(scene, &[image])?;
    let taker = Taker::default();
    let address = kubo.address();
    let variant = taker.gets(scene, "ipfs get", (&image.cid, image), address);
    for _ in 0..scene.runs().min(RUNS) {
        scene.fresh()?;
        (variant.prepare)()?;
        let empty = disk_bytes(&scene.scratch())?;
        measure::run(&mut (variant.command)(), scene.notes())?;
        theirs.push(beyond(disk_bytes(&scene.scratch())?.saturating_sub(empty)));
        (variant.check)("")?;
    }
    let kubo_beyond = crate::rounds::median(&theirs);
    let claims = vec![Claim::worst(
        "disk beyond the file itself: callao get, then callao serve",
        ours,
        Goal::AtMost(0.1),
        " %",
    )];
    let note = format!(
        "kubo, after `ipfs get` into an empty repository: {kubo_beyond:.1} % beyond the file, for the blocks in its repository."
    );
    scene.fresh()?;
    Ok(Section {
        claims,
        notes: vec![note],
        ..Section::default()
    })
}

/// Bytes on disk below `directory`.
fn disk_bytes(directory: &Path) -> Outcome<u64> {
    rustix::fs::sync();
    let output = Command::new("du")
        .args(["-s", "-B1"])
        .arg(directory)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().next().ok_or("du failed")?.parse()?)
}
