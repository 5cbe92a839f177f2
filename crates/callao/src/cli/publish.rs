//! The flags of `callao publish`.

use std::path::PathBuf;

use callao_fetch::oci::reference::Reference;
use clap::Args;

use super::RegistryArgs;

const PUBLISH_AFTER_HELP: &str = "\
Pushes files to a registry of OCI artifacts, with digest and CID, so that
`callao get`, `oras pull` and whoever speaks the protocol get the same bytes.
What is there already is not sent again; an interrupted upload goes on.
Logins are those of `docker login` or `podman login`.

Examples:
  callao publish disk.qcow2 --to oci://ghcr.io/owner/images:1
  callao publish --arch x86_64=amd64.qcow2 --arch aarch64=arm64.qcow2 \\
      --to oci://ghcr.io/owner/images:1";

/// `callao publish`.
#[derive(Debug, Clone, Args)]
#[command(after_help = PUBLISH_AFTER_HELP)]
pub struct PublishArgs {
    /// The file
    #[arg(
        value_name = "FILE",
        required_unless_present = "arch",
        conflicts_with = "arch"
    )]
    pub file: Option<PathBuf>,
    /// A file for an architecture; once for each: they become an index
    #[arg(long, value_name = "ARCH=FILE", value_parser = arch_and_file)]
    pub arch: Vec<(callao_template::Arch, PathBuf)>,
    /// Where to.
    #[arg(
        long,
        value_name = "ADDRESS",
        value_parser = target,
        help = "Where to: oci://REGISTRY/REPOSITORY[:TAG]"
    )]
    pub to: Target,
    /// Which registries may be spoken to how.
    #[command(flatten)]
    pub registries: RegistryArgs,
}

/// Where files can be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A tag in a registry.
    Oci(Reference),
}

fn arch_and_file(text: &str) -> Result<(callao_template::Arch, PathBuf), String> {
    let (arch, file) = text
        .split_once('=')
        .filter(|(_, file)| !file.is_empty())
        .ok_or("expected ARCH=FILE, such as x86_64=disk.qcow2")?;
    let arch = arch
        .parse()
        .map_err(|error: callao_template::UnknownArch| error.to_string())?;
    Ok((arch, file.into()))
}

fn target(text: &str) -> Result<Target, String> {
    let Some(reference) = Reference::parse(text) else {
        return Err("only oci://REGISTRY/REPOSITORY[:TAG] can be published to".into());
    };
    let reference = reference.map_err(|error| error.reason.to_string())?;
    if reference.digest.is_some() {
        return Err("a digest cannot be chosen: leave out what comes after `@`".into());
    }
    if reference.file.is_some() {
        return Err("the title is the name of the file: leave out what comes after `#`".into());
    }
    Ok(Target::Oci(reference))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_are_published_to() {
        assert!(target("oci://h/a:1").is_ok());
        let digest = format!("oci://h/a@sha256:{}", "a".repeat(64));
        let table = [
            (
                "kubo://x",
                "only oci://REGISTRY/REPOSITORY[:TAG] can be published to",
            ),
            (
                "disk.car",
                "only oci://REGISTRY/REPOSITORY[:TAG] can be published to",
            ),
            (
                "oci://h",
                "expected oci://REGISTRY/REPOSITORY[:TAG|@DIGEST][#FILE]",
            ),
            (
                "oci://h/a#b",
                "the title is the name of the file: leave out what comes after `#`",
            ),
            (
                &digest,
                "a digest cannot be chosen: leave out what comes after `@`",
            ),
        ];
        for (text, wanted) in table {
            assert_eq!(target(text), Err(wanted.to_string()), "{text}");
        }
    }

    #[test]
    fn a_file_has_its_architecture_in_front() {
        let (arch, file) = arch_and_file("aarch64=a=b.img").expect("both");
        assert_eq!((arch.name(), file), ("aarch64", PathBuf::from("a=b.img")));
        assert!(arch_and_file("disk.img").is_err());
        assert!(arch_and_file("x86_64=").is_err());
        assert!(arch_and_file("vax=disk.img").is_err());
    }
}
