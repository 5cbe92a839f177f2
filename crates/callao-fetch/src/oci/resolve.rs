//! From a reference to the blob that is the file: index, platform, manifest, layer. Every document is hashed before it
//! is believed. Where documents are kept between runs is the caller's business ([`Documents`]).

use bytes::Bytes;
use callao_content::digest::{Algorithm, Digest};
use futures::future::BoxFuture;

use super::choose::{self, Chosen, NoChoice, Wanted};
use super::error::OciError;
use super::manifest::{self, Descriptor, Document, Manifest};
use super::reference::Reference;
use super::registry::{Received, Registry};
use crate::limits::{OCI_CANDIDATES_COUNT_MAX, OCI_INDEX_DEPTH_MAX};
use crate::source::SourceError;

/// Keeps documents that a digest names: they never change.
pub trait Documents: Send + Sync {
    /// The bytes, if they are here; they are hashed by whoever asked.
    fn load(&self, digest: &Digest) -> Option<Vec<u8>>;
    /// Keeps bytes that have this digest.
    fn save(&self, digest: &Digest, bytes: &[u8]);
}

/// Where a reference led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The blob, and what to do with it.
    pub chosen: Chosen,
    /// Digest of the manifest that names it.
    pub manifest: Digest,
    /// Digest of the first document: what the tag means now.
    pub top: Digest,
    /// The manifest itself.
    pub content: Manifest,
}

/// Follows a reference. Without a registry (`None`) only documents that are kept are used.
pub async fn resolve(
    registry: Option<&Registry>,
    documents: &dyn Documents,
    reference: &Reference,
    wanted: &Wanted,
) -> Result<Resolved, OciError> {
    let walk = Walk {
        registry,
        documents,
        reference,
        wanted,
    };
    let (top, document) = match &reference.digest {
        Some(digest) => (*digest, walk.by_digest(digest, None, "").await?),
        None => walk.by_tag().await?,
    };
    let mut resolved = walk.down(top, document, 0).await?;
    resolved.top = top;
    Ok(resolved)
}

struct Walk<'a> {
    registry: Option<&'a Registry>,
    documents: &'a dyn Documents,
    reference: &'a Reference,
    wanted: &'a Wanted,
}

impl Walk<'_> {
    /// Down through indexes to the manifest with the layer.
    fn down(
        &self,
        digest: Digest,
        document: Document,
        depth: usize,
    ) -> BoxFuture<'_, Result<Resolved, OciError>> {
        Box::pin(async move {
            let file = self.reference.file.as_deref();
            let manifests = match document {
                Document::Manifest(content) => {
                    return Ok(Resolved {
                        chosen: choose::layer(&content, file)?,
                        manifest: digest,
                        top: digest,
                        content,
                    });
                }
                Document::Index(_) if depth >= OCI_INDEX_DEPTH_MAX => {
                    return Err(OciError::TooDeep);
                }
                Document::Index(manifests) => manifests,
            };
            let mut first_error = None;
            // With a file name, the manifest that has it is meant; without one, the best.
            let count = if file.is_some() {
                OCI_CANDIDATES_COUNT_MAX
            } else {
                1
            };
            let candidates = choose::manifests(&manifests, self.wanted)?;
            for one in candidates.into_iter().take(count) {
                let below = self.described(one).await?;
                match self.down(one.digest, below, depth + 1).await {
                    Err(OciError::Choice(error @ NoChoice::File { .. })) => {
                        first_error.get_or_insert(error);
                    }
                    other => return other,
                }
            }
            Err(first_error.unwrap_or(NoChoice::Nothing).into())
        })
    }

    async fn described(&self, one: &Descriptor) -> Result<Document, OciError> {
        self.by_digest(&one.digest, Some(one.size), &one.media_type)
            .await
    }

    /// A document that a digest names: from what is kept, else from the registry.
    async fn by_digest(
        &self,
        digest: &Digest,
        size: Option<u64>,
        media_type: &str,
    ) -> Result<Document, OciError> {
        let kept = self.documents.load(digest).map(Bytes::from);
        if let Some(bytes) = kept.filter(|bytes| is_of(digest, bytes)) {
            return Ok(manifest::read(&bytes, media_type)?);
        }
        let received = self.asked(&digest.to_string()).await?;
        let got = Digest::of(digest.algorithm(), &received.bytes);
        if got != *digest {
            return Err(OciError::WrongDigest {
                expected: *digest,
                got,
            });
        }
        let length = received.bytes.len() as u64;
        if let Some(expected) = size.filter(|size| *size != length) {
            return Err(OciError::WrongSize {
                expected,
                got: length,
            });
        }
        let document = manifest::read(&received.bytes, &received.content_type)?;
        self.documents.save(digest, &received.bytes);
        Ok(document)
    }

    async fn by_tag(&self) -> Result<(Digest, Document), OciError> {
        let received = self.asked(&self.reference.manifest()).await?;
        let digest = Digest::of(Algorithm::Sha256, &received.bytes);
        let document = manifest::read(&received.bytes, &received.content_type)?;
        self.documents.save(&digest, &received.bytes);
        Ok((digest, document))
    }

    async fn asked(&self, name: &str) -> Result<Received, OciError> {
        match self.registry {
            Some(registry) => registry.manifest(name).await,
            None => Err(OciError::Source(SourceError::NotFound(
                "its manifest is not here".into(),
            ))),
        }
    }
}

fn is_of(digest: &Digest, bytes: &[u8]) -> bool {
    Digest::of(digest.algorithm(), bytes) == *digest
}
