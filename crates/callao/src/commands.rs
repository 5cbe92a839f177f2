//! One file per command; here is the one `match` that chooses among them.

use std::sync::Arc;

use crate::app::App;
use crate::cli::{CacheCommand, Cli, Command, MachineCommand};
use crate::error::CommandError;
use crate::host::Host;
use crate::output::Output;
use crate::settings::Overrides;

pub(crate) mod add;
mod cache;
mod completions;
mod demo;
mod doctor;
mod explain;
mod get;
mod lima;
mod lock;
mod man;
mod peers;
mod publish;
mod serve;
mod service;
pub(crate) mod vm;

/// Does what the command line says.
pub(crate) fn run(host: Host, cli: Cli, output: &Arc<Output>) -> Result<(), CommandError> {
    let common = &cli.common;
    match cli.command {
        Command::Get(args) => {
            let overrides = Overrides::of(&args.sources);
            get::run(&App::new(host, common, &overrides, output)?, *args)
        }
        Command::Lock(args) => {
            let overrides = Overrides::of(&args.sources);
            lock::run(&App::new(host, common, &overrides, output)?, &args)
        }
        Command::Machine(command) => {
            let overrides = vm::overrides(&command);
            // A supervisor writes a log of its own.
            let silent = Arc::new(Output::silent());
            let output = match command {
                MachineCommand::Supervise(_) => &silent,
                _ => output,
            };
            vm::run(&App::new(host, common, &overrides, output)?, &command)
        }
        Command::Add(args) => add::run(
            &App::new(host, common, &Overrides::default(), output)?,
            &args,
        ),
        Command::Lima(args) => {
            let overrides = Overrides::of(&args.sources);
            lima::run(&App::new(host, common, &overrides, output)?, *args)
        }
        Command::Publish(args) => publish::run(
            &App::new(host, common, &Overrides::default(), output)?,
            &args,
        ),
        Command::Serve(args) => {
            let overrides = Overrides {
                discovery: args.discovery,
                ..Overrides::default()
            };
            // The daemon has a log.
            let silent = Arc::new(Output::silent());
            let app = App::new(host, common, &overrides, &silent)?;
            serve::run(app, output, args)
        }
        Command::Service(command) => {
            let app = App::new(host, common, &Overrides::default(), output)?;
            service::run(&app, common, &command)
        }
        Command::Peers => peers::run(&App::new(host, common, &Overrides::default(), output)?),
        Command::Cache(args) => {
            let overrides = match &args {
                CacheCommand::Repair(args) => Overrides::of(&args.sources),
                _ => Overrides::default(),
            };
            cache::run(&App::new(host, common, &overrides, output)?, &args)
        }
        Command::Explain(args) => {
            let overrides = Overrides::of(&args.sources);
            explain::run(&App::new(host, common, &overrides, output)?, *args)
        }
        Command::Doctor(args) => {
            let overrides = Overrides::of(&args.sources);
            let app = App::new(host, common, &overrides, output)
                .map_err(|error| doctor::no_settings(output, error))?;
            doctor::run(&app, &args)
        }
        Command::Demo(args) => demo::run(&host, &args, output),
        Command::Completions(args) => completions::run(&args),
        Command::Man => man::run(),
    }
}

/// The shell that asks how a command line can go on, if this is such a question: `callao -- WORDS`.
pub(crate) fn completing(host: &Host) -> Option<String> {
    let shell = host.text_variable(crate::env_vars::CALLAO_COMPLETE)?;
    let is_question = host.arguments.get(1).is_some_and(|word| word == "--");
    is_question.then_some(shell)
}

/// Answers such a question.
pub(crate) fn complete(host: &Host, shell: &str) -> Result<(), CommandError> {
    completions::answer(host, shell)
}

/// Text on stdout that is the whole answer, such as a script; a closed pipe is the reader's decision.
fn print_text(text: &[u8]) -> Result<(), CommandError> {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CommandError::new(
            crate::exit_code::ExitCode::Disk,
            format!("failed to write to stdout: {error}"),
        )),
        _ => Ok(()),
    }
}

/// A name in the same directory that nobody else uses.
pub(crate) fn beside(path: &std::path::Path) -> std::path::PathBuf {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    path.with_file_name(format!(".{name}.callao-{}.tmp", std::process::id()))
}
