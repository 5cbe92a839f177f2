//! What a registry asks for, and who may be told a password. Pure.
//!
//! A registry names the server that gives out tokens (`realm`), so a registry that lies could name any. A login is
//! sent to a realm only if that is the registry's own host, or a pair of `SIBLINGS` or of the settings. That somebody
//! has a login *for the realm's host* does not count: the token would go to the registry, which is another one.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::error::shown;
use super::redirects::is_loopback;
use crate::limits::OCI_TOKEN_LIFE_MIN;

/// Registries whose token server has another name, as their operators document it.
const SIBLINGS: &[(&str, &str)] = &[
    ("registry-1.docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
    ("registry.digitalocean.com", "api.digitalocean.com"),
];

/// One challenge of `WWW-Authenticate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token, which somebody else gives out.
    Bearer {
        /// Who.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

/// Where a token is asked for, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realm {
    /// The token server.
    pub url: Url,
    /// Why the login must not be sent there; `None`: it may.
    pub withheld: Option<String>,
}

/// What the policy is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Hosts, as `host` or `host:port`, to which plain http is spoken.
    pub http: Vec<String>,
    /// More pairs of registry and token server.
    pub siblings: Vec<(String, String)>,
}

impl Policy {
    /// The address of a registry's API: https, unless it is this computer or the user allows http.
    pub fn base(&self, api_host: &str) -> Option<Url> {
        let plain = Url::parse(&format!("http://{api_host}/v2/")).ok()?;
        if self.allows_http(&plain) {
            return Some(plain);
        }
        Url::parse(&format!("https://{api_host}/v2/")).ok()
    }

    /// Whether plain http may be spoken to this host.
    pub fn allows_http(&self, url: &Url) -> bool {
        is_loopback(url) || self.http.iter().any(|allowed| is_host(url, allowed))
    }

    /// Judges the realm that a registry names.
    pub fn realm(&self, registry: &Url, named: &str) -> Result<Realm, String> {
        let url = Url::parse(named).map_err(|_| {
            format!(
                "the registry names a token server that is none: `{}`",
                shown(named)
            )
        })?;
        let allowed = url.scheme() == "https" || url.scheme() == "http" && self.allows_http(&url);
        if !allowed {
            return Err(format!(
                "the registry names the token server `{}`, which is not asked over plain http",
                shown(named)
            ));
        }
        if is_loopback(&url) && !is_loopback(registry) {
            return Err(format!(
                "the registry names the token server `{}`, which is on this computer",
                shown(named)
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the registry names a token server with a login in its address".into());
        }
        let withheld = match self.is_of(registry, &url) {
            true => None,
            false => Some(format!(
                "the login for {} is not sent to the token server {}, which is another host",
                host(registry),
                host(&url)
            )),
        };
        Ok(Realm { url, withheld })
    }

    /// Whether the token server belongs to the registry.
    fn is_of(&self, registry: &Url, realm: &Url) -> bool {
        let (Some(own), Some(other)) = (registry.host_str(), realm.host_str()) else {
            return false;
        };
        // Another port of the same host is the same operator; a fall to plain http is not.
        let same = own == other && (realm.scheme() == "https" || registry.scheme() == "http");
        same || SIBLINGS.contains(&(own, other))
            || self
                .siblings
                .iter()
                .any(|(mine, theirs)| is_host(registry, mine) && is_host(realm, theirs))
    }
}

/// Host and port as people write them.
pub fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    }
}

fn is_host(url: &Url, named: &str) -> bool {
    let named = named.to_ascii_lowercase();
    url.host_str() == Some(&named) && url.port().is_none() || host(url) == named
}

/// Every challenge in the values of `WWW-Authenticate` (RFC 9110 11.6.1); what cannot be read is left out.
pub fn challenges<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Challenge> {
    values.flat_map(read_challenges).collect()
}

fn read_challenges(value: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for part in parts(value) {
        let part = part.trim();
        let (word, rest) = part.split_once(' ').unwrap_or((part, ""));
        // `Bearer realm="..."` begins a challenge, `service="..."` belongs to the one before.
        let begins = !word.is_empty() && !word.contains('=');
        let pair = if begins { rest.trim() } else { part };
        if begins {
            found.push((word.to_ascii_lowercase(), Vec::new()));
        }
        if let (Some((_, pairs)), Some((name, value))) = (found.last_mut(), pair.split_once('=')) {
            pairs.push((name.trim().to_ascii_lowercase(), unquoted(value.trim())));
        }
    }
    found
        .into_iter()
        .filter_map(|(scheme, pairs)| {
            let get = |name: &str| {
                let pair = pairs.iter().find(|(key, _)| key == name);
                pair.map(|(_, value)| value.clone())
                    .filter(|value| !value.is_empty())
            };
            match scheme.as_str() {
                "basic" => Some(Challenge::Basic),
                "bearer" => Some(Challenge::Bearer {
                    realm: get("realm")?,
                    service: get("service"),
                    scope: get("scope"),
                }),
                _ => None,
            }
        })
        .collect()
}

/// Cut at commas that are not inside of quotes.
fn parts(value: &str) -> Vec<&str> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&value[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&value[begin..]);
    parts
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return value.to_string();
    };
    let (mut out, mut escaped) = (String::new(), false);
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
            continue;
        }
        escaped = false;
        out.push(c);
    }
    out
}

/// What a token server answers.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Reads the answer of a token server: the token, and how long it counts.
pub(crate) fn token(body: &[u8]) -> Option<(String, Duration)> {
    let answer: TokenAnswer = serde_json::from_slice(body).ok()?;
    let token = answer
        .token
        .filter(|token| !token.is_empty())
        .or(answer.access_token)
        .filter(|token| !token.is_empty())?;
    let life = Duration::from_secs(answer.expires_in.unwrap_or_default()).max(OCI_TOKEN_LIFE_MIN);
    Some((token, life))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn challenges_are_read_as_they_are_written() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.into(),
            service: service.map(str::to_string),
            scope: scope.map(str::to_string),
        };
        let table = [
            (r#"Basic realm="x, y""#, vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                r#"Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push""#,
                vec![bearer(
                    "https://a/t",
                    Some("s"),
                    Some("repository:a/b:pull,push"),
                )],
            ),
            (
                r#"bearer  realm=https://a/t , error="invalid_token""#,
                vec![bearer("https://a/t", None, None)],
            ),
            (
                r#"Negotiate, Bearer realm="a\"b", Basic realm="c""#,
                vec![bearer("a\"b", None, None), Challenge::Basic],
            ),
            (r#"Bearer service="s""#, vec![]),
            ("", vec![]),
            (
                r#"Bearer realm="unclosed"#,
                vec![bearer("\"unclosed", None, None)],
            ),
            (",,,=,\" ", vec![]),
        ];
        for (text, wanted) in table {
            assert_eq!(challenges([text].into_iter()), wanted, "{text}");
        }
        assert_eq!(
            challenges(["Basic", "Digest x=y"].into_iter()),
            [Challenge::Basic]
        );
    }

    const SENT: &str = "sent";
    const WITHHELD: &str = "withheld";
    const NEVER: &str = "refused";
    /// Registry, the realm that it names, and what becomes of its login.
    const REALMS: &[(&str, &str, &str)] = &[
        ("https://ghcr.io/v2/", "https://ghcr.io/token", SENT),
        ("https://h:5000/v2/", "https://h/token", SENT),
        (
            "https://registry-1.docker.io/v2/",
            "https://auth.docker.io/token",
            SENT,
        ),
        (
            "https://registry.gitlab.com/v2/",
            "https://gitlab.com/jwt/auth",
            SENT,
        ),
        (
            "https://registry.corp.example/v2/",
            "https://login.corp.example:8443/t",
            SENT,
        ),
        (
            "https://registry.corp.example/v2/",
            "https://login.corp.example/t",
            WITHHELD,
        ),
        (
            "https://evil.example/v2/",
            "https://auth.docker.io/token",
            WITHHELD,
        ),
        (
            "https://evil.example/v2/",
            "https://ghcr.io/token",
            WITHHELD,
        ),
        (
            "https://ghcr.io/v2/",
            "https://ghcr.io.evil.example/token",
            WITHHELD,
        ),
        (
            "https://auth.docker.io/v2/",
            "https://registry-1.docker.io/token",
            WITHHELD,
        ),
        // Plain http: never from an https registry, except where it is allowed, and then without the login.
        ("https://h/v2/", "http://h/token", NEVER),
        ("https://h/v2/", "http://other/token", NEVER),
        (
            "https://plain.example:8443/v2/",
            "http://plain.example/token",
            WITHHELD,
        ),
        (
            "http://lan.example:5000/v2/",
            "http://lan.example:5000/token",
            SENT,
        ),
        (
            "http://lan.example:5000/v2/",
            "http://lan.example:5001/token",
            NEVER,
        ),
        (
            "http://127.0.0.1:5000/v2/",
            "http://127.0.0.1:5001/token",
            SENT,
        ),
        (
            "http://127.0.0.1:5000/v2/",
            "http://localhost:5001/token",
            WITHHELD,
        ),
        // A registry elsewhere makes us ask nothing on this computer.
        (
            "https://evil.example/v2/",
            "http://127.0.0.1:5001/api/v0/shutdown",
            NEVER,
        ),
        ("https://evil.example/v2/", "https://localhost/x", NEVER),
        ("https://h/v2/", "https://user:secret@h/token", NEVER),
        ("https://h/v2/", "file:///etc/passwd", NEVER),
        ("https://h/v2/", "nonsense", NEVER),
    ];

    #[test]
    fn a_login_goes_to_the_registrys_own_token_server_only() {
        let policy = Policy {
            http: vec!["lan.example:5000".into(), "plain.example".into()],
            siblings: vec![(
                "registry.corp.example".into(),
                "login.corp.example:8443".into(),
            )],
        };
        for (registry, realm, wanted) in REALMS {
            let got = match policy.realm(&url(registry), realm) {
                Ok(Realm { withheld: None, .. }) => SENT,
                Ok(_) => WITHHELD,
                Err(_) => NEVER,
            };
            assert_eq!(got, *wanted, "{registry} names {realm}");
        }
        let other = policy
            .realm(&url("https://h:1/v2/"), "https://other/token")
            .expect("a realm");
        assert_eq!(
            other.withheld.as_deref(),
            Some("the login for h:1 is not sent to the token server other, which is another host")
        );
    }

    #[test]
    fn http_is_for_this_computer_and_for_hosts_that_are_named() {
        let policy = Policy {
            http: vec!["lan.example".into(), "h:5000".into()],
            siblings: Vec::new(),
        };
        let table = [
            ("localhost:5000", "http://localhost:5000/v2/"),
            ("127.0.0.1", "http://127.0.0.1/v2/"),
            ("[::1]:5000", "http://[::1]:5000/v2/"),
            ("lan.example", "http://lan.example/v2/"),
            ("h:5000", "http://h:5000/v2/"),
            ("h:5001", "https://h:5001/v2/"),
            ("ghcr.io", "https://ghcr.io/v2/"),
        ];
        for (host, wanted) in table {
            assert_eq!(policy.base(host).map(String::from).as_deref(), Some(wanted));
        }
    }

    #[test]
    fn tokens_have_two_names_and_a_life() {
        let read = |text: &str| token(text.as_bytes()).map(|(token, life)| (token, life.as_secs()));
        assert_eq!(
            read(r#"{"token":"a","expires_in":300}"#),
            Some(("a".into(), 300))
        );
        assert_eq!(
            read(r#"{"access_token":"b","expires_in":5}"#),
            Some(("b".into(), 60))
        );
        assert_eq!(
            read(r#"{"token":"","access_token":"c"}"#),
            Some(("c".into(), 60))
        );
        assert_eq!(read(r#"{"token":""}"#), None);
        assert_eq!(read("[]"), None);
    }
}
