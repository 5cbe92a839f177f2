//! What `qemu-img info` and `qemu-img check` report as JSON, and whether that is acceptable.
//!
//! It must not run anything.

use serde::Deserialize;
use serde_json::Value;

use super::format::{Format, Refusal};

/// The fields that decide.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    format: String,
    virtual_size: u64,
    filename: String,
    backing_filename: Option<String>,
    #[serde(default)]
    encrypted: bool,
    format_specific: Option<Specific>,
    /// Since QEMU 8.1.
    #[serde(default)]
    children: Vec<Child>,
}

#[derive(Deserialize)]
struct Specific {
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
struct Child {
    name: String,
}

/// An answer of qemu-img that is not as documented.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Not JSON, or without what is needed.
    #[error("qemu-img said something that is no report: {0}")]
    Unreadable(String),
    /// QEMU sees another format than callao.
    #[error("qemu-img takes it for {0}")]
    OtherFormat(String),
    /// It is not taken.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The size that the guest sees, in bytes, of an image that needs no other file.
///
/// # Errors
/// It names other files, or is something else.
pub(super) fn virtual_bytes(report: &str, format: Format) -> Result<u64, ReportError> {
    let info: Info =
        serde_json::from_str(report).map_err(|error| ReportError::Unreadable(error.to_string()))?;
    if info.format != format.name() {
        return Err(ReportError::OtherFormat(crate::program::shown(
            &info.format,
        )));
    }
    if info.backing_filename.is_some() {
        return Err(Refusal::BackingFile.into());
    }
    let data = info.format_specific.map(|specific| specific.data);
    let data = data.unwrap_or_default();
    if info.encrypted || !data["encrypt"].is_null() {
        return Err(Refusal::Encrypted.into());
    }
    if !data["data-file"].is_null() {
        return Err(Refusal::OtherFiles.into());
    }
    if data["corrupt"] == true {
        return Err(Refusal::Corrupt.into());
    }
    let extents = data["extents"].as_array();
    let is_elsewhere = |extent: &Value| extent["filename"] != info.filename.as_str();
    if extents.is_some_and(|extents| extents.iter().any(is_elsewhere)) {
        return Err(Refusal::OtherFiles.into());
    }
    // The protocol below is the only child of an image that stands alone.
    if info.children.iter().any(|child| child.name != "file") {
        return Err(Refusal::OtherFiles.into());
    }
    Ok(info.virtual_size)
}

/// The size that the guest sees, in bytes, of an overlay of ours.
pub(super) fn overlay_bytes(report: &str) -> Result<u64, ReportError> {
    let info: Info =
        serde_json::from_str(report).map_err(|error| ReportError::Unreadable(error.to_string()))?;
    Ok(info.virtual_size)
}

/// How a disk was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// In order.
    Good,
    /// Place that is lost, and nothing else: what a QEMU that was killed may leave.
    Leaks {
        /// Clusters of 64 KiB.
        clusters: u64,
    },
    /// Damaged.
    Corrupt {
        /// How many errors.
        errors: u64,
    },
}

/// Reads the report of `qemu-img check`.
pub(super) fn health(report: &str) -> Result<Health, ReportError> {
    let report: Value =
        serde_json::from_str(report).map_err(|error| ReportError::Unreadable(error.to_string()))?;
    let count = |key| report[key].as_u64().unwrap_or(0);
    let errors = count("corruptions") + count("check-errors");
    Ok(match (errors, count("leaks")) {
        (0, 0) => Health::Good,
        (0, clusters) => Health::Leaks { clusters },
        (errors, _) => Health::Corrupt { errors },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const BYTES: u64 = 50_331_648;

    fn info(format: Format, more: Value) -> String {
        let mut info = json!({"format": format, "virtual-size": BYTES, "filename": "a"});
        for (key, value) in more.as_object().expect("an object") {
            info[key] = value.clone();
        }
        info.to_string()
    }

    fn specific(data: Value) -> Value {
        json!({"format-specific": {"type": "x", "data": data}})
    }

    #[test]
    fn what_stands_alone_is_taken() {
        let zstd = json!({"compression-type": "zstd", "corrupt": false});
        let extent = json!({"extents": [{"filename": "a", "format": ""}]});
        let child = json!({"children": [{"name": "file", "info": {}}]});
        let table = [
            (Format::Qcow2, specific(zstd)),
            (Format::Qcow2, child),
            (Format::Raw, json!({})),
            (Format::Vmdk, specific(extent)),
        ];
        for (format, more) in table {
            let report = info(format, more);
            assert_eq!(virtual_bytes(&report, format), Ok(BYTES), "{report}");
        }
    }

    #[test]
    fn what_needs_more_is_refused() {
        use Format::{Qcow2, Vmdk};
        let extent = json!({"extents": [{"filename": "a-flat.vmdk", "format": "FLAT"}]});
        let children = json!({"children": [{"name": "file"}, {"name": "data-file"}]});
        let backing = json!({"backing-filename": "/etc/shadow"});
        let luks = json!({"encrypt": {"format": "luks"}});
        let table = [
            (Qcow2, backing, Refusal::BackingFile),
            (
                Qcow2,
                specific(json!({"data-file": "d"})),
                Refusal::OtherFiles,
            ),
            (Qcow2, children, Refusal::OtherFiles),
            (Vmdk, specific(extent), Refusal::OtherFiles),
            (Qcow2, json!({"encrypted": true}), Refusal::Encrypted),
            (Qcow2, specific(luks), Refusal::Encrypted),
            (Qcow2, specific(json!({"corrupt": true})), Refusal::Corrupt),
        ];
        for (format, more, refusal) in table {
            let report = info(format, more);
            let expected = Err(ReportError::Refused(refusal));
            assert_eq!(virtual_bytes(&report, format), expected, "{report}");
        }
        let vdi = info(Format::Vdi, json!({}));
        let error = virtual_bytes(&vdi, Format::Raw).expect_err("another");
        assert_eq!(error.to_string(), "qemu-img takes it for vdi");
        let error = virtual_bytes("x", Format::Raw).expect_err("nothing");
        let said = error.to_string();
        assert!(
            said.starts_with("qemu-img said something that is no report: "),
            "{said}"
        );
    }

    #[test]
    fn leaks_are_no_damage() {
        let table = [
            (
                json!({"check-errors": 0, "allocated-clusters": 3}),
                Health::Good,
            ),
            (
                json!({"check-errors": 0, "leaks": 4}),
                Health::Leaks { clusters: 4 },
            ),
            (
                json!({"check-errors": 0, "leaks": 4, "corruptions": 2}),
                Health::Corrupt { errors: 2 },
            ),
            (json!({"check-errors": 1}), Health::Corrupt { errors: 1 }),
        ];
        for (report, expected) in table {
            assert_eq!(health(&report.to_string()), Ok(expected));
        }
    }
}
