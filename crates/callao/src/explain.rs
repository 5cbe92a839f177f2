//! Why a file would come from where: what is here (`copies`), what everybody says who would be asked (`ask`), how the
//! last fetches went (`past`), and what `get` would make of it (`judge`). Looks and asks; changes nothing.

use std::path::Path;

use callao_content::{Cid, cid};
use callao_store::{proof, staging};
use serde::Serialize;

use crate::app::App;
use crate::error::CommandError;
use crate::get::plan::{Need, Want};
use crate::get::run;
use crate::get::sources::{Places, Unasked};

pub(crate) mod ask;
mod copies;
pub(crate) mod judge;
mod past;
pub(crate) mod text;

use ask::{Answers, Asked, AskedRouter};
use copies::Copy;
use judge::{Choice, Verdict};
use past::Fetched;

/// Everything about one file.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Explanation {
    #[serde(rename = "type")]
    kind: &'static str,
    /// `image`, `kernel`, `initrd`, `nerdctl archive`, `file`.
    pub(crate) what: &'static str,
    /// The location that is talked about.
    pub(crate) location: String,
    /// All names of the same bytes.
    pub(crate) locations: Vec<String>,
    pub(crate) arch: Option<String>,
    pub(crate) digest: Option<String>,
    /// The CID, given or found.
    pub(crate) cid: Option<String>,
    /// Which entry of how many it belongs to, from 1, in the order in which they are tried.
    pub(crate) entry: usize,
    pub(crate) entries: usize,
    /// The last file of its entry.
    #[serde(skip)]
    pub(crate) is_last: bool,
    /// What limactl does when it cannot be had; without it, `get` fails.
    pub(crate) otherwise: Option<&'static str>,
    pub(crate) choice: Choice,
    pub(crate) verdict: Verdict,
    pub(crate) copies: Vec<Copy>,
    pub(crate) layout: Option<KnownLayout>,
    pub(crate) kept: Option<Kept>,
    /// Why the path of the IPFS address could not be followed.
    pub(crate) not_followed: Option<String>,
    pub(crate) sources: Vec<Asked>,
    pub(crate) routers: Vec<AskedRouter>,
    pub(crate) not_asked: Vec<Unasked>,
    pub(crate) history: Vec<Fetched>,
}

/// The layout on disk.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct KnownLayout {
    pub(crate) size: u64,
    pub(crate) leaves: usize,
}

/// What an interrupted fetch left.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Kept {
    pub(crate) path: String,
    /// Bytes on disk; each is hashed before it counts.
    pub(crate) bytes_at_most: u64,
    pub(crate) size: u64,
    /// Another process is fetching it now.
    pub(crate) in_use: bool,
}

/// An entry that is not tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NotTried {
    #[serde(rename = "type")]
    kind: &'static str,
    pub(crate) location: String,
    pub(crate) reason: String,
}

/// Everything about all files of these needs, in the order in which `get` would try them.
///
/// # Errors
/// The disk; a place that was named and cannot be used.
pub(crate) fn all(
    app: &App,
    places: &Places,
    needs: &[Need],
) -> Result<Vec<Explanation>, CommandError> {
    let wants: Vec<Want> = needs
        .iter()
        .flat_map(|need| &need.alternatives)
        .flat_map(|one| one.wants.iter().cloned())
        .collect();
    let runtime = run::new_runtime()?;
    let answers = runtime.block_on(ask::about(app, places, &wants))?;
    let mut answered = wants.iter().zip(answers);
    let mut explained = Vec::new();
    for need in needs {
        let mut entries = Vec::new();
        for alternative in &need.alternatives {
            let mut files = Vec::new();
            for (want, answers) in answered.by_ref().take(alternative.wants.len()) {
                files.push(one(app, places, want, answers)?);
            }
            entries.push(files);
        }
        judge::choose(&mut entries);
        let files = entries.iter_mut().flatten();
        files.for_each(|file| file.otherwise = need.otherwise);
        explained.extend(entries.into_iter().flatten());
    }
    Ok(explained)
}

/// Entries that are not tried, and why.
pub(crate) fn not_tried(needs: &[Need]) -> Vec<NotTried> {
    let mut all = Vec::new();
    for need in needs {
        let unpinned = "it has neither digest nor CID, and others have (--allow-unpinned of `get`)";
        let unpinned = need.unpinned.iter().map(|location| (location, unpinned));
        let skipped = need.skipped.iter();
        let skipped = skipped.map(|skipped| (&skipped.location, &*skipped.reason));
        all.extend(unpinned.chain(skipped).map(|(location, reason)| NotTried {
            kind: "not_tried",
            location: location.clone(),
            reason: reason.into(),
        }));
    }
    all
}

fn one(
    app: &App,
    places: &Places,
    want: &Want,
    answers: Answers,
) -> Result<Explanation, CommandError> {
    let root = answers.root;
    // Once an address has been followed, it is known what to look for.
    let followed = Want {
        cid: root,
        ..want.clone()
    };
    let copies = copies::of(app, &followed)?;
    let layout = root.and_then(|root| proof::load(&*app.disk, &app.places, &root));
    let layout = layout.map(|layout| KnownLayout {
        size: layout.size(),
        leaves: layout.leaves().len(),
    });
    let mut sources = answers.sources;
    judge::compare_sizes(
        layout.as_ref().map(|layout| layout.size),
        &copies,
        &mut sources,
    );
    Ok(Explanation {
        kind: "explanation",
        what: want.noun.bare(),
        location: want.location().into(),
        locations: want
            .locations
            .iter()
            .map(|location| location.text.clone())
            .collect(),
        arch: want.arch.map(|arch| arch.to_string()),
        digest: want.digest.map(|digest| digest.to_string()),
        cid: root.as_ref().map(cid::text),
        entry: 0,
        entries: 0,
        is_last: false,
        otherwise: None,
        choice: Choice::Taken,
        verdict: judge::verdict(&copies, &sources),
        copies,
        layout,
        kept: kept(app, want, root)?,
        not_followed: answers.not_followed,
        sources,
        routers: answers.routers,
        not_asked: places.unasked(app, want, root.is_some()),
        history: past::of(app, &followed)?,
    })
}

fn kept(app: &App, want: &Want, root: Option<Cid>) -> Result<Option<Kept>, CommandError> {
    let key = run::staging_key(want, root.as_ref());
    let left = staging::look(&*app.disk, &app.places, &key)?;
    Ok(left.map(|left| Kept {
        path: Path::display(&app.places.staging_part(&key)).to_string(),
        bytes_at_most: left.bytes_at_most,
        size: left.size,
        in_use: left.in_use,
    }))
}
