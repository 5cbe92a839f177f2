//! `lock` of a template with two images, beside what gives their digests by hand, one after the other.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::Outcome;
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Samples, Variant, interleave};
use crate::scene::{Scene, Subject};

/// Goal for `lock` beside curl and openssl.
const RATIO_MAX: f64 = 1.2;

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let subjects = [scene.image()?, scene.second()?];
    let server = scene.nginx(None)?;
    let urls = subjects.map(|subject| server.url(subject.name));
    let by_hand = urls
        .iter()
        .map(|url| format!("curl -sSf {url} | openssl dgst -sha256"))
        .collect::<Vec<_>>()
        .join(" && ");
    let kept = urls
        .iter()
        .zip(["F", "G"])
        .map(|(url, name)| {
            format!("curl -sSf -o {name} {url} && sync {name} && openssl dgst -sha256 {name}")
        })
        .collect::<Vec<_>>()
        .join(" && ");
    let has_digests = |out: &str| {
        let has = |subject: &&Subject| out.contains(&subject.digest["sha256:".len()..]);
        match subjects.iter().all(has) {
            true => Ok(()),
            false => Err(format!("other digests: {out}").into()),
        }
    };
    let variants = [
        Variant::new("callao lock (digests are there, CIDs are not)", || {
            lock(scene, &[])
        })
        .prepared(|| write(scene, &urls, Some(&subjects)))
        .checked(|_| check(scene, &subjects)),
        Variant::new("callao lock --pin-latest (nothing is there)", || {
            lock(scene, &["--pin-latest"])
        })
        .prepared(|| write(scene, &urls, None))
        .checked(|_| check(scene, &subjects)),
        Variant::new("curl | openssl dgst -sha256, twice", || {
            scene.shell(&by_hand)
        })
        .checked(has_digests),
        Variant::new("curl, sync, openssl dgst -sha256, twice", || {
            scene.shell(&kept)
        })
        .checked(has_digests),
    ];
    let samples = interleave(scene, scene.runs(), &variants)?;
    Ok(Section {
        mib: Some(subjects[0].mib() + subjects[1].mib()),
        claims: claims(&samples),
        samples,
        notes: vec![
            "lock puts both files into the cache, synced, and computes their CIDs as well; `curl | openssl` writes nothing."
                .to_owned(),
        ],
    })
}

fn claims(samples: &[Samples]) -> Vec<Claim> {
    vec![
        Claim::median(
            "lock / (curl | openssl)",
            samples[0].ratios(&samples[2]),
            Goal::AtMost(RATIO_MAX),
            "",
        ),
        Claim::median(
            "lock --pin-latest / (curl | openssl)",
            samples[1].ratios(&samples[2]),
            Goal::AtMost(RATIO_MAX),
            "",
        ),
        Claim::median(
            "lock --pin-latest / (curl, sync, openssl)",
            samples[1].ratios(&samples[3]),
            Goal::AtMost(RATIO_MAX),
            "",
        ),
    ]
}

fn template(scene: &Scene) -> PathBuf {
    scene.scratch().join("t.yaml")
}

/// A template of both files, with their digests or without.
fn write(scene: &Scene, urls: &[String], digests: Option<&[&Subject; 2]>) -> Outcome<()> {
    let mut text = String::from("images:\n");
    for (index, url) in urls.iter().enumerate() {
        text.extend([&format!("- location: \"{url}\"\n  arch: \"x86_64\"\n")[..]]);
        if let Some(subjects) = digests {
            text.extend([&format!("  digest: \"{}\"\n", subjects[index].digest)[..]]);
        }
    }
    Ok(fs::write(template(scene), text)?)
}

fn lock(scene: &Scene, flags: &[&str]) -> Command {
    let path = template(scene);
    let path = path.to_string_lossy();
    let fixed = ["lock", &*path, "--no-progress"];
    scene.callao(&[&fixed[..], flags].concat())
}

/// Whether the template has both digests and both CIDs now.
fn check(scene: &Scene, subjects: &[&Subject; 2]) -> Outcome<()> {
    let text = fs::read_to_string(template(scene))?;
    for subject in subjects {
        for name in [&subject.digest, &subject.cid] {
            if text.matches(name.as_str()).count() != 1 {
                return Err(format!("{name} is not in\n{text}").into());
            }
        }
    }
    Ok(())
}
