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
use crate::get::run;
use crate::get::sources::Places;
use crate::host;

mod list;
mod names;
mod openpgp;

use list::Says;
use openpgp::Keys;

/// The longest lists known have some hundred KiB.
const LIST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The keyrings of whole distributions have some MiB.
const KEYS_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// What the origin says about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Listed {
    /// Where the list is.
    pub(super) url: String,
    /// `algo:hex`.
    #[serde(serialize_with = "as_text")]
    pub(super) digest: Digest,
    /// Fingerprint of the certificate that signed it, if it had to be signed.
    pub(super) signed_by: Option<String>,
}

fn as_text<S: serde::Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

/// Looks for the checksums of every file that is looked up at all.
///
/// # Errors
/// Network, if a server fails; integrity, if a list contradicts itself, or is not signed as it has to be.
pub(super) fn attach(app: &App, args: &LockArgs, work: &mut Work) -> Result<(), CommandError> {
    if app.settings.offline {
        return Err(CommandError::usage(
            "--sums needs the network, and --offline forbids it",
        ));
    }
    let keys = keys(app, args)?;
    let runtime = run::new_runtime()?;
    let mut reader = Reader {
        app,
        client: Places::new(app, &args.sources, &[])?.plain_client()?,
        runtime,
        keys,
        texts: BTreeMap::new(),
    };
    let _guard = app.interrupt.guard();
    for item in work.items.iter_mut().filter(|item| item.group.is_some()) {
        item.listed = reader.listed(item)?;
        match &item.listed {
            Some(listed) => {
                let signer = listed.signed_by.as_ref();
                let signer = signer.map_or_else(String::new, |by| format!(", signed by {by}"));
                app.output.detail(format!(
                    "{}: {} lists `{}`{signer}",
                    report::place(&item.entry),
                    listed.url,
                    listed.digest
                ));
            }
            None => app.output.warning(format!(
                "{}: no checksums were found beside it",
                report::place(&item.entry)
            )),
        }
    }
    match reader.keys {
        Some(_) => all_signed(work),
        None => Ok(()),
    }
}

/// The certificates that the user names; `None`: nothing has to be signed.
fn keys(app: &App, args: &LockArgs) -> Result<Option<Keys>, CommandError> {
    if args.key.is_empty() {
        return Ok(None);
    }
    let mut keys = Keys::new(host::unix_now());
    for file in &args.key {
        let wrong = |reason| CommandError::usage(format!("--key `{}`: {reason}", file.display()));
        let bytes = host::read_small_file(&app.host.working_dir.join(file), KEYS_BYTES_MAX)
            .map_err(|error| wrong(error.to_string()))?;
        keys.add(&bytes).map_err(|reason| {
            wrong(reason).hint("`gpg --export --armor FINGERPRINT` writes a certificate to stdout")
        })?;
    }
    Ok(Some(keys))
}

/// Somebody signed for the bytes of every file: under its own location, or another one with the same bytes.
fn all_signed(work: &Work) -> Result<(), CommandError> {
    let is_signed = |item: &Item| {
        let listed = item.listed.as_ref();
        listed.is_some_and(|listed| listed.signed_by.is_some())
    };
    let vouched = |group| {
        let mut members = work.items.iter().filter(|item| item.group == Some(group));
        members.any(is_signed)
    };
    let unsigned: Vec<&Item> = work
        .items
        .iter()
        .filter(|item| item.group.is_some_and(|group| !vouched(group)))
        .collect();
    if unsigned.is_empty() {
        return Ok(());
    }
    let mut error = CommandError::new(
        ExitCode::Integrity,
        "there are no signed checksums for all files: nothing was fetched",
    );
    for item in unsigned {
        error.details.push(match &item.listed {
            Some(listed) => format!(
                "{}: {} is not signed",
                report::place(&item.entry),
                listed.url
            ),
            None => format!("{}: no checksums", report::place(&item.entry)),
        });
    }
    Err(error.hint("--arch leaves out other architectures; without --key nothing has to be signed"))
}

/// Reads lists, each of them once.
struct Reader<'a> {
    app: &'a App,
    client: Client,
    runtime: Runtime,
    keys: Option<Keys>,
    /// `None`: there is nothing.
    texts: BTreeMap<Url, Option<Vec<u8>>>,
}

impl Reader<'_> {
    /// What the first list that names the file says: a signed one, where it has to be, if there is one.
    fn listed(&mut self, item: &Item) -> Result<Option<Listed>, CommandError> {
        let Some((name, candidates)) = names::candidates(&item.entry.location) else {
            return Ok(None);
        };
        let mut unsigned = None;
        for candidate in candidates {
            let Some(bytes) = self.read(&candidate.url)? else {
                continue;
            };
            let text = String::from_utf8_lossy(&bytes);
            if list::look_up(&text, &name, candidate.is_own) == Says::Nothing {
                continue;
            }
            let (signed, signed_by) = match self.signed(&candidate.url, &bytes)? {
                Some((signed, signer)) => (signed, Some(signer)),
                None => (text.into_owned(), None),
            };
            match list::look_up(&signed, &name, candidate.is_own) {
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
                    let listed = Listed {
                        url: candidate.url.to_string(),
                        digest,
                        signed_by,
                    };
                    if self.keys.is_none() || listed.signed_by.is_some() {
                        return Ok(Some(listed));
                    }
                    unsigned.get_or_insert(listed);
                }
            }
        }
        Ok(unsigned)
    }

    /// The part of a list that is signed, and by whom; `None` if it is not, or need not be.
    fn signed(
        &mut self,
        list: &Url,
        bytes: &[u8],
    ) -> Result<Option<(String, String)>, CommandError> {
        let Some(keys) = self.keys.take() else {
            return Ok(None);
        };
        let signed = self.signed_by(&keys, list, bytes);
        self.keys = Some(keys);
        signed
    }

    fn signed_by(
        &mut self,
        keys: &Keys,
        list: &Url,
        bytes: &[u8],
    ) -> Result<Option<(String, String)>, CommandError> {
        let text = String::from_utf8_lossy(bytes);
        let mut reasons = Vec::new();
        if openpgp::is_cleartext(&text) {
            match keys.open(&text) {
                Ok(signed) => return Ok(Some(signed)),
                Err(reason) => reasons.push(reason),
            }
        } else {
            for url in names::signatures(list) {
                let Some(signature) = self.read(&url)? else {
                    continue;
                };
                match keys.signer(bytes, &signature) {
                    Ok(signer) => return Ok(Some((text.into_owned(), signer))),
                    Err(reason) => reasons.push(format!("{url}: {reason}")),
                }
            }
        }
        if reasons.is_empty() {
            return Ok(None);
        }
        let mut error = CommandError::new(
            ExitCode::Integrity,
            format!("no signature of {list} counts"),
        );
        error.details = reasons;
        Err(error)
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
