//! `callao publish --to oci://`: files to a registry. Names each file, sends what is missing, puts the manifests, and
//! reads back what is there then.

use std::path::Path;
use std::sync::Arc;

use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_fetch::oci::error::OciError;
use callao_fetch::oci::push::{self, Pushed};
use callao_fetch::oci::reference::Reference;
use callao_fetch::oci::registry::Registry;
use callao_template::Arch;
use tokio::runtime::Runtime;

use crate::app::App;
use crate::cli::PublishArgs;
use crate::commands::add::measured::{self, Measured};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::run::new_runtime;
use crate::http;
use crate::output::{human, json};
use crate::registries::{self, Registries};

use super::Publishing;
use super::artifact::{self, Artifact, Document};
use super::upload::{FileBytes, Session, SmallBytes, Unwatched};

/// Where it goes, and with what.
struct Push<'a> {
    app: &'a App,
    reference: &'a Reference,
    registry: Arc<Registry>,
    runtime: Runtime,
}

/// Publishes the files under `reference`.
pub(super) fn run(
    app: &App,
    args: &PublishArgs,
    reference: &Reference,
) -> Result<(), CommandError> {
    let files = files(args)?;
    let mut artifacts = Vec::new();
    for (arch, file) in &files {
        artifacts.push(named(app, *arch, file)?);
    }
    let registries = Registries::new(app, &args.registries)?;
    let registry = registries.open(http::direct(&app.settings)?, reference, true)?;
    let push = Push {
        app,
        reference,
        registry,
        runtime: new_runtime()?,
    };
    let _guard = app.interrupt.guard();
    for artifact in &artifacts {
        push.blob(artifact)?;
    }
    push.small_blob(artifact::EMPTY_CONFIG)?;
    let top = push.documents(&artifacts)?;
    push.check(&top)?;
    show(app, reference, &top, &artifacts);
    Ok(())
}

/// The files with their architectures.
fn files(args: &PublishArgs) -> Result<Vec<(Option<Arch>, &Path)>, CommandError> {
    if args.files.len() > 1 {
        return Err(CommandError::usage(
            "a tag names one file: give one FILE, or --arch ARCH=FILE for each",
        ));
    }
    if args.profile.is_some() {
        return Err(CommandError::usage(
            "--profile does not go with oci://: the CID in a registry is that of kubo-cid-v1",
        ));
    }
    let one = args.files.iter().map(|file| (None, file.as_path()));
    let many = args.arch.iter();
    Ok(one
        .chain(many.map(|(arch, file)| (Some(*arch), file.as_path())))
        .collect())
}

/// A file with what the documents say about it.
fn named(app: &App, arch: Option<Arch>, given: &Path) -> Result<Artifact, CommandError> {
    let Measured {
        path,
        name,
        layout,
        digest,
        ..
    } = measured::measure(app, given, Publishing::DEFAULT_PROFILE.shape())?;
    let bytes = FileBytes::open(app, &path)?;
    Ok(Artifact {
        is_qcow2: bytes.begins_with(b"QFI\xfb"),
        bytes,
        arch,
        title: name,
        digest,
        cid: cid::text(layout.root()),
        size: layout.size(),
    })
}

impl Push<'_> {
    /// Waits for an answer, or for a signal.
    fn wait<T>(&self, work: impl Future<Output = Result<T, OciError>>) -> Result<T, CommandError> {
        let done = self.runtime.block_on(async {
            tokio::select! {
                () = self.app.interrupt.token().cancelled() => None,
                done = work => Some(done),
            }
        });
        let done = done.ok_or_else(CommandError::interrupted)?;
        done.map_err(|error| {
            registries::failed(error, self.reference)
                .context(format!("failed to publish to `{}`", self.reference))
        })
    }

    fn blob(&self, artifact: &Artifact) -> Result<(), CommandError> {
        let app = self.app;
        app.output.info(format!(
            "Publishing `{}` ({}) to {}",
            artifact.title,
            human::bytes(artifact.size),
            self.reference
        ));
        let session = Session::new(app, self.reference, artifact);
        let sent = push::blob(&self.registry, &artifact.digest, &artifact.bytes, &session);
        // Not ended by a signal at once: it stops between two pieces, so that the next run goes on there.
        let done = self.runtime.block_on(sent);
        session.finish();
        let done = done.map_err(|error| {
            let goes_on = matches!(&error, OciError::Source(_));
            let failed = registries::failed(error, self.reference)
                .context(format!("failed to publish `{}`", artifact.title));
            match goes_on {
                true => failed.hint(
                    "what the registry has of it is kept; run the same command again to go on",
                ),
                false => failed,
            }
        })?;
        match done {
            Pushed::AlreadyThere => app
                .output
                .info(format!("The registry has `{}` already", artifact.title)),
            Pushed::Sent { resumed: 0 } => {}
            Pushed::Sent { resumed } => app.output.info(format!(
                "Went on after {} of an earlier run",
                human::bytes(resumed)
            )),
            Pushed::Stopped => {
                return Err(CommandError::interrupted().hint("run the same command again to go on"));
            }
        }
        Ok(())
    }

    fn small_blob(&self, bytes: &[u8]) -> Result<(), CommandError> {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let bytes = SmallBytes(bytes);
        self.wait(push::blob(&self.registry, &digest, &bytes, &Unwatched))?;
        Ok(())
    }

    /// Puts the manifests, and the index if there are architectures; what the tag names now.
    fn documents(&self, artifacts: &[Artifact]) -> Result<Document, CommandError> {
        let tag = self.reference.manifest();
        let manifests: Vec<Document> = artifacts.iter().map(artifact::manifest).collect();
        let put = |name: &str, document: &Document| {
            let media_type = document.media_type;
            self.wait(push::manifest(
                &self.registry,
                name,
                media_type,
                &document.bytes,
            ))
        };
        let single = match &manifests[..] {
            [only] if artifacts.iter().all(|artifact| artifact.arch.is_none()) => Some(only),
            _ => None,
        };
        if let Some(only) = single {
            put(&tag, only)?;
            return Ok(only.clone());
        }
        for manifest in &manifests {
            put(&manifest.digest.to_string(), manifest)?;
        }
        let index = artifact::index(artifacts, &manifests);
        put(&tag, &index)?;
        Ok(index)
    }

    /// Reads back what the tag names.
    fn check(&self, top: &Document) -> Result<(), CommandError> {
        let received = self.wait(self.registry.manifest(&self.reference.manifest()))?;
        if received.bytes[..] == top.bytes[..] {
            return Ok(());
        }
        let got = Digest::of(Algorithm::Sha256, &received.bytes);
        Err(CommandError::new(
            ExitCode::Integrity,
            format!(
                "`{}` was put as `{}` and is read back as `{got}`",
                self.reference, top.digest
            ),
        )
        .hint("somebody else may have published under the same tag at the same time"))
    }
}

/// Where it is now, and the entries for a template.
fn show(app: &App, reference: &Reference, top: &Document, artifacts: &[Artifact]) {
    let pinned = Reference {
        digest: Some(top.digest),
        tag: None,
        ..reference.clone()
    };
    app.output.result(pinned.to_string());
    for artifact in artifacts {
        let location = Reference {
            file: Some(artifact.title.clone()),
            ..pinned.clone()
        }
        .to_string();
        app.output.json(&json::Published {
            kind: "result",
            location: location.clone(),
            tag: reference.to_string(),
            manifest: top.digest.to_string(),
            arch: artifact.arch.map(Arch::name),
            digest: artifact.digest.to_string(),
            cid: artifact.cid.clone(),
            size: artifact.size,
        });
        let arch = artifact
            .arch
            .map(|arch| format!("  arch: \"{arch}\"\n"))
            .unwrap_or_default();
        app.output.result(format!(
            "- location: \"{location}\"\n{arch}  digest: \"{}\"\n  cid: {}",
            artifact.digest, artifact.cid
        ));
    }
}
