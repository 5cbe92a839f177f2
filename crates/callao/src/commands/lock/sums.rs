//! The checksums that an origin publishes beside its files, as a second witness: what they list has to be what was
//! fetched. Where keys are given, they have to be signed by one of them.

use std::collections::BTreeMap;

use callao_content::digest::Digest;
use reqwest::{Client, StatusCode};
use serde::Serialize;
use tokio::runtime::Runtime;
use url::Url;

use super::report;
use super::work::{Item, Work};
use crate::app::App;
use crate::cli::LockArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::sources::Places;

mod list;
mod names;

use list::Says;

/// The longest lists known have some hundred KiB.
const LIST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the origin says about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Listed {
    /// Where the list is.
    pub(super) url: String,
    /// `algo:hex`.
    #[serde(serialize_with = "as_text")]
    pub(super) digest: Digest,
}

fn as_text<S: serde::Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

/// Looks for the checksums of every file that is looked up at all.
///
/// # Errors
/// Network, if a server fails; integrity, if a list contradicts itself.
pub(super) fn attach(app: &App, args: &LockArgs, work: &mut Work) -> Result<(), CommandError> {
    if app.settings.offline {
        return Err(CommandError::usage(
            "--sums needs the network, and --offline forbids it",
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            CommandError::new(ExitCode::Unexpected, format!("failed to start: {error}"))
        })?;
    let mut reader = Reader {
        app,
        client: Places::new(app, &args.sources, &[])?.plain_client()?,
        runtime,
        texts: BTreeMap::new(),
    };
    let _guard = app.interrupt.guard();
    for item in work.items.iter_mut().filter(|item| item.group.is_some()) {
        item.listed = reader.listed(item)?;
        match &item.listed {
            Some(listed) => app.output.detail(format!(
                "{}: {} lists `{}`",
                report::place(&item.entry),
                listed.url,
                listed.digest
            )),
            None => app.output.warning(format!(
                "{}: no checksums were found beside it",
                report::place(&item.entry)
            )),
        }
    }
    Ok(())
}

/// Reads lists, each of them once.
struct Reader<'a> {
    app: &'a App,
    client: Client,
    runtime: Runtime,
    /// `None`: there is nothing.
    texts: BTreeMap<Url, Option<Vec<u8>>>,
}

impl Reader<'_> {
    /// What the first list that names the file says.
    fn listed(&mut self, item: &Item) -> Result<Option<Listed>, CommandError> {
        let Some((name, candidates)) = names::candidates(&item.entry.location) else {
            return Ok(None);
        };
        for candidate in candidates {
            let Some(bytes) = self.read(&candidate.url)? else {
                continue;
            };
            let text = String::from_utf8_lossy(&bytes);
            match list::look_up(&text, &name, candidate.is_own) {
                Says::Nothing => {}
                Says::Several => {
                    return Err(CommandError::new(
                        ExitCode::Integrity,
                        format!(
                            "{} lists {name} twice, with different digests",
                            candidate.url
                        ),
                    ));
                }
                Says::Digest(digest) => {
                    return Ok(Some(Listed {
                        url: candidate.url.to_string(),
                        digest,
                    }));
                }
            }
        }
        Ok(None)
    }

    /// A small file; `None` if there is none.
    fn read(&mut self, url: &Url) -> Result<Option<Vec<u8>>, CommandError> {
        if let Some(known) = self.texts.get(url) {
            return Ok(known.clone());
        }
        let token = self.app.interrupt.token();
        let limit = self.app.settings.answer + self.app.settings.stall;
        let read = self.runtime.block_on(async {
            tokio::select! {
                () = token.cancelled() => Err(CommandError::interrupted()),
                read = tokio::time::timeout(limit, fetch(&self.client, url)) => match read {
                    Ok(read) => read.map_err(|reason| unreadable(url, &reason)),
                    Err(_) => Err(unreadable(url, "the server takes too long")),
                },
            }
        })?;
        self.texts.insert(url.clone(), read.clone());
        Ok(read)
    }
}

fn unreadable(url: &Url, reason: &str) -> CommandError {
    CommandError::new(
        ExitCode::Network,
        format!("failed to read the checksums {url}: {reason}"),
    )
    .hint("without --sums no checksums are read")
}

async fn fetch(client: &Client, url: &Url) -> Result<Option<Vec<u8>>, String> {
    let sent = client.get(url.clone()).send().await;
    let mut response = sent.map_err(|error| reason(&error))?;
    match response.status() {
        StatusCode::OK => {}
        // S3 and its kind answer 403 for what is not there.
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN => return Ok(None),
        status => return Err(format!("HTTP {status}")),
    }
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| reason(&error))? {
        if bytes.len() + piece.len() > LIST_BYTES_MAX {
            return Err(format!("it is longer than {LIST_BYTES_MAX} bytes"));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes))
}

/// The innermost cause: the outer ones only repeat the address.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
