//! Logins as `docker login`, `podman login` and credential helpers keep them. Pure: files and helpers are read by
//! whoever has them; here their text is understood.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// The user name that means: the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// What opens a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// Name and password.
    Password {
        /// Name.
        user: String,
        /// Password, or a personal access token.
        secret: String,
    },
    /// An identity token: the token server gives access tokens for it.
    Identity(String),
}

impl fmt::Debug for Login {
    /// Never the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Login::Password { user, .. } => write!(f, "Password({user}, ...)"),
            Login::Identity(_) => f.write_str("Identity(...)"),
        }
    }
}

/// Who knows logins. May take its time (it may have to run a program), so it is asked on a thread of its own.
pub trait Logins: Send + Sync {
    /// The login for a repository; `key` is the name under which `docker login` keeps that of its registry.
    fn find(&self, key: &str, repository: &str) -> Option<Login>;
}

/// Nobody has a login.
pub struct Anonymous;

impl Logins for Anonymous {
    fn find(&self, _key: &str, _repository: &str) -> Option<Login> {
        None
    }
}

/// A `config.json` of Docker, or an `auth.json` of podman.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoginFile {
    #[serde(deserialize_with = "or_default")]
    auths: BTreeMap<String, Auth>,
    #[serde(deserialize_with = "or_default")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    creds_store: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth(...)")
    }
}

/// What a file says about a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// The login itself.
    Login(Login),
    /// Ask this helper: `docker-credential-NAME`.
    Helper(String),
    /// There is an entry, and it cannot be read.
    Broken(&'static str),
    /// Nothing.
    Nothing,
}

impl LoginFile {
    /// Reads the JSON.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }

    /// What it says about a repository. A helper of its registry is stronger than the store for all, which is stronger
    /// than what stands in the file, as Docker does it. An entry for a part of a registry (podman writes such) counts
    /// for the repositories below it only, and the longest one counts.
    pub fn find(&self, key: &str, repository: &str) -> Says {
        let wanted = host_of(key);
        let helper = self
            .cred_helpers
            .iter()
            .find(|(name, _)| host_of(name) == wanted)
            .map(|(_, helper)| helper.as_str());
        let store = Some(self.creds_store.as_str()).filter(|store| !store.is_empty());
        if let Some(helper) = helper.or(store) {
            return match is_helper(helper) {
                true => Says::Helper(helper.into()),
                false => Says::Broken("the name of the credential helper is not one"),
            };
        }
        if let Some(auth) = self.auths.get(key) {
            return auth.says();
        }
        let below = self.auths.iter().filter(|(name, _)| {
            let part = part_of(name);
            let is_above = repository
                .strip_prefix(part)
                .is_some_and(|rest| part.is_empty() || rest.is_empty() || rest.starts_with('/'));
            host_of(name) == wanted && is_above
        });
        match below.max_by_key(|(name, _)| part_of(name).len()) {
            Some((_, auth)) => auth.says(),
            None => Says::Nothing,
        }
    }
}

impl Auth {
    fn says(&self) -> Says {
        if let Some(token) = self.identitytoken.clone().filter(|token| !token.is_empty()) {
            return Says::Login(Login::Identity(token));
        }
        if let (Some(user), Some(secret)) = (&self.username, &self.password) {
            return Says::Login(login(user.clone(), secret.clone()));
        }
        let Some(auth) = self.auth.as_deref().filter(|auth| !auth.is_empty()) else {
            // Docker leaves an empty entry behind where a store has the login.
            return Says::Nothing;
        };
        let decoded = STANDARD.decode(auth.trim()).ok();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|text| text.split_once(':')) {
            Some((user, secret)) => {
                Says::Login(login(user.into(), secret.trim_end_matches('\0').into()))
            }
            None => Says::Broken("its `auth` is not the base64 of NAME:PASSWORD"),
        }
    }
}

/// What a helper prints for `get`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// Reads what `docker-credential-NAME get` prints.
pub fn helper_answer(stdout: &[u8]) -> Result<Login, &'static str> {
    let answer: HelperAnswer =
        serde_json::from_slice(stdout).map_err(|_| "it did not answer with Username and Secret")?;
    if answer.secret.is_empty() {
        return Err("it answered with an empty secret");
    }
    Ok(login(answer.username, answer.secret))
}

fn login(user: String, secret: String) -> Login {
    if user == TOKEN_USER {
        Login::Identity(secret)
    } else {
        Login::Password { user, secret }
    }
}

/// It becomes a part of a program's name: letters, digits, `-`, `_` and `.` only.
fn is_helper(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// `https://host/v1/`, `host/path` and `host` are all of this registry.
fn host_of(key: &str) -> String {
    let rest = without_scheme(key);
    rest.split('/').next().unwrap_or(rest).to_ascii_lowercase()
}

/// The part of a registry that an entry is for; empty: all of it. `/v1/` and `/v2/` are the API, not a part.
fn part_of(key: &str) -> &str {
    let part = without_scheme(key)
        .split_once('/')
        .map_or("", |(_, part)| part.trim_end_matches('/'));
    if matches!(part, "v1" | "v2") {
        ""
    } else {
        part
    }
}

fn without_scheme(key: &str) -> &str {
    key.strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key)
}

fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, secret: &str) -> Says {
        Says::Login(Login::Password {
            user: user.into(),
            secret: secret.into(),
        })
    }

    #[test]
    fn each_way_to_keep_a_login_is_read() {
        let file = LoginFile::parse(
            br#"{"auths":{
                "https://index.docker.io/v1/":{"auth":"dTpwOnE="},
                "Quay.io":{"auth":"dTpwAA=="},
                "ghcr.io/some":{"username":"n","password":"s"},
                "ghcr.io/some/deeper":{"username":"d","password":"s"},
                "old.example/v2/":{"username":"o","password":"s"},
                "id.example":{"auth":"dTpw","identitytoken":"t0k"},
                "az.example":{"auth":"PHRva2VuPjp0"},
                "h:5000":{"auth":"YTpi"},
                "empty.example":{},
                "broken.example":{"auth":"%%"}},
              "credHelpers":{"helped.example":"pass"},"credsStore":null,"HttpHeaders":{"x":"y"}}"#,
        )
        .expect("JSON");
        let table = [
            ("https://index.docker.io/v1/", password("u", "p:q")),
            ("quay.io", password("u", "p")),
            ("old.example", password("o", "s")),
            ("id.example", Says::Login(Login::Identity("t0k".into()))),
            ("az.example", Says::Login(Login::Identity("t".into()))),
            ("h:5000", password("a", "b")),
            ("h", Says::Nothing),
            ("h:5001", Says::Nothing),
            ("empty.example", Says::Nothing),
            (
                "broken.example",
                Says::Broken("its `auth` is not the base64 of NAME:PASSWORD"),
            ),
            ("helped.example", Says::Helper("pass".into())),
            ("elsewhere.example", Says::Nothing),
            ("evil-quay.io", Says::Nothing),
        ];
        for (key, wanted) in table {
            assert_eq!(file.find(key, "a/b"), wanted, "{key}");
        }
        let parts = [
            ("some/a", password("n", "s")),
            ("some", password("n", "s")),
            ("some/deeper/a", password("d", "s")),
            ("somewhere/a", Says::Nothing),
            ("other/some", Says::Nothing),
        ];
        for (repository, wanted) in parts {
            assert_eq!(file.find("ghcr.io", repository), wanted, "{repository}");
        }
    }

    #[test]
    fn a_store_is_asked_for_every_registry() {
        let file =
            LoginFile::parse(br#"{"auths":{"h":{}},"credsStore":"secretservice"}"#).expect("JSON");
        assert_eq!(
            file.find("anything", "a"),
            Says::Helper("secretservice".into())
        );
        let bad = LoginFile::parse(br#"{"credsStore":"../../bin/sh"}"#).expect("JSON");
        assert_eq!(
            bad.find("h", "a"),
            Says::Broken("the name of the credential helper is not one")
        );
        assert_eq!(
            LoginFile::parse(b"{}").expect("JSON").find("h", "a"),
            Says::Nothing
        );
        assert!(LoginFile::parse(b"[").is_err());
    }

    #[test]
    fn a_helper_answers_with_a_login() {
        let got = helper_answer(br#"{"ServerURL":"h","Username":"u","Secret":"s"}"#);
        let wanted = Login::Password {
            user: "u".into(),
            secret: "s".into(),
        };
        assert_eq!(got, Ok(wanted));
        let token = helper_answer(br#"{"Username":"<token>","Secret":"s"}"#);
        assert_eq!(token, Ok(Login::Identity("s".into())));
        assert_eq!(
            helper_answer(b"nope"),
            Err("it did not answer with Username and Secret")
        );
        let empty = helper_answer(br#"{"Username":"u","Secret":""}"#);
        assert_eq!(empty, Err("it answered with an empty secret"));
    }

    #[test]
    fn secrets_are_never_printed() {
        let login = Login::Password {
            user: "u".into(),
            secret: "hidden".into(),
        };
        let file = LoginFile::parse(br#"{"auths":{"h":{"username":"u","password":"hidden"}}}"#)
            .expect("JSON");
        for text in [
            format!("{login:?}"),
            format!("{:?}", Login::Identity("hidden".into())),
            format!("{file:?}"),
        ] {
            assert!(!text.contains("hidden"), "{text}");
        }
    }
}
