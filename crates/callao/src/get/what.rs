//! What a WHAT on the command line means. Pure, but for a look at what a path is.

use std::path::{Path, PathBuf};

use callao_content::address::IpfsAddress;

use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::{FileKind, Host};

/// One WHAT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A Lima template.
    Template { text: String, path: PathBuf },
    /// An `http(s)` URL; the address, if it is one of a gateway.
    Url {
        text: String,
        address: Option<IpfsAddress>,
    },
    /// `ipfs://`, `/ipfs/` or a bare CID.
    Ipfs { text: String, address: IpfsAddress },
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
    if text == "-" {
        return Err(CommandError::usage("a template on stdin is not supported")
            .hint("write it to a file first"));
    }
    if let Some(name) = text.strip_prefix("template:") {
        let name = name.trim_start_matches('/');
        return Err(CommandError::new(ExitCode::Template, format!("`{text}`: named templates are not supported"))
            .hint(format!("`limactl template copy --fill template:{name} {name}.yaml` writes the whole template to a file")));
    }
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        return url(text, &lower);
    }
    if let Some(address) = IpfsAddress::parse(text) {
        let address = address.map_err(|error| CommandError::usage(error.to_string()))?;
        return Ok(What::Ipfs {
            text: location_of(text, &address),
            address,
        });
    }
    match text.split_once("://") {
        Some(("file", _)) | None => local(text, host, look),
        Some((scheme, _)) => Err(CommandError::usage(format!(
            "`{text}`: {scheme}:// is not supported"
        ))),
    }
}

fn url(text: &str, lower: &str) -> Result<What, CommandError> {
    url::Url::parse(text)
        .map_err(|error| CommandError::usage(format!("`{text}` is not a URL: {error}")))?;
    let path = lower.split(['?', '#']).next().unwrap_or(lower);
    if path.ends_with(".yaml") || path.ends_with(".yml") {
        return Err(CommandError::new(
            ExitCode::Template,
            format!("`{text}`: templates are read from disk only"),
        )
        .hint("download the template first"));
    }
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
    let is_template = path
        .extension()
        .is_some_and(|ext| ext.eq_ignore_ascii_case("yaml") || ext.eq_ignore_ascii_case("yml"));
    match look(&path) {
        Some(FileKind::Directory) => Err(CommandError::usage(format!("`{text}` is a directory"))),
        None => Err(
            CommandError::new(ExitCode::NotFound, format!("there is no file `{text}`")).hint(
                "WHAT is a template, a URL, ipfs://CID, a CID or a path; see callao get --help",
            ),
        ),
        Some(FileKind::File { .. }) if is_template => Ok(What::Template {
            text: text.into(),
            path,
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
        assert_eq!(
            read_here("t.yaml").expect("template"),
            What::Template {
                text: "t.yaml".into(),
                path: "/here/t.yaml".into()
            }
        );
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
            ("-", ExitCode::Usage),
            ("template:debian-12", ExitCode::Template),
            ("oci://host/repository", ExitCode::Usage),
            ("https://host/t.yaml", ExitCode::Template),
            ("dir", ExitCode::Usage),
            ("missing.img", ExitCode::NotFound),
        ];
        for (text, kind) in cases {
            assert_eq!(read_here(text).expect_err(text).kind, kind, "{text}");
        }
    }
}
