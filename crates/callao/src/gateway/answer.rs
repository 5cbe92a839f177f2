//! Building answers: texts, bytes, refusals. Knows statuses and headers, not why.

use std::fmt::Display;

use bytes::Bytes;
use futures::Stream;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;

use super::Body;

/// An answer that says why not; every handler may end in one.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) headers: Vec<(HeaderName, String)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Display) -> Self {
        Refusal {
            status,
            message: message.to_string(),
            headers: Vec::new(),
        }
    }

    /// 400.
    pub(super) fn bad(message: impl Display) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404.
    pub(super) fn not_found(message: impl Display) -> Self {
        Refusal::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn with(mut self, name: HeaderName, value: impl Display) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub(super) fn answer(self) -> Response<Body> {
        let mut answer = text(self.status, self.message + "\n");
        // What is not here may be here soon.
        put(&mut answer, header::CACHE_CONTROL, "no-store");
        for (name, value) in self.headers {
            put(&mut answer, name, value);
        }
        answer
    }
}

/// An answer of plain text.
pub(super) fn text(status: StatusCode, text: String) -> Response<Body> {
    bytes(status, "text/plain; charset=utf-8", text.into())
}

/// An answer of bytes that are in memory.
pub(super) fn bytes(status: StatusCode, kind: &str, bytes: Bytes) -> Response<Body> {
    let length = bytes.len();
    let body = Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    put(&mut answer, header::CONTENT_TYPE, kind);
    put(&mut answer, header::CONTENT_LENGTH, length);
    put(&mut answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    answer
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(no_body());
    *answer.status_mut() = status;
    answer
}

pub(super) fn no_body() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that comes piece by piece.
pub(super) fn stream(pieces: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// Pieces that keep a guest's seat until the last of them has been handed over.
pub(super) fn seated(
    pieces: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    seat: Option<OwnedSemaphorePermit>,
) -> Body {
    stream(pieces.map(move |piece| {
        let _kept = &seat;
        piece
    }))
}

/// Sets a header. A value that no header can have is left out: it comes from a name in the request, and the answer is good
/// without it.
pub(super) fn put(answer: &mut Response<Body>, name: HeaderName, value: impl Display) {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        answer.headers_mut().insert(name, value);
    }
}
