//! What every test of the engine needs: a directory, a staging file, sources, a recorder of events.
//! Knows nothing of what is being tested.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use bytes::Bytes;
use callao_content::Cid;
use callao_content::digest::{Algorithm, Digest};
use callao_content::import::import;
use callao_content::layout::Layout;
use callao_content::profile::Profile;
use callao_fetch::answer::Waits;
use callao_fetch::client::{self, ClientOptions, Proxies};
use callao_fetch::engine::{self, Fetch, Finished};
use callao_fetch::error::Error;
use callao_fetch::event::{Event, Observer};
use callao_fetch::request::Wanted;
use callao_fetch::sink::SpanSink;
use callao_fetch::source::http::Http;
use callao_fetch::source::{Source, SourceError, SourceId, SourceKind, Span, Traits};
use callao_store::disk::RealDisk;
use callao_store::places::Places;
use callao_store::staging::{About, Staging};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

/// A place to fetch into.
pub(crate) struct Bench {
    pub dir: tempfile::TempDir,
    pub image: Arc<[u8]>,
    pub layout: Arc<Layout>,
    pub digest: Digest,
    pub events: Arc<Recorder>,
    pub cancel: CancellationToken,
}

/// Keeps all events.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<Event>>);

impl Observer for Recorder {
    fn event(&self, event: Event) {
        self.0
            .lock()
            .expect("no test panics while it holds this")
            .push(event);
    }
}

impl Recorder {
    pub(crate) fn all(&self) -> Vec<Event> {
        self.0
            .lock()
            .expect("no test panics while it holds this")
            .clone()
    }

    /// Sources that were dropped, and why.
    pub(crate) fn dropped(&self) -> Vec<(String, String, bool)> {
        let dropped = |event: Event| match event {
            Event::Dropped {
                source,
                reason,
                lied,
            } => Some((source.place, reason, lied)),
            _ => None,
        };
        self.all().into_iter().filter_map(dropped).collect()
    }
}

impl Bench {
    pub(crate) fn new(image: Vec<u8>) -> Self {
        let layout = import(&image, Profile::KuboCidV1.shape()).expect("a valid shape");
        Bench::with_layout(image, layout)
    }

    pub(crate) fn with_layout(image: Vec<u8>, layout: Layout) -> Self {
        install_provider();
        let digest = Digest::of(Algorithm::Sha256, &image);
        Bench {
            dir: tempfile::tempdir().expect("a temporary directory"),
            image: image.into(),
            layout: Arc::new(layout),
            digest,
            events: Arc::default(),
            cancel: CancellationToken::new(),
        }
    }

    pub(crate) fn cid(&self) -> Cid {
        *self.layout.root()
    }

    pub(crate) fn by_digest(&self) -> Wanted {
        Wanted {
            name: "image".into(),
            digest: Some(self.digest),
            cid: None,
            size: None,
            strict: false,
        }
    }

    pub(crate) fn by_cid(&self) -> Wanted {
        Wanted {
            cid: Some(self.cid()),
            digest: None,
            ..self.by_digest()
        }
    }

    pub(crate) fn by_both(&self) -> Wanted {
        Wanted {
            cid: Some(self.cid()),
            ..self.by_digest()
        }
    }

    pub(crate) fn part(&self) -> PathBuf {
        Places::new(self.dir.path()).staging_part("test")
    }

    pub(crate) fn staging(&self) -> Arc<Staging> {
        let about = About {
            name: "image".into(),
            digest: Some(self.digest.to_string()),
            ..About::default()
        };
        let places = Places::new(self.dir.path());
        let staging = Staging::open(
            Arc::new(RealDisk::new()),
            &places,
            "test",
            &about,
            &mut |_| panic!("nobody else is here"),
        );
        Arc::new(staging.expect("a staging file"))
    }

    /// Fetches, and checks that what was fetched is the image.
    pub(crate) async fn fetch(
        &self,
        wanted: Wanted,
        sources: Vec<Arc<dyn Source>>,
    ) -> Result<Finished, Error> {
        let finished = self.run(wanted, sources, None).await?;
        let got = std::fs::read(self.part()).expect("the staging file");
        assert!(got == *self.image, "the staged file is not the image");
        Ok(finished)
    }

    pub(crate) async fn run(
        &self,
        wanted: Wanted,
        sources: Vec<Arc<dyn Source>>,
        layout: Option<Arc<Layout>>,
    ) -> Result<Finished, Error> {
        let staging = self.staging();
        let fetch = Fetch {
            wanted,
            staging: Arc::clone(&staging),
            layout,
            sources,
            late: None,
            host: String::new(),
            observer: Arc::clone(&self.events) as Arc<dyn Observer>,
            cancel: self.cancel.clone(),
        };
        let result = engine::run(fetch).await;
        assert!(
            Arc::into_inner(staging).is_some(),
            "the engine let go of the staging file"
        );
        result
    }

    /// The inner nodes (and only those), as a local block store would give them.
    pub(crate) fn nodes(&self) -> Arc<dyn Source> {
        Arc::new(Nodes {
            id: SourceId {
                kind: SourceKind::Car,
                place: "nodes".into(),
            },
            layout: Arc::clone(&self.layout),
            image: Arc::clone(&self.image),
        })
    }
}

/// TLS needs a crypto provider, even for clients that only speak plain HTTP.
pub(crate) fn install_provider() {
    static PROVIDER: Once = Once::new();
    // An error means that another test was first.
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .unwrap_or(())
    });
}

/// Short waits: no test sits through thirty seconds.
pub(crate) fn waits() -> Waits {
    let short = Duration::from_millis(700);
    Waits {
        connect: short,
        headers: short,
        stall: short,
    }
}

/// The client of gateways, daemons and routers.
pub(crate) fn blocks_client() -> reqwest::Client {
    let options = ClientOptions {
        user_agent: "callao-test".into(),
        waits: waits(),
        proxies: Proxies::None,
    };
    client::blocks(&options).expect("a client")
}

pub(crate) fn http(url: &str) -> Arc<dyn Source> {
    let options = ClientOptions {
        user_agent: "callao-test".into(),
        waits: waits(),
        proxies: Proxies::None,
    };
    let client = client::plain(&options).expect("a client");
    Arc::new(Http::new(client, url.parse().expect("a URL"), waits()))
}

/// Gives blocks only, no spans.
struct Nodes {
    id: SourceId,
    layout: Arc<Layout>,
    image: Arc<[u8]>,
}

impl Source for Nodes {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn traits(&self) -> Traits {
        Traits {
            blocks: true,
            spans: false,
            ..Traits::FILE_SERVER
        }
    }

    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Bytes, SourceError>> {
        let node = self
            .layout
            .nodes()
            .iter()
            .find(|node| &node.cid == cid)
            .map(|node| node.bytes.clone());
        let whole =
            || (self.layout.nodes().is_empty()).then(|| Bytes::copy_from_slice(&self.image));
        let found = node
            .or_else(whole)
            .ok_or_else(|| SourceError::NotFound("no such node".into()));
        Box::pin(std::future::ready(found))
    }

    fn send<'a>(
        &'a self,
        _span: Span,
        _sink: &'a mut SpanSink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(std::future::ready(Err(SourceError::Unsupported(
            "spans".into(),
        ))))
    }
}
