//! Registries of OCI artifacts, as settings and flags allow them: who is spoken to how, with whose login. Opens no
//! connection; the protocol is callao-fetch's.

use std::sync::Arc;

use callao_fetch::answer::Waits;
use callao_fetch::oci::auth::Policy;
use callao_fetch::oci::error::OciError;
use callao_fetch::oci::reference::Reference;
use callao_fetch::oci::registry::{Registry, RegistryOptions};
use callao_fetch::source::SourceError;
use reqwest::Client;

use crate::app::App;
use crate::cli::RegistryArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::http;
use crate::settings::Settings;

mod logins;

use logins::UserLogins;

/// What all registries of one command have in common.
pub(crate) struct Registries {
    policy: Policy,
    logins: Arc<UserLogins>,
    waits: Waits,
}

impl Registries {
    /// From the settings and the flags.
    ///
    /// # Errors
    /// Usage: a host that is none.
    pub(crate) fn new(app: &App, args: &RegistryArgs) -> Result<Self, CommandError> {
        let settings = &app.settings;
        Ok(Registries {
            policy: policy(settings, args)?,
            logins: Arc::new(UserLogins::new(app)),
            waits: http::waits(settings),
        })
    }

    /// The repository of a reference, to read from or to write to. `client` must follow no redirect.
    pub(crate) fn open(
        &self,
        client: Client,
        reference: &Reference,
        push: bool,
    ) -> Result<Arc<Registry>, CommandError> {
        let options = RegistryOptions {
            client,
            waits: self.waits,
            policy: self.policy.clone(),
            logins: Arc::clone(&self.logins) as _,
        };
        let registry = Registry::new(&options, reference, push);
        registry
            .map(Arc::new)
            .map_err(|error| failed(error, reference))
    }
}

fn policy(settings: &Settings, args: &RegistryArgs) -> Result<Policy, CommandError> {
    let flags = args.allow_http.iter().map(|host| ("--allow-http", host));
    let file = settings
        .allow_http
        .iter()
        .map(|host| ("registries.allow_http", host));
    let mut http = Vec::new();
    for (what, host) in flags.chain(file) {
        if !is_host(host) {
            return Err(CommandError::usage(format!(
                "{what}: `{host}` is not HOST or HOST:PORT"
            )));
        }
        http.push(host.to_ascii_lowercase());
    }
    let mut siblings = Vec::new();
    for pair in &settings.token_servers {
        let read = pair
            .split_once('=')
            .filter(|(registry, server)| is_host(registry) && is_host(server));
        let Some((registry, server)) = read else {
            return Err(CommandError::usage(format!(
                "registries.token_servers: `{pair}` is not REGISTRY=HOST"
            )));
        };
        siblings.push((registry.to_ascii_lowercase(), server.to_ascii_lowercase()));
    }
    Ok(Policy { http, siblings })
}

fn is_host(text: &str) -> bool {
    let url = url::Url::parse(&format!("http://{text}/"));
    url.is_ok_and(|url| {
        let plain = url.path() == "/" && url.query().is_none() && url.username().is_empty();
        plain && url.host_str().is_some_and(|host| !host.is_empty())
    })
}

/// The error of a registry in the words of the command line.
pub(crate) fn failed(error: OciError, reference: &Reference) -> CommandError {
    let registry = &reference.registry;
    let message = format!("registry {registry}: {error}");
    match error {
        OciError::Source(error) => CommandError::new(kind_of(&error), message),
        OciError::Login { notes, sent, .. } => {
            let mut failed = CommandError::new(ExitCode::Network, message);
            let withheld = notes.iter().any(|note| note.contains("another host"));
            failed.details = notes;
            if withheld {
                return failed.hint(
                    "if that token server belongs to the registry, name both in the settings: \
                     registries.token_servers = [\"REGISTRY=HOST\"]",
                );
            }
            match sent {
                true => failed.hint(format!(
                    "the login for {registry} does not open this repository: `docker login {registry}` renews it"
                )),
                false => failed.hint(format!(
                    "`docker login {registry}` (or `podman login`) makes a login known, if it is not public"
                )),
            }
        }
        OciError::Choice(_) => CommandError::new(ExitCode::NotFound, message)
            .hint("name the file: oci://REGISTRY/REPOSITORY:TAG#FILE; choose the computer: --arch"),
        OciError::WrongDigest { .. } | OciError::WrongSize { .. } => {
            CommandError::new(ExitCode::Integrity, message)
        }
        _ => CommandError::new(ExitCode::Network, message),
    }
}

fn kind_of(error: &SourceError) -> ExitCode {
    match error {
        SourceError::NotFound(_) | SourceError::Unsupported(_) => ExitCode::NotFound,
        SourceError::False(_) => ExitCode::Integrity,
        _ => ExitCode::Network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Common;
    use crate::host::Host;
    use crate::settings::Overrides;

    fn read(http: &[&str], servers: &[&str]) -> Result<Policy, CommandError> {
        let host = Host::with_variables([("HOME", "/nowhere")]);
        let mut settings = Settings::resolve(&host, &Common::default(), &Overrides::default())?;
        settings.token_servers = servers.iter().map(ToString::to_string).collect();
        let args = RegistryArgs {
            allow_http: http.iter().map(ToString::to_string).collect(),
        };
        policy(&settings, &args)
    }

    #[test]
    fn hosts_are_checked_before_anybody_is_asked() {
        let good =
            read(&["LAN.example:5000", "h"], &["r.example=t.example:8443"]).expect("a policy");
        assert_eq!(good.http, ["lan.example:5000", "h"]);
        assert_eq!(
            good.siblings,
            [("r.example".into(), "t.example:8443".into())]
        );
        let said =
            |http: &[&str], servers: &[&str]| read(http, servers).expect_err("refused").message;
        assert_eq!(
            said(&["http://h/"], &[]),
            "--allow-http: `http://h/` is not HOST or HOST:PORT"
        );
        assert_eq!(
            said(&[], &["r.example"]),
            "registries.token_servers: `r.example` is not REGISTRY=HOST"
        );
    }
}
