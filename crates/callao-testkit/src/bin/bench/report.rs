//! Markdown of what was measured.

use std::fmt::Write as _;
use std::process::Command;

use crate::rounds::{Samples, extent, median};
use crate::rows::Row;
use crate::scene::Scene;

/// What a claim must keep.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

/// One figure that was promised.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// What the figure is.
    pub(crate) text: String,
    /// Of all rounds.
    pub(crate) values: Vec<f64>,
    /// Which one of them counts: the median, or the worst.
    pub(crate) worst: bool,
    /// What it must keep.
    pub(crate) goal: Goal,
    /// Behind the number.
    pub(crate) unit: &'static str,
}

impl Claim {
    /// The median must keep the goal.
    pub(crate) fn median(
        text: impl Into<String>,
        values: Vec<f64>,
        goal: Goal,
        unit: &'static str,
    ) -> Self {
        Self {
            text: text.into(),
            values,
            worst: false,
            goal,
            unit,
        }
    }

    /// Every value must keep the goal.
    pub(crate) fn worst(
        text: impl Into<String>,
        values: Vec<f64>,
        goal: Goal,
        unit: &'static str,
    ) -> Self {
        Self {
            worst: true,
            ..Self::median(text, values, goal, unit)
        }
    }

    fn line(&self) -> String {
        let (low, high) = extent(&self.values);
        let value = match (self.worst, self.goal) {
            (false, _) => median(&self.values),
            (true, Goal::AtMost(_)) => high,
            (true, Goal::AtLeast(_)) => low,
        };
        let (goal, met) = match self.goal {
            Goal::AtMost(limit) => (format!("at most {limit}"), value <= limit),
            Goal::AtLeast(limit) => (format!("at least {limit}"), value >= limit),
        };
        let unit = self.unit;
        let met = if met { "yes" } else { "**no**" };
        format!(
            "| {} | {value:.3}{unit} [{low:.3} {high:.3}] | {goal}{unit} | {met} |",
            self.text
        )
    }
}

/// What one row gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section {
    /// MiB that each variant works on, if a rate makes sense.
    pub(crate) mib: Option<f64>,
    /// One per variant.
    pub(crate) samples: Vec<Samples>,
    /// What was promised.
    pub(crate) claims: Vec<Claim>,
    /// Remarks below the table.
    pub(crate) notes: Vec<String>,
}

/// What was measured with what.
pub(crate) fn heading(scene: &Scene) -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")?
                .split_once(": ")
                .map(|(_, name)| name.to_owned())
        })
        .unwrap_or_else(|| "unknown processor".to_owned());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let mut versions = vec![
        first_line(&mut scene.callao(&["--version"])),
        first_line(Command::new("curl").arg("--version")),
        first_line(Command::new("openssl").arg("version")),
    ];
    if let Ok(kubo) = scene.kubo() {
        versions.push(first_line(kubo.command().arg("version")));
    }
    format!(
        "{model}, {cpus} cores, load {load} at the start; {} rounds, order of the variants shuffled; {}.\n",
        scene.runs(),
        versions.join("; ")
    )
}

/// One row.
pub(crate) fn section(row: &Row, section: &Section) -> String {
    let mut out = format!("### {}\n\n", row.title);
    if !section.samples.is_empty() {
        out.push_str("| | wall s [min max] | MiB/s | CPU s | peak MiB |\n|---|---|---|---|---|\n");
    }
    for samples in &section.samples {
        let walls = samples.walls();
        let (low, high) = extent(&walls);
        let wall = median(&walls);
        let mib = samples.mib.or(section.mib);
        let rate = mib.map_or_else(String::new, |mib| format!("{:.0}", mib / wall));
        let cpu = median(
            &samples
                .costs
                .iter()
                .map(|cost| cost.cpu)
                .collect::<Vec<_>>(),
        );
        let (_, peak) = extent(
            &samples
                .costs
                .iter()
                .map(|cost| cost.peak_mib)
                .collect::<Vec<_>>(),
        );
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| {} | {wall:.3} [{low:.3} {high:.3}] | {rate} | {cpu:.2} | {peak:.0} |",
            samples.name
        );
    }
    if !section.claims.is_empty() {
        let _ = writeln!(out, "\n{}", claims(&section.claims));
    }
    for note in &section.notes {
        let _ = writeln!(out, "\n{note}");
    }
    out
}

/// All claims once more.
pub(crate) fn summary(all: &[Claim]) -> String {
    if all.is_empty() {
        String::new()
    } else {
        format!("### All claims\n\n{}", claims(all))
    }
}

fn claims(all: &[Claim]) -> String {
    let mut out = "| claim | measured [min max] | goal | met |\n|---|---|---|---|\n".to_owned();
    for claim in all {
        let _ = writeln!(out, "{}", claim.line());
    }
    out
}

fn first_line(command: &mut Command) -> String {
    let output = command
        .output()
        .map(|output| output.stdout)
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    let line = text.lines().next().unwrap_or("?");
    line.split(" (").next().unwrap_or(line).to_owned()
}
