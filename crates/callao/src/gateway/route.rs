//! Which request goes where, and the headers that every answer has. Knows no block and no file.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, Request, Response, StatusCode};

use super::answer::{self, Refusal, put};
use super::format::Query;
use super::guard::{Standing, is_visit, standing};
use super::server::Gateway;
use super::{Body, Client, ipfs, ipns, peer, routing};

/// The page that others may link to.
const FRONT: &str = "/";
/// How long a guest who is one too many is told to wait, in seconds.
const RETRY_AFTER_SECONDS: u32 = 2;

/// What is known of a request. Its body is nobody's business here.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) client: Client,
    pub(super) standing: Standing,
    /// Whether only the head is wanted.
    pub(super) head: bool,
    /// Not decoded, without the query.
    pub(super) path: String,
    /// Not decoded; empty if there is none.
    pub(super) raw_query: String,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
}

impl Ask {
    /// A header's first value; `None` also if it is not text.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether `Cache-Control` forbids to look elsewhere.
    pub(super) fn only_here(&self) -> bool {
        self.header(header::CACHE_CONTROL).is_some_and(|value| {
            let mut parts = value.split(',');
            parts.any(|part| part.trim().eq_ignore_ascii_case("only-if-cached"))
        })
    }
}

/// Answers one request.
pub(super) async fn answer(
    gateway: &Arc<Gateway>,
    client: Client,
    request: Request<Incoming>,
) -> Response<Body> {
    let standing = standing(client, request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let pages = gateway.backend.pages.as_ref();
    if let Some(pages) = pages.filter(|pages| pages.has(&method, &path)) {
        return match standing {
            Standing::Owner => pages.answer(client, request).await,
            Standing::Guest if path == FRONT && is_visit(client, &method, request.headers()) => {
                pages.answer(client, request).await
            }
            Standing::Guest => {
                let reason = "this page is for this computer alone, under the name 127.0.0.1 or localhost and its own port";
                Refusal::new(StatusCode::FORBIDDEN, reason).answer()
            }
        };
    }
    let area = Area::of(&path);
    if method == Method::OPTIONS && area.is_some() {
        return preflight();
    }
    if method != Method::GET && method != Method::HEAD {
        return Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are understood here",
        )
        .with(header::ALLOW, "GET, HEAD, OPTIONS")
        .answer();
    }
    let raw_query = request.uri().query().unwrap_or_default().to_owned();
    let ask = Ask {
        client,
        standing,
        head: method == Method::HEAD,
        query: Query::parse(&raw_query),
        path,
        raw_query,
        headers: request.into_parts().0.headers,
    };
    let answered = match area {
        Some(Area::Ipfs) => ipfs::answer(gateway, &ask).await,
        Some(Area::Ipns) => ipns::answer(gateway, &ask).await,
        Some(Area::Peer) => peer::answer(gateway, &ask).await,
        Some(Area::Routing) => routing::answer(gateway, &ask).await,
        None => Err(Refusal::not_found("there is nothing at this address")),
    };
    let mut answer = answered.unwrap_or_else(Refusal::answer);
    if area.is_some_and(Area::is_public) {
        open_to_pages(&mut answer);
    }
    if ask.head {
        *answer.body_mut() = answer::no_body();
    }
    answer
}

/// 429, for a guest who is one too many.
pub(super) fn busy() -> Refusal {
    let message = "too many others are being served; ask again later";
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, message)
        .with(header::RETRY_AFTER, RETRY_AFTER_SECONDS)
}

/// The parts of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Area {
    Ipfs,
    Ipns,
    Peer,
    Routing,
}

impl Area {
    fn of(path: &str) -> Option<Area> {
        [
            ("/ipfs/", Area::Ipfs),
            ("/ipns/", Area::Ipns),
            ("/callao/v1/", Area::Peer),
            ("/routing/v1/", Area::Routing),
        ]
        .into_iter()
        .find_map(|(prefix, area)| path.starts_with(prefix).then_some(area))
    }

    /// Whether pages of other sites may read the answers, as the specifications of gateways and routers want it. callao's own
    /// API is for its peers.
    fn is_public(self) -> bool {
        self != Area::Peer
    }
}

fn open_to_pages(answer: &mut Response<Body>) {
    put(answer, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    put(
        answer,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        "Content-Length, Content-Range, X-Ipfs-Path, X-Ipfs-Roots",
    );
}

fn preflight() -> Response<Body> {
    let mut answer = answer::empty(StatusCode::NO_CONTENT);
    open_to_pages(&mut answer);
    put(
        &mut answer,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        "GET, HEAD, OPTIONS",
    );
    put(
        &mut answer,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "Accept, Cache-Control, Content-Type, If-None-Match, Range",
    );
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas() {
        for (path, area) in [
            ("/ipfs/bafkqaaa", Some(Area::Ipfs)),
            ("/ipfs/", Some(Area::Ipfs)),
            ("/ipfs", None),
            ("/IPFS/bafkqaaa", None),
            ("/ipns/k51", Some(Area::Ipns)),
            ("/callao/v1/have/x", Some(Area::Peer)),
            ("/routing/v1/providers/x", Some(Area::Routing)),
            ("/api/v0/version", None),
            ("//ipfs/bafkqaaa", None),
            ("/", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(Area::of(path), area, "{path}");
        }
    }
}
