//! What is written about published files: manifests and the index over them. Pure: the same files always give the same
//! documents, so publishing twice changes nothing.

use std::collections::BTreeMap;

use callao_content::digest::{Algorithm, Digest};
use callao_fetch::oci::choose::{DISK_TYPE, Wanted};
use callao_fetch::oci::manifest::{Descriptor, EMPTY, INDEX, MANIFEST, Platform, TITLE};
use callao_template::Arch;
use serde_json::json;

use super::upload::FileBytes;

/// What kind of artifact it is.
const ARTIFACT_TYPE: &str = "application/vnd.callao.disk.v1";
/// Annotation: the CID that `ipfs add --cid-version=1` gives the file.
const CID: &str = "io.github.callao.cid";
/// Annotation: the digest of the file.
const DIGEST: &str = "io.github.callao.digest";
/// The config of an artifact that has none.
pub(super) const EMPTY_CONFIG: &[u8] = b"{}";

/// A file with its names.
pub(super) struct Artifact {
    pub(super) bytes: FileBytes,
    pub(super) arch: Option<Arch>,
    pub(super) title: String,
    pub(super) digest: Digest,
    pub(super) cid: String,
    pub(super) size: u64,
    pub(super) is_qcow2: bool,
}

/// A document as it is put.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) media_type: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) digest: Digest,
}

impl Document {
    fn new(media_type: &'static str, value: &serde_json::Value) -> Self {
        let bytes = value.to_string().into_bytes();
        Document {
            media_type,
            digest: Digest::of(Algorithm::Sha256, &bytes),
            bytes,
        }
    }
}

/// The manifest of one file.
pub(super) fn manifest(artifact: &Artifact) -> Document {
    let mut of_layer = annotations(artifact);
    of_layer.insert(TITLE.into(), artifact.title.clone());
    let layer = Descriptor {
        media_type: media_type(&artifact.title).into(),
        digest: artifact.digest,
        size: artifact.size,
        platform: None,
        artifact_type: None,
        annotations: of_layer,
    };
    let config = Descriptor {
        media_type: EMPTY.into(),
        digest: Digest::of(Algorithm::Sha256, EMPTY_CONFIG),
        size: EMPTY_CONFIG.len() as u64,
        platform: None,
        artifact_type: None,
        annotations: BTreeMap::new(),
    };
    Document::new(
        MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": ARTIFACT_TYPE,
            "config": config,
            "layers": [layer],
            "annotations": annotations(artifact),
        }),
    )
}

/// The index over the manifests of several architectures.
pub(super) fn index(artifacts: &[Artifact], manifests: &[Document]) -> Document {
    let describe = |(artifact, manifest): (&Artifact, &Document)| {
        let mut annotations = annotations(artifact);
        if artifact.is_qcow2 {
            annotations.insert(DISK_TYPE.into(), "qemu".into());
        }
        let platform = artifact.arch.map(|arch| {
            let wanted = Wanted::of_lima(arch.name());
            Platform {
                architecture: wanted.architecture,
                os: "linux".into(),
                variant: wanted.variant,
            }
        });
        Descriptor {
            media_type: manifest.media_type.into(),
            digest: manifest.digest,
            size: manifest.bytes.len() as u64,
            platform,
            artifact_type: Some(ARTIFACT_TYPE.into()),
            annotations,
        }
    };
    let described: Vec<Descriptor> = artifacts.iter().zip(manifests).map(describe).collect();
    Document::new(
        INDEX,
        &json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "artifactType": ARTIFACT_TYPE,
            "manifests": described,
        }),
    )
}

fn annotations(artifact: &Artifact) -> BTreeMap<String, String> {
    let pairs = [
        (CID.to_string(), artifact.cid.clone()),
        (DIGEST.to_string(), artifact.digest.to_string()),
    ];
    pairs.into_iter().collect()
}

/// Never one that ends like a compression of what the title names: the bytes are the file.
fn media_type(title: &str) -> &'static str {
    let lower = title.to_ascii_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| lower.ends_with(end));
    match () {
        () if ends(&[".gz", ".tgz"]) => "application/gzip",
        () if ends(&[".zst", ".zstd", ".tzst"]) => "application/zstd",
        () if ends(&[".xz"]) => "application/x-xz",
        () => "application/octet-stream",
    }
}
