//! What a template costs before anything is fetched: starting the program, reading a template with three levels of base
//! and merging it, and finding that all of its files are held.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::measure;
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Samples, Variant, interleave};
use crate::scene::Scene;

/// Each of these takes milliseconds, and what else the computer does is not what is measured: the figures are those of
/// this many runs, one after the other.
pub(super) const REPEATS: usize = 20;
/// Levels of base below the first template.
const BASES: usize = 3;
/// Images that each level names.
const IMAGES: usize = 12;
/// Lines of the script that each level brings along.
const SCRIPT_LINES: usize = 200;

pub(super) fn run(scene: &Scene) -> Outcome<Section> {
    let (image, archive) = (scene.image()?, scene.second()?);
    let server = scene.nginx(None)?;
    let merged = levels(scene)?;
    let held = scene.files().join("held.yaml").display().to_string();
    let entry = |url: String, digest: &str| {
        let arch = std::env::consts::ARCH;
        format!("- location: \"{url}\"\n  arch: {arch}\n  digest: \"{digest}\"\n")
    };
    fs::write(
        &held,
        format!(
            "images:\n{}containerd:\n  user: true\n  archives:\n  {}",
            entry(server.url(image.name), &image.digest),
            entry(server.url(archive.name), &archive.digest).replace("\n  ", "\n    ")
        ),
    )?;
    let variants = [
        Variant::new("20 times callao --version", || {
            repeated(&scene.callao(&["--version"]))
        }),
        Variant::new("20 times callao get --list, three levels of base", || {
            repeated(&scene.get(&merged, &["--list"]))
        })
        .checked(|out| match out.lines().count() {
            lines if lines == (BASES + 1) * IMAGES => Ok(()),
            lines => Err(format!("{lines} files").into()),
        }),
        Variant::new("20 times callao get, everything is held", || {
            repeated(&scene.get(&held, &[]))
        })
        .prepared(|| measure::run(&mut scene.get(&held, &[]), scene.notes()).map(drop))
        .checked(|out| {
            let mut paths = out.lines();
            scene.check(Path::new(paths.next().unwrap_or_default()), image, false)?;
            scene.check(Path::new(paths.next().unwrap_or_default()), archive, false)
        }),
    ];
    let samples = interleave(scene, scene.runs(), &variants)?;
    let claims = claims(&samples);
    Ok(Section {
        mib: None,
        samples,
        claims,
        notes: vec![format!(
            "Each of the four templates names {IMAGES} images and brings a script of {SCRIPT_LINES} lines."
        )],
    })
}

fn claims(samples: &[Samples]) -> Vec<Claim> {
    let pairs = samples[1].walls().into_iter().zip(samples[0].walls());
    let milliseconds = |seconds: Vec<f64>| {
        let each = seconds.into_iter();
        each.map(|wall| wall * 1e3 / REPEATS as f64).collect()
    };
    vec![
        Claim::median(
            "start of the program",
            milliseconds(samples[0].walls()),
            Goal::AtMost(10.0),
            " ms",
        ),
        Claim::median(
            "reading and merging, beyond the start",
            milliseconds(pairs.map(|(whole, start)| whole - start).collect()),
            Goal::AtMost(10.0),
            " ms",
        ),
        Claim::median(
            "get of a template whose files are held",
            milliseconds(samples[2].walls()),
            Goal::AtMost(60.0),
            " ms",
        ),
    ]
}

/// The same command again and again, in the same surroundings; its output is that of the last time.
pub(super) fn repeated(command: &Command) -> Command {
    let script = format!(
        "i=1; while [ $i -lt {REPEATS} ]; do \"$@\" >/dev/null || exit 1; i=$((i+1)); done; exec \"$@\""
    );
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &script, "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    shell
}

/// Writes four templates, each the base of the one before it, and names the first.
fn levels(scene: &Scene) -> Outcome<String> {
    let path = |level| scene.files().join(format!("level{level}.yaml"));
    for level in 0..=BASES {
        let base = match level {
            BASES => String::new(),
            _ => format!("base: level{}.yaml\n", level + 1),
        };
        let text = level_text(level, std::env::consts::ARCH);
        fs::write(path(level), format!("{base}{text}"))?;
    }
    Ok(path(0).display().to_string())
}

/// A template as long as a real one.
fn level_text(level: usize, arch: &str) -> String {
    let images: String = (0..IMAGES)
        .map(|image| {
            let digest = format!("{level:032x}{image:032x}");
            format!(
                "- location: \"https://127.0.0.1/{level}/{image}.img\"\n  arch: {arch}\n  digest: \"sha256:{digest}\"\n"
            )
        })
        .collect();
    let script = "    echo \"a line of a script, as long as lines are\" >&2\n".repeat(SCRIPT_LINES);
    format!(
        "images:\n{images}provision:\n- mode: system\n  script: |\n    #!/bin/bash\n{script}\
         mounts:\n- location: \"~/{level}\"\nenv:\n  LEVEL{level}: \"{level}\"\ncontainerd:\n  user: false\n"
    )
}
