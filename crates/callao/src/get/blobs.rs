//! Files in registries: follows each `oci://` location of a file to the blob that is it, and says which of them cannot
//! be it. Asks registries for manifests; fetches no blob.
//!
//! The manifest says which digest the blob must have, so a file from a registry is always verified. It is *pinned* only
//! if the location has a digest: a tag may mean something else tomorrow.

use std::sync::Arc;

use callao_content::digest::Digest;
use callao_fetch::oci::choose::{self, Form, Wanted};
use callao_fetch::oci::reference::Reference;
use callao_fetch::oci::registry::Registry;
use callao_fetch::oci::resolve::{self, Documents, Resolved};
use callao_fetch::source::Source;
use callao_fetch::source::oci::OciBlob;
use callao_store::disk::Disk;
use callao_store::documents;
use tokio::runtime::Runtime;

use super::plan::{Location, Place, Want};
use super::run::Job;
use super::sources::Places;
use crate::app::App;
use crate::cli::Kind;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::registries;

/// A location that was followed to its blob.
pub(crate) struct Blob {
    pub(crate) resolved: Resolved,
    /// `None`: nobody may be asked (`--offline`).
    registry: Option<Arc<Registry>>,
    text: String,
}

/// What became of the locations of a file that are in registries.
#[derive(Default)]
pub(crate) struct Followed {
    pub(crate) blobs: Vec<Blob>,
    /// Why the others cannot be used.
    pub(crate) failures: Vec<Failure>,
}

/// A location that cannot be used.
pub(crate) struct Failure {
    pub(crate) location: String,
    noun: &'static str,
    /// What the registry said.
    pub(crate) error: CommandError,
}

impl Failure {
    /// The error, with what it was about.
    pub(crate) fn told(&self) -> CommandError {
        let doing = format!("failed to download {} `{}`", self.noun, self.location);
        self.error.clone().context(doing)
    }
}

impl Blob {
    /// Whether the blob is the file itself.
    pub(crate) fn is_file(&self) -> bool {
        self.resolved.chosen.form == Form::Plain
    }

    pub(crate) fn digest(&self) -> Digest {
        self.resolved.chosen.layer.digest
    }

    pub(crate) fn size(&self) -> u64 {
        self.resolved.chosen.layer.size
    }

    /// The file in the archive, where that is what the location names.
    pub(crate) fn member(&self) -> Option<&str> {
        match &self.resolved.chosen.form {
            Form::Tar { member, .. } => member.as_deref(),
            _ => None,
        }
    }

    /// The blob as a source of its own bytes; `None` if nobody may be asked.
    pub(crate) fn source(&self) -> Option<Arc<dyn Source>> {
        let registry = self.registry.as_ref()?;
        Some(Arc::new(OciBlob::new(
            Arc::clone(registry),
            &self.digest(),
            self.text.clone(),
        )))
    }
}

impl Followed {
    /// What the file's digest is, where nothing else says so: that of the blob, or of what came out of it before.
    pub(crate) fn digest(&self, job: &Job<'_>, want: &Want) -> Option<Digest> {
        let is_open = want.digest.is_none() && want.cid.is_none();
        let only = want
            .locations
            .iter()
            .all(|location| matches!(location.place, Place::Oci(_)));
        let blob = self.blobs.first().filter(|_| is_open && only)?;
        if blob.is_file() {
            return Some(blob.digest());
        }
        let (disk, places) = (&*job.app.disk, &job.app.places);
        documents::unpacked(disk, places, &blob.digest(), blob.member())
    }

    /// The blobs that are the file, as sources.
    pub(crate) fn sources(&self) -> Vec<Arc<dyn Source>> {
        let files = self.blobs.iter().filter(|blob| blob.is_file());
        files.filter_map(Blob::source).collect()
    }

    /// The first blob out of which the file has to be unpacked.
    pub(crate) fn packed(&self) -> Option<&Blob> {
        let mut packed = self.blobs.iter().filter(|blob| !blob.is_file());
        packed.find(|blob| blob.registry.is_some())
    }

    /// How long the file is, if its blob says so.
    pub(crate) fn size(&self) -> Option<u64> {
        let blob = self.blobs.first().filter(|blob| blob.is_file())?;
        Some(blob.size())
    }

    /// Why no location in a registry can be used, in one error.
    pub(crate) fn failure(&self) -> Option<CommandError> {
        let (first, others) = self.failures.split_first()?;
        let mut all = first.told();
        for other in others {
            all.details.push(other.told().to_string());
            all.hints.extend(other.error.hints.iter().cloned());
        }
        Some(all)
    }
}

/// Follows every location of `want` that is in a registry.
///
/// # Errors
/// An interruption. That a registry does not help is no error: it is among the failures.
pub(crate) fn follow(
    job: &Job<'_>,
    want: &Want,
    runtime: &Runtime,
) -> Result<Followed, CommandError> {
    runtime.block_on(ask(job.app, &job.places, want))
}

/// The same, on a runtime that runs already.
///
/// # Errors
/// As [`follow`].
pub(crate) async fn ask(app: &App, places: &Places, want: &Want) -> Result<Followed, CommandError> {
    let mut followed = Followed::default();
    for location in &want.locations {
        let Place::Oci(reference) = &location.place else {
            continue;
        };
        match one(app, places, want, location, reference).await {
            Ok(Some(blob)) => followed.blobs.push(blob),
            Ok(None) => {}
            Err(error) if error.kind == ExitCode::Interrupted => return Err(error),
            Err(error) => followed.failures.push(Failure {
                location: location.text.clone(),
                noun: want.noun.text(),
                error,
            }),
        }
    }
    Ok(followed)
}

/// `None`: nobody may be asked, and what is here does not say.
async fn one(
    app: &App,
    places: &Places,
    want: &Want,
    location: &Location,
    reference: &Reference,
) -> Result<Option<Blob>, CommandError> {
    let registry = match places.allows(Kind::Oci) && !places.offline() {
        true => Some(places.registry(reference)?),
        false => None,
    };
    let arch = want.arch.map_or(app.host.arch(), |arch| arch.name());
    let wanted = Wanted::of_lima(arch);
    let kept = Kept {
        disk: Arc::clone(&app.disk),
        places: app.places.clone(),
    };
    let walk = resolve::resolve(registry.as_deref(), &kept, reference, &wanted);
    let resolved = tokio::select! {
        () = app.interrupt.token().cancelled() => None,
        resolved = walk => Some(resolved),
    };
    let resolved = match resolved.ok_or_else(CommandError::interrupted)? {
        Ok(resolved) => resolved,
        Err(_) if registry.is_none() => return Ok(None),
        Err(error) => return Err(registries::failed(error, reference)),
    };
    let chosen = &resolved.chosen;
    app.output.detail(format!(
        "`{}` is the blob {} ({} bytes) of manifest {}",
        location.text, chosen.layer.digest, chosen.layer.size, resolved.manifest
    ));
    check_digest(want, &resolved)?;
    let named = chosen.form == Form::Plain && choose::is_packed_name(&location.text);
    if let (Form::Plain, false, Some(title)) = (&chosen.form, named, &chosen.title)
        && choose::is_packed_name(title)
    {
        app.output.warning(format!(
            "`{}` is compressed, and its location does not say so: limactl unpacks it only if the location ends in `#{title}`",
            location.text
        ));
    }
    Ok(Some(Blob {
        registry,
        text: location.text.clone(),
        resolved,
    }))
}

/// A blob that is the file has the file's digest, or it is another file.
fn check_digest(want: &Want, resolved: &Resolved) -> Result<(), CommandError> {
    let blob = resolved.chosen.layer.digest;
    match want.digest {
        Some(wanted)
            if resolved.chosen.form == Form::Plain
                && wanted.algorithm() == blob.algorithm()
                && wanted != blob =>
        {
            Err(CommandError::new(
                ExitCode::Integrity,
                format!("expected digest `{wanted}`, the manifest says `{blob}`"),
            )
            .hint("either the digest is out of date, or the tag means another image by now"))
        }
        _ => Ok(()),
    }
}

/// Manifests on disk.
struct Kept {
    disk: Arc<dyn Disk>,
    places: callao_store::places::Places,
}

impl Documents for Kept {
    fn load(&self, digest: &Digest) -> Option<Vec<u8>> {
        documents::load(&*self.disk, &self.places, digest)
    }

    fn save(&self, digest: &Digest, bytes: &[u8]) {
        // Not kept: it is asked for again, that is all.
        documents::save(&*self.disk, &self.places, digest, bytes).unwrap_or(());
    }
}
