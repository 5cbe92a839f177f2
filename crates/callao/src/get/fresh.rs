//! A file that nothing pins, and that is in the cache: is it still what the server has? limactl asks the same with a
//! HEAD and compares `Last-Modified`; where nobody can be asked, what is there is used.

use callao_fetch::event::Proof;
use callao_store::catalogue::Catalogue;
use callao_store::lima;
use reqwest::header::LAST_MODIFIED;

use super::held::{Found, cached_locations};
use super::plan::{Place, Want};
use super::run::Job;
use crate::cli::Kind;
use crate::error::CommandError;
use crate::record::Known;

/// The entry, if it may be used.
///
/// # Errors
/// The disk.
pub(crate) async fn cached(job: &Job<'_>, want: &Want) -> Result<Option<Found>, CommandError> {
    let app = job.app;
    for location in cached_locations(want) {
        let Some(entry) = lima::read_entry(&*app.disk, &app.places, &location.text)? else {
            continue;
        };
        let (Some(stamp), Some(time)) = (entry.stamp, entry.time.filter(|time| !time.is_empty()))
        else {
            continue;
        };
        let held = match app.catalogue() {
            Some(catalogue) => catalogue
                .by_path(&entry.path)?
                .filter(|held| Catalogue::trusted(held, &stamp)),
            None => None,
        };
        let known = match &held {
            Some(held) => Known::of_held(held),
            None => Known {
                digests: Vec::new(),
                roots: Vec::new(),
                size: stamp.size,
            },
        };
        if matches!(location.place, Place::Http(_))
            && job.places.allows(Kind::Http)
            && !job.places.offline()
        {
            match last_modified(job, &location.text).await? {
                Some(now) if now == time => {}
                Some(_) => {
                    app.output.info("The server has a newer one than the cache");
                    continue;
                }
                None => app.output.warning(
                    "the server does not say whether the cached file is still the same; it is used",
                ),
            }
        } else {
            app.output
                .warning("nobody was asked whether the cached file is still the same");
        }
        return Ok(Some(Found {
            path: entry.path,
            stamp,
            known,
            proof: Proof::Nothing,
            is_users: false,
        }));
    }
    Ok(None)
}

/// What a HEAD says; `None` if it says nothing.
async fn last_modified(job: &Job<'_>, url: &str) -> Result<Option<String>, CommandError> {
    let request = job.places.plain_client()?.head(url).send();
    let answered = tokio::select! {
        () = job.app.interrupt.token().cancelled() => return Err(CommandError::interrupted()),
        answered = tokio::time::timeout(job.app.settings.answer, request) => answered,
    };
    let Ok(Ok(response)) = answered else {
        return Ok(None);
    };
    if !response.status().is_success() {
        return Ok(None);
    }
    Ok(response
        .headers()
        .get(LAST_MODIFIED)
        .and_then(|value| value.to_str().ok())
        .map(str::to_string))
}
