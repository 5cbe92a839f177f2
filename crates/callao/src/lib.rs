//! Verified VM images from every source at once, straight into Lima's cache.
//!
//! This crate is the command line: the only one that reads the environment, prints, and chooses an exit code.
//! A command goes through three stages: what is said ([`cli`]), what is meant ([`settings`], `get::plan`), and what is
//! done ([`commands`]).

use std::sync::Arc;

use clap::Parser;

pub mod app;
pub mod cli;
pub mod commands;
pub mod daemon;
pub mod dashboard;
mod demo;
mod doctor;
pub mod env_vars;
pub mod error;
pub mod exit_code;
mod explain;
pub mod gateway;
mod get;
mod history;
pub mod host;
mod http;
pub mod interrupt;
pub mod limactl;
pub mod output;
pub mod process;
mod record;
mod registries;
pub mod settings;
mod template;

use cli::Cli;
use exit_code::ExitCode;
use host::Host;
use output::{Output, Style, Verbosity};

/// What `main` does: everything.
pub fn main_impl() -> std::process::ExitCode {
    run(Host::of_this_process()).into()
}

/// Runs one command line and says how it ended.
pub fn run(host: Host) -> ExitCode {
    if let Some(shell) = commands::completing(&host) {
        // A shell that waits for an answer has no use for a message.
        return commands::complete(&host, &shell).map_or(ExitCode::Unexpected, |()| ExitCode::Done);
    }
    let cli = match Cli::try_parse_from(&host.arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version end here as well. A closed pipe is the reader's decision.
            error.print().unwrap_or(());
            return if error.exit_code() == 0 {
                ExitCode::Done
            } else {
                ExitCode::Usage
            };
        }
    };
    let output = Arc::new(Output::new(style(&host, &cli)));
    match commands::run(host, cli, &output) {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            output.error(&error);
            error.kind
        }
    }
}

fn style(host: &Host, cli: &Cli) -> Style {
    let common = &cli.common;
    let dumb = host
        .text_variable(env_vars::TERM)
        .is_some_and(|term| term == "dumb");
    Style {
        verbosity: match (common.quiet, common.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        },
        json: common.json,
        progress: !common.no_progress && !common.quiet,
        terminal: host.stderr_is_terminal && !dumb,
        colours: host.stderr_is_terminal && !dumb && host.variable(env_vars::NO_COLOR).is_none(),
    }
}
