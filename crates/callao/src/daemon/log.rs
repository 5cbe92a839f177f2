//! The log of the daemon, on stderr: one line for each event, JSON with `--json`. What libraries say is left out, but for
//! their errors.

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::output::{Style, Verbosity};

/// Begins to log. A second time it does nothing.
pub(super) fn begin(style: Style) {
    let level = match style.verbosity {
        Verbosity::Silent | Verbosity::Quiet => Level::WARN,
        Verbosity::Normal => Level::INFO,
        Verbosity::Verbose => Level::DEBUG,
    };
    let filter = filter_fn(move |about: &Metadata<'_>| is_wanted(about, level));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match style.json {
        true => lines.json().flatten_event(true).boxed(),
        false => lines.with_ansi(style.colours).with_target(false).boxed(),
    };
    let log = tracing_subscriber::registry()
        .with(LevelFilter::from_level(level))
        .with(lines.with_filter(filter));
    // Somebody logs already: one log is enough.
    log.try_init().unwrap_or(());
}

fn is_wanted(about: &Metadata<'_>, level: Level) -> bool {
    let is_ours = about.target().starts_with("callao");
    *about.level() <= if is_ours { level } else { Level::ERROR }
}
