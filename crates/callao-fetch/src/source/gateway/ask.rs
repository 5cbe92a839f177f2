//! Requests to one gateway: addresses, the few redirects that are allowed, and whole blocks. Knows no file.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use callao_content::Cid;
use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap, LOCATION};
use reqwest::{Client, RequestBuilder, Response};
use url::{Host, Url};

use super::GatewayOptions;
use crate::answer;
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_REDIRECTS_COUNT_MAX};
use crate::netfilter::Scope;
use crate::source::SourceError;

const RAW_TYPE: &str = "application/vnd.ipld.raw";

/// Asks one gateway.
pub(super) struct Asker {
    client: Client,
    home: Url,
    /// Where its redirects led: asked directly from then on.
    moved: Mutex<Option<Url>>,
    pub(super) options: GatewayOptions,
}

impl Asker {
    pub(super) fn new(client: Client, home: Url, options: GatewayOptions) -> Self {
        Asker {
            client,
            home,
            moved: Mutex::default(),
            options,
        }
    }

    /// The address of the gateway itself.
    pub(super) fn home(&self) -> &Url {
        &self.home
    }

    /// A request for the plain file, for the caller to complete. Redirects are not followed.
    pub(super) fn file(&self, cid: &Cid) -> RequestBuilder {
        self.request(address(&self.home, cid, None))
    }

    /// A verifiable form of `cid`, `query` says which. Any status but a redirect is returned.
    ///
    /// The big public gateways send such requests on to a host of their own (`trustless-gateway.link`), so a redirect
    /// is followed if it leads to the same `/ipfs/CID` by HTTPS, and to no local address unless the gateway is on the
    /// LAN itself. Everything that arrives is proven by its hash, so the worst that it could do is to send nothing.
    pub(super) async fn ask(
        &self,
        cid: &Cid,
        query: &str,
        accept: &'static str,
    ) -> Result<Response, SourceError> {
        let base = self.moved().clone().unwrap_or_else(|| self.home.clone());
        let mut url = address(&base, cid, Some(query));
        for _ in 0..=BLOCK_REDIRECTS_COUNT_MAX {
            let answered = answer::send(
                self.request(url.clone()).header(ACCEPT, accept),
                &self.options.waits,
            )
            .await;
            let response = match answered {
                Ok(response) if response.status().is_redirection() => response,
                other => {
                    let good = other
                        .as_ref()
                        .is_ok_and(|response| response.status().is_success());
                    *self.moved() = if good {
                        moved_to(&self.home, &url)
                    } else {
                        None
                    };
                    return other;
                }
            };
            url = next_hop(&url, response.headers(), cid, query, self.options.lan)?;
        }
        Err(SourceError::Protocol(format!(
            "more than {BLOCK_REDIRECTS_COUNT_MAX} redirects"
        )))
    }

    /// One block, not proven.
    pub(super) async fn block(&self, cid: &Cid) -> Result<Bytes, SourceError> {
        let mut response = self.ask(cid, "format=raw", RAW_TYPE).await?;
        if response.status().as_u16() != 200 {
            return Err(self.refused(response).await);
        }
        let media_type = answer::media_type(response.headers());
        // The hash decides what is in it; the type only tells a page about the block from the block.
        if !matches!(
            media_type.as_str(),
            RAW_TYPE | "application/octet-stream" | ""
        ) {
            return Err(SourceError::Protocol(format!(
                "sent `{media_type}` instead of a block"
            )));
        }
        answer::body(&mut response, BLOCK_BYTES_MAX, &self.options.waits).await
    }

    /// What an answer other than the wanted one means.
    pub(super) async fn refused(&self, response: Response) -> SourceError {
        if response.status().as_u16() == 412 && self.options.only_if_cached {
            return SourceError::NotFound("it is not in its store".into());
        }
        answer::refused(response, &self.options.waits).await
    }

    fn request(&self, url: Url) -> RequestBuilder {
        let request = self.client.get(url);
        if self.options.only_if_cached {
            request.header(CACHE_CONTROL, "only-if-cached")
        } else {
            request
        }
    }

    fn moved(&self) -> std::sync::MutexGuard<'_, Option<Url>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is this status a way of saying "not like that", rather than a failure or "not here"? 404 is both: a gateway that
/// does not serve files may use it, so the next way of asking decides.
pub(super) fn is_other_way(status: u16) -> bool {
    matches!(status, 300..=399 | 400 | 404 | 405 | 406 | 415 | 501)
}

fn address(base: &Url, cid: &Cid, query: Option<&str>) -> Url {
    let mut url = base.clone();
    let prefix = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{prefix}/ipfs/{}", callao_content::cid::text(cid)));
    url.set_query(query);
    url
}

/// The address that a redirect leads to, if it may be followed.
fn next_hop(
    from: &Url,
    headers: &HeaderMap,
    cid: &Cid,
    query: &str,
    lan: bool,
) -> Result<Url, SourceError> {
    let location = headers
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
        .unwrap_or_default();
    let refuse = |why: &str| SourceError::Protocol(format!("redirects to `{location}`: {why}"));
    let mut url = from.join(location).map_err(|_| refuse("not an address"))?;
    if url.scheme() != "https" {
        return Err(refuse("not HTTPS"));
    }
    if url.path() != format!("/ipfs/{}", callao_content::cid::text(cid)) {
        return Err(refuse("another path"));
    }
    let scope = if lan { Scope::Lan } else { Scope::Public };
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        _ => None,
    };
    if address.is_some_and(|address| !scope.allows(address)) {
        return Err(refuse("an address that must not be dialled"));
    }
    url.set_query(Some(query));
    url.set_fragment(None);
    if url == *from {
        return Err(refuse("itself"));
    }
    Ok(url)
}

/// The base of `reached`, if that is not the gateway itself.
fn moved_to(home: &Url, reached: &Url) -> Option<Url> {
    let mut base = reached.clone();
    base.set_path("/");
    base.set_query(None);
    (base.origin() != home.origin()).then_some(base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn only_harmless_redirects_are_followed() {
        let text = "bafkqaaa";
        let cid = callao_content::cid::parse(text).expect("a CID");
        let from = Url::parse("https://gateway.example/ipfs/bafkqaaa?format=raw").expect("a URL");
        let hop = |location: &str, lan: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, HeaderValue::from_str(location).expect("a header"));
            next_hop(&from, &headers, &cid, "format=raw", lan).map(String::from)
        };
        let wanted = Ok("https://other.example/ipfs/bafkqaaa?format=raw".to_owned());
        assert_eq!(
            hop("https://other.example/ipfs/bafkqaaa?x=1#y", false).map_err(|e| e.to_string()),
            wanted
        );
        assert_eq!(
            hop("//other.example/ipfs/bafkqaaa", false).map_err(|e| e.to_string()),
            wanted
        );
        assert!(hop("https://192.168.1.7/ipfs/bafkqaaa", true).is_ok());
        for bad in [
            "http://other.example/ipfs/bafkqaaa",
            "https://other.example/ipfs/bafkqaab",
            "https://bafkqaaa.ipfs.example/",
            "https://other.example/ipfs/bafkqaaa/",
            "https://127.0.0.1/ipfs/bafkqaaa",
            "https://2130706433/ipfs/bafkqaaa",
            "",
        ] {
            assert!(
                matches!(hop(bad, false), Err(SourceError::Protocol(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn addresses_keep_what_is_in_front() {
        let cid = callao_content::cid::parse("bafkqaaa").expect("a CID");
        let at = |base: &str| {
            String::from(address(
                &Url::parse(base).expect("a URL"),
                &cid,
                Some("format=raw"),
            ))
        };
        assert_eq!(
            at("https://gateway.example"),
            "https://gateway.example/ipfs/bafkqaaa?format=raw"
        );
        assert_eq!(
            at("http://127.0.0.1:8080/proxy/?x"),
            "http://127.0.0.1:8080/proxy/ipfs/bafkqaaa?format=raw"
        );
    }
}
