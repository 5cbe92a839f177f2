//! `get` with digest and CID from one nginx, beside curl with what a careful user adds to it.

use std::cell::Cell;
use std::path::Path;

use crate::Outcome;
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Variant, interleave};
use crate::scene::Scene;

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let server = scene.nginx(None)?;
    let url = server.url(image.name);
    // The bytes are compared once per variant; the size each time.
    let (first, first_plain) = (Cell::new(true), Cell::new(true));
    let variants = [
        Variant::new("callao get (digest and CID)", || {
            scene.get(&url, &["--digest", &image.digest, "--cid", &image.cid])
        })
        .checked(|path| scene.check(Path::new(path), image, first.replace(false))),
        Variant::new("callao get (digest)", || {
            scene.get(&url, &["--digest", &image.digest])
        })
        .checked(|path| scene.check(Path::new(path), image, first_plain.replace(false))),
        Variant::new("curl, sync", || {
            scene.shell(&format!("curl -sSf -o F {url} && sync F"))
        })
        .checked(|_| scene.check(&scene.scratch().join("F"), image, false)),
        Variant::new("curl, sync, openssl dgst -sha256", || {
            scene.shell(&format!(
                "curl -sSf -o F {url} && sync F && openssl dgst -sha256 F"
            ))
        })
        .checked(|_| scene.check(&scene.scratch().join("F"), image, false)),
    ];
    let samples = interleave(scene, scene.runs(), &variants)?;
    let claims = vec![
        Claim::median(
            "get / (curl, sync)",
            samples[0].ratios(&samples[2]),
            Goal::AtMost(0.75),
            "",
        ),
        Claim::median(
            "get / (curl, sync, openssl)",
            samples[0].ratios(&samples[3]),
            Goal::AtMost(0.5),
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
