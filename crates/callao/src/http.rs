//! What all HTTP clients of this program have in common: patience, name, and the one provider of TLS. Asks nobody.

use callao_fetch::answer::Waits;
use callao_fetch::client::{self, ClientOptions, Proxies};

use crate::error::CommandError;
use crate::settings::Settings;

/// How long servers are waited for.
pub(crate) fn waits(settings: &Settings) -> Waits {
    Waits {
        connect: settings.connect,
        headers: settings.answer,
        stall: settings.stall,
    }
}

/// What a client is made with.
pub(crate) fn options(settings: &Settings) -> ClientOptions {
    ClientOptions {
        user_agent: format!("callao/{}", env!("CARGO_PKG_VERSION")),
        waits: waits(settings),
        proxies: Proxies::Environment,
    }
}

/// A client that follows no redirect: what it sends is for one host.
pub(crate) fn direct(settings: &Settings) -> Result<reqwest::Client, CommandError> {
    choose_tls();
    Ok(client::blocks(&options(settings))?)
}

/// To be called before a client is made.
pub(crate) fn choose_tls() {
    // Another client may have installed it already: there is only one.
    rustls::crypto::ring::default_provider()
        .install_default()
        .unwrap_or(());
}
