//! One damaged leaf in an image: how many bytes the server sends to repair it.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Outcome;
use crate::measure;
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Dice, Samples};
use crate::scene::Scene;

/// Until the server has logged its last answer.
const SETTLE: Duration = Duration::from_millis(300);
/// As many are inverted: two leaves at most.
const DAMAGE_BYTES: usize = 16;

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let server = scene.nginx(None)?;
    let url = server.url(image.name);
    let arguments = ["--digest", image.digest.as_str(), "--cid", &image.cid];
    let mut dice = Dice::new(0x0000_5eed);
    let (mut sent, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..scene.runs() {
        scene.fresh()?;
        measure::run(&mut scene.get(&url, &arguments), scene.notes())?;
        let data = PathBuf::from(measure::stdout(scene.notes())?);
        damage(&data, image.size, &mut dice)?;
        rustix::fs::sync();
        std::thread::sleep(SETTLE);
        let before = server.bytes_sent();
        let mut command = scene.callao(&["cache", "repair", "--no-progress", &url]);
        costs.push(measure::run(&mut command, scene.notes())?);
        std::thread::sleep(SETTLE);
        sent.push((server.bytes_sent() - before) as f64 / f64::from(1 << 20));
        scene.check(&data, image, true)?;
    }
    Ok(Section {
        mib: Some(image.mib()),
        samples: vec![Samples {
            name: "callao cache repair of one damaged leaf",
            costs,
            mib: None,
        }],
        claims: vec![Claim::worst(
            "bytes sent by the server",
            sent,
            Goal::AtMost(2.0),
            " MiB",
        )],
        notes: vec![
            "The time is that of reading the file: to find the damage, to take over what is good, and to check the whole."
                .to_owned(),
        ],
    })
}

/// Inverts a few bytes somewhere.
fn damage(path: &Path, size: u64, dice: &mut Dice) -> Outcome<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let last = size.saturating_sub(DAMAGE_BYTES as u64);
    let offset = (dice.unit() * last as f64) as u64;
    let mut bytes = [0; DAMAGE_BYTES];
    file.read_exact_at(&mut bytes, offset)?;
    for byte in &mut bytes {
        *byte = !*byte;
    }
    file.write_all_at(&bytes, offset)?;
    Ok(())
}
