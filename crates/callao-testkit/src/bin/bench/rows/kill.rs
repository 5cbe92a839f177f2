//! SIGKILL at a random point, then the same command again: how many bytes come twice.

use std::path::Path;
use std::time::Duration;

use crate::Outcome;
use crate::measure;
use crate::report::{Claim, Goal, Section};
use crate::rounds::Dice;
use crate::scene::Scene;

/// How often a command that ended before it was killed is tried again.
const TRIES: u32 = 10;
/// Until the server has noticed that its client is gone, and has logged it.
const SETTLE: Duration = Duration::from_millis(300);

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let with_cid = ["--digest", &image.digest, "--cid", &image.cid];
    let mut dice = Dice::new(0x0000_9a11);
    let mut section = Section::default();
    for (what, arguments) in [
        ("digest and CID", &with_cid[..]),
        ("digest alone", &with_cid[..2]),
    ] {
        // One that fails must not hide the other.
        match excesses(scene, arguments, &mut dice) {
            Ok(values) => section.claims.push(Claim::worst(
                format!("bytes beyond the file, {what}"),
                values,
                Goal::AtMost(32.0),
                " MiB",
            )),
            Err(error) => section
                .notes
                .push(format!("With {what}, not measured: {error}")),
        }
    }
    section.notes.push(
        "Bytes are those that nginx handed to its socket, so what was on its way to the killed process counts too."
            .to_owned(),
    );
    Ok(section)
}

/// MiB that the server sent beyond the file, per run.
fn excesses(scene: &Scene, arguments: &[&str], dice: &mut Dice) -> Outcome<Vec<f64>> {
    let image = scene.image()?;
    let server = scene.nginx(None)?;
    let url = server.url(image.name);
    scene.fresh()?;
    let usual = measure::run(&mut scene.get(&url, arguments), scene.notes())?.wall;
    let mut excesses = Vec::new();
    for _ in 0..scene.runs() {
        let mut before = 0;
        let mut killed = false;
        for _ in 0..TRIES {
            scene.fresh()?;
            std::thread::sleep(SETTLE);
            before = server.bytes_sent();
            let delay = Duration::from_secs_f64(usual * (0.15 + 0.7 * dice.unit()));
            killed = measure::run_and_kill(&mut scene.get(&url, arguments), scene.notes(), delay)?;
            std::thread::sleep(SETTLE);
            // Killed before the first byte would be no test.
            if killed && server.bytes_sent() > before {
                break;
            }
        }
        if !killed {
            return Err("the command always ended before it could be killed".into());
        }
        measure::run(&mut scene.get(&url, arguments), scene.notes())?;
        scene.check(Path::new(&measure::stdout(scene.notes())?), image, true)?;
        std::thread::sleep(SETTLE);
        let sent = server.bytes_sent() - before;
        excesses.push((sent as f64 - image.size as f64) / f64::from(1 << 20));
    }
    Ok(excesses)
}
