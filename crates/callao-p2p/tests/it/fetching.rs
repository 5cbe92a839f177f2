//! The real engine, fetching into a temporary directory.

use std::sync::{Arc, Mutex};

use callao_content::Cid;
use callao_fetch::engine::{self, Fetch, Finished};
use callao_fetch::error::Error;
use callao_fetch::event::{Event, Observer};
use callao_fetch::request::Wanted;
use callao_fetch::source::Source;
use callao_store::disk::RealDisk;
use callao_store::places::Places;
use callao_store::staging::{About, Staging};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Keeps all events.
#[derive(Default)]
pub(crate) struct Events(Mutex<Vec<Event>>);

impl Observer for Events {
    fn event(&self, event: Event) {
        self.0.lock().expect("no test panics in here").push(event);
    }
}

impl Events {
    /// Places that were dropped, and whether they lied.
    pub(crate) fn dropped(&self) -> Vec<(String, bool)> {
        let dropped = |event: &Event| match event {
            Event::Dropped { source, lied, .. } => Some((source.place.clone(), *lied)),
            _ => None,
        };
        let events = self.0.lock().expect("no test panics in here");
        events.iter().filter_map(dropped).collect()
    }
}

/// Fetches the file with this root; its bytes and the report, or the error, and what happened.
pub(crate) async fn fetch(
    root: Cid,
    sources: Vec<Arc<dyn Source>>,
    late: Option<mpsc::Receiver<Arc<dyn Source>>>,
) -> (Result<(Vec<u8>, Finished), Error>, Arc<Events>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let places = Places::new(dir.path());
    let about = About {
        name: "image".into(),
        ..About::default()
    };
    let staging = Staging::open(
        Arc::new(RealDisk::new()),
        &places,
        "test",
        &about,
        &mut |_| panic!("nobody else is here"),
    );
    let events = Arc::new(Events::default());
    let wanted = Wanted {
        name: "image".into(),
        digest: None,
        cid: Some(root),
        size: None,
        strict: false,
    };
    let fetch = Fetch {
        wanted,
        staging: Arc::new(staging.expect("a staging file")),
        layout: None,
        sources,
        late,
        host: String::new(),
        observer: Arc::clone(&events) as Arc<dyn Observer>,
        cancel: CancellationToken::new(),
    };
    let result = engine::run(fetch).await.map(|finished| {
        let bytes = std::fs::read(places.staging_part("test")).expect("the file");
        (bytes, finished)
    });
    (result, events)
}
