//! From a WHAT to what a new instance is made of: which template, which architecture, which name, which files. Fetches
//! nothing but the template.

use callao_template::machine::{self, Installs, Overrides};
use callao_template::{Arch, Template};

use crate::app::App;
use crate::cli::{Containerd, NewArgs, SourceArgs, TemplateArgs};
use crate::error::CommandError;
use crate::get::needs::{self, Choice, TemplateNeeds};
use crate::get::plan::Pins;
use crate::get::what::What;
use crate::output::human;
use crate::template::{self, image_name};

/// What a new instance is made of.
pub(super) struct Recipe {
    /// Its name.
    pub(super) name: String,
    /// The template, what was chosen from it, and the files that it needs.
    pub(super) needs: TemplateNeeds,
    /// What the command line says instead.
    pub(super) overrides: Overrides,
}

/// Reads the template and decides.
///
/// # Errors
/// Usage, template, not found, network.
pub(super) fn of(
    app: &App,
    what: What,
    new: &NewArgs,
    sources: &SourceArgs,
) -> Result<Recipe, CommandError> {
    let overrides = overrides(app, new)?;
    let named = name_of(app, &what, new)?;
    let (mut template, is_image) = load(app, what, new, sources)?;
    let containerd = overrides
        .containerd
        .or_else(|| is_image.then(Installs::default));
    if let Some(installs) = containerd {
        template.containerd.system = Some(installs.system);
        template.containerd.user = Some(installs.user);
    }
    if overrides.plain {
        template.plain = Some(true);
    }
    let files = TemplateArgs {
        arch: new.arch.clone(),
        image_variant: new.image_variant.clone(),
        arch_variant: new.arch_variant.clone(),
        no_archives: false,
    };
    let choice = Choice {
        template: &files,
        sources,
        pins: pins(new),
        digest: None,
        cid: None,
    };
    Ok(Recipe {
        name: named,
        needs: needs::of_loaded(app, &choice, template)?,
        overrides: Overrides {
            containerd,
            ..overrides
        },
    })
}

/// The template, and whether it stands for an image alone.
fn load(
    app: &App,
    what: What,
    new: &NewArgs,
    sources: &SourceArgs,
) -> Result<(Template, bool), CommandError> {
    let location = match what {
        What::Template { locator } => {
            if new.digest.is_some() {
                return Err(CommandError::usage(
                    "--digest is for an image, and WHAT is a template",
                ));
            }
            return Ok((template::load_with_scripts(app, sources, &locator)?, false));
        }
        What::Local { path, .. } => path.display().to_string(),
        What::Url { text, .. } | What::Ipfs { text, .. } | What::Oci { text, .. } => text,
    };
    let arch = match new.arch.as_deref() {
        Some(text) => text.parse()?,
        None => template::host_arch(app)?,
    };
    let mut template = template::of_image(app, sources, &location, arch)?;
    let digest = new.digest.as_deref().map(str::parse).transpose();
    let digest = digest.map_err(|error: callao_content::Error| {
        CommandError::usage(format!("--digest: {error}"))
    })?;
    for image in &mut template.images {
        if image.file.location == location {
            image.file.digest = digest;
            // Said on the command line: stronger than a word in a name.
            if new.arch.is_some() {
                image.file.arch = Some(arch);
            }
        }
    }
    Ok((template, true))
}

fn pins(new: &NewArgs) -> Pins {
    match (new.require_pin, new.allow_unpinned) {
        (true, _) => Pins::Required,
        (_, true) => Pins::Optional,
        _ => Pins::Preferred,
    }
}

/// `--name`, else what limactl would call it.
fn name_of(app: &App, what: &What, new: &NewArgs) -> Result<String, CommandError> {
    let name = match (&new.name, what) {
        (Some(name), _) => name.clone(),
        (None, What::Template { locator }) => of_template(locator),
        (
            None,
            What::Local { text, .. }
            | What::Url { text, .. }
            | What::Ipfs { text, .. }
            | What::Oci { text, .. },
        ) => of_image(text, template::host_arch(app)?),
    };
    machine::check_name(&name).map_err(|error| {
        CommandError::usage(error.to_string()).hint("--name gives the instance a name")
    })?;
    Ok(name)
}

fn of_template(locator: &str) -> String {
    let last = last_part(locator).to_ascii_lowercase();
    let stem = last
        .strip_suffix(".yaml")
        .or_else(|| last.strip_suffix(".yml"));
    stem.unwrap_or(&last).to_string()
}

fn of_image(location: &str, native: Arch) -> String {
    let last = last_part(location);
    image_name::instance(last, native.name())
}

/// What comes last in a path, an address or a locator, without a query.
fn last_part(locator: &str) -> &str {
    let path = match locator.split_once('#') {
        Some((registry, file)) if registry.starts_with("oci://") && !file.is_empty() => file,
        _ => locator.split(['?', '#']).next().unwrap_or(locator),
    };
    let last = path.rsplit('/').next().unwrap_or(path);
    match locator.starts_with("oci://") {
        // A tag or a digest is no name.
        true => last.split([':', '@']).next().unwrap_or(last),
        false => last.rsplit(':').next().unwrap_or(last),
    }
}

/// What the command line says instead of the template.
fn overrides(app: &App, new: &NewArgs) -> Result<Overrides, CommandError> {
    let containerd = new.containerd.map(|which| Installs {
        system: matches!(which, Containerd::System | Containerd::Both),
        user: matches!(which, Containerd::User | Containerd::Both),
    });
    Ok(Overrides {
        cpus: new.cpus,
        memory_bytes: size("--memory", new.memory.as_deref())?,
        disk_bytes: size("--disk", new.disk.as_deref())?,
        mounts: new.mount.iter().map(|text| mount(app, text)).collect(),
        port_forwards: new
            .port_forward
            .iter()
            .map(|text| ports(text))
            .collect::<Result<_, _>>()?,
        plain: new.plain,
        containerd,
    })
}

/// A size in bytes, as a flag says it.
///
/// # Errors
/// Usage.
pub(super) fn size(flag: &str, text: Option<&str>) -> Result<Option<u64>, CommandError> {
    let Some(text) = text else { return Ok(None) };
    human::parse_size(text).map(Some).ok_or_else(|| {
        CommandError::usage(format!("{flag} is `{text}`; write it like 4GiB or 512MiB"))
    })
}

/// `DIR` or `DIR:w`.
fn mount(app: &App, text: &str) -> (String, bool) {
    let (dir, writable) = match text.strip_suffix(":w") {
        Some(dir) => (dir, true),
        None => (text, false),
    };
    let dir = match (dir, app.host.home()) {
        ("~", Some(home)) => home,
        _ => app.host.path(dir),
    };
    (dir.display().to_string(), writable)
}

/// `HOST:GUEST`.
fn ports(text: &str) -> Result<(u16, u16), CommandError> {
    text.split_once(':')
        .and_then(|(host, guest)| Some((host.parse().ok()?, guest.parse().ok()?)))
        .filter(|(host, guest)| *host != 0 && *guest != 0)
        .ok_or_else(|| {
            CommandError::usage(format!(
                "--port-forward is `{text}`; write it as HOST:GUEST, such as 8080:80"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_called_as_what_it_is_made_of() {
        let templates = [
            ("dir/Web.yaml", "web"),
            ("template:debian-12", "debian-12"),
            ("template:_images/ubuntu", "ubuntu"),
            ("https://h/x/alpine.yml?a=b", "alpine"),
        ];
        for (locator, name) in templates {
            assert_eq!(of_template(locator), name, "{locator}");
        }
        let images = [
            ("/here/tiny.qcow2", "tiny"),
            (
                "https://h/a/debian-12-genericcloud-amd64.qcow2?x",
                "debian-12-amd64",
            ),
            ("oci://h:5000/images/tiny:v1", "tiny"),
            ("oci://h/images/all@sha256:00#tiny.img", "tiny"),
            ("ipfs://bafy/tiny.img", "tiny"),
        ];
        for (location, name) in images {
            assert_eq!(of_image(location, Arch::X86_64), name, "{location}");
        }
    }

    #[test]
    fn ports_are_two_numbers() {
        assert_eq!(ports("8080:80").ok(), Some((8080, 80)));
        for text in ["80", "a:b", "0:80", "80:0", "80:70000", ""] {
            let error = ports(text).expect_err(text);
            assert!(error.message.contains("--port-forward"), "{text}");
        }
    }
}
