//! `callao logs`: what the guest, QEMU or the supervisor said.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use callao_vm::status::Status;

use super::find;
use crate::app::App;
use crate::cli::{Log, LogsArgs};
use crate::commands::print_text;
use crate::error::CommandError;
use crate::host;

/// How often a log that is followed is looked at.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// What is read at once.
const PIECE_BYTES: usize = 64 * 1024;

pub(crate) fn run(app: &App, args: &LogsArgs) -> Result<(), CommandError> {
    let instance = find(app, &args.name)?;
    let places = instance.places();
    let path = match args.log {
        Log::Serial => places.serial_log(),
        Log::Qemu => places.qemu_log(),
        Log::Supervisor => places.supervisor_log(),
    };
    let mut at = print_from(&path, 0)?;
    while args.follow && !app.interrupt.is_set() {
        let is_over = !matches!(
            instance.known().status,
            Status::Starting | Status::Running | Status::Stopping
        );
        let before = at;
        at = print_from(&path, at)?;
        if is_over && at == before {
            break;
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    Ok(())
}

/// Prints what is there from this byte on; returns where that ends. A log that has begun anew is printed from its start.
fn print_from(path: &Path, from: u64) -> Result<u64, CommandError> {
    let mut at = from;
    loop {
        let piece = host::read_at(path, at, PIECE_BYTES)
            .map_err(|error| CommandError::io("read", path, &error))?;
        match piece {
            host::Piece::Shorter => at = 0,
            host::Piece::Bytes(bytes) if bytes.is_empty() => break,
            host::Piece::Bytes(bytes) => {
                at += bytes.len() as u64;
                print_text(&bytes)?;
            }
        }
    }
    std::io::stdout().flush().unwrap_or(());
    Ok(at)
}
