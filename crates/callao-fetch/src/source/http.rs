//! The origin and its mirrors: plain HTTP(S) with ranges. Checks everything a server says about the range it sends
//! (RFC 9110 sections 13.1.5 and 14): status, `Content-Range`, length, validators, encoding. Knows nothing of proofs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::{Client, Response, StatusCode, Url};

use super::{Source, SourceError, SourceId, SourceKind, Span, Traits};
use crate::answer::{self, Waits};
use crate::message::Head;
use crate::sink::SpanSink;

/// Who sends the requests: a client as it is, or one that has to be let in first (`oci`).
pub trait Fetcher: Send + Sync {
    /// Asks for `url`, following redirects. An answer is a success or a 416; any other is the error that it means.
    fn get(&self, url: Url, headers: HeaderMap) -> BoxFuture<'_, Result<Response, SourceError>>;
}

/// A client that needs no letting in.
struct Plain {
    client: Client,
    waits: Waits,
}

impl Fetcher for Plain {
    fn get(&self, url: Url, headers: HeaderMap) -> BoxFuture<'_, Result<Response, SourceError>> {
        Box::pin(async move {
            let request = self.client.get(url).headers(headers);
            let response = answer::send(request, &self.waits).await?;
            let usable = response.status().is_success()
                || response.status() == StatusCode::RANGE_NOT_SATISFIABLE;
            match usable {
                true => Ok(response),
                false => Err(answer::refused(response, &self.waits).await),
            }
        })
    }
}

/// A file behind a URL.
pub struct Http {
    id: SourceId,
    fetcher: Arc<dyn Fetcher>,
    url: Url,
    waits: Waits,
    /// The address names the bytes themselves: they cannot change, and this is their ETag, whatever servers say.
    identity: Option<String>,
    ignores_ranges: AtomicBool,
    known: Mutex<Known>,
}

/// What earlier answers taught.
#[derive(Default, Clone)]
struct Known {
    /// Where redirects led.
    target: Option<Url>,
    etag: Option<String>,
    last_modified: Option<String>,
}

/// What the head of an answer means for the span.
struct Answer {
    head: Head,
    /// Where in the file the body begins.
    from: u64,
    /// How long it is, when it says so.
    length: Option<u64>,
}

impl Http {
    /// The file at `url`; `client` follows redirects.
    pub fn new(client: Client, url: Url, waits: Waits) -> Self {
        let id = SourceId {
            kind: SourceKind::Http,
            place: url.to_string(),
        };
        Http::through(Arc::new(Plain { client, waits }), id, url, waits)
    }

    /// The same, asked for by somebody else's client.
    pub fn through(fetcher: Arc<dyn Fetcher>, id: SourceId, url: Url, waits: Waits) -> Self {
        Http {
            id,
            fetcher,
            url,
            waits,
            identity: None,
            ignores_ranges: AtomicBool::new(false),
            known: Mutex::default(),
        }
    }

    /// The address names these bytes, wherever it leads: what servers say about changes does not matter.
    #[must_use]
    pub fn named(mut self, identity: String) -> Self {
        self.identity = Some(identity);
        self
    }

    fn known(&self) -> Known {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn learn(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn ask(&self, span: &Span) -> Result<Response, SourceError> {
        let known = self.known();
        let target = known.target.clone().unwrap_or_else(|| self.url.clone());
        let mut headers = HeaderMap::new();
        if !self.ignores_ranges.load(Ordering::Relaxed) {
            headers.insert(RANGE, header(&range_text(span), "bytes=")?);
            let validator = span
                .unchanged
                .clone()
                .or(known.etag.filter(|tag| !tag.starts_with("W/")));
            if let Some(validator) = validator
                .or(known.last_modified)
                .filter(|_| span.range.start > 0 && self.identity.is_none())
            {
                headers.insert(IF_RANGE, header(&validator, "")?);
            }
        }
        let refusal = match self.fetcher.get(target, headers).await {
            Ok(response) => {
                let reached = response.url().clone();
                self.learn(|known| known.target = (reached != self.url).then_some(reached));
                return Ok(response);
            }
            Err(error) => error,
        };
        if known.target.is_some() {
            // Where the redirect led is not valid any more (signed addresses expire): begin at the start again.
            self.learn(|known| known.target = None);
            return Err(SourceError::Network(format!(
                "the address it was redirected to: {refusal}"
            )));
        }
        Err(refusal)
    }

    /// Checks the head against what was asked.
    fn judge(&self, span: &Span, response: &Response) -> Result<Answer, SourceError> {
        let headers = response.headers();
        if let Some(encoding) =
            text(headers, CONTENT_ENCODING).filter(|encoding| encoding != "identity")
        {
            let why =
                format!("sent the file as `{encoding}`, though the plain bytes were asked for");
            return Err(SourceError::Protocol(why));
        }
        let path = response.url().path();
        let page = answer::media_type(headers) == "text/html"
            && !path.ends_with(".html")
            && !path.ends_with(".htm");
        if page && response.status().is_success() {
            return Err(SourceError::Protocol(
                "sent an HTML page instead of the file".into(),
            ));
        }
        if self.identity.is_none() {
            self.same_file(span, headers)?;
        }
        let mut answer = match response.status() {
            StatusCode::PARTIAL_CONTENT => partial(span, headers)?,
            StatusCode::OK => self.whole(span, headers)?,
            StatusCode::RANGE_NOT_SATISFIABLE
                if text(headers, CONTENT_RANGE).as_deref() == Some("bytes */0") =>
            {
                Answer {
                    head: Head {
                        total: Some(0),
                        ..head_of(headers)
                    },
                    from: 0,
                    length: Some(0),
                }
            }
            status => {
                let why = format!(
                    "HTTP {status} to the request for bytes {}",
                    range_text(span)
                );
                return Err(SourceError::Protocol(why));
            }
        };
        if self.identity.is_some() {
            answer.head.etag.clone_from(&self.identity);
            answer.head.last_modified = None;
        }
        Ok(answer)
    }

    /// A 200: the whole file from byte 0, whatever was asked.
    fn whole(&self, span: &Span, headers: &HeaderMap) -> Result<Answer, SourceError> {
        // Some servers answer `bytes=0-` with the whole and still do ranges; they say so.
        let ranged =
            span.range.start == 0 && text(headers, ACCEPT_RANGES).as_deref() == Some("bytes");
        let was_set = self.ignores_ranges.fetch_or(!ranged, Ordering::Relaxed);
        if span.range.start > 0 && !was_set {
            return Err(SourceError::NoRanges);
        }
        let length = text(headers, CONTENT_LENGTH).and_then(|length| length.parse().ok());
        Ok(Answer {
            head: Head {
                total: length,
                ..head_of(headers)
            },
            from: 0,
            length,
        })
    }

    /// One file must not be put together from two.
    fn same_file(&self, span: &Span, headers: &HeaderMap) -> Result<(), SourceError> {
        let new = head_of(headers);
        let known = self.known();
        for (before, now) in [
            (&known.etag, &new.etag),
            (&known.last_modified, &new.last_modified),
        ] {
            if let (Some(before), Some(now)) = (before, now)
                && before != now
            {
                return Err(SourceError::Changed(format!(
                    "it was {before}, now it is {now}"
                )));
            }
        }
        let validators = [&new.etag, &new.last_modified];
        if let Some(wanted) = &span.unchanged
            && validators.iter().any(|v| v.is_some())
            && validators.iter().all(|v| v.as_ref() != Some(wanted))
        {
            return Err(SourceError::Changed(format!(
                "it was {wanted} in the run before"
            )));
        }
        self.learn(|known| {
            known.etag = new.etag.or(known.etag.take());
            known.last_modified = new.last_modified.or(known.last_modified.take());
        });
        Ok(())
    }

    async fn deliver(&self, span: Span, sink: &mut SpanSink) -> Result<(), SourceError> {
        let mut response = self.ask(&span).await?;
        let answer = self.judge(&span, &response)?;
        let total = answer.head.total;
        if sink.begin(answer.head).await?.is_err() {
            return Ok(());
        }
        let mut skip = span.range.start - answer.from;
        let mut got = 0;
        while let Some(bytes) = answer::next(&mut response, &self.waits).await? {
            got += bytes.len() as u64;
            let dropped = skip.min(bytes.len() as u64);
            skip -= dropped;
            if sink.push(&bytes[dropped as usize..]).await.is_err() {
                return Ok(());
            }
        }
        if let Some(length) = answer.length.filter(|length| got < *length) {
            return Err(SourceError::Network(format!(
                "the answer ended after {got} of {length} bytes"
            )));
        }
        if total.is_none() {
            // Nothing announced a length: the end of the body is the end of the file. An error means: not needed.
            sink.end_of_file().await.unwrap_or(());
        }
        Ok(())
    }
}

impl Source for Http {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn traits(&self) -> Traits {
        Traits {
            ranges: !self.ignores_ranges.load(Ordering::Relaxed),
            ..Traits::FILE_SERVER
        }
    }

    fn send<'a>(
        &'a self,
        span: Span,
        sink: &'a mut SpanSink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(self.deliver(span, sink))
    }
}

/// A 206: exactly the bytes that were asked for, or fewer.
fn partial(span: &Span, headers: &HeaderMap) -> Result<Answer, SourceError> {
    let said = text(headers, CONTENT_RANGE).unwrap_or_default();
    let asked = range_text(span);
    let Some((start, end, total)) = content_range(&said) else {
        return Err(SourceError::Protocol(format!(
            "HTTP 206 with Content-Range `{said}` for bytes {asked}"
        )));
    };
    if start != span.range.start || end > span.range.end || total.is_some_and(|total| end > total) {
        return Err(SourceError::Protocol(format!(
            "was asked for bytes {asked} and sent `{said}`"
        )));
    }
    let length = end - start;
    let announced = text(headers, CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if let Some(announced) = announced.filter(|announced| *announced != length) {
        let why = format!("announced {announced} bytes for `{said}`, which are {length}");
        return Err(SourceError::Protocol(why));
    }
    Ok(Answer {
        head: Head {
            total,
            ..head_of(headers)
        },
        from: start,
        length: Some(length),
    })
}

/// `bytes START-LAST/TOTAL` as start, end (exclusive) and total (`*`: none).
pub(crate) fn content_range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, last) = range.split_once('-')?;
    let (start, last): (u64, u64) = (start.trim().parse().ok()?, last.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (start <= last).then_some((start, last.checked_add(1)?, total))
}

/// Text as a header; what a server sent as a header can be sent as one.
fn header(text: &str, before: &str) -> Result<HeaderValue, SourceError> {
    HeaderValue::try_from(format!("{before}{text}"))
        .map_err(|_| SourceError::Protocol(format!("`{text}` cannot be sent as a header")))
}

fn range_text(span: &Span) -> String {
    match span.range.end {
        u64::MAX => format!("{}-", span.range.start),
        end => format!("{}-{}", span.range.start, end - 1),
    }
}

fn head_of(headers: &HeaderMap) -> Head {
    Head {
        total: None,
        etag: text(headers, ETAG),
        last_modified: text(headers, LAST_MODIFIED),
        content_type: text(headers, CONTENT_TYPE),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        assert_eq!(content_range("bytes 0-9/100"), Some((0, 10, Some(100))));
        assert_eq!(content_range("bytes 5-5/*"), Some((5, 6, None)));
        for bad in [
            "",
            "bytes */100",
            "bytes 9-5/100",
            "bytes 1-2",
            "items 0-1/2",
            "bytes a-b/c",
            "bytes 0-18446744073709551615/1",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
