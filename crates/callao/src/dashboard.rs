//! The dashboard at `/` of `callao serve`: the pages, which are part of the program, and files that are dropped on them.
//!
//! The server has made sure that whoever asks is on this computer and came by a name of loopback, from a page of ours or
//! from none. Must not know what the daemon does: the pages read `/callao/v1/status` by themselves.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use callao_content::digest::{Algorithm, Digest};
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::commands;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::gateway::{Body, Client, Pages};
use crate::host;
use crate::output::json::{Arrived, Failure, Line, VERSION};

mod name;
mod upload;

use upload::{Place, STALL_MAX};

/// Where files are sent to.
const ADD: &str = "/callao/v1/add";
/// Files that arrive at the same time.
const UPLOADS_COUNT_MAX: usize = 4;

/// The pages: path, type, text.
const PAGES: [(&str, &str, &str); 6] = [
    ("/", HTML, include_str!("dashboard/index.html")),
    ("/style.css", CSS, include_str!("dashboard/style.css")),
    ("/app.js", SCRIPT, include_str!("dashboard/app.js")),
    ("/draw.js", SCRIPT, include_str!("dashboard/draw.js")),
    ("/send.js", SCRIPT, include_str!("dashboard/send.js")),
    ("/words.js", SCRIPT, include_str!("dashboard/words.js")),
];
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";

/// Nothing from elsewhere, nothing inside of another page, and no script that is not one of these files: names of files
/// and peers come from strangers.
const POLICIES: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Makes a file that has arrived known, as `callao add` does.
pub trait Adder: Send + Sync {
    /// Reads the file and registers it where it is.
    ///
    /// # Errors
    /// The disk, or somebody writes to the file; a CAR whose blocks are not what they should be.
    fn add(&self, path: &Path) -> Result<Arrived, CommandError>;
}

impl Adder for App {
    fn add(&self, path: &Path) -> Result<Arrived, CommandError> {
        commands::add::register(self, path)
    }
}

/// The pages, and where files go that are dropped on them.
pub struct Dashboard {
    place: Arc<Place>,
    adder: Arc<dyn Adder>,
    uploads: Semaphore,
}

impl std::fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dashboard({})", self.place.dir.display())
    }
}

impl Dashboard {
    /// Keeps files in `added/` of the data directory. Removes what uploads left there that a crash interrupted: call it
    /// when no other daemon runs.
    ///
    /// # Errors
    /// Usage: no data directory is known.
    pub fn new(app: &Arc<App>) -> Result<Self, CommandError> {
        let data = app.host.data_dir().map_err(CommandError::usage)?;
        let place = Place {
            disk: Arc::clone(&app.disk),
            dir: data.join("added"),
            free: Box::new(|dir| host::free_bytes(dir).ok()),
            stall: STALL_MAX,
        };
        place.sweep();
        Ok(Dashboard {
            place: Arc::new(place),
            adder: Arc::clone(app) as Arc<dyn Adder>,
            uploads: Semaphore::new(UPLOADS_COUNT_MAX),
        })
    }

    async fn add(&self, request: Request<Incoming>) -> Response<Body> {
        match self.try_add(request).await {
            Ok(added) => json(
                StatusCode::OK,
                &Line {
                    v: VERSION,
                    value: &added,
                },
            ),
            Err(error) => {
                let line = Line {
                    v: VERSION,
                    value: &Failure::new(&error),
                };
                json(status_of(&error), &line)
            }
        }
    }

    async fn try_add(&self, request: Request<Incoming>) -> Result<Arrived, CommandError> {
        guard(request.method(), request.headers())?;
        let name = name::of_query(request.uri().query().unwrap_or_default())?;
        let Ok(_seat) = self.uploads.try_acquire() else {
            return Err(CommandError::new(
                ExitCode::Locked,
                format!("{UPLOADS_COUNT_MAX} files are arriving already"),
            )
            .hint("send it again when one of them is there"));
        };
        let length = hyper::body::Body::size_hint(request.body()).exact();
        let path = upload::receive(
            &self.place,
            name,
            length,
            request.into_body().into_data_stream(),
        )
        .await?;
        let (adder, place) = (Arc::clone(&self.adder), Arc::clone(&self.place));
        let added = tokio::task::spawn_blocking(move || {
            // A file that is not known is a file that nobody would ever find again.
            adder.add(&path).inspect_err(|_| place.drop_file(&path))
        });
        added
            .await
            .map_err(|error| CommandError::new(ExitCode::Unexpected, error.to_string()))?
    }
}

impl Pages for Dashboard {
    fn has(&self, _method: &Method, path: &str) -> bool {
        path == ADD || PAGES.iter().any(|page| page.0 == path)
    }

    fn answer(&self, _client: Client, request: Request<Incoming>) -> BoxFuture<'_, Response<Body>> {
        Box::pin(async move {
            if request.uri().path() == ADD {
                return self.add(request).await;
            }
            page(request.method(), request.uri().path(), request.headers())
        })
    }
}

/// Only a page of ours may change something: a browser always says where such a request comes from.
fn guard(method: &Method, headers: &HeaderMap) -> Result<(), CommandError> {
    let text = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value.and_then(|value| value.to_str().ok())
    };
    if method != Method::POST {
        return Err(CommandError::usage("a file is sent here with POST"));
    }
    let ours = text(header::HOST)
        .zip(text(header::ORIGIN))
        .is_some_and(|(host, origin)| {
            let authority = origin.strip_prefix("http://");
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        });
    if !ours {
        return Err(CommandError::usage(
            "this is for the dashboard alone: the Origin is another one",
        )
        .hint("on the command line it is `callao add FILE`"));
    }
    Ok(())
}

fn status_of(error: &CommandError) -> StatusCode {
    match error.kind {
        ExitCode::Usage => StatusCode::BAD_REQUEST,
        ExitCode::Network => StatusCode::REQUEST_TIMEOUT,
        ExitCode::Locked => StatusCode::TOO_MANY_REQUESTS,
        ExitCode::Integrity => StatusCode::CONFLICT,
        ExitCode::Disk => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// One of the pages; 304 if the browser has this version.
fn page(method: &Method, path: &str, headers: &HeaderMap) -> Response<Body> {
    let Some((_, kind, text)) = PAGES.into_iter().find(|page| page.0 == path) else {
        return answer(StatusCode::NOT_FOUND, HTML, Bytes::new());
    };
    if method != Method::GET && method != Method::HEAD {
        let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, HTML, Bytes::new());
        let methods = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(header::ALLOW, methods);
        return refused;
    }
    let etag = format!(
        "\"{}\"",
        Digest::of(Algorithm::Sha256, text.as_bytes()).hex()
    );
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .any(|value| value.to_str().is_ok_and(|tags| tags.contains(&etag)));
    let mut answer = if known {
        answer(StatusCode::NOT_MODIFIED, kind, Bytes::new())
    } else {
        answer(StatusCode::OK, kind, Bytes::from_static(text.as_bytes()))
    };
    let lines = answer.headers_mut();
    // Asked again each time: the next version of callao has other pages.
    lines.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        lines.insert(header::ETAG, etag);
    }
    answer
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // These shapes have no map whose keys are not text: they can always be written.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut answer = answer(status, JSON, text.into());
    let lines = answer.headers_mut();
    lines.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn answer(status: StatusCode, kind: &'static str, bytes: Bytes) -> Response<Body> {
    let length = bytes.len();
    let body = Full::new(bytes).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    let lines = answer.headers_mut();
    lines.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // A 304 has no body, and would otherwise say that the page has none.
    if status != StatusCode::NOT_MODIFIED {
        lines.insert(header::CONTENT_LENGTH, length.into());
    }
    for (name, value) in POLICIES {
        lines.insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let parsed = lines.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        parsed.collect()
    }

    #[test]
    fn every_page_has_its_type_and_the_policies() {
        for (path, kind, _) in PAGES {
            let answer = page(&Method::GET, path, &HeaderMap::new());
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert_eq!(answer.headers()["content-type"], kind);
            assert_eq!(answer.headers()["cache-control"], "no-cache");
            for (name, value) in POLICIES {
                assert_eq!(answer.headers()[&name], value, "{path}");
            }
        }
        let policy =
            &page(&Method::GET, "/", &HeaderMap::new()).headers()["content-security-policy"]
                .clone();
        assert_eq!(
            policy,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
    }

    #[test]
    fn a_page_that_the_browser_has_is_not_sent_again() {
        let first = page(&Method::GET, "/app.js", &HeaderMap::new());
        let mut known = HeaderMap::new();
        known.insert(header::IF_NONE_MATCH, first.headers()["etag"].clone());
        let again = page(&Method::GET, "/app.js", &known);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert!(hyper::body::Body::is_end_stream(again.body()));
        assert_eq!(page(&Method::GET, "/", &known).status(), StatusCode::OK);
        assert_eq!(
            page(&Method::PUT, "/", &known).status(),
            StatusCode::METHOD_NOT_ALLOWED
        );
    }

    #[test]
    fn only_our_own_page_may_send_files() {
        const HERE: (&str, &str) = ("host", "127.0.0.1:8080");
        assert!(
            guard(
                &Method::POST,
                &headers(&[HERE, ("origin", "http://127.0.0.1:8080")])
            )
            .is_ok()
        );
        for origin in [
            "http://127.0.0.1:9090",
            "http://localhost:8080",
            "https://127.0.0.1:8080",
            "http://evil.example",
            "null",
            "",
        ] {
            let error = guard(&Method::POST, &headers(&[HERE, ("origin", origin)]))
                .expect_err("another origin");
            assert_eq!(
                error.message,
                "this is for the dashboard alone: the Origin is another one"
            );
            assert_eq!(error.hints, ["on the command line it is `callao add FILE`"]);
            assert_eq!(status_of(&error), StatusCode::BAD_REQUEST);
        }
        assert!(
            guard(&Method::POST, &headers(&[HERE])).is_err(),
            "no origin"
        );
        let error = guard(&Method::GET, &headers(&[HERE])).expect_err("another method");
        assert_eq!(error.message, "a file is sent here with POST");
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for (path, _, text) in PAGES {
            for foreign in [
                "http://",
                "https://",
                "src=\"//",
                "url(//",
                "innerHTML",
                "eval(",
            ] {
                let hits = text
                    .match_indices(foreign)
                    // The name space of SVG, and the word that tells where a file is from, are loaded by nobody.
                    .filter(|(at, _)| !text[*at..].starts_with("http://www.w3.org/2000/svg"))
                    .count();
                assert_eq!(hits, 0, "{path} has {foreign}");
            }
        }
    }
}
