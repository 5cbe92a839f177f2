//! Signed records of `/ipns` names, as gateways (`/ipns/NAME?format=ipns-record`) and routers (`/routing/v1/ipns/NAME`)
//! hand them out. Whatever comes is verified here; which of several records counts is decided elsewhere.

use callao_content::ipns::{MEDIA_TYPE, Record};
use callao_content::limits::IPNS_RECORD_BYTES_MAX;
use callao_content::{Cid, peer_id};
use reqwest::Client;
use reqwest::header::ACCEPT;
use url::Url;

use crate::answer::{self, Waits};
use crate::source::SourceError;

/// A place that may have records.
#[derive(Debug, Clone)]
pub struct Records {
    client: Client,
    base: Url,
    form: Form,
    waits: Waits,
}

/// How it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Gateway,
    Router,
}

impl Records {
    /// A gateway. The client must not follow redirects.
    pub fn of_gateway(client: Client, base: Url, waits: Waits) -> Self {
        Records {
            client,
            base,
            form: Form::Gateway,
            waits,
        }
    }

    /// A router; its URL is with or without `/routing/v1`. The client must not follow redirects.
    pub fn of_router(client: Client, base: Url, waits: Waits) -> Self {
        Records {
            client,
            base,
            form: Form::Router,
            waits,
        }
    }

    /// Where it is.
    pub fn place(&self) -> &str {
        self.base.as_str()
    }

    /// The record that it has of a name (the CID of its key); `None`: it has none.
    ///
    /// # Errors
    /// It cannot be reached or refuses; [`SourceError::False`]: what it sent is no record of this name.
    pub async fn ask(&self, name: &Cid) -> Result<Option<Record>, SourceError> {
        let request = self.client.get(self.url(name)).header(ACCEPT, MEDIA_TYPE);
        let mut response = answer::send(request, &self.waits).await?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            _ => return Err(answer::refused(response, &self.waits).await),
        }
        if answer::media_type(response.headers()) != MEDIA_TYPE {
            // That is how kubo's router says that there is none: 200, and a line of text.
            return Ok(None);
        }
        let bytes = answer::body(&mut response, IPNS_RECORD_BYTES_MAX, &self.waits).await?;
        let record = Record::verify(name, &bytes);
        record
            .map(Some)
            .map_err(|error| SourceError::False(error.to_string()))
    }

    fn url(&self, name: &Cid) -> Url {
        let mut url = self.base.clone();
        let path = url.path().trim_end_matches('/').to_owned();
        let name = peer_id::name_text(name);
        match self.form {
            Form::Gateway => {
                url.set_path(&format!("{path}/ipns/{name}"));
                url.set_query(Some("format=ipns-record"));
            }
            Form::Router => {
                let path = path.trim_end_matches("/routing/v1");
                url.set_path(&format!("{path}/routing/v1/ipns/{name}"));
                url.set_query(None);
            }
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_asked_by_their_own_addresses() {
        let name = "k51qzi5uqu5dguzwleig8sytsvxqgb6d1wxwquj7oz30lczvhx9m5fk24le4yc";
        let cid = peer_id::parse(name).expect("a name");
        let client = || {
            crate::client::blocks(&crate::client::ClientOptions {
                user_agent: "test".into(),
                waits: Waits::default(),
                proxies: crate::client::Proxies::None,
            })
        };
        rustls::crypto::ring::default_provider()
            .install_default()
            .unwrap_or(());
        let base = |text: &str| Url::parse(text).expect("a URL");
        for (form, text, wanted) in [
            (
                Form::Gateway,
                "http://h:1",
                "http://h:1/ipns/NAME?format=ipns-record",
            ),
            (
                Form::Gateway,
                "http://h/a/",
                "http://h/a/ipns/NAME?format=ipns-record",
            ),
            (Form::Router, "https://h", "https://h/routing/v1/ipns/NAME"),
            (
                Form::Router,
                "https://h/routing/v1/",
                "https://h/routing/v1/ipns/NAME",
            ),
        ] {
            let records = Records {
                client: client().expect("a client"),
                base: base(text),
                form,
                waits: Waits::default(),
            };
            assert_eq!(records.url(&cid).as_str(), wanted.replace("NAME", name));
        }
    }
}
