//! `get oci://` from the reference registry, beside `oras pull` and curl of the same blob.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;

use callao_testkit::real::{Oras, Registry};

use crate::Outcome;
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Samples, Variant, interleave};
use crate::scene::Scene;

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let files = scene.files();
    let root = files.parent().ok_or("the files are in no directory")?;
    let registry = Registry::start_in(root, false).ok_or("there is no docker-registry")?;
    let oras = Oras::find(root).ok_or("there is no oras")?;
    let target = format!("{}/bench/image:1", registry.host());
    let file = format!("{}:application/octet-stream", image.name);
    oras.run(
        &files,
        &["push", "--plain-http", "--no-tty", &target, &file],
    );
    let location = format!("oci://{target}");
    let blob = format!(
        "http://{}/v2/bench/image/blobs/{}",
        registry.host(),
        image.digest
    );
    let first = Cell::new(true);
    let variants = [
        Variant::new("callao get oci://", || scene.get(&location, &[]))
            .checked(|path| scene.check(Path::new(path), image, first.replace(false))),
        Variant::new("oras pull", || {
            oras.command(
                &scene.scratch(),
                &["pull", "--plain-http", "--no-tty", &target],
            )
        })
        .checked(|_| scene.check(&scene.scratch().join(image.name), image, false)),
        Variant::new("curl of the blob", || {
            scene.shell(&format!("curl -sSfL -o F {blob}"))
        })
        .checked(|_| scene.check(&scene.scratch().join("F"), image, false)),
        Variant::new("oras pull, sync", || {
            synced(scene, &oras, &target, image.name)
        })
        .checked(|_| scene.check(&scene.scratch().join(image.name), image, false)),
        Variant::new("curl of the blob, sync", || {
            scene.shell(&format!("curl -sSfL -o F {blob} && sync F"))
        })
        .checked(|_| scene.check(&scene.scratch().join("F"), image, false)),
    ];
    let samples = interleave(scene, scene.runs(), &variants)?;
    Ok(Section {
        mib: Some(image.mib()),
        claims: claims(&samples),
        samples,
        notes: vec![
            "curl does not verify, and neither curl nor oras syncs by itself; callao does both. The registry's own work is not \
             counted."
                .to_owned(),
        ],
    })
}

fn claims(samples: &[Samples]) -> Vec<Claim> {
    vec![
        Claim::median(
            "rate of get / rate of oras pull",
            samples[1].ratios(&samples[0]),
            Goal::AtLeast(1.0),
            "",
        ),
        Claim::median(
            "rate of get / rate of curl",
            samples[2].ratios(&samples[0]),
            Goal::AtLeast(0.8),
            "",
        ),
        Claim::median(
            "rate of get / rate of (oras pull, sync)",
            samples[3].ratios(&samples[0]),
            Goal::AtLeast(1.0),
            "",
        ),
        Claim::median(
            "rate of get / rate of (curl, sync)",
            samples[4].ratios(&samples[0]),
            Goal::AtLeast(0.8),
            "",
        ),
    ]
}

/// `oras pull` and then a sync of what it wrote, in one command.
fn synced(scene: &Scene, oras: &Oras, target: &str, name: &str) -> Command {
    let alone = oras.command(&scene.scratch(), &[]);
    let program = alone.get_program().to_string_lossy().into_owned();
    let mut command = scene.shell(&format!(
        "'{program}' pull --plain-http --no-tty {target} && sync {name}"
    ));
    for (variable, value) in alone.get_envs() {
        command.env(variable, value.unwrap_or_default());
    }
    command
}
