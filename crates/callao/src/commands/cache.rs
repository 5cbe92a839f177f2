//! `callao cache`: which of its commands is meant.

use crate::app::App;
use crate::cli::CacheCommand;
use crate::error::CommandError;

mod items;
mod layouts;
mod list;
mod prune;
mod rebuild;
mod repair;
mod verify;

pub(crate) fn run(app: &App, command: &CacheCommand) -> Result<(), CommandError> {
    match command {
        CacheCommand::List => list::run(app),
        CacheCommand::Verify(args) => verify::run(app, args),
        CacheCommand::Prune(args) => prune::run(app, args),
        CacheCommand::Repair(args) => repair::run(app, args),
        CacheCommand::Rebuild => rebuild::run(app),
    }
}
