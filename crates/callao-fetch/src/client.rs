//! The HTTP clients of this crate. Each is made for one use, so that no source can follow a redirect or reach an
//! address that it must not. TLS needs a crypto provider that the program installed; credentials are not handled here.

use std::sync::Arc;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};

use crate::answer::Waits;
use crate::error::Error;
use crate::limits::REDIRECTS_COUNT_MAX;
use crate::netfilter::{Filtered, Scope};

/// Whether proxies are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxies {
    /// Those of the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
    Environment,
    /// None.
    None,
}

/// What all clients have in common.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// `User-Agent`. Must not begin with `Mozilla`: kubo's API takes that for a web page and refuses.
    pub user_agent: String,
    /// Only [`Waits::connect`] counts here; the sources apply the others.
    pub waits: Waits,
    /// Proxies of clients for places that the user named.
    pub proxies: Proxies,
}

/// For plain files: follows at most [`REDIRECTS_COUNT_MAX`] redirects.
pub fn plain(options: &ClientOptions) -> Result<Client, Error> {
    build(&|| with_proxies(options).redirect(Policy::limited(REDIRECTS_COUNT_MAX)))
}

/// For gateways, routers and kubo daemons that the user or the settings named: follows no redirect by itself.
pub fn blocks(options: &ClientOptions) -> Result<Client, Error> {
    build(&|| with_proxies(options).redirect(Policy::none()))
}

/// For places that a provider record named: no redirects, and names resolve only to addresses that `scope` allows.
///
/// Goes through no proxy: a proxy would resolve the name itself, out of reach of the filter.
/// Address literals never reach a resolver; [`crate::netfilter::check_url`] is for them.
pub fn routed(options: &ClientOptions, scope: Scope) -> Result<Client, Error> {
    build(&|| {
        base(options)
            .no_proxy()
            .redirect(Policy::none())
            .dns_resolver(Arc::new(Filtered { scope }))
    })
}

/// For other callaos on the local network: no redirects, and no proxy, which would not be nearer than they are.
pub fn lan(options: &ClientOptions) -> Result<Client, Error> {
    build(&|| base(options).no_proxy().redirect(Policy::none()))
}

fn with_proxies(options: &ClientOptions) -> ClientBuilder {
    match options.proxies {
        Proxies::Environment => base(options),
        Proxies::None => base(options).no_proxy(),
    }
}

fn base(options: &ClientOptions) -> ClientBuilder {
    let mut headers = HeaderMap::new();
    // Offsets and digests are those of the file, not of a compressed form of it.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Client::builder()
        .user_agent(options.user_agent.clone())
        .default_headers(headers)
        .connect_timeout(options.waits.connect)
        .referer(false)
}

fn build(builder: &dyn Fn() -> ClientBuilder) -> Result<Client, Error> {
    // A machine without any root certificate must still reach plain HTTP on its LAN; HTTPS then fails by itself.
    let client = builder()
        .build()
        .or_else(|_| builder().tls_certs_only([]).build());
    client.map_err(|error| Error::Internal(format!("no HTTP client: {error}")))
}
