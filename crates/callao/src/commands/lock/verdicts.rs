//! All entries with what came of them, and what follows for the command: the list of faults and the exit code.

use callao_content::profile::Profile;

use super::gather::{Answer, Facts};
use super::judge::{self, Verdict};
use super::report::{self, Status};
use super::work::{Item, Work};
use crate::app::App;
use crate::cli::LockArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// What came of every entry, in the order of the template.
pub(super) struct Verdicts<'w> {
    all: Vec<One<'w>>,
}

struct One<'w> {
    item: &'w Item,
    facts: Option<Facts>,
    verdict: Verdict,
    /// Why its bytes could not be had.
    failure: Option<CommandError>,
    status: Status,
}

impl<'w> Verdicts<'w> {
    pub(super) fn of(app: &App, work: &'w Work, answers: Vec<Answer>, profile: Profile) -> Self {
        let judge = |item: &'w Item| {
            let unseen = |status, failure| One {
                item,
                facts: None,
                verdict: judge::unseen(&item.entry),
                failure,
                status,
            };
            let answer = item.group.and_then(|group| answers.get(group));
            match answer {
                None => unseen(Status::LeftAlone, None),
                Some(Err(error)) if app.settings.offline && error.kind == ExitCode::NotFound => {
                    unseen(Status::NotChecked, Some(error.clone()))
                }
                Some(Err(error)) => unseen(Status::Failed, Some(error.clone())),
                Some(Ok(facts)) => {
                    let verdict = judge::of(item, facts, profile.name());
                    let status = match (verdict.faults.is_empty(), verdict.lacks.is_empty()) {
                        (false, _) => Status::Wrong,
                        (true, true) => Status::Right,
                        (true, false) => Status::Locked,
                    };
                    One {
                        item,
                        facts: Some(facts.clone()),
                        verdict,
                        failure: None,
                        status,
                    }
                }
            }
        };
        Verdicts {
            all: work.items.iter().map(judge).collect(),
        }
    }

    /// Entries with everything that is to be written, but for those that are left alone.
    pub(super) fn judged(&self) -> Vec<(&Item, &Verdict)> {
        let all = self.all.iter().filter(|one| one.facts.is_some());
        all.map(|one| (one.item, &one.verdict)).collect()
    }

    /// A line and an object for each entry.
    pub(super) fn tell(&self, app: &App, args: &LockArgs) {
        let has_trouble = self.all.iter().any(One::has_trouble);
        for one in &self.all {
            let status = match one.status {
                Status::Locked if args.check => Status::Incomplete,
                Status::LeftAlone if args.check && !args.allow_unpinned => Status::Incomplete,
                status => status,
            };
            if status == Status::NotChecked && !args.check {
                continue;
            }
            let facts = one.facts.as_ref();
            report::entry(app, one.item, facts, &one.verdict, status);
            if status == Status::Locked && one.item.is_latest() && !has_trouble {
                report::pinned_latest(app, one.item);
            }
        }
    }

    /// Whether everything that is to be written is known and nothing contradicts it.
    ///
    /// # Errors
    /// Integrity, or why bytes could not be had.
    pub(super) fn lockable(&self, name: &str) -> Result<(), CommandError> {
        match self.trouble(name, |one| one.has_trouble()) {
            Some(error) => Err(error.detail("nothing was written")),
            None => Ok(()),
        }
    }

    /// The result of `--check`.
    ///
    /// # Errors
    /// Integrity before everything else; then what could not be had; then what is missing.
    pub(super) fn checked(&self, args: &LockArgs, name: &str) -> Result<(), CommandError> {
        let is_trouble = |one: &One<'_>| one.has_trouble() && one.status != Status::NotChecked;
        if let Some(error) = self.trouble(name, is_trouble) {
            return Err(error);
        }
        let lacks = |one: &&One<'_>| {
            let is_excused = one.status == Status::LeftAlone && args.allow_unpinned;
            !one.verdict.lacks.is_empty() && !is_excused
        };
        let incomplete: Vec<&One<'_>> = self.all.iter().filter(lacks).collect();
        if incomplete.is_empty() {
            return Ok(());
        }
        let mut error = CommandError::new(
            ExitCode::Template,
            format!(
                "template {name} is not locked: a digest or a CID is missing in {} of {}",
                incomplete.len(),
                entries(self.all.len())
            ),
        );
        for one in &incomplete {
            let place = report::place(&one.item.entry);
            let lacks = one.verdict.lacks.join(" and no ");
            error.details.push(format!("{place}: no {lacks}"));
        }
        if incomplete.iter().any(|one| one.status != Status::LeftAlone) {
            error.hints.push(format!("callao lock {name} writes them"));
        }
        if incomplete.iter().any(|one| one.status == Status::LeftAlone) {
            error.hints.push(
                "entries with neither are locked with --pin-latest only; --allow-unpinned excuses them"
                    .into(),
            );
        }
        Err(error)
    }

    /// Faults and failures as one error; its kind is that of the worst.
    fn trouble(&self, name: &str, counts: impl Fn(&One<'_>) -> bool) -> Option<CommandError> {
        let bad: Vec<&One<'_>> = self.all.iter().filter(|one| counts(one)).collect();
        let kind = bad
            .iter()
            .map(|one| one.kind())
            .max_by_key(|kind| severity(*kind))?;
        let (of, count) = (entries(self.all.len()), bad.len());
        let message = match kind {
            ExitCode::Integrity => {
                format!(
                    "template {name} does not name the bytes that are there, in {count} of {of}"
                )
            }
            _ => format!("files of template {name} could not be had, {count} of {of}"),
        };
        let mut error = CommandError::new(kind, message);
        for one in bad {
            let entry = &one.item.entry;
            for fault in &one.verdict.faults {
                error
                    .details
                    .push(format!("{}: {fault}", report::place(entry)));
            }
            if let Some(failure) = &one.failure {
                error.details.push(report::detail(entry, failure));
                error.hints.extend(failure.hints.iter().cloned());
            }
        }
        error.hints.sort();
        error.hints.dedup();
        Some(error)
    }
}

impl One<'_> {
    fn has_trouble(&self) -> bool {
        self.failure.is_some() || !self.verdict.faults.is_empty()
    }

    fn kind(&self) -> ExitCode {
        match &self.failure {
            Some(error) => error.kind,
            None => ExitCode::Integrity,
        }
    }
}

/// `1 entry`, `3 entries`.
fn entries(count: usize) -> String {
    match count {
        1 => "1 entry".into(),
        _ => format!("{count} entries"),
    }
}

/// Wrong bytes are worse than a network that fails, which is worse than nothing there.
fn severity(kind: ExitCode) -> u8 {
    match kind {
        ExitCode::Integrity => 3,
        ExitCode::Network => 2,
        _ => 1,
    }
}
