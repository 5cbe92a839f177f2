//! Through the alternatives of a need until one of them is there. Prints no result: what was got is handed back.

use super::plan::{Alternative, Need};
use super::run::{self, Job};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::history::InsteadOf;
use crate::output::json;

/// Tries the alternatives in order until one of them is there. What limactl can do without is only warned about.
///
/// # Errors
/// Why none of them could be had, and which were not tried.
pub(crate) fn any_of(job: &Job<'_>, need: &Need) -> Result<Vec<json::Got>, CommandError> {
    let ended = one_of(job, need);
    let Some(otherwise) = need.otherwise else {
        return ended;
    };
    ended.or_else(|error| {
        if ends_everything(error.kind) {
            return Err(error);
        }
        job.app
            .output
            .warning(format!("{}; {otherwise}", error.message));
        Ok(Vec::new())
    })
}

/// The next entry would meet the same.
fn ends_everything(kind: ExitCode) -> bool {
    matches!(
        kind,
        ExitCode::Disk | ExitCode::Locked | ExitCode::Interrupted | ExitCode::Unexpected
    )
}

fn one_of(job: &Job<'_>, need: &Need) -> Result<Vec<json::Got>, CommandError> {
    let mut failures: Vec<CommandError> = Vec::new();
    job.instead_of.borrow_mut().clear();
    for alternative in &need.alternatives {
        if let Some(last) = failures.last() {
            job.app
                .output
                .warning(format!("{}; trying the next entry", last.message));
        }
        match all_of(job, alternative) {
            Ok(got) => return Ok(got),
            Err(error) if ends_everything(error.kind) => return Err(error),
            Err(error) => {
                job.instead_of.borrow_mut().push(InsteadOf {
                    location: location_of(alternative),
                    reason: error.message.clone(),
                });
                failures.push(error);
            }
        }
    }
    Err(none_worked(need, failures))
}

fn all_of(job: &Job<'_>, alternative: &Alternative) -> Result<Vec<json::Got>, CommandError> {
    let wants = alternative.wants.iter();
    wants.map(|want| run::get(job, want)).collect()
}

fn location_of(alternative: &Alternative) -> String {
    let first = alternative.wants.first();
    first.map_or_else(String::new, |want| want.location().into())
}

/// Why nothing was got, and what was not tried.
fn none_worked(need: &Need, mut failures: Vec<CommandError>) -> CommandError {
    let mut error = match failures.len() {
        0 => CommandError::new(
            ExitCode::Integrity,
            "there is no entry with a digest or a CID, and --require-pin forbids all others",
        ),
        1 => failures.remove(0),
        count => {
            let kind = failures
                .iter()
                .map(|error| error.kind)
                .max_by_key(|kind| severity(*kind))
                .unwrap_or(ExitCode::Unexpected);
            let mut all = CommandError::new(
                kind,
                format!("none of the {count} entries could be downloaded"),
            );
            for failure in failures {
                all.details.push(failure.to_string());
                all.hints.extend(failure.hints);
            }
            all
        }
    };
    for location in &need.unpinned {
        error.details.push(format!(
            "not tried, since it has neither digest nor CID: `{location}`"
        ));
    }
    if !need.unpinned.is_empty() {
        error.hints.push(
            "--allow-unpinned tries such entries as well, as limactl does: nothing verifies them"
                .into(),
        );
    }
    error.hints.dedup();
    error
}

/// Wrong bytes are worse than a network that fails, which is worse than nothing there.
fn severity(kind: ExitCode) -> u8 {
    match kind {
        ExitCode::Integrity => 2,
        ExitCode::Network => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_were_not_tried_are_named() {
        let need = Need {
            alternatives: Vec::new(),
            unpinned: vec!["https://h/latest.img".into()],
            skipped: Vec::new(),
            otherwise: None,
        };
        let error = none_worked(&need, vec![CommandError::new(ExitCode::NotFound, "gone")]);
        assert_eq!(
            error.details,
            ["not tried, since it has neither digest nor CID: `https://h/latest.img`"]
        );
        assert_eq!(error.hints.len(), 1);
    }
}
