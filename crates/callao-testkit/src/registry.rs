//! A registry with what the test puts into it, and its token server; well-behaved unless told otherwise.
//!
//! Takes pushes in pieces as well. Every request is in its log, with the headers that came with it.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callao_content::digest::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::body::Body;
use crate::http::{Handler, Logged, Next, Reply, Request, Server, percent_decode};
use crate::origin::{Status, Times};

/// Media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Bytes read from a blob at once.
const PIECE_BYTES: u64 = 256 * 1024;

/// What a registry has.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Content type and bytes, by tag and by digest.
    manifests: HashMap<String, (String, Vec<u8>)>,
    /// By digest.
    blobs: HashMap<String, Body>,
}

/// What has to be shown to be let in.
#[derive(Clone, Debug, Default)]
pub enum Door {
    /// Nothing.
    #[default]
    Open,
    /// Name and password.
    Basic(String, String),
    /// A token, which the server at this URL gives out.
    Bearer {
        /// Value of `realm`.
        realm: String,
        /// Value of `service`.
        service: String,
    },
}

/// What the server does.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// What has to be shown.
    pub door: Door,
    /// A status instead of a manifest.
    pub manifest_status: Option<Status>,
    /// Body of that refusal.
    pub refusal: Option<String>,
    /// A status instead of a blob.
    pub blob_status: Option<Status>,
    /// Blobs are redirected to this base, the path behind it.
    pub blobs_at: Option<String>,
    /// One byte of each manifest is changed (a space added in front would be the same JSON).
    pub false_manifests: bool,
    /// Spaces after each manifest.
    pub padding: usize,
    /// Blobs end so many bytes early, and say so.
    pub blobs_short_by: u64,
    /// Bytes per second of a blob.
    pub rate: Option<u64>,
    /// Pieces of uploads that are taken; further ones are a failure.
    pub pieces_max: Option<u64>,
    /// Wait before a piece of an upload is acknowledged.
    pub piece_delay: Option<Duration>,
    /// Manifests that are put are not kept.
    pub loses_manifests: bool,
    /// After so many body bytes in all, everything is closed and refused.
    pub stop_after_total: Option<u64>,
}

/// What the token server at `/token` knows.
#[derive(Clone, Debug, Default)]
pub struct TokenDoor {
    /// Name and password that get a token; `None`: anybody gets one.
    pub login: Option<(String, String)>,
    /// The identity token that gets one.
    pub identity: Option<String>,
    /// Tokens count only so often, then another one is needed.
    pub uses_max: Option<u64>,
    /// It sends everybody there instead of answering.
    pub redirect: Option<String>,
}

impl Contents {
    /// Adds a blob; its descriptor.
    pub fn blob(
        &mut self,
        media_type: &str,
        title: Option<&str>,
        bytes: impl Into<Vec<u8>>,
    ) -> Value {
        let bytes: Vec<u8> = bytes.into();
        let digest = Digest::of(Algorithm::Sha256, &bytes).to_string();
        let size = bytes.len();
        self.blobs.insert(digest.clone(), bytes.into());
        let mut descriptor = json!({"mediaType": media_type, "digest": digest, "size": size});
        if let Some(title) = title {
            descriptor["annotations"] = json!({"org.opencontainers.image.title": title});
        }
        descriptor
    }

    /// Other bytes under the digest of a descriptor.
    pub fn replace_blob(&mut self, descriptor: &Value, bytes: Vec<u8>) {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        self.blobs.insert(digest.to_string(), bytes.into());
    }

    /// Adds a manifest of these layers under a tag; its descriptor.
    pub fn manifest(&mut self, tag: &str, layers: Vec<Value>) -> Value {
        let config = self.blob("application/vnd.oci.empty.v1+json", None, "{}");
        let body = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        self.document(tag, MANIFEST, body.to_string().into_bytes())
    }

    /// Adds an index under a tag: each manifest with `os/architecture`, and a `disktype` if that is not empty.
    pub fn index(&mut self, tag: &str, manifests: &[(&str, &str, &Value)]) -> Value {
        let manifests: Vec<Value> = manifests
            .iter()
            .map(|(platform, disk, descriptor)| {
                let mut descriptor = (*descriptor).clone();
                let (os, architecture) = platform.split_once('/').expect("os/architecture");
                descriptor["platform"] = json!({"os": os, "architecture": architecture});
                if !disk.is_empty() {
                    descriptor["annotations"] = json!({"disktype": disk});
                }
                descriptor
            })
            .collect();
        let body = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.document(tag, INDEX, body.to_string().into_bytes())
    }

    /// Adds any bytes under a tag and their digest; their descriptor.
    pub fn document(&mut self, tag: &str, content_type: &str, bytes: Vec<u8>) -> Value {
        let digest = Digest::of(Algorithm::Sha256, &bytes).to_string();
        let descriptor =
            json!({"mediaType": content_type, "digest": digest.clone(), "size": bytes.len()});
        for name in [tag.to_string(), digest] {
            self.manifests
                .insert(name, (content_type.to_string(), bytes.clone()));
        }
        descriptor
    }
}

/// A running registry with a token server beside; ends when dropped.
#[derive(Debug)]
pub struct Registry {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    contents: Mutex<Contents>,
    behaviour: Mutex<Behaviour>,
    token_door: TokenDoor,
    /// The bytes of each upload, by its number.
    uploads: Mutex<Vec<Vec<u8>>>,
    pieces: AtomicU64,
    statuses: AtomicU64,
    tokens: AtomicU64,
    uses: AtomicU64,
}

impl Registry {
    /// Starts a registry.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub fn start(contents: Contents, behaviour: Behaviour) -> Self {
        Self::with_tokens(contents, behaviour, TokenDoor::default())
    }

    /// Starts a registry whose `/token` gives out tokens.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub fn with_tokens(contents: Contents, behaviour: Behaviour, token_door: TokenDoor) -> Self {
        let shared = Arc::new(Shared {
            contents: Mutex::new(contents),
            behaviour: Mutex::new(behaviour),
            token_door,
            uploads: Mutex::default(),
            pieces: AtomicU64::new(0),
            statuses: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            uses: AtomicU64::new(0),
        });
        let server = Server::start("fake-registry", Answers(Arc::clone(&shared)));
        Self { server, shared }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.server.address().to_string()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.server.address().port()
    }

    /// The address of something in it.
    pub fn location(&self, rest: &str) -> String {
        format!("oci://{}/{rest}", self.host())
    }

    /// Changes what it does from now on.
    pub fn set(&self, behaviour: Behaviour) {
        *lock(&self.shared.behaviour) = behaviour;
    }

    /// Changes what it has from now on.
    pub fn fill(&self, contents: Contents) {
        *lock(&self.shared.contents) = contents;
    }

    /// Forgets every upload that was begun.
    pub fn forget_uploads(&self) {
        lock(&self.shared.uploads).clear();
    }

    /// Closes every connection and the listening socket.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Logged> {
        self.server.requests()
    }

    /// Bytes of blobs, manifests and refusals sent so far.
    pub fn bytes_sent(&self) -> u64 {
        self.server.bytes_sent()
    }

    /// Requests for blobs so far.
    pub fn blob_requests(&self) -> Vec<Logged> {
        let all = self.requests().into_iter();
        all.filter(|request| request.path.contains("/blobs/"))
            .collect()
    }
}

struct Answers(Arc<Shared>);

impl Handler for Answers {
    async fn answer(&self, request: Request, reply: &mut Reply) -> io::Result<Next> {
        let shared = &self.0;
        let behaviour = lock(&shared.behaviour).clone();
        if request.path() == "/token" {
            return shared.token(&request, reply).await;
        }
        if !shared.is_let_in(&request, &behaviour) {
            return challenge(&request, reply, &behaviour).await;
        }
        let path = request.path().to_string();
        if let Some((repository, number)) = path.split_once("/blobs/uploads/") {
            let upload = number.parse().ok();
            return shared
                .upload(repository, upload, &request, reply, &behaviour)
                .await;
        }
        match (path.rsplit_once("/manifests/"), path.rsplit_once("/blobs/")) {
            (Some((_, name)), _) => shared.manifest(name, &request, reply, &behaviour).await,
            (_, Some((_, digest))) => shared.blob(digest, &request, reply, &behaviour).await,
            _ => reply.whole(&request, 200, &[], b"{}").await,
        }
    }
}

impl Shared {
    fn is_let_in(&self, request: &Request, behaviour: &Behaviour) -> bool {
        let shown = request.header("authorization").unwrap_or_default();
        match &behaviour.door {
            Door::Open => true,
            Door::Basic(user, secret) => shown == basic(user, secret),
            Door::Bearer { .. } => {
                let number = shown.strip_prefix("Bearer token-");
                let known = number.and_then(|number| number.parse::<u64>().ok());
                let newest = self.tokens.load(Ordering::SeqCst);
                let counts = known.is_some_and(|number| number > 0 && number == newest);
                let used = self.uses.fetch_add(u64::from(counts), Ordering::SeqCst);
                counts && self.token_door.uses_max.is_none_or(|max| used < max)
            }
        }
    }

    async fn token(&self, request: &Request, reply: &mut Reply) -> io::Result<Next> {
        let door = &self.token_door;
        if let Some(to) = &door.redirect {
            let headers = [("Location", to.clone())];
            return reply.whole(request, 302, &headers, b"").await;
        }
        let shown = request.header("authorization").unwrap_or_default();
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let refresh = form
            .split('&')
            .find_map(|pair| pair.strip_prefix("refresh_token="))
            .map(percent_decode);
        let by_login = door
            .login
            .as_ref()
            .map(|(user, secret)| shown == basic(user, secret));
        let by_identity = door
            .identity
            .as_ref()
            .map(|identity| Some(identity) == refresh.as_ref());
        let is_let_in = match (by_login, by_identity) {
            (None, None) => true,
            (login, identity) => login.unwrap_or(false) || identity.unwrap_or(false),
        };
        if !is_let_in {
            let said =
                br#"{"errors":[{"code":"UNAUTHORIZED","message":"wrong name or password"}]}"#;
            return reply.whole(request, 401, &json_type(), said).await;
        }
        let number = self.tokens.fetch_add(1, Ordering::SeqCst) + 1;
        self.uses.store(0, Ordering::SeqCst);
        let answer = json!({"token": format!("token-{number}"), "expires_in": 300});
        let answer = answer.to_string();
        reply
            .whole(request, 200, &json_type(), answer.as_bytes())
            .await
    }

    async fn manifest(
        &self,
        name: &str,
        request: &Request,
        reply: &mut Reply,
        behaviour: &Behaviour,
    ) -> io::Result<Next> {
        if request.method == "PUT" {
            if !behaviour.loses_manifests {
                let content_type = request.header("content-type").unwrap_or_default();
                lock(&self.contents).document(name, content_type, request.body.clone());
            }
            return reply.whole(request, 201, &[], b"").await;
        }
        if let Some(status) = self.status(behaviour.manifest_status) {
            return refuse(request, reply, status, behaviour).await;
        }
        let found = lock(&self.contents).manifests.get(name).cloned();
        let Some((content_type, mut bytes)) = found else {
            let said = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
            return reply.whole(request, 404, &json_type(), said).await;
        };
        if behaviour.false_manifests {
            bytes.push(b' ');
        }
        bytes.resize(bytes.len() + behaviour.padding, b' ');
        let headers = [("Content-Type", content_type)];
        reply.whole(request, 200, &headers, &bytes).await
    }

    async fn blob(
        &self,
        digest: &str,
        request: &Request,
        reply: &mut Reply,
        behaviour: &Behaviour,
    ) -> io::Result<Next> {
        if let Some(status) = self.status(behaviour.blob_status) {
            return refuse(request, reply, status, behaviour).await;
        }
        let found = lock(&self.contents).blobs.get(digest).cloned();
        let Some(body) = &found else {
            let said =
                br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#;
            return reply.whole(request, 404, &json_type(), said).await;
        };
        if let Some(base) = &behaviour.blobs_at {
            let headers = [("Location", format!("{base}{}", request.path()))];
            return reply.whole(request, 307, &headers, b"").await;
        }
        send_blob(body, request, reply, behaviour).await
    }

    async fn upload(
        &self,
        repository: &str,
        number: Option<usize>,
        request: &Request,
        reply: &mut Reply,
        behaviour: &Behaviour,
    ) -> io::Result<Next> {
        let at = |number: usize, length: usize| {
            [
                ("Location", format!("{repository}/blobs/uploads/{number}")),
                ("Range", format!("0-{}", length.saturating_sub(1))),
            ]
        };
        let Some(number) = number else {
            let number = {
                let mut uploads = lock(&self.uploads);
                uploads.push(Vec::new());
                uploads.len() - 1
            };
            return reply.whole(request, 202, &at(number, 0), b"").await;
        };
        let known = lock(&self.uploads).get(number).map(Vec::len);
        let Some(length) = known else {
            let said =
                br#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"blob upload unknown"}]}"#;
            return reply.whole(request, 404, &json_type(), said).await;
        };
        match request.method.as_str() {
            "GET" => reply.whole(request, 204, &at(number, length), b"").await,
            "PATCH" => {
                let before = self.pieces.fetch_add(1, Ordering::SeqCst);
                if behaviour.pieces_max.is_some_and(|max| before >= max) {
                    return reply.whole(request, 500, &json_type(), b"{}").await;
                }
                tokio::time::sleep(behaviour.piece_delay.unwrap_or_default()).await;
                let length = {
                    let mut uploads = lock(&self.uploads);
                    uploads[number].extend_from_slice(&request.body);
                    uploads[number].len()
                };
                reply.whole(request, 202, &at(number, length), b"").await
            }
            _ => {
                let bytes = std::mem::take(&mut lock(&self.uploads)[number]);
                let digest = Digest::of(Algorithm::Sha256, &bytes).to_string();
                if request.query("digest").as_deref() != Some(&digest) {
                    let said = br#"{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}"#;
                    return reply.whole(request, 400, &json_type(), said).await;
                }
                lock(&self.contents).blobs.insert(digest, bytes.into());
                reply.whole(request, 201, &[], b"").await
            }
        }
    }

    fn status(&self, status: Option<Status>) -> Option<Status> {
        let status = status?;
        match status.times {
            Times::Always => Some(status),
            Times::First(count) => {
                let before = self.statuses.fetch_add(1, Ordering::SeqCst);
                (before < count).then_some(status)
            }
        }
    }
}

async fn send_blob(
    body: &Body,
    request: &Request,
    reply: &mut Reply,
    behaviour: &Behaviour,
) -> io::Result<Next> {
    let total = body.len().saturating_sub(behaviour.blobs_short_by);
    let range = request.header("range").and_then(|text| asked(text, total));
    let (start, end) = range.unwrap_or((0, total));
    let mut headers = vec![
        ("Content-Length", (end - start).to_string()),
        ("Content-Type", "application/octet-stream".to_string()),
        ("Accept-Ranges", "bytes".to_string()),
    ];
    if range.is_some() {
        headers.push((
            "Content-Range",
            format!("bytes {start}-{}/{total}", end - 1),
        ));
    }
    reply.set_rate(behaviour.rate);
    reply
        .head(if range.is_some() { 206 } else { 200 }, &headers)
        .await?;
    if request.method == "HEAD" {
        return Ok(Next::KeepAlive);
    }
    let mut at = start;
    while at < end {
        let mut piece = vec![0; PIECE_BYTES.min(end - at) as usize];
        body.read(at, &mut piece)?;
        reply.body(&piece).await?;
        at += piece.len() as u64;
        let limit = behaviour.stop_after_total;
        if limit.is_some_and(|limit| reply.server_sent() >= limit) {
            reply.stop_server();
            return Ok(Next::Close);
        }
    }
    Ok(Next::KeepAlive)
}

/// `bytes=START-[LAST]` as start and end.
fn asked(text: &str, total: u64) -> Option<(u64, u64)> {
    let (start, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let start: u64 = start.parse().ok()?;
    let end = last
        .parse::<u64>()
        .map_or(total, |last| last + 1)
        .min(total);
    (start < end).then_some((start, end))
}

async fn challenge(
    request: &Request,
    reply: &mut Reply,
    behaviour: &Behaviour,
) -> io::Result<Next> {
    let asked = match &behaviour.door {
        Door::Bearer { realm, service } => {
            let repository = request
                .path()
                .trim_start_matches("/v2/")
                .split("/manifests/")
                .next()
                .and_then(|path| path.split("/blobs/").next())
                .unwrap_or_default();
            format!(
                r#"Bearer realm="{realm}",service="{service}",scope="repository:{repository}:pull""#
            )
        }
        Door::Basic(..) | Door::Open => r#"Basic realm="fake""#.to_string(),
    };
    let mut headers = vec![("Www-Authenticate", asked)];
    headers.extend(json_type());
    let said = br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
    reply.whole(request, 401, &headers, said).await
}

async fn refuse(
    request: &Request,
    reply: &mut Reply,
    status: Status,
    behaviour: &Behaviour,
) -> io::Result<Next> {
    let mut headers = json_type().to_vec();
    if let Some(seconds) = status.retry_after {
        headers.push(("Retry-After", seconds.to_string()));
    }
    let said = behaviour.refusal.clone().unwrap_or_default();
    reply
        .whole(request, status.code, &headers, said.as_bytes())
        .await
}

fn json_type() -> [(&'static str, String); 1] {
    [("Content-Type", "application/json".to_string())]
}

/// `Basic base64(user:secret)`.
pub fn basic(user: &str, secret: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("Basic ");
    for chunk in format!("{user}:{secret}").as_bytes().chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let is_there = at <= chunk.len();
            let letter = LETTERS[(word >> (18 - 6 * at) & 63) as usize];
            text.push(if is_there { char::from(letter) } else { '=' });
        }
    }
    text
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_encoded_as_rfc_7617_says() {
        assert_eq!(
            basic("Aladdin", "open sesame"),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(basic("a", "b"), "Basic YTpi");
        assert_eq!(basic("a", "bc"), "Basic YTpiYw==");
        assert_eq!(basic("a", "bcd"), "Basic YTpiY2Q=");
    }
}
