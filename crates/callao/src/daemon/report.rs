//! A fetch of this process, told to the running daemon, so that its dashboard shows it. As good as it goes: without a
//! daemon, or with one that is slow, nothing is told, and the fetch waits for nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callao_fetch::event::{Event, Observer};
use tokio::task::AbortHandle;

use super::state::{self, Running};
use super::status::Fetch;
use crate::host::Host;
use crate::http;

/// Between two reports.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the daemon may take for one.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// Reports in a row that fail until no more are sent.
const FAILURES_COUNT_MAX: u32 = 3;

/// Watches one fetch; no more is told when it is dropped.
pub(crate) struct Reporter {
    fetch: Arc<Mutex<Fetch>>,
    task: AbortHandle,
}

impl Reporter {
    /// From now on. `runtime` runs while the fetch does.
    pub(crate) fn begin(
        runtime: &tokio::runtime::Runtime,
        host: &Host,
        name: &str,
        root: Option<String>,
    ) -> Arc<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let fetch = Arc::new(Mutex::new(Fetch::begun(number, name.into(), root)));
        let task = runtime.spawn(tell(host.clone(), Arc::clone(&fetch)));
        Arc::new(Reporter {
            fetch,
            task: task.abort_handle(),
        })
    }
}

impl Observer for Reporter {
    fn event(&self, event: Event) {
        let mut fetch = self.fetch.lock().unwrap_or_else(PoisonError::into_inner);
        fetch.note(event);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tell(host: Host, fetch: Arc<Mutex<Fetch>>) {
    // Most fetches of a moment are nobody's interest.
    tokio::time::sleep(INTERVAL / 4).await;
    // Both may take a moment, which is not the fetch's.
    let find = move || match state::running(&host) {
        Ok(Some(daemon)) => Some((client(ANSWER_MAX).ok()?, daemon)),
        _ => None,
    };
    let Ok(Some((client, daemon))) = tokio::task::spawn_blocking(find).await else {
        return;
    };
    if daemon.pid == std::process::id() {
        return;
    }
    let mut failures = 0;
    while failures < FAILURES_COUNT_MAX {
        match send(&client, &daemon, &fetch).await {
            Ok(()) => failures = 0,
            Err(()) => failures += 1,
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// A client for the daemon of this computer; no proxy is nearer.
pub(crate) fn client(answer_max: Duration) -> Result<reqwest::Client, reqwest::Error> {
    http::choose_tls();
    let builder = reqwest::Client::builder().no_proxy();
    builder.timeout(answer_max).build()
}

/// Tells once. Why it failed is of no interest to whoever fetches.
async fn send(client: &reqwest::Client, daemon: &Running, fetch: &Mutex<Fetch>) -> Result<(), ()> {
    let text = {
        let fetch = fetch.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_vec(&*fetch).map_err(drop)?
    };
    let url = format!("{}/callao/v1/progress", daemon.gateway);
    let sent = client
        .post(url)
        .bearer_auth(&daemon.token)
        .body(text)
        .send()
        .await;
    sent.and_then(reqwest::Response::error_for_status)
        .map(drop)
        .map_err(drop)
}
