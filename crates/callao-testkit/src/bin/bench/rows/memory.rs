//! Peak memory, at the usual size and at a large one.

use crate::Outcome;
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Variant, interleave};
use crate::scene::{Scene, Subject};

/// MiB that neither command may exceed.
const LIMIT_MIB: f64 = 64.0;
/// Rounds; peaks vary little and the large image takes long.
const RUNS: usize = 3;

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let (image, big) = (scene.image()?, scene.big()?);
    let server = scene.nginx(None)?;
    let get = |subject: &Subject| {
        scene.get(
            &server.url(subject.name),
            &["--digest", &subject.digest, "--cid", &subject.cid],
        )
    };
    let add = |subject: &Subject| {
        scene.callao(&[
            "add",
            "--only-hash",
            "--no-progress",
            &subject.path.display().to_string(),
        ])
    };
    let variants = [
        Variant::new("callao get", || get(image)),
        Variant::new("callao get, large", || get(big)),
        Variant::new("callao add --only-hash", || add(image)),
        Variant::new("callao add --only-hash, large", || add(big)),
    ];
    let samples = interleave(scene, scene.runs().min(RUNS), &variants)?;
    let claims = samples
        .iter()
        .map(|samples| {
            let peaks = samples.costs.iter().map(|cost| cost.peak_mib).collect();
            Claim::worst(
                format!("peak of {}", samples.name),
                peaks,
                Goal::AtMost(LIMIT_MIB),
                " MiB",
            )
        })
        .collect();
    let note = format!(
        "{:.0} MiB, and {:.0} MiB where it says large.",
        image.mib(),
        big.mib()
    );
    Ok(Section {
        mib: None,
        samples,
        claims,
        notes: vec![note],
    })
}
