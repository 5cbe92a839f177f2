//! What a WHAT on the command line means. Pure, but for a look at what a path is.

use std::path::{Path, PathBuf};

use callao_content::address::IpfsAddress;
use callao_fetch::oci::reference::Reference;
use callao_template::locator::Locator;

use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::{FileKind, Host};
use crate::template::plugins;

/// One WHAT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A Lima template, by its locator.
    Template { locator: String },
    /// An `http(s)` URL; the address, if it is one of a gateway.
    Url {
        text: String,
        address: Option<IpfsAddress>,
    },
    /// `ipfs://`, `/ipfs/` or a bare CID.
    Ipfs { text: String, address: IpfsAddress },
    /// A file in a registry.
    Oci { text: String, reference: Reference },
    /// A file that is here.
    Local { text: String, path: PathBuf },
}

/// Reads one WHAT; `look` says what a path is.
///
/// # Errors
/// Usage: a scheme that is not supported, a directory, an address that is none; not found: no such file.
pub(crate) fn read(
    text: &str,
    host: &Host,
    look: &dyn Fn(&Path) -> Option<FileKind>,
) -> Result<What, CommandError> {
    if let Some(what) = template(text, host)? {
        return Ok(what);
    }
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        return url(text);
    }
    if let Some(address) = IpfsAddress::parse(text) {
        let address = address.map_err(|error| CommandError::usage(error.to_string()))?;
        return Ok(What::Ipfs {
            text: location_of(text, &address),
            address,
        });
    }
    if let Some(reference) = Reference::parse(text) {
        let reference = reference.map_err(|error| CommandError::usage(error.to_string()))?;
        return Ok(What::Oci {
            text: text.into(),
            reference,
        });
    }
    match text.split_once("://") {
        Some(("file", _)) | None => local(text, host, look),
        Some((scheme, _)) => Err(CommandError::usage(format!(
            "`{text}`: {scheme}:// is not supported"
        ))
        .hint(format!(
            "a program `limactl-url-{scheme}` on PATH could tell where such a template is"
        ))),
    }
}

/// What can only be a template, whatever is there: `-`, names, what a plugin knows, and everything but paths that ends
/// like one.
fn template(text: &str, host: &Host) -> Result<Option<What>, CommandError> {
    let is_template = match Locator::read(text) {
        Locator::Stdin | Locator::Named { .. } => true,
        Locator::Http => is_yaml(text),
        Locator::Custom { scheme, .. } if scheme == "ipfs" => {
            is_yaml(text) && (text.contains("://") || text.contains('/'))
        }
        Locator::Custom { scheme, .. } if scheme == "github" => {
            return Err(CommandError::new(
                ExitCode::Template,
                format!("`{text}`: templates of github: are not supported"),
            )
            .hint("name the file itself: https://raw.githubusercontent.com/OWNER/REPOSITORY/BRANCH/PATH"));
        }
        Locator::Custom { scheme, .. } if scheme == "oci" => false,
        Locator::Custom { scheme, .. } => plugins::find(host, &scheme).is_some(),
        Locator::File(_) | Locator::Path => false,
    };
    Ok(is_template.then(|| What::Template {
        locator: text.into(),
    }))
}

/// Whether the path of a URL ends like a template.
fn is_yaml(text: &str) -> bool {
    let path = text.split(['?', '#']).next().unwrap_or(text);
    let path = path.to_ascii_lowercase();
    path.ends_with(".yaml") || path.ends_with(".yml")
}

fn url(text: &str) -> Result<What, CommandError> {
    url::Url::parse(text)
        .map_err(|error| CommandError::usage(format!("`{text}` is not a URL: {error}")))?;
    let address = IpfsAddress::parse(text).and_then(Result::ok);
    Ok(What::Url {
        text: text.into(),
        address,
    })
}

fn local(
    text: &str,
    host: &Host,
    look: &dyn Fn(&Path) -> Option<FileKind>,
) -> Result<What, CommandError> {
    let path = host.path(text.strip_prefix("file://").unwrap_or(text));
    match look(&path) {
        Some(FileKind::Directory) => Err(CommandError::usage(format!("`{text}` is a directory"))),
        None => Err(
            CommandError::new(ExitCode::NotFound, format!("there is no file `{text}`")).hint(
                "WHAT is a template, a URL, ipfs://CID, a CID or a path; see callao get --help",
            ),
        ),
        Some(FileKind::File { .. }) if is_yaml(text) => Ok(What::Template {
            locator: text.into(),
        }),
        Some(FileKind::File { .. }) => Ok(What::Local {
            text: text.into(),
            path,
        }),
    }
}

/// The location under which Lima's cache keeps it: `ipfs://` as written, everything else as `ipfs://CID/path`.
fn location_of(text: &str, address: &IpfsAddress) -> String {
    if text.starts_with("ipfs://") {
        return text.to_string();
    }
    let mut location = format!("ipfs://{}", callao_content::cid::text(&address.cid));
    for segment in &address.path {
        location.push('/');
        location.push_str(segment);
    }
    location
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafybeig5sch22ecfox7gq724rz7uivydwvnnpuqdcnjz72iwelgtrakzui";

    fn look(path: &Path) -> Option<FileKind> {
        match path.to_str()? {
            "/here/dir" => Some(FileKind::Directory),
            "/here/a.img" | "/here/t.yaml" => Some(FileKind::File { size: 1 }),
            _ => None,
        }
    }

    fn read_here(text: &str) -> Result<What, CommandError> {
        read(text, &Host::with_variables([]), &look)
    }

    #[test]
    fn each_form_is_recognised() {
        let templates = [
            "t.yaml".to_string(),
            "file:///here/t.yaml".into(),
            "-".into(),
            "template:debian-12".into(),
            "template:_images/ubuntu".into(),
            "https://host/t.yaml".into(),
            "https://host/t.YML?x=y".into(),
            format!("ipfs://{CID}/t.yaml"),
            format!("ipfs:{CID}/t.yaml"),
        ];
        for locator in templates {
            let what = read_here(&locator).expect("template");
            assert_eq!(what, What::Template { locator });
        }
        assert!(matches!(
            read_here("a.img").expect("file"),
            What::Local { .. }
        ));
        assert!(matches!(
            read_here("file:///here/a.img").expect("file"),
            What::Local { .. }
        ));
        assert!(matches!(
            read_here("https://host/a.img").expect("url"),
            What::Url { address: None, .. }
        ));
        let gateway = read_here(&format!("https://host/ipfs/{CID}/a.img")).expect("gateway url");
        assert!(matches!(
            gateway,
            What::Url {
                address: Some(_),
                ..
            }
        ));
    }

    #[test]
    fn every_ipfs_form_has_the_location_that_lima_would_see() {
        let cases = [
            (CID.to_string(), format!("ipfs://{CID}")),
            (format!("/ipfs/{CID}/a.img"), format!("ipfs://{CID}/a.img")),
            (format!("ipfs://{CID}/a.img"), format!("ipfs://{CID}/a.img")),
        ];
        for (text, want) in cases {
            match read_here(&text).expect("address") {
                What::Ipfs { text, .. } => assert_eq!(text, want),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_is_said_clearly() {
        let cases = [
            ("github:lima-vm/lima", ExitCode::Template),
            ("oci://host", ExitCode::Usage),
            ("s3://bucket/key", ExitCode::Usage),
            ("missing.yaml", ExitCode::NotFound),
            ("dir", ExitCode::Usage),
            ("missing.img", ExitCode::NotFound),
        ];
        for (text, kind) in cases {
            assert_eq!(read_here(text).expect_err(text).kind, kind, "{text}");
        }
    }
}
