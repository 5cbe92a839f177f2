//! A running kubo daemon, by its RPC API: blocks from the API; spans from the daemon's gateway, which is several times
//! faster than `cat`, or from `cat` where the gateway cannot be reached. Knows nothing of repositories on disk.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use callao_content::Cid;
use futures::future::BoxFuture;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use url::{Host, Url};

use super::gateway::{Gateway, GatewayOptions};
use super::{Abilities, Source, SourceError, SourceId, SourceKind, Span, Traits};
use crate::answer::{self, Waits};
use crate::limits::{API_BODY_BYTES_MAX, BLOCK_BYTES_MAX, GATEWAY_LANES_COUNT_MAX};
use crate::routing::gateway_url;
use crate::sink::SpanSink;

/// The empty file as an identity CID: every gateway has it.
const PROBE: &str = "ipfs/bafkqaaa?format=raw";

/// The longest version that is shown.
const VERSION_CHARS_MAX: usize = 60;

/// How a daemon is asked.
#[derive(Debug, Clone, Default)]
pub struct KuboOptions {
    /// How long to wait.
    pub waits: Waits,
    /// Only for what it has: it must not ask its own network.
    pub offline: bool,
    /// Its gateway, if that is known (`$IPFS_PATH/gateway`); otherwise the daemon is asked.
    pub gateway: Option<Url>,
}

/// One daemon, for one file.
pub struct KuboRpc {
    id: SourceId,
    client: Client,
    api: Url,
    cid: Cid,
    options: KuboOptions,
    /// The version was asked for and was kubo's.
    is_kubo: AtomicBool,
    route: Mutex<Option<Route>>,
    /// Held while the route is looked for, so that one lane does it for all.
    looking: tokio::sync::Mutex<()>,
}

/// How spans come from this daemon.
#[derive(Clone)]
enum Route {
    /// Through its gateway; with what the gateway was allowed to look for.
    Gateway {
        gateway: Arc<Gateway>,
        only_if_cached: bool,
    },
    /// By the API.
    Cat,
}

/// The address of an API as people write it: a URL, a multiaddr (`/ip4/127.0.0.1/tcp/5001`), or `HOST:PORT`.
pub fn api_url(text: &str) -> Option<Url> {
    let text = text.trim();
    let mut url = if text.starts_with('/') {
        listen_url(text)?
    } else if text.contains("://") {
        Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?
    } else {
        Url::parse(&format!("http://{text}"))
            .ok()
            .filter(|url| url.port().is_some())?
    };
    let path = url
        .path()
        .trim_end_matches('/')
        .trim_end_matches("/api/v0")
        .to_owned();
    url.set_path(&format!("{path}/"));
    Some(url)
}

impl KuboRpc {
    /// The file `cid` at the daemon whose API is at `api` (see [`api_url`]). `client` follows no redirects.
    pub fn new(client: Client, api: Url, cid: Cid, options: KuboOptions) -> Self {
        let place = api.as_str().trim_end_matches('/').to_owned();
        KuboRpc {
            id: SourceId {
                kind: SourceKind::Kubo,
                place,
            },
            client,
            api,
            cid,
            options,
            is_kubo: AtomicBool::new(false),
            route: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    async fn get_block(&self, cid: &Cid) -> Result<Bytes, SourceError> {
        self.check_version().await?;
        let text = callao_content::cid::text(cid);
        // Without a time-out the daemon would look for it for ever.
        let how = match self.options.offline {
            true => "offline=true".to_owned(),
            false => format!("timeout={}ms", self.options.waits.headers.as_millis()),
        };
        let mut response = self.call(&format!("block/get?arg={text}&{how}")).await?;
        answer::body(&mut response, BLOCK_BYTES_MAX, &self.options.waits).await
    }

    async fn deliver(&self, span: Span, sink: &mut SpanSink) -> Result<(), SourceError> {
        let route = self.find_route().await?;
        let Route::Gateway {
            gateway,
            only_if_cached,
        } = route
        else {
            let end = span
                .layout
                .as_ref()
                .map_or(span.range.end, |layout| span.range.end.min(layout.size()));
            return self.cat(span.range.start..end, sink).await;
        };
        let mut result = gateway.send(span.clone(), sink).await;
        if matches!(result, Err(SourceError::NotFound(_)))
            && only_if_cached
            && !self.options.offline
        {
            // It is not at hand, but the daemon may look for it in its own network.
            let gateway = Arc::new(self.gateway(gateway.base().clone(), false));
            self.set_route(Some(Route::Gateway {
                gateway: Arc::clone(&gateway),
                only_if_cached: false,
            }));
            let range = sink.position()..span.range.end;
            result = gateway.send(Span { range, ..span }, sink).await;
        }
        if matches!(result, Err(SourceError::Network(_))) {
            // It may have died, or come back with another gateway.
            self.set_route(None);
        }
        result
    }

    /// Bytes of the file by `cat`. A failure after the first byte shows only as an answer that is too short.
    async fn cat(&self, range: Range<u64>, sink: &mut SpanSink) -> Result<(), SourceError> {
        let length = range.end.saturating_sub(range.start);
        let offline = if self.options.offline {
            "&offline=true"
        } else {
            ""
        };
        let text = callao_content::cid::text(&self.cid);
        let call = format!(
            "cat?arg={text}&offset={}&length={length}{offline}",
            range.start
        );
        let mut response = self.call(&call).await?;
        let mut left = length;
        while left > 0 {
            let Some(bytes) = answer::next(&mut response, &self.options.waits).await? else {
                return Err(SourceError::Network(format!(
                    "the answer ended {left} bytes early"
                )));
            };
            let count = left.min(bytes.len() as u64);
            left -= count;
            if sink.push(&bytes[..count as usize]).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn find_route(&self) -> Result<Route, SourceError> {
        let looking = self.looking.lock().await;
        if let Some(route) = self.route() {
            return Ok(route);
        }
        self.is_kubo.store(false, Ordering::Relaxed);
        self.check_version().await?;
        let mut route = Route::Cat;
        for base in self.gateways().await {
            if self.answers(&base).await {
                let gateway = Arc::new(self.gateway(base, true));
                route = Route::Gateway {
                    gateway,
                    only_if_cached: true,
                };
                break;
            }
        }
        self.set_route(Some(route.clone()));
        drop(looking);
        Ok(route)
    }

    /// Where its gateway may be: as it was told, as the daemon says. What the daemon does not tell is not there.
    async fn gateways(&self) -> Vec<Url> {
        let mut all: Vec<Url> = self.options.gateway.iter().cloned().collect();
        if let Ok(mut response) = self.call("config?arg=Addresses.Gateway").await
            && let Ok(body) =
                answer::body(&mut response, API_BODY_BYTES_MAX, &self.options.waits).await
        {
            all.extend(listed_gateways(&body, &self.api));
        }
        all
    }

    async fn answers(&self, base: &Url) -> bool {
        let Ok(url) = base.join(PROBE) else {
            return false;
        };
        let answered = answer::send(self.client.get(url), &self.options.waits).await;
        answered.is_ok_and(|response| response.status() == StatusCode::OK)
    }

    fn gateway(&self, base: Url, only_if_cached: bool) -> Gateway {
        let options = GatewayOptions {
            waits: self.options.waits,
            lan: true,
            only_if_cached,
        };
        Gateway::named(
            self.id.clone(),
            self.client.clone(),
            base,
            self.cid,
            options,
        )
    }

    async fn look(&self) -> Abilities {
        let version = self.version().await.ok();
        let way = self.find_route().await.ok().map(|route| match route {
            Route::Gateway { gateway, .. } => {
                format!(
                    "its gateway {}",
                    gateway.base().as_str().trim_end_matches('/')
                )
            }
            Route::Cat => "the API alone: its gateway cannot be reached".into(),
        });
        Abilities {
            version: version.map(|version| format!("kubo {version}")),
            way,
            ..Abilities::of(&self.traits())
        }
    }

    async fn check_version(&self) -> Result<(), SourceError> {
        if !self.is_kubo.load(Ordering::Relaxed) {
            self.version().await?;
            self.is_kubo.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn version(&self) -> Result<String, SourceError> {
        let mut response = self.call("version").await?;
        version_in(&mut response, &self.options.waits).await
    }

    /// One call; anything but 200 is an error with the daemon's own words.
    async fn call(&self, what: &str) -> Result<Response, SourceError> {
        let url = self.api.join(&format!("api/v0/{what}"));
        let url =
            url.map_err(|error| SourceError::Protocol(format!("cannot be asked: {error}")))?;
        call(&self.client, url, &self.options.waits).await
    }

    fn route(&self) -> Option<Route> {
        self.route
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_route(&self, route: Option<Route>) {
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = route;
    }
}

impl Source for KuboRpc {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn traits(&self) -> Traits {
        let by_api = Traits {
            blocks: true,
            spans: true,
            needs_layout: true,
            ranges: true,
            lanes_max: GATEWAY_LANES_COUNT_MAX,
            span_bytes_max: u64::MAX,
        };
        match self.route() {
            Some(Route::Gateway { gateway, .. }) => gateway.traits(),
            Some(Route::Cat) | None => by_api,
        }
    }

    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, SourceError>> {
        Box::pin(self.get_block(cid))
    }

    fn abilities<'a>(&'a self, _root: Option<&'a Cid>) -> BoxFuture<'a, Abilities> {
        Box::pin(self.look())
    }

    fn send<'a>(
        &'a self,
        span: Span,
        sink: &'a mut SpanSink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(self.deliver(span, sink))
    }
}

/// Calls the API at `url`; anything but 200 is an error with the daemon's own words.
pub(crate) async fn call(
    client: &Client,
    url: Url,
    waits: &Waits,
) -> Result<Response, SourceError> {
    let response = answer::send(client.post(url), waits).await?;
    accepted(response, waits).await
}

/// An answer that is a 200; or the daemon's own words.
pub(crate) async fn accepted(
    mut response: Response,
    waits: &Waits,
) -> Result<Response, SourceError> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        let body = answer::body(&mut response, API_BODY_BYTES_MAX, waits).await?;
        return Err(api_error(&body));
    }
    Err(match answer::refused(response, waits).await {
        // Unknown command: this is no kubo. A block that is missing is a 500.
        SourceError::NotFound(why) => SourceError::Protocol(why),
        other => other,
    })
}

/// The version in the answer to `version`.
pub(crate) async fn version_in(
    response: &mut Response,
    waits: &Waits,
) -> Result<String, SourceError> {
    #[derive(Deserialize)]
    struct Said {
        #[serde(rename = "Version")]
        version: String,
    }
    let body = answer::body(response, API_BODY_BYTES_MAX, waits).await?;
    let said = serde_json::from_slice::<Said>(&body)
        .map_err(|_| SourceError::Protocol("what answers there is not the API of kubo".into()))?;
    let plain = said.version.chars().filter(|c| !c.is_control());
    Ok(plain.take(VERSION_CHARS_MAX).collect())
}

/// An error of the API: HTTP 500 and `{"Message":..}` for nearly everything.
fn api_error(body: &[u8]) -> SourceError {
    #[derive(Deserialize)]
    struct Said {
        #[serde(rename = "Message")]
        message: String,
    }
    let Ok(Said { message }) = serde_json::from_slice(body) else {
        return SourceError::Network("HTTP 500 Internal Server Error".into());
    };
    let message: String = message
        .chars()
        .filter(|c| !c.is_control())
        .take(300)
        .collect();
    if message.contains("not found") || message.contains("could not find") {
        SourceError::NotFound(message)
    } else if message.contains("invalid") {
        SourceError::Protocol(message)
    } else {
        SourceError::Network(message)
    }
}

/// The gateways in the answer to `config Addresses.Gateway`: one multiaddr or a list of them.
fn listed_gateways(body: &[u8], api: &Url) -> Vec<Url> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        One(String),
        Several(Vec<String>),
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(rename = "Value")]
        value: Value,
    }
    let Ok(entry) = serde_json::from_slice::<Entry>(body) else {
        return Vec::new();
    };
    let addresses = match entry.value {
        Value::One(address) => vec![address],
        Value::Several(addresses) => addresses,
    };
    addresses
        .iter()
        .filter_map(|address| reachable(listen_url(address)?, api))
        .collect()
}

/// The URL of what listens at a multiaddr; without a scheme it is plain HTTP.
fn listen_url(multiaddr: &str) -> Option<Url> {
    gateway_url(multiaddr).or_else(|| gateway_url(&format!("{multiaddr}/http")))
}

/// A listening address as it looks from here, which is where `api` can be reached.
fn reachable(mut listens: Url, api: &Url) -> Option<Url> {
    let is_any = match listens.host() {
        Some(Host::Ipv4(address)) => address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.is_unspecified(),
        _ => false,
    };
    if is_any {
        listens.set_host(api.host_str()).ok()?;
    }
    // The loopback of another machine is not ours.
    (!is_loopback(&listens) || is_loopback(api)).then_some(listens)
}

/// Whether an API is on this computer.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_addresses_are_read_as_people_write_them() {
        let table = [
            ("/ip4/127.0.0.1/tcp/5001", Some("http://127.0.0.1:5001/")),
            ("/ip4/127.0.0.1/tcp/5001\n", Some("http://127.0.0.1:5001/")),
            ("/dns/kubo.lan/tcp/443/https", Some("https://kubo.lan/")),
            ("/ip6/::1/tcp/5001", Some("http://[::1]:5001/")),
            ("http://127.0.0.1:5001", Some("http://127.0.0.1:5001/")),
            (
                "http://127.0.0.1:5001/api/v0/",
                Some("http://127.0.0.1:5001/"),
            ),
            (
                "https://kubo.lan/proxy/api/v0",
                Some("https://kubo.lan/proxy/"),
            ),
            ("127.0.0.1:5001", Some("http://127.0.0.1:5001/")),
            ("localhost:5001", Some("http://localhost:5001/")),
            ("/unix/run/kubo.sock", None),
            ("/home/user/.ipfs", None),
            ("ftp://127.0.0.1:5001", None),
            ("kubo", None),
            ("", None),
        ];
        for (text, wanted) in table {
            assert_eq!(api_url(text).map(String::from).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn the_gateway_is_found_as_seen_from_here() {
        let api = Url::parse("http://127.0.0.1:5001/").expect("a URL");
        let far = Url::parse("http://192.168.1.7:5001/").expect("a URL");
        let listed = |body: &str, api: &Url| -> Vec<String> {
            listed_gateways(body.as_bytes(), api)
                .into_iter()
                .map(String::from)
                .collect()
        };
        let one = r#"{"Key":"Addresses.Gateway","Value":"/ip4/127.0.0.1/tcp/8080"}"#;
        assert_eq!(listed(one, &api), ["http://127.0.0.1:8080/"]);
        assert_eq!(listed(one, &far), [""; 0]);
        let any = r#"{"Key":"Addresses.Gateway","Value":["/ip4/0.0.0.0/tcp/8080","/ip6/::/tcp/81","/unix/x"]}"#;
        assert_eq!(
            listed(any, &far),
            ["http://192.168.1.7:8080/", "http://192.168.1.7:81/"]
        );
        assert_eq!(listed(r#"{"Key":"x","Value":null}"#, &api), [""; 0]);
        assert_eq!(listed("nonsense", &api), [""; 0]);
    }

    #[test]
    fn what_the_daemon_says_decides() {
        let error = |message: &str| {
            api_error(format!(r#"{{"Message":"{message}","Code":0,"Type":"error"}}"#).as_bytes())
        };
        let missing = error("block was not found locally (offline): ipld: could not find bafkqaaa");
        assert!(
            matches!(&missing, SourceError::NotFound(why) if why.contains("bafkqaaa")),
            "{missing}"
        );
        assert!(matches!(
            error("context deadline exceeded"),
            SourceError::Network(_)
        ));
        assert!(matches!(
            error("invalid path \\\"nonsense\\\""),
            SourceError::Protocol(_)
        ));
        assert!(matches!(api_error(b"<html>"), SourceError::Network(_)));
    }
}
