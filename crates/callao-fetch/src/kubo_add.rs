//! The way into a kubo daemon by its RPC: a file is added and pinned, gets a name in the daemon's own file tree (MFS),
//! and is announced. Knows no files: bytes are handed in by position, and names are text.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use callao_content::Cid;
use callao_content::profile::Shape;
use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Client, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use crate::answer::{self, Waits};
use crate::limits::{
    API_BODY_BYTES_MAX, KUBO_FINISH_TIMEOUT, KUBO_PIECE_BYTES, KUBO_PROVIDE_TIMEOUT,
    PROGRESS_INTERVAL,
};
use crate::oci::push::Bulk;
use crate::source::SourceError;
use crate::source::kubo_rpc;

/// A daemon that takes files.
#[derive(Debug, Clone)]
pub struct KuboDaemon {
    client: Client,
    api: Url,
    waits: Waits,
}

/// How a file is added.
#[derive(Debug, Clone)]
pub struct AddOptions<'a> {
    /// How the file is cut and linked.
    pub shape: Shape,
    /// The root that it has then. It only parts the file from what is around it in the request: no file contains its own
    /// hash. What kubo computes is the result of [`KuboDaemon::add`].
    pub root: Cid,
    /// The name of the pin.
    pub pin_name: &'a str,
    /// Where the file lies on the daemon's computer, to be referred to instead of copied (kubo's `--nocopy`). Absolute,
    /// without control characters.
    pub in_place: Option<&'a str>,
}

impl KuboDaemon {
    /// The daemon whose API is at `api` (see [`kubo_rpc::api_url`]). `client` follows no redirects.
    pub fn new(client: Client, api: Url, waits: Waits) -> Self {
        KuboDaemon { client, api, waits }
    }

    /// Its version.
    ///
    /// # Errors
    /// It cannot be reached, or is no kubo.
    pub async fn version(&self) -> Result<String, SourceError> {
        let mut response = self.call("version", &[]).await?;
        kubo_rpc::version_in(&mut response, &self.waits).await
    }

    /// Whether it can refer to files without a copy (`Experimental.FilestoreEnabled`).
    ///
    /// # Errors
    /// It cannot be reached, or does not tell.
    pub async fn has_filestore(&self) -> Result<bool, SourceError> {
        #[derive(Deserialize)]
        struct Entry {
            #[serde(rename = "Value")]
            value: bool,
        }
        let key = [("arg", "Experimental.FilestoreEnabled")];
        Ok(self.json::<Entry>("config", &key).await?.value)
    }

    /// Adds and pins a file; the root that kubo computed. `at` is told how many bytes have left.
    ///
    /// # Errors
    /// Nothing moves for the time of [`Waits::stall`]; it has everything and does not answer; or the daemon's own words.
    pub async fn add(
        &self,
        file: Arc<dyn Bulk + Send>,
        options: &AddOptions<'_>,
        at: &dyn Fn(u64),
    ) -> Result<Cid, SourceError> {
        #[derive(Deserialize)]
        struct Added {
            #[serde(rename = "Hash")]
            hash: String,
        }
        let size = file.size();
        let sent = Arc::new(AtomicU64::new(0));
        let boundary = format!("callao-{}", callao_content::cid::text(&options.root));
        let head = part_head(&boundary, options.in_place);
        let tail = format!("\r\n--{boundary}--\r\n");
        let length = (head.len() + tail.len()) as u64 + size;
        let body = Body::wrap_stream(around(file, head, tail, Arc::clone(&sent)));
        let url = self.url("add", &parameters(options))?;
        let kind = format!("multipart/form-data; boundary={boundary}");
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, kind)
            .header(CONTENT_LENGTH, length)
            .body(body);
        let answered = self.while_moving(request.send(), &sent, size, at).await?;
        let response = answered.map_err(answer::failure)?;
        let mut response = kubo_rpc::accepted(response, &self.waits).await?;
        let text = answer::body(&mut response, API_BODY_BYTES_MAX, &self.waits).await?;
        // One object a line, the last one is the file; without progress there is only that one.
        let last = text
            .split(|byte| *byte == b'\n')
            .rfind(|line| !line.is_empty());
        let added: Added = parsed(last.unwrap_or_default())?;
        Cid::try_from(added.hash.as_str())
            .map_err(|_| SourceError::Protocol("the answer to `add` has no CID".into()))
    }

    /// Makes a directory in MFS, and those above it.
    ///
    /// # Errors
    /// The daemon's own words.
    pub async fn make_dir(&self, path: &str) -> Result<(), SourceError> {
        let parameters = [("arg", path), ("parents", "true")];
        self.call("files/mkdir", &parameters).await.map(drop)
    }

    /// What a path in MFS names; `None` when there is nothing.
    ///
    /// # Errors
    /// The daemon's own words.
    pub async fn entry(&self, path: &str) -> Result<Option<Cid>, SourceError> {
        #[derive(Deserialize)]
        struct Stat {
            #[serde(rename = "Hash")]
            hash: String,
        }
        match self.json::<Stat>("files/stat", &[("arg", path)]).await {
            Ok(stat) => Cid::try_from(stat.hash.as_str())
                .map(Some)
                .map_err(|_| SourceError::Protocol("the answer to `files/stat` has no CID".into())),
            Err(error) if error.to_string().contains("does not exist") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives a file a path in MFS, where nothing must be yet. No bytes are copied.
    ///
    /// # Errors
    /// The daemon's own words.
    pub async fn name(&self, cid: &Cid, path: &str) -> Result<(), SourceError> {
        let from = format!("/ipfs/{}", callao_content::cid::text(cid));
        let parameters = [("arg", from.as_str()), ("arg", path)];
        self.call("files/cp", &parameters).await.map(drop)
    }

    /// Has a root announced where the daemon announces.
    ///
    /// # Errors
    /// It does not announce, has no peers, or has not done it within [`KUBO_PROVIDE_TIMEOUT`].
    pub async fn provide(&self, cid: &Cid) -> Result<(), SourceError> {
        let waits = Waits {
            headers: KUBO_PROVIDE_TIMEOUT,
            stall: KUBO_PROVIDE_TIMEOUT,
            ..self.waits
        };
        let text = callao_content::cid::text(cid);
        let url = self.url("routing/provide", &[("arg", text.as_str())])?;
        let work = async {
            let mut response = kubo_rpc::call(&self.client, url, &waits).await?;
            while answer::next(&mut response, &waits).await?.is_some() {}
            Ok(())
        };
        let done = tokio::time::timeout(KUBO_PROVIDE_TIMEOUT, work).await;
        done.unwrap_or_else(|_| {
            let waited = answer::seconds(KUBO_PROVIDE_TIMEOUT);
            Err(SourceError::Network(format!("not done after {waited}")))
        })
    }

    /// Waits for `work` as long as bytes leave, and a while longer when all have left.
    async fn while_moving<T>(
        &self,
        work: impl Future<Output = T>,
        sent: &AtomicU64,
        size: u64,
        at: &dyn Fn(u64),
    ) -> Result<T, SourceError> {
        let mut work = std::pin::pin!(work);
        let (mut seen, mut moved) = (0, Instant::now());
        loop {
            if let Ok(done) = tokio::time::timeout(PROGRESS_INTERVAL, &mut work).await {
                return Ok(done);
            }
            let now = sent.load(Ordering::Relaxed);
            if now != seen {
                (seen, moved) = (now, Instant::now());
                at(now);
            }
            let patience = patience(&self.waits, now < size);
            if moved.elapsed() >= patience {
                let waited = answer::seconds(patience);
                let what = match now < size {
                    true => "took no byte",
                    false => "has the whole file and did not answer",
                };
                return Err(SourceError::Network(format!("{what} for {waited}")));
            }
        }
    }

    async fn json<T: DeserializeOwned>(
        &self,
        command: &str,
        parameters: &[(&str, &str)],
    ) -> Result<T, SourceError> {
        let mut response = self.call(command, parameters).await?;
        parsed(&answer::body(&mut response, API_BODY_BYTES_MAX, &self.waits).await?)
    }

    async fn call(
        &self,
        command: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Response, SourceError> {
        let url = self.url(command, parameters)?;
        kubo_rpc::call(&self.client, url, &self.waits).await
    }

    fn url(
        &self,
        command: &str,
        parameters: &[(impl AsRef<str>, impl AsRef<str>)],
    ) -> Result<Url, SourceError> {
        let url = self.api.join(&format!("api/v0/{command}"));
        let mut url =
            url.map_err(|error| SourceError::Protocol(format!("cannot be asked: {error}")))?;
        url.query_pairs_mut().extend_pairs(parameters);
        Ok(url)
    }
}

/// Everything that decides the CID is said: the daemon's settings (`Import`) must not.
fn parameters(options: &AddOptions<'_>) -> Vec<(&'static str, String)> {
    let shape = &options.shape;
    let version = match shape.cid_version {
        callao_content::cid::Version::V0 => "0",
        callao_content::cid::Version::V1 => "1",
    };
    vec![
        ("cid-version", version.into()),
        ("raw-leaves", shape.raw_leaves.to_string()),
        ("chunker", format!("size-{}", shape.chunk_size)),
        ("max-file-links", shape.width.to_string()),
        ("hash", "sha2-256".into()),
        ("trickle", "false".into()),
        ("inline", "false".into()),
        ("pin", "true".into()),
        ("pin-name", options.pin_name.into()),
        // Errors come as errors then, not in a trailer of an answer that has begun.
        ("progress", "false".into()),
        ("nocopy", options.in_place.is_some().to_string()),
    ]
}

/// What is before the file in the body (RFC 7578).
fn part_head(boundary: &str, in_place: Option<&str>) -> String {
    let place = in_place
        .map(|path| format!("Abspath: {path}\r\n"))
        .unwrap_or_default();
    format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\n\
         Content-Type: application/octet-stream\r\n{place}\r\n"
    )
}

/// The file in pieces between two texts. It is read beside the thread that sends.
fn around(
    file: Arc<dyn Bulk + Send>,
    head: String,
    tail: String,
    sent: Arc<AtomicU64>,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    let pieces = stream::try_unfold(0, move |offset: u64| {
        let (file, sent) = (Arc::clone(&file), Arc::clone(&sent));
        async move {
            sent.store(offset, Ordering::Relaxed);
            let left = file.size() - offset;
            if left == 0 {
                return Ok(None);
            }
            let length = left.min(KUBO_PIECE_BYTES as u64);
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; length as usize];
                file.read(offset, &mut bytes).map(|()| bytes)
            });
            let bytes = read.await.map_err(std::io::Error::other)??;
            Ok(Some((Bytes::from(bytes), offset + length)))
        }
    });
    let text = |text: String| stream::iter([Ok(Bytes::from(text))]);
    text(head).chain(pieces.into_stream()).chain(text(tail))
}

fn patience(waits: &Waits, is_sending: bool) -> Duration {
    match is_sending {
        true => waits.stall,
        false => KUBO_FINISH_TIMEOUT.max(waits.stall),
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, SourceError> {
    serde_json::from_slice(body)
        .map_err(|_| SourceError::Protocol("what answers there is not the API of kubo".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use callao_content::profile::Profile;

    fn options(profile: Profile) -> AddOptions<'static> {
        AddOptions {
            shape: profile.shape(),
            root: callao_content::cid::raw_sha256([0; 32]),
            pin_name: "a b",
            in_place: None,
        }
    }

    #[test]
    fn everything_that_decides_the_cid_is_said() {
        let said = |profile: Profile| -> String {
            let all = parameters(&options(profile));
            let texts: Vec<String> = all[..4]
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            texts.join(" ")
        };
        assert_eq!(
            said(Profile::KuboCidV1),
            "cid-version=1 raw-leaves=true chunker=size-262144 max-file-links=174"
        );
        assert_eq!(
            said(Profile::UnixfsV0_2015),
            "cid-version=0 raw-leaves=false chunker=size-262144 max-file-links=174"
        );
        assert_eq!(
            said(Profile::UnixfsV1_2025),
            "cid-version=1 raw-leaves=true chunker=size-1048576 max-file-links=1024"
        );
    }

    #[test]
    fn a_file_that_is_referred_to_has_its_path_in_front() {
        let head = part_head("b", Some("/a/b c.img"));
        assert_eq!(
            head,
            "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\n\
             Content-Type: application/octet-stream\r\nAbspath: /a/b c.img\r\n\r\n"
        );
        assert!(part_head("b", None).ends_with("octet-stream\r\n\r\n"));
    }

    #[test]
    fn the_file_lies_between_the_two_texts() {
        struct Counting(u64);
        impl Bulk for Counting {
            fn size(&self) -> u64 {
                self.0
            }
            fn read(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
                for (at, byte) in buffer.iter_mut().enumerate() {
                    *byte = ((offset + at as u64) % 251) as u8;
                }
                Ok(())
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        for size in [
            0,
            1,
            KUBO_PIECE_BYTES as u64,
            2 * KUBO_PIECE_BYTES as u64 + 5,
        ] {
            let sent = Arc::new(AtomicU64::new(u64::MAX));
            let file = Arc::new(Counting(size));
            let stream = around(file, "head".into(), "tail".into(), Arc::clone(&sent));
            let pieces: Vec<Bytes> = runtime
                .block_on(stream.try_collect())
                .expect("it can be read");
            let mut wanted = b"head".to_vec();
            wanted.extend((0..size).map(|at| (at % 251) as u8));
            wanted.extend(b"tail");
            assert!(pieces.concat() == wanted, "{size}");
            assert_eq!(sent.load(Ordering::Relaxed), size);
        }
    }
}
