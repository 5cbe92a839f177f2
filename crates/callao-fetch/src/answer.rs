//! HTTP answers as every source sees them: waiting for one, what a refusal means, reading the body piece by piece.
//! Knows nothing of files, blocks or lanes; time-outs are per wait, never for a whole transfer.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};

use crate::limits;
use crate::source::SourceError;

/// How long to wait for what. [`Default`] is what users get; tests shorten it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// To open a connection.
    pub connect: Duration,
    /// From the request to the head of its answer.
    pub headers: Duration,
    /// Without a byte of the body.
    pub stall: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Waits {
            connect: limits::CONNECT_TIMEOUT,
            headers: limits::HEADERS_TIMEOUT,
            stall: limits::STALL_TIMEOUT,
        }
    }
}

/// Sends and waits for the head of the answer, whatever its status.
pub(crate) async fn send(request: RequestBuilder, waits: &Waits) -> Result<Response, SourceError> {
    match tokio::time::timeout(waits.headers, request.send()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(failure(error)),
        Err(_) => Err(SourceError::Network(format!(
            "no answer within {}",
            seconds(waits.headers)
        ))),
    }
}

/// The next piece of the body; `None` at its end. A body that ends before its announced length is an error.
pub(crate) async fn next(
    response: &mut Response,
    waits: &Waits,
) -> Result<Option<Bytes>, SourceError> {
    match tokio::time::timeout(waits.stall, response.chunk()).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(failure(error)),
        Err(_) => Err(SourceError::Network(format!(
            "no byte for {}",
            seconds(waits.stall)
        ))),
    }
}

/// A body of at most `bytes_max` bytes. Longer ones end as [`SourceError::Protocol`] that names the size.
pub(crate) async fn body(
    response: &mut Response,
    bytes_max: usize,
    waits: &Waits,
) -> Result<Bytes, SourceError> {
    let too_long = |size: String| {
        SourceError::Protocol(format!("sent {size} bytes where {bytes_max} are the most"))
    };
    let announced = response.content_length();
    if let Some(length) = announced.filter(|length| *length > bytes_max as u64) {
        return Err(too_long(length.to_string()));
    }
    let mut whole = Vec::with_capacity(announced.unwrap_or(0) as usize);
    while let Some(bytes) = next(response, waits).await? {
        if whole.len() + bytes.len() > bytes_max {
            return Err(too_long(format!("at least {}", whole.len() + bytes.len())));
        }
        if whole.is_empty() && announced == Some(bytes.len() as u64) {
            return Ok(bytes);
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(Bytes::from(whole))
}

/// What a status other than the wanted one means. Reads a little of the body for the message.
pub(crate) async fn refused(mut response: Response, waits: &Waits) -> SourceError {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut excerpt = Vec::new();
    // The answer is a refusal in any case: a body that does not come leaves the message shorter, that is all.
    while excerpt.len() < limits::ERROR_BODY_BYTES_MAX {
        match next(&mut response, waits).await {
            Ok(Some(bytes)) => excerpt.extend_from_slice(&bytes),
            Ok(None) | Err(_) => break,
        }
    }
    excerpt.truncate(limits::ERROR_BODY_BYTES_MAX);
    refusal(status, &headers, &excerpt)
}

/// What `status` means for the engine: is it worth asking again, and when. `body` is the beginning of the body.
pub(crate) fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> SourceError {
    let why = reason(status, headers, body);
    match status.as_u16() {
        404 | 410 | 451 => SourceError::NotFound(why),
        429 | 503 => SourceError::Busy {
            why,
            retry_after: retry_after(headers, SystemTime::now()),
        },
        408 | 500..=599 => SourceError::Network(why),
        _ => SourceError::Protocol(why),
    }
}

/// `Retry-After` in either of its forms (RFC 9110 10.2.3), at most [`limits::RETRY_AFTER_MAX`].
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        // A date that has passed means: now.
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .unwrap_or(Duration::ZERO),
    };
    Some(wait.min(limits::RETRY_AFTER_MAX))
}

/// The media type of an answer, lower case, without parameters; empty when there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    value
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase()
}

/// What the clock of the server says (`Date`), in seconds since 1970.
pub(crate) fn date_unix(headers: &HeaderMap) -> Option<i64> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let since = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// A failure of the transfer itself.
pub(crate) fn failure(error: reqwest::Error) -> SourceError {
    let (connect, redirect, builder) =
        (error.is_connect(), error.is_redirect(), error.is_builder());
    let (timeout, body) = (error.is_timeout(), error.is_body() || error.is_decode());
    // The URL is known from the source's name; what is deepest in the chain tells most.
    let error = error.without_url();
    let cause = deepest(&error);
    match () {
        () if redirect => SourceError::Protocol(format!("does not lead anywhere: {cause}")),
        () if builder => SourceError::Protocol(format!("cannot be asked: {cause}")),
        () if connect && timeout => SourceError::Network("no connection: timed out".into()),
        () if connect => SourceError::Network(format!("no connection: {cause}")),
        () if body => SourceError::Network(format!("the answer broke off: {cause}")),
        () => SourceError::Network(cause),
    }
}

fn deepest(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}

/// The status with what the server said about it, if that is one line of plain text.
fn reason(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> String {
    let head = match status.canonical_reason() {
        Some(name) => format!("HTTP {} {name}", status.as_u16()),
        None => format!("HTTP {}", status.as_u16()),
    };
    if !matches!(
        media_type(headers).as_str(),
        "text/plain" | "application/json"
    ) {
        return head;
    }
    let said = String::from_utf8_lossy(body);
    let said: String = said
        .lines()
        .next()
        .unwrap_or("")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    let said = said.trim();
    if said.is_empty() {
        head
    } else {
        format!("{head}: {said}")
    }
}

pub(crate) fn seconds(wait: Duration) -> String {
    if wait.subsec_millis() == 0 {
        format!("{} s", wait.as_secs())
    } else {
        format!("{} ms", wait.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.insert(*name, HeaderValue::from_str(value).expect("a header"));
        }
        map
    }

    #[test]
    fn a_status_decides_what_follows() {
        let table = [
            (404, "not found"),
            (410, "not found"),
            (451, "not found"),
            (429, "busy"),
            (503, "busy"),
            (408, "network"),
            (500, "network"),
            (504, "network"),
            (400, "protocol"),
            (403, "protocol"),
            (416, "protocol"),
            (302, "protocol"),
            (200, "protocol"),
        ];
        for (status, wanted) in table {
            let status = StatusCode::from_u16(status).expect("a status");
            let got = match refusal(status, &HeaderMap::new(), b"") {
                SourceError::NotFound(_) => "not found",
                SourceError::Busy {
                    retry_after: None, ..
                } => "busy",
                SourceError::Network(_) => "network",
                SourceError::Protocol(_) => "protocol",
                _ => "other",
            };
            assert_eq!(got, wanted, "{status}");
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_capped() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        let wait = |value: &str| retry_after(&headers(&[("retry-after", value)]), now);
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait(" 0 "), Some(Duration::ZERO));
        assert_eq!(wait("86400"), Some(limits::RETRY_AFTER_MAX));
        assert_eq!(
            wait("Sun, 06 Nov 1994 08:49:47 GMT"),
            Some(Duration::from_secs(10))
        );
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
        assert_eq!(wait("-3"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn the_date_is_that_of_the_server() {
        let date = |text: &str| date_unix(&headers(&[("date", text)]));
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date("today"), None);
        assert_eq!(date_unix(&HeaderMap::new()), None);
    }

    #[test]
    fn a_reason_quotes_plain_text_only() {
        let text = headers(&[("content-type", "text/plain; charset=utf-8")]);
        let html = headers(&[("content-type", "text/html")]);
        let status = StatusCode::NOT_FOUND;
        assert_eq!(
            reason(status, &text, b"no link named \"x\"\nmore"),
            "HTTP 404 Not Found: no link named \"x\""
        );
        assert_eq!(reason(status, &html, b"<html>"), "HTTP 404 Not Found");
        assert_eq!(
            reason(status, &text, b"\x1b[31m"),
            "HTTP 404 Not Found: [31m"
        );
    }
}
