//! `ipfs:` locators for limactl: the template behind an address as a file of this computer, whose name gives the
//! instance its name, with everything beside it that it names; for an image a template is made. All of it is proven by
//! CID. Must not know what limactl does with the template.

use std::path::{Path, PathBuf};

use callao_content::address::IpfsAddress;
use callao_content::cid;
use callao_store::proof;
use callao_template::load::{Around, Asker, Document, Loader};
use callao_template::locator::Locator;
use callao_template::{image_locator, limits};

use crate::app::App;
use crate::cli::SourceArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::needs;
use crate::get::plan::Noun;
use crate::host;
use crate::template;

/// Prints where the template of an address is, and nothing else.
///
/// # Errors
/// It cannot be fetched, or is none.
pub(super) fn run(app: &App, sources: &SourceArgs, address: &str) -> Result<(), CommandError> {
    let place = Place::read(&locator(address))?;
    if image_locator::is_image(place.name()) && !super::reads_our_cache(app) {
        return Err(CommandError::usage(format!(
            "limactl does not read the cache `{}`, so it would not find `{}` there",
            app.places.cache().display(),
            place.location
        ))
        .hint("let callao use limactl's cache, or run `callao lima` instead of limactl"));
    }
    let path = template_file(app, sources, address)?;
    app.output.result(path.display().to_string());
    Ok(())
}

/// The template of an address, which is given without its scheme: `//CID/t.yaml`, `CID/t.yaml`, `CID`.
///
/// # Errors
/// It cannot be fetched, or is none.
pub(super) fn template_file(
    app: &App,
    sources: &SourceArgs,
    address: &str,
) -> Result<PathBuf, CommandError> {
    let place = Place::read(&locator(address))?;
    if image_locator::is_image(place.name()) {
        return image(app, sources, &place);
    }
    let tree = Tree {
        app,
        sources,
        first: &place,
    };
    let text = tree.fetch(&place)?;
    let document = Document {
        name: place.location.clone(),
        locator: place.location.clone(),
        text,
    };
    let around = Around {
        scripts: true,
        ..Around::default()
    };
    // What it says is limactl's business: it is read for what it needs.
    callao_template::load::load(&tree, document, &around)?;
    Ok(place.file(app))
}

/// An address and the file that it has here.
struct Place {
    /// `ipfs://CID/path`.
    location: String,
    address: IpfsAddress,
}

impl Place {
    fn read(location: &str) -> Result<Self, CommandError> {
        let wrong = |reason: &str| CommandError::usage(format!("`{location}`: {reason}"));
        let address = match IpfsAddress::parse(location) {
            Some(address) => address?,
            None => return Err(wrong("this is no address on IPFS")),
        };
        let is_odd = |segment: &String| {
            matches!(segment.as_str(), "." | "..") || segment.contains(['/', '\\', '\0'])
        };
        if address.path.iter().any(is_odd) {
            return Err(wrong("its path cannot be that of a file"));
        }
        Ok(Place {
            location: location.to_string(),
            address,
        })
    }

    fn root(&self) -> String {
        cid::text(&self.address.cid)
    }

    /// The last part of the path; the CID where there is none.
    fn name(&self) -> &str {
        self.address.path.last().map_or("", String::as_str)
    }

    /// The same path below a directory for the CID: what is relative to it is where it should be.
    fn file(&self, app: &App) -> PathBuf {
        let root = self.root();
        let mut path = app.places.templates().join(&root);
        path.extend(&self.address.path);
        if self.address.path.is_empty() {
            path.push(format!("{root}.yaml"));
        }
        path
    }
}

/// A template and everything that it names by relative locators.
struct Tree<'a> {
    app: &'a App,
    sources: &'a SourceArgs,
    first: &'a Place,
}

impl Tree<'_> {
    /// Fetches a text, puts it where it belongs, and answers with it.
    fn fetch(&self, place: &Place) -> Result<String, CommandError> {
        let got = needs::fetch_one(self.app, self.sources, &place.location, Noun::Template)?;
        let bytes_max = limits::TEMPLATE_SIZE_BYTES_MAX as u64;
        let wrong = |reason: &str| {
            CommandError::new(
                ExitCode::Template,
                format!("`{}` is not a template: {reason}", place.location),
            )
            .hint("an image is known by its name: ipfs://CID/NAME.qcow2")
        };
        if got.size > bytes_max {
            return Err(wrong(&format!("it has more than {bytes_max} bytes")));
        }
        let bytes = host::read_small_file(Path::new(&got.path), bytes_max)
            .map_err(|error| CommandError::io("read", Path::new(&got.path), &error))?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text"))?;
        write(&place.file(self.app), &text)?;
        Ok(text)
    }

    /// Whether there is nothing beside the template that was asked for: its CID is that of the file alone.
    fn is_alone(&self) -> bool {
        proof::load(&*self.app.disk, &self.app.places, &self.first.address.cid).is_some()
    }
}

impl Loader for Tree<'_> {
    type Error = CommandError;

    fn load(&self, locator: &str, asker: &Asker<'_>) -> Result<Document, CommandError> {
        let document = |text| Document {
            name: locator.to_string(),
            locator: locator.to_string(),
            text,
        };
        let is_ipfs =
            matches!(Locator::read(locator), Locator::Custom { scheme, .. } if scheme == "ipfs");
        if !is_ipfs {
            // limactl finds it by itself.
            return Ok(document(String::new()));
        }
        let place = Place::read(locator)?;
        if place.address.cid == self.first.address.cid && self.is_alone() {
            return Err(CommandError::new(
                ExitCode::Template,
                format!(
                    "template {}, line {}: {}: `{locator}` would lie beside the template, but this CID is that of the \
                     template alone",
                    asker.template, asker.line, asker.field
                ),
            )
            .hint("name the template by the CID of its directory"));
        }
        self.fetch(&place).map(document)
    }
}

/// Fetches an image and makes a template that names it, with the digest by which limactl finds it in its cache.
fn image(app: &App, sources: &SourceArgs, place: &Place) -> Result<PathBuf, CommandError> {
    let got = needs::fetch_one(app, sources, &place.location, Noun::Image)?;
    let host_arch = template::host_arch(app)?;
    let (text, _) = image_locator::template_of(&place.location, host_arch);
    let digest = got
        .digest
        .map(|digest| format!("  digest: \"{digest}\"\n"))
        .unwrap_or_default();
    let name = crate::template::image_name::instance(place.name(), host_arch.name());
    let path = place.file(app).join(format!("{name}.yaml"));
    write(&path, &format!("# Made by callao.\n{text}{digest}"))?;
    Ok(path)
}

/// With its scheme.
fn locator(address: &str) -> String {
    format!("ipfs://{}", address.trim_start_matches('/'))
}

fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    host::write_text(path, text).map_err(|error| CommandError::io("write", path, &error))
}
