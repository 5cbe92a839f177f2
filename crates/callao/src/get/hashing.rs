//! What a file that is here is: its digest, and its CID in whichever way gives the one that is wanted. Knows nothing
//! of entries or catalogues.

use std::path::Path;

use callao_content::Cid;
use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_content::layout::Layout;
use callao_content::profile::Profile;
use callao_store::disk::Stamp;
use callao_store::{check, proof};

use super::held::possible_roots;
use super::plan::Want;
use crate::app::App;
use crate::error::CommandError;
use crate::output::progress;
use crate::record::Known;

/// A file that was read whole.
pub(crate) struct Hashed {
    pub(crate) known: Known,
    pub(crate) stamp: Stamp,
    /// `None` if its proof is on disk already.
    pub(crate) layout: Option<Layout>,
}

/// Hashes a file: its digest, and its CID in the way that gives the wanted one, if there is such a way.
pub(crate) fn hash(app: &App, want: &Want, path: &Path) -> Result<Hashed, CommandError> {
    let algorithms = [want
        .digest
        .as_ref()
        .map_or(Algorithm::Sha256, Digest::algorithm)];
    let size = app
        .disk
        .stat(path)
        .ok()
        .flatten()
        .map_or(0, |stamp| stamp.size);
    let bar = progress::reading_bar(&app.output, size);
    let wanted = possible_roots(want);
    if let Some(hashed) = by_proof(app, &wanted, path, &algorithms)? {
        return Ok(hashed);
    }
    let mut result = None;
    for profile in profiles_for(&wanted) {
        let adopted = check::adopt(
            &*app.disk,
            path,
            profile.shape(),
            &algorithms,
            &|position| bar.set_position(position),
        )?;
        let is_wanted = wanted
            .iter()
            .any(|root| cid::same_block(root, adopted.layout.root()));
        let known = Known::of(&adopted.layout, adopted.digests);
        let done = is_wanted || want.digest.is_some();
        result = Some(Hashed {
            known,
            stamp: adopted.stamp,
            layout: Some(adopted.layout),
        });
        if done {
            break;
        }
    }
    bar.finish_and_clear();
    result.ok_or_else(|| {
        CommandError::new(
            crate::exit_code::ExitCode::Unexpected,
            "no way to hash a file is known",
        )
    })
}

/// With a proof on disk the way in which the CID was made need not be known.
fn by_proof(
    app: &App,
    wanted: &[Cid],
    path: &Path,
    algorithms: &[Algorithm],
) -> Result<Option<Hashed>, CommandError> {
    for root in wanted {
        let Some(layout) = proof::load(&*app.disk, &app.places, root) else {
            continue;
        };
        let (digests, stamp) = check::hash_file(&*app.disk, path, algorithms, &|_| {})?;
        let roots = match check::bad_ranges(&*app.disk, path, &layout)?.is_empty() {
            true => vec![*root],
            false => Vec::new(),
        };
        let known = Known {
            digests,
            roots,
            size: stamp.size,
        };
        return Ok(Some(Hashed {
            known,
            stamp,
            layout: None,
        }));
    }
    Ok(None)
}

/// The ways to make a CID that can give one of these.
fn profiles_for(wanted: &[Cid]) -> Vec<Profile> {
    let fits = |profile: &Profile| {
        let shape = profile.shape();
        wanted.is_empty()
            || wanted
                .iter()
                .any(|root| root.version() == shape.cid_version || root.codec() == cid::RAW)
    };
    let mut profiles = vec![Profile::KuboCidV1];
    profiles.extend(
        Profile::ALL
            .iter()
            .copied()
            .filter(|profile| *profile != Profile::KuboCidV1),
    );
    profiles.retain(fits);
    if wanted.is_empty() {
        profiles.truncate(1);
    }
    profiles
}
