//! `callao publish`: files to a registry, to a kubo, into a CAR, or to whoever asks the daemon of this computer. Here is
//! what these have in common.

use callao_content::cid;
use callao_content::profile::{Profile, Shape};

use crate::app::App;
use crate::cli::{PublishArgs, Target};
use crate::commands::add::{self, measured::Measured};
use crate::error::CommandError;
use crate::output::json;

mod artifact;
mod car;
mod kubo;
mod oci;
mod serve;
mod upload;

pub(crate) fn run(app: &App, args: &PublishArgs) -> Result<(), CommandError> {
    let Some(to) = &args.to else {
        return serve::run(app, args);
    };
    match to {
        Target::Oci(reference) => {
            not_with(args.nocopy, "--nocopy", "oci://")?;
            oci::run(app, args, reference)
        }
        Target::Car(out) => {
            not_with(args.nocopy, "--nocopy", "car:")?;
            not_with(!args.arch.is_empty(), "--arch", "car:")?;
            car::run(app, args, out)
        }
        Target::Kubo(address) => {
            not_with(!args.arch.is_empty(), "--arch", "kubo")?;
            kubo::run(app, args, address.as_ref())
        }
    }
}

/// A flag that has a meaning only elsewhere.
fn not_with(is_given: bool, flag: &str, target: &str) -> Result<(), CommandError> {
    match is_given {
        true => Err(CommandError::usage(format!(
            "{flag} does not go with --to {target}"
        ))),
        false => Ok(()),
    }
}

/// Prints the address of a published file and its entry for a template; `to` says in JSON where it is.
fn show(app: &App, file: &Measured, to: json::PublishedTo) {
    let root = file.layout.root();
    let url = add::address(root, &file.name);
    app.output.json(&json::PublishedFile {
        kind: "result",
        location: url.clone(),
        path: file.path.display().to_string(),
        digest: file.digest.to_string(),
        cid: cid::text(root),
        size: file.layout.size(),
        to,
    });
    app.output.result(&url);
    app.output
        .result(add::entry(&url, &file.name, &file.digest, root));
}

/// How files become trees.
struct Publishing {
    profile: Profile,
    shape: Shape,
}

impl Publishing {
    const DEFAULT_PROFILE: Profile = Profile::KuboCidV1;

    fn of(args: &PublishArgs) -> Result<Self, CommandError> {
        let named = args.profile.as_deref().map(str::parse).transpose();
        let profile =
            named.map_err(|error: callao_content::Error| CommandError::usage(error.to_string()))?;
        let profile = profile.unwrap_or(Self::DEFAULT_PROFILE);
        Ok(Publishing {
            profile,
            shape: profile.shape(),
        })
    }
}
