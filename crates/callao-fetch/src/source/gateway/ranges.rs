//! A span as byte ranges of the plain file `/ipfs/CID`: unproven bytes, which the engine proves by the layout.

use std::ops::Range;

use callao_content::Cid;
use reqwest::header::{CONTENT_ENCODING, CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode};

use super::Outcome;
use super::ask::{Asker, is_other_way};
use crate::answer;
use crate::sink::SpanSink;
use crate::source::SourceError;
use crate::source::http::content_range;

/// Sends `range` of the file of `size` bytes, in as many requests as the gateway makes of it.
pub(super) async fn send(
    asker: &Asker,
    cid: &Cid,
    size: u64,
    range: Range<u64>,
    sink: &mut SpanSink,
) -> Result<Outcome, SourceError> {
    let mut position = range.start;
    while position < range.end {
        let request = asker
            .file(cid)
            .header(RANGE, format!("bytes={position}-{}", range.end - 1));
        let mut response = answer::send(request, &asker.options.waits).await?;
        let status = response.status();
        // 200 is the whole file, or a page about it: some gateways ignore ranges of large files.
        if status == StatusCode::OK || is_other_way(status.as_u16()) || is_encoded(&response) {
            return Ok(Outcome::OtherWay);
        }
        if status != StatusCode::PARTIAL_CONTENT {
            return Err(asker.refused(response).await);
        }
        let end = check(&response, position, range.end, size)?;
        while position < end {
            let Some(bytes) = answer::next(&mut response, &asker.options.waits).await? else {
                return Err(SourceError::Network(format!(
                    "the answer ended {} bytes early",
                    end - position
                )));
            };
            let count = (end - position).min(bytes.len() as u64);
            position += count;
            if sink.push(&bytes[..count as usize]).await.is_err() {
                return Ok(Outcome::Done);
            }
        }
    }
    Ok(Outcome::Done)
}

/// Whether the gateway gives ranges of the file; the first byte is asked for.
pub(super) async fn offered(asker: &Asker, cid: &Cid) -> Option<bool> {
    let request = asker.file(cid).header(RANGE, "bytes=0-0");
    let response = answer::send(request, &asker.options.waits).await.ok()?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT => Some(!is_encoded(&response)),
        StatusCode::OK => Some(false),
        status => is_other_way(status.as_u16()).then_some(false),
    }
}

/// Where the body of a 206 ends.
fn check(response: &Response, start: u64, end: u64, size: u64) -> Result<u64, SourceError> {
    let said = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let wrong = || {
        SourceError::Protocol(format!(
            "was asked for bytes {start}-{} and sent `{said}`",
            end - 1
        ))
    };
    let (from, to, total) = content_range(said).ok_or_else(wrong)?;
    if from != start || to > end || total.is_some_and(|total| total != size) {
        return Err(wrong());
    }
    Ok(to)
}

fn is_encoded(response: &Response) -> bool {
    response
        .headers()
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
}
