//! The client of one registry: logins where they belong, redirects by hand, refusals in its own words, a few tries.
//! Knows the protocol of the distribution specification, and nothing of what is in a manifest.
//!
//! Redirects are followed here and not by the HTTP library, because of the one rule that must not break: what lets us
//! in is sent to the registry's own origin and nowhere else (`redirects`).

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use reqwest::{Client, Method, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::auth::{self, Policy};
use super::error::OciError;
use super::login::Logins;
use super::manifest::{self, BadManifest};
use super::redirects;
use super::reference::Reference;
use super::tokens::Tokens;
use crate::answer::{self, Waits};
use crate::limits::{OCI_MANIFEST_BYTES_MAX, OCI_TRIES_COUNT_MAX, REDIRECTS_COUNT_MAX};
use crate::retry;
use crate::source::SourceError;
use crate::source::http::Fetcher;

/// How much of a refusal's body is read for the message.
const REFUSAL_BYTES_MAX: usize = 4096;

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Path of the repository.
    pub repository: String,
    /// May it write?
    pub push: bool,
}

/// How registries are spoken to.
#[derive(Clone)]
pub struct RegistryOptions {
    /// Follows no redirect.
    pub client: Client,
    /// How long to wait for what.
    pub waits: Waits,
    /// Who may be told what.
    pub policy: Policy,
    /// Who knows logins.
    pub logins: Arc<dyn Logins>,
}

/// One repository of a registry.
pub struct Registry {
    client: Client,
    waits: Waits,
    policy: Policy,
    base: Url,
    tokens: Tokens,
    scope: Scope,
}

/// One request; it may be sent more than once.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A document as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its bytes.
    pub bytes: Bytes,
    /// What the registry calls it.
    pub content_type: String,
}

impl Scope {
    /// As token servers read it.
    pub(super) fn text(&self) -> String {
        let actions = if self.push { "pull,push" } else { "pull" };
        format!("repository:{}:{actions}", self.repository)
    }
}

impl Registry {
    /// The repository of a reference; nothing is sent yet.
    pub fn new(
        options: &RegistryOptions,
        reference: &Reference,
        push: bool,
    ) -> Result<Self, OciError> {
        let base = options.policy.base(reference.api_host());
        let base = base.ok_or_else(|| {
            let why = format!("`{}` is not a host", reference.registry);
            OciError::Source(SourceError::Protocol(why))
        })?;
        let tokens = Tokens::new(
            options.client.clone(),
            options.waits,
            options.policy.clone(),
            Arc::clone(&options.logins),
            reference.login_key(),
        );
        Ok(Registry {
            client: options.client.clone(),
            waits: options.waits,
            policy: options.policy.clone(),
            base,
            tokens,
            scope: Scope {
                repository: reference.repository.clone(),
                push,
            },
        })
    }

    /// The address of something in the repository, such as `blobs/sha256:...`.
    pub fn url(&self, rest: &str) -> Url {
        let mut url = self.base.clone();
        // Both parts have only characters that a path may have.
        url.set_path(&format!("/v2/{}/{rest}", self.scope.repository));
        url
    }

    /// Which waits apply.
    pub(crate) fn waits(&self) -> &Waits {
        &self.waits
    }

    /// A manifest by tag or digest, not yet verified.
    pub async fn manifest(&self, name: &str) -> Result<Received, OciError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(manifest::ACCEPT));
        let ask = Ask {
            method: Method::GET,
            url: self.url(&format!("manifests/{name}")),
            headers,
            body: Bytes::new(),
        };
        let mut failures = 0;
        loop {
            match self.receive(&ask).await {
                Ok(received) => return Ok(received),
                Err(error) => pause(&mut failures, error).await?,
            }
        }
    }

    async fn receive(&self, ask: &Ask) -> Result<Received, OciError> {
        let mut response = self.send(ask).await?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let content_type = answer::media_type(response.headers());
        let body = answer::body(&mut response, OCI_MANIFEST_BYTES_MAX, &self.waits).await;
        let bytes = body.map_err(|error| match error {
            SourceError::Protocol(_) => OciError::Manifest(BadManifest::TooLong),
            other => OciError::Source(other),
        })?;
        Ok(Received {
            bytes,
            content_type,
        })
    }

    /// Sends a request and waits for the head of its answer, whatever its status: lets itself in where it is asked
    /// to, and follows redirects of what only reads.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Response, OciError> {
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS_COUNT_MAX {
            let response = self.send_to(&url, ask).await?;
            let moved = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !moved || !matches!(ask.method, Method::GET | Method::HEAD) {
                return Ok(response);
            }
            let location = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok())
                .ok_or_else(|| protocol("redirects to nowhere".into()))?;
            url = redirects::next(response.url(), location).map_err(protocol)?;
        }
        Err(protocol(
            "does not lead anywhere: too many redirects".into(),
        ))
    }

    /// One hop. Only the registry's own origin sees an authorisation, and only its challenges are answered.
    async fn send_to(&self, url: &Url, ask: &Ask) -> Result<Response, OciError> {
        let own = redirects::same_origin(url, &self.base);
        let kept = self.tokens.kept(&self.scope).filter(|_| own);
        let had_one = kept.is_some();
        let response = self.once(url, ask, kept).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !own {
            return Ok(response);
        }
        let challenges = auth::challenges(
            response
                .headers()
                .get_all(WWW_AUTHENTICATE)
                .iter()
                .filter_map(|value| value.to_str().ok()),
        );
        let answered = self
            .tokens
            .answer(&self.base, &self.scope, &challenges)
            .await?;
        let Some(value) = answered.value else {
            let why = self.refusal(response).await.to_string();
            return Err(OciError::Login {
                why,
                notes: answered.notes,
                sent: had_one,
            });
        };
        let second = self.once(url, ask, Some(value)).await?;
        match second.status().as_u16() {
            401 | 403 => Err(OciError::Login {
                why: self.refusal(second).await.to_string(),
                notes: answered.notes,
                sent: answered.with_login,
            }),
            _ => Ok(second),
        }
    }

    async fn once(
        &self,
        url: &Url,
        ask: &Ask,
        authorisation: Option<HeaderValue>,
    ) -> Result<Response, OciError> {
        let mut request = self
            .client
            .request(ask.method.clone(), url.clone())
            .headers(ask.headers.clone());
        if !matches!(ask.method, Method::GET | Method::HEAD) {
            request = request.body(ask.body.clone());
        }
        if let Some(value) = authorisation {
            request = request.header(AUTHORIZATION, value);
        }
        Ok(answer::send(request, &self.waits).await?)
    }

    /// Whether this host may be spoken to in this way.
    pub(super) fn allows(&self, url: &Url) -> bool {
        url.scheme() == "https" || self.policy.allows_http(url)
    }

    /// What a refusal means, in the words of the registry.
    pub(super) async fn refusal(&self, response: Response) -> OciError {
        let status = response.status();
        let refusal = refusal(response, &self.waits).await;
        match status.as_u16() {
            401 | 403 => OciError::Login {
                why: refusal.to_string(),
                notes: Vec::new(),
                sent: false,
            },
            _ => OciError::Source(refusal),
        }
    }
}

impl Fetcher for Registry {
    fn get(&self, url: Url, headers: HeaderMap) -> BoxFuture<'_, Result<Response, SourceError>> {
        Box::pin(async move {
            let ask = Ask {
                method: Method::GET,
                url,
                headers,
                body: Bytes::new(),
            };
            let response = self.send(&ask).await.map_err(as_source)?;
            match response.status().is_success()
                || response.status() == StatusCode::RANGE_NOT_SATISFIABLE
            {
                true => Ok(response),
                false => Err(as_source(self.refusal(response).await)),
            }
        })
    }
}

/// Waits before the next try, where the registry is busy or fails for the moment; any other error is final.
pub(super) async fn pause(failures: &mut u32, error: OciError) -> Result<(), OciError> {
    let retry_after = match &error {
        OciError::Source(SourceError::Busy { retry_after, .. }) => *retry_after,
        OciError::Source(SourceError::Network(_)) => None,
        _ => return Err(error),
    };
    *failures += 1;
    if *failures >= OCI_TRIES_COUNT_MAX {
        return Err(error);
    }
    tokio::time::sleep(retry::pause(*failures, retry_after, rand::random())).await;
    Ok(())
}

/// What a status means, with what the server says about it.
pub(super) async fn refusal(mut response: Response, waits: &Waits) -> SourceError {
    let status = response.status();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if let Some(wait) = response.headers().get(RETRY_AFTER) {
        headers.insert(RETRY_AFTER, wait.clone());
    }
    let mut body = Vec::new();
    // A body that does not come leaves the message shorter, that is all.
    while body.len() < REFUSAL_BYTES_MAX {
        match answer::next(&mut response, waits).await {
            Ok(Some(bytes)) => body.extend_from_slice(&bytes),
            Ok(None) | Err(_) => break,
        }
    }
    answer::refusal(status, &headers, said(&body).as_bytes())
}

/// The errors of the specification.
#[derive(Deserialize)]
struct Errors {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What a registry says about a refusal: its first error, else its first line if that is plain text.
fn said(body: &[u8]) -> String {
    if let Ok(errors) = serde_json::from_slice::<Errors>(body)
        && let Some(first) = errors.errors.first()
    {
        return match (first.code.is_empty(), first.message.is_empty()) {
            (_, true) => first.code.clone(),
            (true, false) => first.message.clone(),
            (false, false) => format!("{}: {}", first.code, first.message),
        };
    }
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next().unwrap_or("").trim();
    if line.starts_with(['<', '{', '[']) {
        return String::new();
    }
    line.chars().take(200).collect()
}

/// For the engine, which knows no logins.
pub(crate) fn as_source(error: OciError) -> SourceError {
    match error {
        OciError::Source(error) => error,
        other => SourceError::Protocol(other.to_string()),
    }
}

pub(super) fn protocol(why: String) -> OciError {
    OciError::Source(SourceError::Protocol(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_quoted_in_the_registrys_words() {
        let table = [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
                "MANIFEST_UNKNOWN: manifest unknown",
            ),
            (r#"{"errors":[{"code":"DENIED"}]}"#, "DENIED"),
            (r#"{"errors":[{"message":"no"}]}"#, "no"),
            (r#"{"errors":[]}"#, ""),
            (r#"{"details":"x"}"#, ""),
            ("<html>", ""),
            ("slow down\nmore", "slow down"),
            ("", ""),
        ];
        for (body, wanted) in table {
            assert_eq!(said(body.as_bytes()), wanted, "{body}");
        }
    }
}
