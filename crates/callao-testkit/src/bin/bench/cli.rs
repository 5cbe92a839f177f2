//! The command line of the benchmark.

use std::io::Write as _;
use std::path::PathBuf;

use crate::Outcome;
use crate::rows;

const HELP: &str = "\
bench [--size MIB] [--big MIB] [--runs N] [--only ROW]... [--dir DIR] [--list]
  --size MIB   size of the image (450)
  --big MIB    size of the large image of the memory row (4096)
  --runs N     rounds (5)
  --only ROW   this row alone; may be repeated
  --dir DIR    where the files go, on the file system to be measured (beside the binary)
  --list       print the rows and end
";

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    /// Bytes of the image.
    pub(crate) size: u64,
    /// Bytes of the large image.
    pub(crate) big: u64,
    /// Rounds.
    pub(crate) runs: usize,
    /// Names of rows; empty: all.
    pub(crate) only: Vec<String>,
    /// Where the files go.
    pub(crate) directory: Option<PathBuf>,
}

/// Reads the arguments; `None` when what was asked for has been printed.
pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Outcome<Option<Options>> {
    let mib = 1 << 20;
    let mut options = Options {
        size: 450 * mib,
        big: 4096 * mib,
        runs: 5,
        only: Vec::new(),
        directory: None,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--size" => options.size = value()?.parse::<u64>()? * mib,
            "--big" => options.big = value()?.parse::<u64>()? * mib,
            "--runs" => options.runs = value()?.parse::<usize>()?.max(1),
            "--only" => {
                let name = value()?;
                if !rows::ALL.iter().any(|row| row.name == name) {
                    return Err(format!("no row is called {name}: see --list").into());
                }
                options.only.push(name);
            }
            "--dir" => options.directory = Some(value()?.into()),
            "--list" => {
                let mut out = std::io::stdout().lock();
                for row in rows::ALL {
                    writeln!(out, "{:16}{}", row.name, row.title)?;
                }
                return Ok(None);
            }
            "-h" | "--help" => {
                write!(std::io::stdout(), "{HELP}")?;
                return Ok(None);
            }
            other => return Err(format!("unknown argument {other}\n{HELP}").into()),
        }
    }
    Ok(Some(options))
}
