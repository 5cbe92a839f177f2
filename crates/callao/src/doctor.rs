//! Whether `get` can work on this computer, and what would make it work better: facts are gathered (`facts`, `here`,
//! `network`, `machine`), then judged (`judge`, pure). Changes nothing; what it tries on the disk it takes away again.

use serde::Serialize;

use crate::app::App;
use crate::cli::SourceArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::template;

pub(crate) mod facts;
mod here;
pub(crate) mod judge;
mod machine;
mod network;
pub(crate) mod text;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    #[serde(rename = "type")]
    kind: &'static str,
    pub(crate) name: &'static str,
    pub(crate) state: State,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it.
    pub(crate) fix: Option<String>,
    /// How `get` would fail because of it.
    #[serde(skip)]
    pub(crate) fails: Option<ExitCode>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// Nothing is wrong; something that callao can do without is not there.
    Note,
    /// `get` works, but not as well as it could.
    Warning,
    /// `get` cannot work.
    Problem,
}

impl State {
    /// As it is printed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Note => "note",
            State::Warning => "warning",
            State::Problem => "problem",
        }
    }
}

impl Finding {
    fn new(name: &'static str, state: State, found: impl Into<String>) -> Self {
        Finding {
            kind: "finding",
            name,
            state,
            found: found.into(),
            fix: None,
            fails: None,
        }
    }

    pub(crate) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Finding::new(name, State::Ok, found)
    }

    pub(crate) fn note(name: &'static str, found: impl Into<String>) -> Self {
        Finding::new(name, State::Note, found)
    }

    pub(crate) fn warning(name: &'static str, found: impl Into<String>) -> Self {
        Finding::new(name, State::Warning, found)
    }

    /// `get` would end with this exit code.
    pub(crate) fn problem(name: &'static str, fails: ExitCode, found: impl Into<String>) -> Self {
        Finding {
            fails: Some(fails),
            ..Finding::new(name, State::Problem, found)
        }
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// Looks at everything.
///
/// # Errors
/// Interrupted.
pub(crate) fn findings(app: &App, args: &SourceArgs) -> Result<Vec<Finding>, CommandError> {
    let mut all = vec![judge::settings(&here::settings(app))];
    all.extend(judge::disk(&here::disk(app)));
    all.push(judge::catalogue(&here::catalogue(app)));
    all.push(judge::limactl(&machine::limactl(app)));
    all.push(judge::lima_home(&machine::lima_home(app)));
    app.interrupt.check()?;
    let network = network::network(app, args)?;
    all.push(judge::discovery(&network));
    all.extend(judge::places(&network));
    all.extend(judge::kubo(&network::repository(app), &network));
    all.extend(judge::connection(&network));
    all.extend(judge::gateways(&network));
    all.extend(judge::routers(&network));
    all.extend(judge::peers(&network));
    all.push(judge::proxies(&here::proxies(app)));
    all.push(judge::certificates(&here::certificates(app)));
    all.push(judge::clock(&network.clock));
    match template::host_arch(app) {
        Ok(arch) => {
            all.push(judge::qemu(&machine::qemu(app, arch)?));
            all.push(judge::ssh(&machine::ssh(app)));
            all.extend(machine::kvm(app, arch).map(|facts| judge::kvm(&facts)));
        }
        Err(error) => all.push(Finding::note("QEMU", error.message)),
    }
    app.interrupt.check()?;
    Ok(all)
}
