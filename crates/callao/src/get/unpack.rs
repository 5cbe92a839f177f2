//! Files that are packed in a registry: the blob is fetched like any file, verified, unpacked beside, and what comes out
//! is hashed, checked and published. The blob goes when its file is there.
//!
//! ```text
//! blob's digest -> staging (resumable) -> verified -> unpacked into a second staging file -> digest, CID -> published
//! ```
//! An interruption keeps the blob: the next run goes on with it. What comes out is bounded, whatever the blob claims.

use std::io::{self, Read};
use std::sync::Arc;

use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_content::import::Importer;
use callao_content::layout::Layout;
use callao_content::profile::Profile;
use callao_fetch::engine::{self, Fetch};
use callao_fetch::event::{Proof, Report};
use callao_fetch::request::Wanted;
use callao_store::documents;
use callao_store::places::lima_key;
use callao_store::staging::{About, Staging};
use tokio::runtime::Runtime;

use super::blobs::Blob;
use super::plan::Want;
use super::run::{self, Job};
use super::{hashing, publish, report};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::history::{Both, Recorder};
use crate::interrupt::Interrupt;
use crate::output::progress::{self, Shown};
use crate::output::{human, json};
use streams::{Failure, Sink};

mod streams;

/// As much as a CID may name; a blob that unpacks to more is not a disk but an attack.
const UNPACKED_BYTES_MAX: u64 = callao_fetch::limits::FILE_BYTES_MAX;

/// Fetches the blob, unpacks the file and publishes it.
pub(super) fn get(
    job: &Job<'_>,
    want: &Want,
    blob: &Blob,
    runtime: &Runtime,
    recorder: &Arc<Recorder>,
) -> Result<json::Got, CommandError> {
    let app = job.app;
    let key = format!("{}-{}", blob.digest().algorithm(), blob.digest().hex());
    let packed = stage(job, want, &key, Some(blob.digest()))?;
    if packed.waited()
        && let Some(digest) =
            documents::unpacked(&*app.disk, &app.places, &blob.digest(), blob.member())
    {
        // The other process has unpacked it meanwhile.
        let known = Want {
            digest: want.digest.or(Some(digest)),
            ..want.clone()
        };
        if let Some(got) = run::from_here(job, &known)? {
            discard(packed)?;
            return Ok(got);
        }
    }
    let mut report = fetch(job, want, blob, &packed, runtime, recorder)?;
    app.output.info(format!(
        "Unpacking {} ({})",
        want.noun.text(),
        human::bytes(blob.size())
    ));
    let mut file = unpack(job, want, blob, &packed)?;
    check(job, want, blob, &mut file)?;
    note(job, blob, file.digests.first());
    report::fetched(job, want, &report, &file.layout);
    report::unpacked(app, file.layout.size(), report.size);
    report.size = file.layout.size();
    report.digests = file.digests;
    report.root = *file.layout.root();
    report.proof = proof(want);
    let staging = Arc::into_inner(file.staging).ok_or_else(in_use)?;
    let got = publish::fetched(job, want, &report, &file.layout, staging)?;
    discard(packed)?;
    Ok(got)
}

/// The blob, whole and verified, in its staging file.
fn fetch(
    job: &Job<'_>,
    want: &Want,
    blob: &Blob,
    staging: &Arc<Staging>,
    runtime: &Runtime,
    recorder: &Arc<Recorder>,
) -> Result<Report, CommandError> {
    let app = job.app;
    report::downloading(app, want);
    let shown = Shown::new(Arc::clone(&app.output), want.location(), want.noun.text());
    let fetch = Fetch {
        wanted: Wanted {
            name: want.noun.text().into(),
            digest: Some(blob.digest()),
            cid: None,
            size: Some(blob.size()),
            strict: false,
        },
        staging: Arc::clone(staging),
        layout: None,
        sources: blob.source().into_iter().collect(),
        late: None,
        host: String::new(),
        observer: Arc::new(Both(Arc::clone(&shown) as _, Arc::clone(recorder) as _)),
        cancel: app.interrupt.token().clone(),
    };
    let ended = runtime.block_on(engine::run(fetch));
    shown.finish();
    let finished = ended.map_err(|error| run::explained(error.into(), want, None))?;
    recorder.report(&finished.report);
    Ok(finished.report)
}

/// What came out of a blob.
struct Unpacked {
    staging: Arc<Staging>,
    layout: Layout,
    digests: Vec<Digest>,
}

/// Unpacks the blob into a staging file of its own, and hashes what comes out on the way.
fn unpack(
    job: &Job<'_>,
    want: &Want,
    blob: &Blob,
    packed: &Arc<Staging>,
) -> Result<Unpacked, CommandError> {
    let app = job.app;
    let place = blob
        .member()
        .map(|member| format!("-{}", &lima_key(member)[..16]));
    let key = format!(
        "unpacked-{}{}",
        blob.digest().hex(),
        place.unwrap_or_default()
    );
    let staging = stage(job, want, &key, want.digest)?;
    // Unpacking begins at the beginning: nothing of an earlier try counts.
    staging.start_over()?;
    let mut receiver = Receiver {
        interrupt: &app.interrupt,
        importer: importer(want)?,
        fresh: want,
        staging,
        size: 0,
    };
    let bar = progress::reading_bar(&app.output, blob.size());
    let reader = StagedReader {
        staging: packed,
        at: 0,
        progress: &|at| bar.set_position(at),
    };
    let ended = streams::unpack(reader, &blob.resolved.chosen.form, &mut receiver);
    bar.finish_and_clear();
    ended.map_err(|failure| match failure {
        Failure::Sink(error) => error,
        Failure::Bad(why) => CommandError::new(
            ExitCode::Integrity,
            format!("`{}` cannot be unpacked: {why}", want.location()),
        ),
        Failure::NotThere(why) => {
            CommandError::new(ExitCode::NotFound, format!("`{}`: {why}", want.location()))
                .hint("name the file: oci://REGISTRY/REPOSITORY:TAG#PATH/IN/THE/ARCHIVE")
        }
    })?;
    receiver.staging.sync()?;
    let (layout, digests) = receiver.importer.finish();
    Ok(Unpacked {
        staging: receiver.staging,
        layout,
        digests,
    })
}

fn importer(want: &Want) -> Result<Importer, CommandError> {
    let algorithm = want
        .digest
        .as_ref()
        .map_or(Algorithm::Sha256, Digest::algorithm);
    Importer::new(Profile::KuboCidV1.shape(), &[algorithm])
        .map_err(|error| CommandError::new(ExitCode::Unexpected, error.to_string()))
}

/// Writes and hashes what comes out of a blob.
struct Receiver<'a> {
    interrupt: &'a Interrupt,
    importer: Importer,
    /// For another importer, when another file begins.
    fresh: &'a Want,
    staging: Arc<Staging>,
    size: u64,
}

impl Sink for Receiver<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.interrupt.check().map_err(Failure::Sink)?;
        let end = self.size + bytes.len() as u64;
        if end > UNPACKED_BYTES_MAX {
            return Err(Failure::Bad("more than 1 TiB comes out of it".into()));
        }
        let written = self.staging.extend(end).and_then(|()| {
            // Zeros stay holes: a raw disk is mostly empty.
            match bytes.iter().all(|byte| *byte == 0) {
                true => Ok(()),
                false => self.staging.write(self.size, bytes),
            }
        });
        written.map_err(|error| Failure::Sink(error.into()))?;
        self.importer.update(bytes);
        self.size = end;
        Ok(())
    }

    fn again(&mut self) -> Result<(), Failure> {
        self.importer = importer(self.fresh).map_err(Failure::Sink)?;
        self.size = 0;
        self.staging
            .start_over()
            .map_err(|error| Failure::Sink(error.into()))
    }
}

/// A staging file from its beginning to its end.
struct StagedReader<'a> {
    staging: &'a Staging,
    at: u64,
    progress: &'a dyn Fn(u64),
}

impl Read for StagedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.staging.size().saturating_sub(self.at);
        let count = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        self.staging
            .read(self.at, &mut buffer[..count])
            .map_err(io::Error::other)?;
        self.at += count as u64;
        (self.progress)(self.at);
        Ok(count)
    }
}

/// What comes out must be what the template, or the user, wants.
fn check(job: &Job<'_>, want: &Want, blob: &Blob, file: &mut Unpacked) -> Result<(), CommandError> {
    let wrong = match (want.digest, want.cid) {
        (Some(wanted), _) => file
            .digests
            .first()
            .filter(|got| **got != wanted)
            .map(|got| format!("expected digest `{wanted}`, got `{got}`")),
        (None, Some(wanted)) if !cid::same_block(&wanted, file.layout.root()) => {
            // There are other ways to make a CID of the same bytes.
            let hashed = hashing::hash(job.app, want, file.staging.path())?;
            match hashed
                .layout
                .filter(|layout| cid::same_block(&wanted, layout.root()))
            {
                Some(layout) => {
                    file.layout = layout;
                    None
                }
                None => Some(format!("it does not have CID {}", cid::text(&wanted))),
            }
        }
        _ => None,
    };
    let Some(why) = wrong else { return Ok(()) };
    Err(CommandError::new(
        ExitCode::Integrity,
        format!("what was unpacked from `{}`: {why}", want.location()),
    )
    .detail(format!(
        "the blob is what the manifest says: `{}`",
        blob.digest()
    ))
    .hint("digest and CID of a file that is packed in a registry are those of what comes out"))
}

fn proof(want: &Want) -> Proof {
    match (want.digest, want.cid) {
        (None, Some(_)) => Proof::Cid,
        // The manifest says which digest the blob has, and that was checked.
        _ => Proof::Digest,
    }
}

fn note(job: &Job<'_>, blob: &Blob, file: Option<&Digest>) {
    if let Some(file) = file {
        let (disk, places) = (&*job.app.disk, &job.app.places);
        // Without the note it is fetched again next time, that is all.
        documents::note_unpacked(disk, places, &blob.digest(), blob.member(), file).unwrap_or(());
    }
}

fn stage(
    job: &Job<'_>,
    want: &Want,
    key: &str,
    digest: Option<Digest>,
) -> Result<Arc<Staging>, CommandError> {
    let about = About {
        name: want.base_name().into(),
        digest: digest.map(|digest| digest.to_string()),
        url: Some(want.location().into()),
        ..About::default()
    };
    run::staging(job, key, &about)
}

fn discard(staging: Arc<Staging>) -> Result<(), CommandError> {
    let staging = Arc::into_inner(staging).ok_or_else(in_use)?;
    Ok(staging.discard()?)
}

fn in_use() -> CommandError {
    CommandError::new(ExitCode::Unexpected, "the staging file is still in use")
}
