//! `callao publish`: files to a registry, to a kubo, or into a CAR. Here is what the three have in common.

use callao_content::profile::{Profile, Shape};
use callao_fetch::client;

use crate::app::App;
use crate::cli::{PublishArgs, Target};
use crate::error::CommandError;
use crate::http;

mod artifact;
mod car;
mod file;
mod kubo;
mod oci;
mod upload;

pub(crate) fn run(app: &App, args: &PublishArgs) -> Result<(), CommandError> {
    match &args.to {
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

/// Follows no redirect: what is sent is for one host.
fn client(app: &App) -> Result<reqwest::Client, CommandError> {
    http::choose_tls();
    Ok(client::blocks(&http::options(&app.settings))?)
}
