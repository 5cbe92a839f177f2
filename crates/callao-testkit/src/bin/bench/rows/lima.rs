//! A cold `limactl create`, which downloads, hashes and copies the image, beside `callao get` of the same template.

use std::fs;
use std::process::Command;

use callao_testkit::real;

use crate::Outcome;
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Variant, interleave};
use crate::scene::Scene;

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let Some(limactl) = real::limactl() else {
        return Err(format!(
            "{} names no limactl that runs here (it refuses root)",
            real::LIMACTL_VARIABLE
        )
        .into());
    };
    let image = scene.image()?;
    let server = scene.nginx(None)?;
    let url = server.url(image.name);
    let arch = std::env::consts::ARCH;
    let template = scene.files().join("template.yaml");
    let text = format!(
        "vmType: qemu\nimages:\n- location: \"{url}\"\n  arch: \"{arch}\"\n  digest: \"{}\"\n\
         mounts: []\ncontainerd:\n  system: false\n  user: false\n",
        image.digest
    );
    fs::write(&template, text)?;
    let template = template.display().to_string();
    let create = |text: &str| {
        let mut command = Command::new(&limactl);
        command
            .args(["create", "--tty=false", "--name=bench", text])
            .env("LIMA_HOME", scene.scratch().join("lima"))
            .env("XDG_CACHE_HOME", scene.cache())
            // Proxies are not taken for loopback: anything else fails at once instead of leaving this computer.
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .env("HTTPS_PROXY", "http://127.0.0.1:1");
        command
    };
    let variants = [
        Variant::new("callao get template.yaml", || scene.get(&template, &[])),
        Variant::new("limactl create, cold", || create(&template)),
    ];
    let samples = interleave(scene, scene.runs(), &variants)?;
    let claims = vec![Claim::median(
        "get / cold limactl create",
        samples[0].ratios(&samples[1]),
        Goal::AtMost(0.6),
        "",
    )];
    Ok(Section {
        mib: Some(image.mib()),
        samples,
        claims,
        notes: Vec::new(),
    })
}
