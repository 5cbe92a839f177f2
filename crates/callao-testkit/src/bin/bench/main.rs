//! Measures every row of docs/benchmarks.md and prints Markdown: callao beside the tools a user would take otherwise.
//!
//! All variants of a row run in the same rounds, in an order that is shuffled anew each round by a fixed seed; the figures
//! are medians, and ratios are taken within a round before their median is. Decides nothing about how callao works: it
//! drives the release binary through its command line, as a user would.

mod cli;
mod machines;
mod measure;
mod peers;
mod process;
mod report;
mod rounds;
mod rows;
mod scene;

use std::io::Write as _;
use std::process::ExitCode;

/// Any failure ends the benchmark; its text says what was being done.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let Some(options) = cli::parse(std::env::args().skip(1))? else {
        return Ok(());
    };
    let scene = scene::Scene::new(&options)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", report::heading(&scene))?;
    let mut claims = Vec::new();
    for row in rows::ALL {
        if !options.only.is_empty() && !options.only.iter().any(|name| name == row.name) {
            continue;
        }
        writeln!(std::io::stderr(), "bench: {} ...", row.name)?;
        // One row that fails must not hide the others.
        match (row.run)(&scene) {
            Ok(section) => {
                writeln!(out, "{}", report::section(row, &section))?;
                claims.extend(section.claims);
            }
            Err(error) => writeln!(out, "### {}\n\nNot measured: {error}\n", row.title)?,
        }
        out.flush()?;
    }
    writeln!(out, "{}", report::summary(&claims))?;
    Ok(())
}
