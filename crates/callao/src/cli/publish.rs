//! The flags of `callao publish`.

use std::path::PathBuf;

use callao_fetch::oci::reference::Reference;
use callao_fetch::source::kubo_rpc;
use clap::Args;
use url::Url;

use super::RegistryArgs;
use super::add::profile_names;

const PUBLISH_AFTER_HELP: &str = "\
Without --to files are made known as `callao add` does: they stay where they are,
  and the running `callao serve` serves them.
oci://REGISTRY/REPOSITORY[:TAG]  pushes files to a registry of OCI artifacts,
  with digest and CID, so that `callao get`, `oras pull` and whoever speaks the
  protocol get the same bytes. What is there already is not sent again; an
  interrupted upload goes on. Logins are those of `docker login` or
  `podman login`.
kubo, kubo:ADDRESS  adds files to the kubo daemon of this computer, or to the
  one whose RPC API is at ADDRESS: pinned, in its Files as /callao/NAME, and
  announced where it announces.
car:PATH  writes one CAR file with all blocks of the files.

Examples:
  callao publish disk.qcow2
  callao publish disk.qcow2 --to oci://ghcr.io/owner/images:1
  callao publish --arch x86_64=amd64.qcow2 --arch aarch64=arm64.qcow2 \\
      --to oci://ghcr.io/owner/images:1
  callao publish disk.qcow2 --to kubo
  callao publish disk.qcow2 --to kubo:http://127.0.0.1:5001 --nocopy
  callao publish amd64.qcow2 arm64.qcow2 --to car:disks.car";

/// `callao publish`.
#[derive(Debug, Clone, Args)]
#[command(after_help = PUBLISH_AFTER_HELP)]
pub struct PublishArgs {
    /// The files
    #[arg(
        value_name = "FILE",
        required_unless_present = "arch",
        conflicts_with = "arch"
    )]
    pub files: Vec<PathBuf>,
    /// A file for an architecture; once for each: they become an index (oci:// only)
    #[arg(long, value_name = "ARCH=FILE", value_parser = arch_and_file)]
    pub arch: Vec<(callao_template::Arch, PathBuf)>,
    /// Where to.
    #[arg(
        long,
        value_name = "ADDRESS",
        value_parser = target,
        help = "Where to: oci://REGISTRY/REPOSITORY[:TAG], kubo, kubo:ADDRESS or car:PATH \
                [default: the `callao serve` of this computer]"
    )]
    pub to: Option<Target>,
    /// How files are cut and linked, but for oci:// [default: kubo-cid-v1]
    #[arg(long, value_name = "PROFILE", value_parser = profile_names(), hide_possible_values = true)]
    pub profile: Option<String>,
    /// Have kubo refer to the file instead of copying it: the file must never change, and kubo's filestore must be on
    #[arg(long)]
    pub nocopy: bool,
    /// Which registries may be spoken to how.
    #[command(flatten)]
    pub registries: RegistryArgs,
}

/// Where files can be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A tag in a registry.
    Oci(Reference),
    /// A kubo daemon: the RPC API at this address, or that of this computer.
    Kubo(Option<Url>),
    /// A CAR file.
    Car(PathBuf),
}

const TARGETS: &str = "expected oci://REGISTRY/REPOSITORY[:TAG], kubo, kubo:ADDRESS or car:PATH";

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
    if text == "kubo" {
        return Ok(Target::Kubo(None));
    }
    if let Some(address) = text.strip_prefix("kubo:") {
        let url = kubo_rpc::api_url(address);
        let url = url.ok_or("expected kubo or kubo:ADDRESS, such as kubo:http://127.0.0.1:5001")?;
        return Ok(Target::Kubo(Some(url)));
    }
    if let Some(path) = text.strip_prefix("car:") {
        return match path.is_empty() {
            true => Err("expected car:PATH".into()),
            false => Ok(Target::Car(path.into())),
        };
    }
    let Some(reference) = Reference::parse(text) else {
        return Err(TARGETS.into());
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
    fn there_are_three_kinds_of_targets() {
        assert!(target("oci://h/a:1").is_ok());
        assert_eq!(target("kubo"), Ok(Target::Kubo(None)));
        assert_eq!(target("car:a/b.car"), Ok(Target::Car("a/b.car".into())));
        for address in ["/ip4/127.0.0.1/tcp/5001", "127.0.0.1:5001"] {
            let url = Url::parse("http://127.0.0.1:5001/").expect("a URL");
            assert_eq!(
                target(&format!("kubo:{address}")),
                Ok(Target::Kubo(Some(url)))
            );
        }
        let digest = format!("oci://h/a@sha256:{}", "a".repeat(64));
        let table = [
            (
                "kubo://x",
                "expected kubo or kubo:ADDRESS, such as kubo:http://127.0.0.1:5001",
            ),
            ("car:", "expected car:PATH"),
            ("disk.car", TARGETS),
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
