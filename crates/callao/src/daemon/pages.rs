//! What the gateway shows to this computer alone: the dashboard, the status, the metrics, and where other callaos of the
//! same user tell of their fetches. Decides nothing about what is served.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::World;
use super::status::Fetch;
use crate::dashboard::Dashboard;
use crate::error::CommandError;
use crate::gateway::{Body, Client, Pages};

pub(super) const STATUS: &str = "/callao/v1/status";
/// Asks for a look at what is in the cache.
pub(super) const LOOK: &str = "/callao/v1/look";
const PROGRESS: &str = "/callao/v1/progress";
const METRICS: &str = "/metrics";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// What prometheus asks for (OpenMetrics 1.0).
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const OTHER_TOKEN: &str = "the token is another one";
const REPORT_BYTES_MAX: usize = 64 << 10;

/// All pages.
#[derive(Debug)]
pub(super) struct All {
    world: Arc<World>,
    dashboard: Dashboard,
}

impl All {
    /// No other daemon may run.
    ///
    /// # Errors
    /// Usage: no data directory is known.
    pub(super) fn new(world: &Arc<World>) -> Result<Self, CommandError> {
        Ok(All {
            world: Arc::clone(world),
            dashboard: Dashboard::new(&world.app)?,
        })
    }

    async fn page(&self, request: Request<Incoming>) -> Response<Body> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let looks = matches!(method, Method::GET | Method::HEAD);
        match &*path {
            PROGRESS if method == Method::POST => self.progress(request).await,
            LOOK if method == Method::POST => self.look(&request),
            PROGRESS | LOOK => refused(
                StatusCode::METHOD_NOT_ALLOWED,
                "only POST is understood here",
            ),
            _ if !looks => refused(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET is understood here",
            ),
            METRICS => answer(StatusCode::OK, OPEN_METRICS, self.world.metrics().into()),
            _ => match serde_json::to_vec(&self.world.status()) {
                Ok(text) => answer(StatusCode::OK, JSON, text.into()),
                Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            },
        }
    }

    /// Whether it comes from a callao of the same user.
    fn is_ours(&self, request: &Request<Incoming>) -> bool {
        let wanted = format!("Bearer {}", self.world.token);
        let given = request.headers().get(header::AUTHORIZATION);
        given.is_some_and(|given| given.as_bytes() == wanted.as_bytes())
    }

    /// Another callao has put something into the cache.
    fn look(&self, request: &Request<Incoming>) -> Response<Body> {
        if !self.is_ours(request) {
            return refused(StatusCode::UNAUTHORIZED, OTHER_TOKEN);
        }
        self.world.look.notify_one();
        answer(StatusCode::NO_CONTENT, TEXT, Bytes::new())
    }

    /// Another callao tells of a fetch.
    async fn progress(&self, request: Request<Incoming>) -> Response<Body> {
        if !self.is_ours(&request) {
            return refused(StatusCode::UNAUTHORIZED, OTHER_TOKEN);
        }
        let read = Limited::new(request.into_body(), REPORT_BYTES_MAX)
            .collect()
            .await;
        let Ok(read) = read else {
            return refused(StatusCode::PAYLOAD_TOO_LARGE, "that is too much to tell");
        };
        let fetch: Fetch = match serde_json::from_slice(&read.to_bytes()) {
            Ok(fetch) => fetch,
            Err(error) => return refused(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        if !self.world.fetches.tell(fetch, Instant::now()) {
            return refused(
                StatusCode::TOO_MANY_REQUESTS,
                "too many fetches are told of",
            );
        }
        // What arrives there is served from here.
        self.world.look.notify_one();
        answer(StatusCode::NO_CONTENT, TEXT, Bytes::new())
    }
}

impl Pages for All {
    fn has(&self, method: &Method, path: &str) -> bool {
        matches!(path, STATUS | LOOK | PROGRESS | METRICS) || self.dashboard.has(method, path)
    }

    fn answer(&self, client: Client, request: Request<Incoming>) -> BoxFuture<'_, Response<Body>> {
        match request.uri().path() {
            STATUS | LOOK | PROGRESS | METRICS => Box::pin(self.page(request)),
            _ => Box::pin(async move {
                let answer = self.dashboard.answer(client, request).await;
                // A file that was added is served at once.
                self.world.look.notify_one();
                answer
            }),
        }
    }
}

fn refused(status: StatusCode, why: &str) -> Response<Body> {
    answer(status, TEXT, format!("{why}\n").into())
}

fn answer(status: StatusCode, kind: &'static str, bytes: Bytes) -> Response<Body> {
    let length = HeaderValue::from(bytes.len());
    let body = Full::new(bytes).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    let lines = answer.headers_mut();
    lines.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    lines.insert(header::CONTENT_LENGTH, length);
    lines.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    lines.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    answer
}
