//! Several slow servers of one file: whether their rates add up, and what one that stops costs.

use std::path::Path;
use std::time::{Duration, Instant};

use callao_testkit::body::Body;
use callao_testkit::origin::{Behaviour, Origin};

use crate::Outcome;
use crate::measure;
use crate::report::{Claim, Goal, Section};
use crate::rounds::{Samples, Variant, interleave};
use crate::scene::{Scene, Subject};

/// Bytes per second of one connection.
const RATE: u64 = 20 << 20;
/// MiB/s of both servers, one connection each.
const SUM_MIB: f64 = 40.0;
/// Pause between two looks at a server.
const LOOK: Duration = Duration::from_millis(1);

pub(super) fn nginx(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let servers = [scene.nginx(Some(RATE))?, scene.nginx(Some(RATE))?];
    let mut section = both(
        scene,
        image,
        &servers[0].url(image.name),
        &servers[1].url(image.name),
    )?;
    section.notes.push(
        "nginx sends one second's worth at once when an answer begins, so that many short ranges get more than the limit."
            .to_owned(),
    );
    Ok(section)
}

pub(super) fn paced(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let servers = [origin(image, None)?, origin(image, None)?];
    both(scene, image, &servers[0].url(), &servers[1].url())
}

pub(super) fn stops(scene: &Scene) -> Outcome<Section> {
    let image = scene.image()?;
    let (mut costs, mut lost) = (Vec::new(), Vec::new());
    for _ in 0..scene.runs() {
        scene.fresh()?;
        // Half of the file has come when this one has sent a quarter.
        let (steady, stopping) = (origin(image, None)?, origin(image, Some(image.size / 4))?);
        let mut command = get(scene, image, &steady.url(), &stopping.url());
        let (cost, stop) = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(&steady, &stopping));
            let cost = measure::run(&mut command, scene.notes());
            (cost, watcher.join())
        });
        let cost = cost?;
        scene.check(Path::new(&measure::stdout(scene.notes())?), image, false)?;
        let stop = stop
            .map_err(|_| "the watcher failed")?
            .ok_or("the mirror never sent its quarter")?;
        let rate = stop.steady as f64 / stop.after;
        let ideal = stop.after + (image.size - stop.steady - stop.stopping) as f64 / rate;
        lost.push(cost.wall - ideal);
        costs.push(cost);
    }
    let claims = vec![Claim::worst(
        "time beyond what the remaining mirror needs for the rest",
        lost,
        Goal::AtMost(1.0),
        " s",
    )];
    let samples = vec![Samples {
        name: "callao get --mirror",
        costs,
        mib: None,
    }];
    Ok(Section {
        mib: Some(image.mib()),
        samples,
        claims,
        notes: Vec::new(),
    })
}

/// The moment at which a mirror stopped.
struct Stop {
    /// Seconds since the start.
    after: f64,
    /// Bytes that the other one had sent.
    steady: u64,
    /// Bytes that it had sent itself.
    stopping: u64,
}

fn watch(steady: &Origin, stopping: &Origin) -> Option<Stop> {
    let started = Instant::now();
    while !stopping.is_stopped() {
        if started.elapsed() > Duration::from_secs(300) {
            return None;
        }
        std::thread::sleep(LOOK);
    }
    let after = started.elapsed().as_secs_f64();
    Some(Stop {
        after,
        steady: steady.bytes_sent(),
        stopping: stopping.bytes_sent(),
    })
}

fn both(scene: &Scene, image: &Subject, first: &str, second: &str) -> Outcome<Section> {
    let variants = [
        Variant::new("callao get --mirror", || get(scene, image, first, second))
            .checked(|path| scene.check(Path::new(path), image, false)),
    ];
    let samples = interleave(scene, scene.runs(), &variants)?;
    let shares = samples[0]
        .walls()
        .iter()
        .map(|wall| image.mib() / wall / SUM_MIB)
        .collect();
    let claims = vec![Claim::median(
        "rate / sum of the rates",
        shares,
        Goal::AtLeast(0.9),
        "",
    )];
    Ok(Section {
        mib: Some(image.mib()),
        samples,
        claims,
        notes: Vec::new(),
    })
}

fn get(scene: &Scene, image: &Subject, first: &str, second: &str) -> std::process::Command {
    scene.get(
        first,
        &[
            "--mirror",
            second,
            "--digest",
            &image.digest,
            "--cid",
            &image.cid,
        ],
    )
}

fn origin(image: &Subject, stop_after_total: Option<u64>) -> Outcome<Origin> {
    let behaviour = Behaviour {
        rate: Some(RATE),
        stop_after_total,
        ..Behaviour::default()
    };
    Ok(Origin::start(Body::file(&image.path)?, behaviour))
}
