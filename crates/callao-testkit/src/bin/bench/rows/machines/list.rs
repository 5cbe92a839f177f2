//! `callao list` of many machines, one of which runs.

use crate::Outcome;
use crate::machines::Machines;
use crate::machines::answer::free_port;
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Samples, Variant, interleave};
use crate::rows::templates::{REPEATS, repeated};
use crate::scene::Scene;

const MACHINES_COUNT: usize = 20;

pub(crate) fn run(scene: &Scene) -> Outcome<Section> {
    let machines = Machines::new(scene)?;
    let template = machines.tiny(free_port()?)?;
    let names: Vec<String> = (1..=MACHINES_COUNT)
        .map(|number| format!("m{number}"))
        .collect();
    for name in &names {
        machines.run(&["create", "--name", name, &template])?;
    }
    machines.run(&["start", &names[0]])?;
    let all = |lines: usize| {
        move |out: &str| match out.lines().count() {
            count if count == lines => Ok(()),
            count => Err(format!("{count} lines instead of {lines}").into()),
        }
    };
    let variants = [
        Variant::new("20 times callao --version", || {
            repeated(&machines.callao(&["--version"]))
        }),
        Variant::new("20 times callao list", || {
            repeated(&machines.callao(&["list"]))
        })
        // With a heading.
        .checked(all(MACHINES_COUNT + 1)),
        Variant::new("20 times callao list --json", || {
            repeated(&machines.callao(&["list", "--json"]))
        })
        .checked(all(MACHINES_COUNT)),
    ];
    let samples = interleave(scene, scene.runs(), &variants)?;
    let claims = vec![
        claim("callao list", &samples[1]),
        claim("callao list --json", &samples[2]),
    ];
    Ok(Section {
        mib: None,
        samples,
        claims,
        notes: vec![format!(
            "One of the {MACHINES_COUNT} runs, and idles; {} were never started.",
            MACHINES_COUNT - 1
        )],
    })
}

fn claim(text: &str, samples: &Samples) -> Claim {
    let each = samples.walls().into_iter();
    let milliseconds = each.map(|wall| wall * 1e3 / REPEATS as f64).collect();
    Claim::median(text, milliseconds, Goal::AtMost(30.0), " ms")
}
