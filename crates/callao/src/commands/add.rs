//! `callao add`: digest and CID of a file in one pass; the file stays where it is and becomes known to the catalogue.

use std::path::Path;
use std::str::FromStr;

use callao_content::digest::Digest;
use callao_content::profile::{Profile, Shape};
use callao_content::{Cid, cid};

use crate::app::App;
use crate::cli::AddArgs;
use crate::error::CommandError;
use crate::output::{human, json};

pub(crate) mod car;
pub(crate) mod measured;
pub(crate) mod registered;

use measured::Measured;

pub(crate) fn run(app: &App, args: &AddArgs) -> Result<(), CommandError> {
    if args.car.is_some() && args.files.len() > 1 {
        return Err(CommandError::usage(
            "--car takes one FILE: a CAR of callao has one root",
        ));
    }
    let (shape, profile) = shape(args)?;
    for file in &args.files {
        if registered::is_car(file) {
            if args.car.is_some() {
                let wrong = "--car writes a CAR of a file, not of a CAR";
                return Err(CommandError::usage(wrong));
            }
            registered::add(app, file, args.only_hash)?;
            continue;
        }
        let added = add(app, args, file, shape)?;
        show(app, file, &added, profile);
    }
    Ok(())
}

/// A file that came by the dashboard: as `add FILE` without flags does.
pub(crate) fn register(app: &App, path: &Path) -> Result<json::Arrived, CommandError> {
    if registered::is_car(path) {
        return registered::register(app, path).map(json::Arrived::Car);
    }
    let profile = Profile::KuboCidV1;
    let added = add(app, &AddArgs::default(), path, profile.shape())?;
    Ok(json::Arrived::File(told(path, &added, profile.name())))
}

/// The shape that the flags describe, and what it is called.
fn shape(args: &AddArgs) -> Result<(Shape, &'static str), CommandError> {
    let profile =
        Profile::from_str(&args.profile).map_err(|error| CommandError::usage(error.to_string()))?;
    let mut shape = profile.shape();
    shape.chunk_size = args.chunk_size.unwrap_or(shape.chunk_size);
    shape.width = args.width.unwrap_or(shape.width);
    let name = Profile::ALL
        .iter()
        .find(|known| known.shape() == shape)
        .map_or("custom", |known| known.name());
    Ok((
        shape,
        if profile.shape() == shape {
            profile.name()
        } else {
            name
        },
    ))
}

fn add(app: &App, args: &AddArgs, file: &Path, shape: Shape) -> Result<Measured, CommandError> {
    let file = measured::measure(app, file, shape)?;
    if let Some(out) = &args.car {
        let parts = [(&file.layout, file.path.as_path())];
        car::write(app, &parts, &app.host.working_dir.join(out))?;
    }
    if !args.only_hash {
        file.make_known(app)?;
    }
    Ok(file)
}

fn told(given: &Path, added: &Measured, profile: &str) -> json::Added {
    json::Added {
        kind: "result",
        path: given.display().to_string(),
        size: added.layout.size(),
        digest: added.digest.to_string(),
        cid: cid::text(added.layout.root()),
        profile: profile.into(),
    }
}

fn show(app: &App, given: &Path, added: &Measured, profile: &str) {
    let root = added.layout.root();
    app.output.json(&told(given, added, profile));
    let url = address(root, &added.name);
    app.output.info(format!(
        "{}: {}, profile {profile}",
        given.display(),
        human::bytes(added.layout.size())
    ));
    app.output.result(&url);
    let entry = entry(&url, &added.name, &added.digest, root);
    app.output.result(entry);
}

/// `ipfs://CID/NAME`.
pub(crate) fn address(root: &Cid, name: &str) -> String {
    // In a URL the CID is always version 1: parsers fold the host to lower case.
    let in_url = Cid::new_v1(root.codec(), root.hash().to_owned());
    format!("ipfs://{}/{}", cid::text(&in_url), percent_encoded(name))
}

/// The entry of a template for a file of this name.
pub(crate) fn entry(url: &str, name: &str, digest: &Digest, root: &Cid) -> String {
    yaml(url, arch_in(name), digest, &cid::text(root))
}

/// The entry of a template, as `images:` takes it.
fn yaml(url: &str, arch: Option<&str>, digest: &Digest, cid: &str) -> String {
    let arch = arch
        .map(|arch| format!("  arch: \"{arch}\"\n"))
        .unwrap_or_default();
    format!("- location: \"{url}\"\n{arch}  digest: \"{digest}\"\n  cid: {cid}")
}

/// The architecture that a file name tells, as limactl guesses it.
fn arch_in(name: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 8] = [
        ("x86_64", "x86_64"),
        ("amd64", "x86_64"),
        ("aarch64", "aarch64"),
        ("arm64", "aarch64"),
        ("armv7l", "armv7l"),
        ("ppc64le", "ppc64le"),
        ("riscv64", "riscv64"),
        ("s390x", "s390x"),
    ];
    WORDS
        .iter()
        .find(|(word, _)| name.contains(word))
        .map(|(_, arch)| *arch)
}

pub(crate) fn percent_encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+@".contains(&byte);
    name.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_what_a_template_takes() {
        let digest = format!("sha256:{}", "a".repeat(64))
            .parse()
            .expect("a digest");
        let text = yaml(
            "ipfs://bafy/a.img",
            arch_in("noble-amd64.img"),
            &digest,
            "bafy",
        );
        let want = format!(
            "- location: \"ipfs://bafy/a.img\"\n  arch: \"x86_64\"\n  digest: \"{digest}\"\n  cid: bafy"
        );
        assert_eq!(text, want);
        assert!(!yaml("u", arch_in("disk.img"), &digest, "bafy").contains("arch"));
    }

    #[test]
    fn names_survive_a_url() {
        assert_eq!(percent_encoded("a b%é.img"), "a%20b%25%C3%A9.img");
    }
}
