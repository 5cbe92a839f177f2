//! Gets what a registry wants to see in `Authorization`, and keeps it as long as it counts. The policy is in `auth`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, RequestBuilder};
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use super::auth::{self, Challenge, Policy};
use super::error::OciError;
use super::login::{Login, Logins};
use super::registry::{self, Scope};
use crate::answer::{self, Waits};
use crate::limits::{OCI_TOKEN_BYTES_MAX, OCI_TOKEN_MARGIN};
use crate::source::SourceError;

/// Who we say we are to a token server.
const CLIENT_ID: &str = "callao";

/// The authorisations for one registry.
pub(super) struct Tokens {
    client: Client,
    waits: Waits,
    policy: Policy,
    logins: Arc<dyn Logins>,
    /// The name under which logins for the registry are kept.
    key: String,
    kept: Mutex<HashMap<Scope, Kept>>,
}

struct Kept {
    value: HeaderValue,
    until: Option<Instant>,
}

/// What a challenge led to.
pub(super) struct Answered {
    /// What to send; `None`: there is nothing to be had.
    pub(super) value: Option<HeaderValue>,
    /// A login went into it.
    pub(super) with_login: bool,
    /// What was not done, and why.
    pub(super) notes: Vec<String>,
}

impl Tokens {
    /// `client` must follow no redirect: what it sends is for one host only.
    pub(super) fn new(
        client: Client,
        waits: Waits,
        policy: Policy,
        logins: Arc<dyn Logins>,
        key: &str,
    ) -> Self {
        Tokens {
            client,
            waits,
            policy,
            logins,
            key: key.into(),
            kept: Mutex::default(),
        }
    }

    /// What was found for this scope before and still counts.
    pub(super) fn kept(&self, scope: &Scope) -> Option<HeaderValue> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.get(scope)?;
        let counts = found.until.is_none_or(|until| Instant::now() < until);
        counts.then(|| found.value.clone())
    }

    fn keep(&self, scope: &Scope, value: &HeaderValue, until: Option<Instant>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let value = value.clone();
        kept.insert(scope.clone(), Kept { value, until });
    }

    /// Answers the challenges of a registry.
    pub(super) async fn answer(
        &self,
        base: &Url,
        scope: &Scope,
        challenges: &[Challenge],
    ) -> Result<Answered, OciError> {
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => Some((realm, service, scope)),
            Challenge::Basic => None,
        });
        if let Some((realm, service, asked)) = bearer {
            let asked = asked.clone().unwrap_or_else(|| scope.text());
            return self
                .token(base, scope, realm, service.as_deref(), &asked)
                .await;
        }
        let mut answered = Answered {
            value: None,
            with_login: false,
            notes: Vec::new(),
        };
        if challenges.contains(&Challenge::Basic) {
            match self.login(scope).await {
                Some(Login::Password { user, secret }) => {
                    let value = basic(&user, &secret);
                    if let Some(value) = &value {
                        self.keep(scope, value, None);
                    }
                    answered.with_login = value.is_some();
                    answered.value = value;
                }
                Some(Login::Identity(_)) => answered.notes.push(
                    "the registry wants a password, and the login is an identity token".into(),
                ),
                None => {}
            }
        }
        Ok(answered)
    }

    async fn token(
        &self,
        base: &Url,
        scope: &Scope,
        realm: &str,
        service: Option<&str>,
        asked: &str,
    ) -> Result<Answered, OciError> {
        let realm = self
            .policy
            .realm(base, realm)
            .map_err(|why| OciError::Source(SourceError::Protocol(why)))?;
        let login = self.login(scope).await;
        let (login, notes) = match (login, realm.withheld) {
            (Some(_), Some(why)) => (None, vec![why]),
            (login, _) => (login, Vec::new()),
        };
        let with_login = login.is_some();
        let request = self.request(realm.url.clone(), service, asked, login.as_ref());
        let mut response = answer::send(request, &self.waits)
            .await
            .map_err(|error| at_server(error, &realm.url))?;
        if !response.status().is_success() {
            let status = response.status();
            let refusal = match status.is_redirection() {
                true => SourceError::Protocol("it redirects, which a login does not follow".into()),
                false => registry::refusal(response, &self.waits).await,
            };
            let refusal = at_server(refusal, &realm.url);
            return Err(match status.as_u16() {
                400 | 401 | 403 => OciError::Login {
                    why: refusal.to_string(),
                    notes,
                    sent: with_login,
                },
                _ => OciError::Source(refusal),
            });
        }
        let body = answer::body(&mut response, OCI_TOKEN_BYTES_MAX, &self.waits)
            .await
            .map_err(|error| at_server(error, &realm.url))?;
        let value = auth::token(&body).and_then(|(token, life)| {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
            value.set_sensitive(true);
            let until = Instant::now() + life.saturating_sub(OCI_TOKEN_MARGIN);
            self.keep(scope, &value, Some(until));
            Some(value)
        });
        if value.is_none() {
            let why = SourceError::Protocol("answered without a token".into());
            return Err(OciError::Source(at_server(why, &realm.url)));
        }
        Ok(Answered {
            value,
            with_login,
            notes,
        })
    }

    /// The request for a token: a GET with or without name and password, or a POST with an identity token.
    fn request(
        &self,
        mut realm: Url,
        service: Option<&str>,
        asked: &str,
        login: Option<&Login>,
    ) -> RequestBuilder {
        if let Some(Login::Identity(token)) = login {
            let mut form = Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token");
            form.append_pair("service", service.unwrap_or_default());
            form.append_pair("scope", asked);
            form.append_pair("client_id", CLIENT_ID);
            form.append_pair("refresh_token", token);
            return self
                .client
                .request(Method::POST, realm)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.finish());
        }
        {
            let mut query = realm.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", asked);
        }
        match login {
            Some(Login::Password { user, secret }) => {
                self.client.get(realm).basic_auth(user, Some(secret))
            }
            _ => self.client.get(realm),
        }
    }

    /// Looks for the login, on a thread of its own: a helper may take its time.
    async fn login(&self, scope: &Scope) -> Option<Login> {
        let logins = Arc::clone(&self.logins);
        let (key, repository) = (self.key.clone(), scope.repository.clone());
        let found = tokio::task::spawn_blocking(move || logins.find(&key, &repository)).await;
        // A panic there has been printed; without a login the registry says what it wants.
        found.unwrap_or_default()
    }
}

/// Says that it was the token server.
fn at_server(error: SourceError, realm: &Url) -> SourceError {
    let server = auth::host(realm);
    let name = |why: String| format!("token server {server}: {why}");
    match error {
        SourceError::Network(why) => SourceError::Network(name(why)),
        SourceError::Busy { why, retry_after } => SourceError::Busy {
            why: name(why),
            retry_after,
        },
        other => SourceError::Protocol(name(other.to_string())),
    }
}

fn basic(user: &str, secret: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!(
        "Basic {}",
        STANDARD.encode(format!("{user}:{secret}"))
    ))
    .ok()?;
    value.set_sensitive(true);
    Some(value)
}
