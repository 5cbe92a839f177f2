//! One callao from another by HTTP, beside curl from nginx.

use crate::Outcome;
use crate::peers::{CallaoHolder, callao_gets};
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Variant, interleave};
use crate::scene::Scene;

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let callao = CallaoHolder::start(scene, "holder-lan", &[image])?;
    let server = scene.nginx(None)?;
    let url = server.url(image.name);
    let from = ["--only", "lan", "--peer", &callao.address()].map(str::to_owned);
    let variants = [
        callao_gets(
            scene,
            "callao get ipfs://CID from callao",
            (&image.cid, image),
            from.to_vec(),
        ),
        Variant::new("curl, sync from nginx", || {
            scene.shell(&format!("curl -sSf -o F {url} && sync F"))
        })
        .checked(|_| scene.check(&scene.scratch().join("F"), image, false)),
    ];
    let samples = interleave(scene, scene.runs(), &variants)?;
    let claims = vec![Claim::median(
        "time of get / time of (curl, sync)",
        samples[0].ratios(&samples[1]),
        Goal::AtMost(1.25),
        "",
    )];
    let note = "Both ends are on this computer: the serving callao reads, hashes and sends on the same two cores on which the \
                fetching one receives, hashes and writes; nginx and curl hash nothing.";
    Ok(Section {
        mib: Some(image.mib()),
        samples,
        claims,
        notes: vec![note.to_owned()],
    })
}
