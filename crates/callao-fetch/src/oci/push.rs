//! The way to a registry: blobs in pieces, manifests, and a look at what is there afterwards. Knows neither files nor
//! where an interrupted upload is remembered: both are handed in.
//!
//! ```text
//! HEAD blob -> there: done
//! GET upload (remembered) -> Range: go on   or   POST uploads -> Location
//! PATCH Location (a piece) -> Location, Range -> ... -> PUT Location?digest=
//! ```

use std::io;

use bytes::Bytes;
use callao_content::digest::Digest;
use reqwest::header::{
    ACCEPT, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE,
};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::error::OciError;
use super::manifest;
use super::redirects;
use super::registry::{Ask, Registry, pause, protocol};
use crate::limits::{OCI_PIECE_BYTES, OCI_PIECE_BYTES_MAX};
use crate::source::SourceError;

/// A registry may ask for larger pieces than ours.
const PIECE_MIN: &str = "oci-chunk-min-length";

/// Bytes to push, by position.
pub trait Bulk: Sync {
    /// Length in bytes.
    fn size(&self) -> u64;
    /// Fills `buffer` from `offset`.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// Remembers where an upload goes on, and is told how far it is.
pub trait Watch: Sync {
    /// Where the upload of this blob was left.
    fn left_at(&self) -> Option<String>;
    /// It goes on here. `None`: it is over.
    fn goes_on_at(&self, location: Option<&str>);
    /// So many bytes are there.
    fn at(&self, bytes: u64);
    /// Whether to stop after this piece.
    fn is_stopped(&self) -> bool;
}

/// How a blob came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    AlreadyThere,
    /// It was sent; so many bytes of it by an earlier run.
    Sent {
        /// Bytes of an earlier run.
        resumed: u64,
    },
    /// Stopped; the next run goes on.
    Stopped,
}

/// An upload under way.
struct Upload {
    location: Url,
    /// Bytes that the registry has.
    offset: u64,
    piece_bytes: u64,
}

/// Sends a blob, unless it is there.
pub async fn blob(
    registry: &Registry,
    digest: &Digest,
    bulk: &dyn Bulk,
    watch: &dyn Watch,
) -> Result<Pushed, OciError> {
    if has_blob(registry, digest).await? {
        watch.goes_on_at(None);
        watch.at(bulk.size());
        return Ok(Pushed::AlreadyThere);
    }
    let mut failures = 0;
    let mut resumed = None;
    loop {
        let upload = begin_or_go_on(registry, bulk.size(), watch).await?;
        resumed.get_or_insert(upload.offset);
        match send(registry, upload, digest, bulk, watch).await {
            Ok(true) => break,
            Ok(false) => return Ok(Pushed::Stopped),
            // A piece was lost: what the registry has of it, it says when it is asked.
            Err(error) => pause(&mut failures, error).await?,
        }
    }
    watch.goes_on_at(None);
    Ok(Pushed::Sent {
        resumed: resumed.unwrap_or_default(),
    })
}

/// Whether the repository has a blob.
async fn has_blob(registry: &Registry, digest: &Digest) -> Result<bool, OciError> {
    let url = registry.url(&format!("blobs/{digest}"));
    let ask = request(Method::HEAD, url, HeaderMap::new(), Bytes::new());
    let mut failures = 0;
    loop {
        let response = registry.send(&ask).await;
        let error = match response {
            Ok(response) if response.status().is_success() => return Ok(true),
            Ok(response) if response.status() == StatusCode::NOT_FOUND => return Ok(false),
            Ok(response) => registry.refusal(response).await,
            Err(error) => error,
        };
        pause(&mut failures, error).await?;
    }
}

/// Goes on where an earlier run, or an earlier piece, was left; begins otherwise.
async fn begin_or_go_on(
    registry: &Registry,
    size: u64,
    watch: &dyn Watch,
) -> Result<Upload, OciError> {
    let left = watch.left_at().and_then(|text| Url::parse(&text).ok());
    if let Some(location) = left.filter(|url| registry.allows(url))
        && let Some(upload) = go_on(registry, location, size).await?
    {
        return Ok(upload);
    }
    let url = registry.url("blobs/uploads/");
    let ask = request(Method::POST, url, HeaderMap::new(), Bytes::new());
    let mut failures = 0;
    let response = loop {
        let error = match registry.send(&ask).await {
            Ok(response) if response.status() == StatusCode::ACCEPTED => break response,
            Ok(response) => registry.refusal(response).await,
            Err(error) => error,
        };
        pause(&mut failures, error).await?;
    };
    let upload = Upload {
        location: location_of(&response)?,
        offset: 0,
        piece_bytes: piece_bytes(response.headers()),
    };
    watch.goes_on_at(Some(upload.location.as_str()));
    Ok(upload)
}

/// How far an upload is; `None` if the registry does not know it any more.
async fn go_on(registry: &Registry, location: Url, size: u64) -> Result<Option<Upload>, OciError> {
    let ask = request(Method::GET, location, HeaderMap::new(), Bytes::new());
    let response = registry.send(&ask).await?;
    if !response.status().is_success() {
        return Ok(None);
    }
    let offset = received(response.headers()).unwrap_or(0);
    let piece_bytes = piece_bytes(response.headers());
    let location = match response.headers().contains_key(LOCATION) {
        true => location_of(&response)?,
        false => ask.url,
    };
    let upload = Upload {
        location,
        offset,
        piece_bytes,
    };
    Ok((offset > 0 && offset <= size).then_some(upload))
}

/// Sends what is missing and closes the upload; `false`: it was stopped between two pieces.
async fn send(
    registry: &Registry,
    mut upload: Upload,
    digest: &Digest,
    bulk: &dyn Bulk,
    watch: &dyn Watch,
) -> Result<bool, OciError> {
    let size = bulk.size();
    watch.at(upload.offset);
    while upload.offset < size {
        if watch.is_stopped() {
            return Ok(false);
        }
        let end = size.min(upload.offset + upload.piece_bytes);
        piece(registry, &mut upload, end, bulk).await?;
        watch.goes_on_at(Some(upload.location.as_str()));
        watch.at(upload.offset);
    }
    let mut url = upload.location;
    url.query_pairs_mut()
        .append_pair("digest", &digest.to_string());
    let ask = request(Method::PUT, url, HeaderMap::new(), Bytes::new());
    let response = registry.send(&ask).await?;
    match response.status().is_success() {
        true => Ok(true),
        false => {
            watch.goes_on_at(None);
            Err(registry.refusal(response).await)
        }
    }
}

/// Sends the bytes up to `end`.
async fn piece(
    registry: &Registry,
    upload: &mut Upload,
    end: u64,
    bulk: &dyn Bulk,
) -> Result<(), OciError> {
    let mut bytes = vec![0; usize::try_from(end - upload.offset).unwrap_or_default()];
    bulk.read(upload.offset, &mut bytes)
        .map_err(|error| OciError::Upload(format!("failed to read the file: {error}")))?;
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    let range = format!("{}-{}", upload.offset, end - 1);
    headers.insert(CONTENT_RANGE, header(&range)?);
    let ask = request(
        Method::PATCH,
        upload.location.clone(),
        headers,
        Bytes::from(bytes),
    );
    let response = registry.send(&ask).await?;
    if response.status() != StatusCode::ACCEPTED {
        let refusal = registry.refusal(response).await;
        return Err(match refusal {
            // It does not know the upload any more, or has other bytes of it: ask, or begin again.
            OciError::Source(SourceError::NotFound(why) | SourceError::Protocol(why)) => {
                OciError::Source(SourceError::Network(why))
            }
            other => other,
        });
    }
    let got = received(response.headers()).unwrap_or(end);
    if got != end {
        let why = format!("it has {got} bytes of the blob, {end} were sent");
        return Err(OciError::Source(SourceError::Network(why)));
    }
    upload.location = location_of(&response)?;
    upload.offset = end;
    Ok(())
}

/// Puts a manifest or an index under a tag, or under its own digest.
pub async fn manifest(
    registry: &Registry,
    name: &str,
    media_type: &str,
    bytes: &[u8],
) -> Result<(), OciError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, header(media_type)?);
    headers.insert(ACCEPT, HeaderValue::from_static(manifest::ACCEPT));
    let url = registry.url(&format!("manifests/{name}"));
    let ask = request(Method::PUT, url, headers, Bytes::copy_from_slice(bytes));
    let mut failures = 0;
    loop {
        let error = match registry.send(&ask).await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => registry.refusal(response).await,
            Err(error) => error,
        };
        pause(&mut failures, error).await?;
    }
}

fn request(method: Method, url: Url, headers: HeaderMap, body: Bytes) -> Ask {
    Ask {
        method,
        url,
        headers,
        body,
    }
}

fn header(text: &str) -> Result<HeaderValue, OciError> {
    HeaderValue::try_from(text).map_err(|_| protocol(format!("`{text}` cannot be sent")))
}

/// Where an upload goes on.
fn location_of(response: &Response) -> Result<Url, OciError> {
    let location = response.headers().get(LOCATION);
    let text = location.and_then(|value| value.to_str().ok());
    let text = text.ok_or_else(|| protocol("does not say where the upload goes on".into()))?;
    redirects::next(response.url(), text).map_err(protocol)
}

/// Bytes that a registry has of an upload: `Range: 0-LAST`. An upload without bytes says `0-0`, as one with a single byte
/// does; nobody sends pieces of one byte.
fn received(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RANGE)?.to_str().ok()?;
    let text = text.trim().strip_prefix("bytes=").unwrap_or(text.trim());
    let (first, last) = text.split_once('-')?;
    match (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?) {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

/// How long pieces are: ours, unless the registry wants longer ones.
fn piece_bytes(headers: &HeaderMap) -> u64 {
    let wanted = headers.get(PIECE_MIN).and_then(|value| value.to_str().ok());
    let wanted = wanted.and_then(|text| text.trim().parse::<u64>().ok());
    wanted
        .unwrap_or_default()
        .clamp(OCI_PIECE_BYTES, OCI_PIECE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).expect("a header"));
        headers
    }

    #[test]
    fn what_a_registry_has_is_read_from_its_range() {
        let table = [
            ("0-0", Some(0)),
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            (" 0-4 ", Some(5)),
            ("5-9", None),
            ("0-", None),
            ("x", None),
            ("0-18446744073709551615", None),
        ];
        for (text, wanted) in table {
            assert_eq!(received(&headers("range", text)), wanted, "{text}");
        }
        assert_eq!(received(&HeaderMap::new()), None);
    }

    #[test]
    fn pieces_are_as_long_as_the_registry_wants_within_reason() {
        let table = [
            ("1", OCI_PIECE_BYTES),
            ("33554432", 32 << 20),
            ("99999999999", OCI_PIECE_BYTES_MAX),
            ("many", OCI_PIECE_BYTES),
        ];
        for (text, wanted) in table {
            assert_eq!(piece_bytes(&headers(PIECE_MIN, text)), wanted, "{text}");
        }
    }
}
