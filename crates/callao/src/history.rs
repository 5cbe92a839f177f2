//! What happened during a fetch, written down for `callao explain`: who gave how much, who is out and why, which entries
//! were tried before. It only ever watches: a history that cannot be written is no reason for a fetch to fail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use callao_fetch::event::{Event, Observer, Report, Share};
use callao_fetch::source::SourceId;
use callao_store::catalogue::Past;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::plan::Want;
use crate::host;
use crate::output::json::Got;

/// The version of [`Details`].
pub(crate) const DETAILS_VERSION: i64 = 1;
/// Happenings of one fetch that are kept: a source that pauses again and again must not fill the disk.
const HAPPENINGS_COUNT_MAX: usize = 64;
/// The longest reason that is kept.
const REASON_CHARS_MAX: usize = 300;

/// What the catalogue keeps as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Details {
    /// Bytes that were kept from an earlier run.
    pub(crate) resumed: u64,
    /// Bytes that are kept for the next run, if it failed.
    pub(crate) kept: u64,
    /// Who gave how many bytes.
    pub(crate) shares: Vec<Given>,
    /// What went wrong on the way, in this order.
    pub(crate) happenings: Vec<Happening>,
    /// Happenings that were too many to keep.
    pub(crate) omitted: u64,
    /// Entries that were tried before this one.
    pub(crate) instead_of: Vec<InsteadOf>,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

/// Kind and place of a source, as text: those of another version may have names that this one does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Who {
    pub(crate) kind: String,
    pub(crate) place: String,
}

/// A source and its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Given {
    pub(crate) source: Who,
    pub(crate) bytes: u64,
}

/// Something that did not go as it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Happening {
    /// `paused`, `dropped`, `banned`, `no_help`, `cid_contradicts_digest`, `starting_again`.
    pub(crate) what: String,
    pub(crate) source: Option<Who>,
    pub(crate) reason: String,
    /// How often in a row.
    pub(crate) times: u64,
}

/// An entry that was tried before, and why it was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InsteadOf {
    pub(crate) location: String,
    pub(crate) reason: String,
}

impl Who {
    fn of(source: &SourceId) -> Self {
        Who {
            kind: source.kind.name().into(),
            place: source.place.clone(),
        }
    }
}

/// Watches one fetch.
pub(crate) struct Recorder {
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    details: Details,
    size: Option<u64>,
    done: u64,
    /// Every byte that counts is proven by its leaf.
    is_proven: bool,
}

impl Recorder {
    /// From now on.
    pub(crate) fn new(instead_of: Vec<InsteadOf>) -> Arc<Self> {
        let details = Details {
            instead_of,
            ..Details::default()
        };
        Arc::new(Recorder {
            begun: Instant::now(),
            state: Mutex::new(State {
                details,
                ..State::default()
            }),
        })
    }

    /// Takes what only the report of a fetch knows: sources that did not help without having failed.
    pub(crate) fn report(&self, report: &Report) {
        let mut state = self.lock();
        for (source, reason) in &report.reasons {
            let who = Who::of(source);
            let known = state.details.happenings.iter().any(|one| {
                one.source.as_ref() == Some(&who) && matches!(&*one.what, "dropped" | "banned")
            });
            if !known {
                state.note("no_help", Some(who), reason);
            }
        }
        state.details.resumed = report.resumed;
        state.give(&report.shares);
    }

    /// Writes down how it ended. A file that turned out to be here is no fetch.
    pub(crate) fn ended(&self, app: &App, want: &Want, result: &Result<Got, CommandError>) {
        let past = match result {
            Ok(got) if got.from == crate::output::json::From::Fetch => self.past(want, Ok(got)),
            Ok(_) => return,
            Err(error) => self.past(want, Err(error)),
        };
        let written = app
            .catalogue()
            .map_or(Ok(()), |catalogue| catalogue.remember(&past));
        if let Err(error) = written {
            app.output
                .detail(format!("The history of this fetch is not kept: {error}"));
        }
    }

    fn past(&self, want: &Want, ended: Result<&Got, &CommandError>) -> Past {
        let mut state = self.lock();
        if let Err(error) = ended {
            // Bytes that only the whole digest could have proven are not kept when it does not fit.
            let is_lost = error.kind == ExitCode::Integrity && !state.is_proven;
            state.details.kept = if is_lost { 0 } else { state.done };
            state.details.error = Some(shortened(&error.message));
        }
        let wanted_digest = want.digest.map(|digest| digest.to_string());
        let wanted_cid = want.cid.as_ref().map(callao_content::cid::text);
        let (digest, cid, size, outcome) = match ended {
            Ok(got) => (
                wanted_digest.or(got.digest.clone()),
                wanted_cid.or(got.cid.clone()),
                Some(got.size),
                "done",
            ),
            Err(error) => (wanted_digest, wanted_cid, state.size, error.kind.name()),
        };
        Past {
            location: want.location().into(),
            digest,
            cid,
            ended_at_unix: host::unix_now(),
            size,
            elapsed_ms: milliseconds(self.begun.elapsed()),
            outcome: outcome.into(),
            details_version: DETAILS_VERSION,
            // A struct of strings and numbers always has a JSON form.
            details: serde_json::to_string(&state.details).unwrap_or_default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Recorder {
    fn event(&self, event: Event) {
        let mut state = self.lock();
        match event {
            Event::Resumed { bytes } => state.details.resumed += bytes,
            Event::Size { size } => state.size = Some(size),
            Event::Layout { size, .. } => {
                state.size = Some(size);
                state.is_proven = true;
            }
            Event::Progress {
                done, size, shares, ..
            } => {
                state.done = done;
                state.size = size.or(state.size);
                state.give(&shares);
            }
            Event::Paused { source, reason, .. } => {
                state.note("paused", Some(Who::of(&source)), &reason);
            }
            Event::Dropped {
                source,
                reason,
                lied,
            } => {
                let what = if lied { "banned" } else { "dropped" };
                state.note(what, Some(Who::of(&source)), &reason);
            }
            Event::CidContradictsDigest { cid, got } => {
                let reason = format!("the CID {cid} names other bytes (`{got}`) than the digest");
                state.note("cid_contradicts_digest", None, &reason);
            }
            Event::StartingAgain { reason } => state.note("starting_again", None, &reason),
            Event::Asked { .. } => {}
        }
    }
}

impl State {
    fn give(&mut self, shares: &[Share]) {
        let given = shares.iter().filter(|share| share.bytes > 0);
        self.details.shares = given
            .map(|share| Given {
                source: Who::of(&share.source),
                bytes: share.bytes,
            })
            .collect();
    }

    fn note(&mut self, what: &str, source: Option<Who>, reason: &str) {
        let reason = shortened(reason);
        let all = &mut self.details.happenings;
        let same =
            |one: &&mut Happening| one.what == what && one.source == source && one.reason == reason;
        if let Some(before) = all.iter_mut().find(same) {
            before.times += 1;
        } else if all.len() < HAPPENINGS_COUNT_MAX {
            all.push(Happening {
                what: what.into(),
                source,
                reason,
                times: 1,
            });
        } else {
            self.details.omitted += 1;
        }
    }
}

/// Tells two observers.
pub(crate) struct Both(pub(crate) Arc<dyn Observer>, pub(crate) Arc<dyn Observer>);

impl Observer for Both {
    fn event(&self, event: Event) {
        self.0.event(event.clone());
        self.1.event(event);
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(REASON_CHARS_MAX).collect()
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use callao_fetch::source::SourceKind;

    fn source(place: &str) -> SourceId {
        SourceId {
            kind: SourceKind::Gateway,
            place: place.into(),
        }
    }

    #[test]
    fn the_same_pause_is_counted_and_a_flood_is_cut() {
        let recorder = Recorder::new(Vec::new());
        let paused = |place: &str| Event::Paused {
            source: source(place),
            reason: "HTTP 503".into(),
            pause_ms: 1,
        };
        recorder.event(paused("a"));
        recorder.event(paused("a"));
        for number in 0..HAPPENINGS_COUNT_MAX + 6 {
            recorder.event(paused(&format!("g{number}")));
        }
        let details = recorder.lock().details.clone();
        assert_eq!(details.happenings[0].times, 2);
        assert_eq!(
            (details.happenings.len(), details.omitted),
            (HAPPENINGS_COUNT_MAX, 7)
        );
    }
}
