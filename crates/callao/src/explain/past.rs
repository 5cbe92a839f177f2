//! The history of a file, read back from the catalogue. Knows nothing of how it was written but the shape.

use callao_store::catalogue::{Names, Past};
use serde::Serialize;

use crate::app::App;
use crate::error::CommandError;
use crate::get::plan::Want;
use crate::history::{DETAILS_VERSION, Details};

/// Fetches of a file that are shown.
const SHOWN_COUNT_MAX: usize = 5;

/// One fetch that ended, as `explain` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fetched {
    /// The location that was attempted.
    pub(crate) location: String,
    /// When it ended, in seconds since 1970.
    pub(crate) ended_at: i64,
    /// `done`, or why it failed, in the words of the exit codes.
    pub(crate) outcome: String,
    /// Bytes of the file, as far as it was known.
    pub(crate) size: Option<u64>,
    pub(crate) elapsed_ms: u64,
    #[serde(flatten)]
    pub(crate) details: Details,
}

/// The last fetches of a file, the latest first.
///
/// # Errors
/// The disk.
pub(crate) fn of(app: &App, want: &Want) -> Result<Vec<Fetched>, CommandError> {
    let Some(catalogue) = super::copies::catalogue(app) else {
        return Ok(Vec::new());
    };
    let names = Names {
        locations: want
            .locations
            .iter()
            .map(|location| &*location.text)
            .collect(),
        digest: want.digest.as_ref(),
        cid: want.cid.as_ref(),
    };
    let past = catalogue.history(&names, SHOWN_COUNT_MAX)?;
    Ok(past.into_iter().map(read).collect())
}

/// Details of another version are not read: the row says enough.
fn read(past: Past) -> Fetched {
    let readable = past.details_version == DETAILS_VERSION;
    let details = readable.then(|| serde_json::from_str(&past.details).ok());
    Fetched {
        location: past.location,
        ended_at: past.ended_at_unix,
        outcome: past.outcome,
        size: past.size,
        elapsed_ms: past.elapsed_ms,
        details: details.flatten().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Who;

    #[test]
    fn details_of_another_version_are_left_out() {
        let details = Details {
            resumed: 5,
            happenings: vec![crate::history::Happening {
                what: "banned".into(),
                source: Some(Who {
                    kind: "gateway".into(),
                    place: "https://g".into(),
                }),
                reason: "sent false bytes".into(),
                times: 1,
            }],
            ..Details::default()
        };
        let text = serde_json::to_string(&details).expect("JSON");
        let past = |version, details: &str| {
            read(Past {
                location: "l".into(),
                digest: None,
                cid: None,
                ended_at_unix: 1,
                size: None,
                elapsed_ms: 2,
                outcome: "done".into(),
                details_version: version,
                details: details.into(),
            })
        };
        assert_eq!(past(DETAILS_VERSION, &text).details, details);
        for strange in [past(99, &text), past(DETAILS_VERSION, "rubbish")] {
            assert_eq!(strange.details, Details::default());
        }
    }
}
