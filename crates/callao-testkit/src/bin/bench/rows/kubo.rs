//! `get ipfs://CID` from kubo, beside kubo's own commands.

use std::cell::Cell;
use std::path::Path;

use crate::Outcome;
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Variant, interleave};
use crate::scene::Scene;

pub(super) fn repository(scene: &Scene) -> Outcome<Section> {
    let repository = scene.kubo()?.repository().display().to_string();
    let mut section = run(scene, &repository)?;
    section.notes.push(
        "`ipfs get` and `ipfs cat` neither sync nor, when they read their own blocks, hash; callao does both.".to_owned(),
    );
    Ok(section)
}

pub(super) fn daemon(scene: &Scene) -> Outcome<Section> {
    add(scene)?;
    let daemon = scene.kubo()?.daemon(false);
    let mut section = run(scene, daemon.api_url())?;
    // The pipeline was promised for the repository only.
    section.claims.truncate(1);
    section
        .notes
        .push("CPU and memory are those of the client; the daemon's come on top.".to_owned());
    Ok(section)
}

fn run(scene: &Scene, place: &str) -> Outcome<Section> {
    let image = scene.image()?;
    add(scene)?;
    let kubo = scene.kubo()?;
    let what = format!("ipfs://{}", image.cid);
    let first = Cell::new(true);
    let variants = [
        Variant::new("callao get ipfs://CID", || {
            scene.get(&what, &["--kubo", place])
        })
        .checked(|path| scene.check(Path::new(path), image, first.replace(false))),
        Variant::new("ipfs get -o", || {
            let mut command = kubo.command();
            command
                .args(["get", "-o", "F", &image.cid])
                .current_dir(scene.scratch());
            command
        })
        .checked(|_| scene.check(&scene.scratch().join("F"), image, false)),
        Variant::new("ipfs cat, tee, openssl dgst -sha256", || {
            let ipfs = kubo.binary().display();
            let mut command = scene.shell(&format!(
                "'{ipfs}' cat {} | tee F | openssl dgst -sha256",
                image.cid
            ));
            for (name, value) in kubo.command().get_envs() {
                command.env(name, value.unwrap_or_default());
            }
            command
        })
        .checked(|_| scene.check(&scene.scratch().join("F"), image, false)),
    ];
    let samples = interleave(scene, scene.runs(), &variants)?;
    let claims = vec![
        Claim::median(
            "rate of get / rate of ipfs get",
            samples[1].ratios(&samples[0]),
            Goal::AtLeast(2.0),
            "",
        ),
        Claim::median(
            "rate of get / rate of (ipfs cat, tee, openssl)",
            samples[2].ratios(&samples[0]),
            Goal::AtLeast(3.0),
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

/// Stores the image in kubo's repository; quick when it is there.
fn add(scene: &Scene) -> Outcome<()> {
    let image = scene.image()?;
    let kubo = scene.kubo()?;
    if kubo
        .output(&["block", "stat", "--offline", &image.cid])
        .status
        .success()
    {
        return Ok(());
    }
    let cid = kubo.add(&image.path, &["--cid-version=1"]);
    if cid == image.cid {
        Ok(())
    } else {
        Err(format!("kubo stored {cid}, not {}", image.cid).into())
    }
}
