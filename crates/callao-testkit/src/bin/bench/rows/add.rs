//! Digest and CID in one pass, beside the tools that give one of them.

use crate::Outcome;
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Variant, interleave};
use crate::scene::Scene;

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let kubo = scene.kubo()?;
    let path = image.path.display().to_string();
    let right = |text: &str| match text.contains(&image.cid) && text.contains(&image.digest) {
        true => Ok(()),
        false => Err(format!("neither {} nor {} in: {text}", image.cid, image.digest).into()),
    };
    let variants = [
        Variant::new("callao add --only-hash (digest and CID)", || {
            scene.callao(&["add", "--only-hash", "--json", "--no-progress", &path])
        })
        .checked(right),
        Variant::new("ipfs add --only-hash --cid-version=1 (CID)", || {
            let mut command = kubo.command();
            command.args(["add", "-Q", "--only-hash", "--cid-version=1", &path]);
            command
        }),
        Variant::new("openssl dgst -sha256 (digest)", || {
            let mut command = std::process::Command::new("openssl");
            command.args(["dgst", "-sha256", &path]);
            command
        }),
    ];
    let samples = interleave(scene, scene.runs(), &variants)?;
    let claims = vec![
        Claim::median(
            "rate of add / rate of ipfs add",
            samples[1].ratios(&samples[0]),
            Goal::AtLeast(1.4),
            "",
        ),
        Claim::median(
            "rate of add / rate of openssl dgst",
            samples[2].ratios(&samples[0]),
            Goal::AtLeast(1.1),
            "",
        ),
    ];
    Ok(Section {
        mib: Some(image.mib()),
        samples,
        claims,
        notes: Vec::new(),
    })
}
