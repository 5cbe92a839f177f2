//! Reads what a registry says about its contents: image index and manifest of OCI, manifest list and manifest of
//! Docker (schema 2), artifact manifest. Pure; what it reads is foreign, so everything is bounded and checked.
//! Chooses nothing: that is `choose`.

use std::collections::BTreeMap;

use callao_content::digest::Digest;
use serde::{Deserialize, Serialize};

use super::error::shown;
use crate::limits::{OCI_DESCRIPTORS_COUNT_MAX, OCI_MANIFEST_BYTES_MAX};

/// Media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of the artifact manifest, which was withdrawn and is still found.
pub const ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// Docker's index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The config of an artifact that has none: two bytes, `{}`.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Annotation: the file name of a layer.
pub const TITLE: &str = "org.opencontainers.image.title";

/// What may be asked for, in the order in which it is liked.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.artifact.manifest.v1+json";

/// A document of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// Manifests to choose from.
    Index(Vec<Descriptor>),
    /// The blobs of one thing.
    Manifest(Manifest),
}

/// An image or an artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// What kind of artifact it is.
    pub artifact_type: Option<String>,
    /// Its blobs in order.
    pub layers: Vec<Descriptor>,
    /// What else was written about it.
    pub annotations: BTreeMap<String, String>,
}

/// Names a document or a blob, and says how long it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Digest of its bytes.
    #[serde(with = "digest_text")]
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
    /// For what computer; in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What else was written about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(deserialize_with = "null_is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// For what computer something is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Go's name of the architecture, mostly.
    #[serde(default)]
    pub architecture: String,
    /// `linux`, mostly.
    #[serde(default)]
    pub os: String,
    /// Such as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a document cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// Longer than anybody needs.
    #[error("the manifest is longer than {OCI_MANIFEST_BYTES_MAX} bytes")]
    TooLong,
    /// Not JSON, or not of this shape.
    #[error("the manifest cannot be read: {0}")]
    Syntax(String),
    /// It can be read in two ways, or says two things about itself.
    #[error("the manifest contradicts itself: {0}")]
    Ambiguous(String),
    /// Docker's first format, or something that is not known.
    #[error("a manifest of type `{0}` is not supported")]
    Unsupported(String),
    /// More entries than anybody needs.
    #[error("the manifest has {0} entries, more than {OCI_DESCRIPTORS_COUNT_MAX}")]
    TooMany(usize),
}

/// Everything that one of these documents may have.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    artifact_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    layers: Option<Vec<Descriptor>>,
    blobs: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_empty")]
    annotations: BTreeMap<String, String>,
}

/// Reads a document; `content_type` is what the server called it.
pub fn read(bytes: &[u8], content_type: &str) -> Result<Document, BadManifest> {
    if bytes.len() > OCI_MANIFEST_BYTES_MAX {
        return Err(BadManifest::TooLong);
    }
    let raw: Raw = serde_json::from_slice(bytes).map_err(|error| {
        let first = content_type.starts_with("application/vnd.docker.distribution.manifest.v1");
        match first {
            true => BadManifest::Unsupported(content_type.into()),
            false => BadManifest::Syntax(error.to_string()),
        }
    })?;
    let kind = kind(&raw, content_type)?;
    let count = [&raw.manifests, &raw.layers, &raw.blobs]
        .iter()
        .filter_map(|list| list.as_ref().map(Vec::len))
        .max()
        .unwrap_or(0);
    if count > OCI_DESCRIPTORS_COUNT_MAX {
        return Err(BadManifest::TooMany(count));
    }
    Ok(match kind {
        Kind::Index => Document::Index(raw.manifests.unwrap_or_default()),
        Kind::Manifest => Document::Manifest(Manifest {
            // Before 1.1 the type of the config said what the artifact is.
            artifact_type: raw
                .artifact_type
                .or(raw.config.map(|config| config.media_type)),
            layers: raw.layers.or(raw.blobs).unwrap_or_default(),
            annotations: raw.annotations,
        }),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Index,
    Manifest,
}

/// What the document is. One that could be read in two ways is refused: others would see something else in it
/// (CVE-2021-41190).
fn kind(raw: &Raw, content_type: &str) -> Result<Kind, BadManifest> {
    if raw.schema_version == Some(1) {
        return Err(BadManifest::Unsupported("schema version 1".into()));
    }
    let named = |text: &str| match text {
        INDEX | DOCKER_LIST => Some(Kind::Index),
        MANIFEST | DOCKER_MANIFEST | ARTIFACT => Some(Kind::Manifest),
        _ => None,
    };
    let said = raw.media_type.as_deref().filter(|text| !text.is_empty());
    let kind = match (said, named(content_type)) {
        (Some(said), outside) => {
            let inside = named(said).ok_or_else(|| BadManifest::Unsupported(shown(said)))?;
            if outside.is_some_and(|outside| outside != inside) {
                return Err(BadManifest::Ambiguous(format!(
                    "it calls itself `{}`, and the server `{content_type}`",
                    shown(said)
                )));
            }
            inside
        }
        (None, Some(outside)) => outside,
        (None, None) if raw.manifests.is_some() => Kind::Index,
        (None, None) if raw.layers.is_some() || raw.blobs.is_some() => Kind::Manifest,
        (None, None) => return Err(BadManifest::Unsupported(shown(content_type))),
    };
    let both = raw.manifests.is_some() && (raw.layers.is_some() || raw.blobs.is_some());
    let other = match kind {
        Kind::Index => raw.layers.is_some() || raw.blobs.is_some(),
        Kind::Manifest => raw.manifests.is_some(),
    };
    if both || other {
        return Err(BadManifest::Ambiguous(
            "it has both manifests and layers".into(),
        ));
    }
    Ok(kind)
}

/// Some writers put `null` where there is nothing.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

mod digest_text {
    use callao_content::digest::Digest;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c";

    fn with(text: &str, content_type: &str) -> Result<Document, BadManifest> {
        read(
            text.replace("DIGEST", &format!("sha256:{HEX}")).as_bytes(),
            content_type,
        )
    }

    #[test]
    fn each_format_is_read() {
        let index = r#"{"schemaVersion":2,"manifests":[{"mediaType":"m","digest":"DIGEST","size":7,
            "platform":{"architecture":"amd64","os":"linux","os.version":"1"},"annotations":null}]}"#;
        for content_type in [INDEX, DOCKER_LIST, "", "application/json"] {
            match with(index, content_type).expect(content_type) {
                Document::Index(manifests) => {
                    assert_eq!(manifests[0].size, 7);
                    assert_eq!(
                        manifests[0].platform.as_ref().map(|p| p.os.as_str()),
                        Some("linux")
                    );
                }
                other => panic!("{other:?}"),
            }
        }
        let image = r#"{"schemaVersion":2,"config":{"mediaType":"c","digest":"DIGEST","size":2},
            "layers":[{"mediaType":"l","digest":"DIGEST","size":9,"annotations":{"org.opencontainers.image.title":"a"}}]}"#;
        for content_type in [MANIFEST, DOCKER_MANIFEST, ""] {
            match with(image, content_type).expect(content_type) {
                Document::Manifest(manifest) => {
                    assert_eq!(manifest.artifact_type.as_deref(), Some("c"));
                    assert_eq!(manifest.layers[0].annotations[TITLE], "a");
                }
                other => panic!("{other:?}"),
            }
        }
        let artifact = r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"t",
            "blobs":[{"mediaType":"l","digest":"DIGEST","size":9}]}"#;
        match with(artifact, ARTIFACT).expect("an artifact") {
            Document::Manifest(manifest) => assert_eq!(
                (manifest.artifact_type.as_deref(), manifest.layers.len()),
                (Some("t"), 1)
            ),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let both = r#"{"manifests":[],"layers":[]}"#;
        let two_names = r#"{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        let table = [
            (
                both,
                "",
                "the manifest contradicts itself: it has both manifests and layers",
            ),
            (
                both,
                INDEX,
                "the manifest contradicts itself: it has both manifests and layers",
            ),
            (
                r#"{"layers":[]}"#,
                INDEX,
                "the manifest contradicts itself: it has both manifests and layers",
            ),
            (
                two_names,
                MANIFEST,
                "the manifest contradicts itself: it calls itself `application/vnd.oci.image.index.v1+json`, \
                 and the server `application/vnd.oci.image.manifest.v1+json`",
            ),
            (
                r#"{"schemaVersion":1,"fsLayers":[]}"#,
                "",
                "a manifest of type `schema version 1` is not supported",
            ),
            (
                r#"{"mediaType":"x/y"}"#,
                "",
                "a manifest of type `x/y` is not supported",
            ),
            (
                "{}",
                "text/html",
                "a manifest of type `text/html` is not supported",
            ),
            (
                "<html>",
                "text/html",
                "the manifest cannot be read: expected value at line 1 column 1",
            ),
        ];
        for (text, content_type, wanted) in table {
            let error = with(text, content_type).expect_err(text);
            assert_eq!(error.to_string(), wanted, "{text}");
        }
        let bad_digest = r#"{"layers":[{"digest":"sha256:12","size":1}]}"#;
        assert!(matches!(with(bad_digest, ""), Err(BadManifest::Syntax(_))));
        let negative = r#"{"layers":[{"digest":"DIGEST","size":-1}]}"#;
        assert!(matches!(with(negative, ""), Err(BadManifest::Syntax(_))));
        let long = vec![b' '; OCI_MANIFEST_BYTES_MAX + 1];
        assert_eq!(read(&long, ""), Err(BadManifest::TooLong));
        let one = r#"{"digest":"DIGEST","size":1}"#;
        let many = format!(
            "{{\"layers\":[{}]}}",
            vec![one; OCI_DESCRIPTORS_COUNT_MAX + 1].join(",")
        );
        assert_eq!(
            with(&many, ""),
            Err(BadManifest::TooMany(OCI_DESCRIPTORS_COUNT_MAX + 1))
        );
    }
}
