//! `callao publish --to kubo`: files into a kubo daemon, pinned, with a name in its Files, and announced where it
//! announces. What kubo makes of a file must be what callao makes of it.

use std::path::Path;
use std::sync::Arc;

use callao_content::cid;
use callao_fetch::kubo_add::{AddOptions, KuboDaemon};
use callao_fetch::source::SourceError;
use callao_fetch::source::kubo_rpc;
use tokio::runtime::Runtime;
use url::Url;

use super::upload::FileBytes;
use super::{Publishing, show};
use crate::app::App;
use crate::cli::PublishArgs;
use crate::commands::add::measured::{self, Measured};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::run::new_runtime;
use crate::get::sources;
use crate::host;
use crate::http;
use crate::output::{human, json, progress};

/// Where files appear in the Files of IPFS Desktop and of kubo's web page.
const DIRECTORY: &str = "/callao";
/// Files of one name and different content in that directory.
const NAMES_COUNT_MAX: u32 = 100;

/// A daemon, and how it is spoken to.
struct Kubo<'a> {
    app: &'a App,
    daemon: KuboDaemon,
    runtime: Runtime,
    /// For messages.
    place: String,
    publishing: Publishing,
    nocopy: bool,
}

/// Publishes the files to the daemon at `address`, or to the one of this computer.
pub(super) fn run(
    app: &App,
    args: &PublishArgs,
    address: Option<&Url>,
) -> Result<(), CommandError> {
    if app.settings.offline {
        return Err(CommandError::usage(
            "a kubo cannot be reached offline: it is spoken to through a socket",
        ));
    }
    let (api, repository) = match address {
        Some(address) => (address.clone(), None),
        None => sources::kubo_api(app).ok_or_else(no_daemon)?,
    };
    let kubo = Kubo {
        app,
        daemon: KuboDaemon::new(
            http::direct(&app.settings)?,
            api.clone(),
            http::waits(&app.settings),
        ),
        runtime: new_runtime()?,
        place: api.as_str().trim_end_matches('/').to_string(),
        publishing: Publishing::of(args)?,
        nocopy: args.nocopy,
    };
    let _guard = app.interrupt.guard();
    let version = kubo.wait(kubo.daemon.version())?;
    let mut files = Vec::new();
    for given in &args.files {
        files.push(measured::measure(app, given, kubo.publishing.shape)?);
    }
    if args.nocopy {
        kubo.check_filestore(&api, repository.as_deref(), &files)?;
    }
    for file in &files {
        kubo.publish(file, &version)?;
    }
    Ok(())
}

fn no_daemon() -> CommandError {
    CommandError::new(
        ExitCode::NotFound,
        "no kubo daemon runs on this computer, as far as its repository tells",
    )
    .hint("start it (`ipfs daemon`, or IPFS Desktop), or name it: --to kubo:http://127.0.0.1:5001")
}

impl Kubo<'_> {
    fn publish(&self, file: &Measured, version: &str) -> Result<(), CommandError> {
        let app = self.app;
        app.output.info(format!(
            "Publishing `{}` ({}) to kubo {version} at {}",
            file.name,
            human::bytes(file.layout.size()),
            self.place
        ));
        self.add(file)?;
        let path = self.name(file)?;
        app.output.info(format!(
            "Pinned as `{}`; in kubo's Files it is `{path}`",
            file.name
        ));
        if self.nocopy {
            app.output.warning(format!(
                "kubo refers to `{}` from now on and has no copy: if that file is changed, moved or deleted, \
                 whoever asks for its CID waits in vain (`ipfs filestore verify` finds it)",
                file.path.display()
            ));
        }
        let announced = self.announce(file)?;
        let to = json::PublishedTo::Kubo {
            api: self.place.clone(),
            files: path,
            pin: file.name.clone(),
            nocopy: self.nocopy,
            announced,
        };
        show(app, file, to);
        Ok(())
    }

    /// Adds and pins a file. Kubo must come to the same CID.
    fn add(&self, file: &Measured) -> Result<(), CommandError> {
        let in_place = match self.nocopy {
            true => Some(path_as_text(&file.path)?),
            false => None,
        };
        let root = file.layout.root();
        let options = AddOptions {
            shape: self.publishing.shape,
            root: *root,
            pin_name: &file.name,
            in_place,
        };
        let bytes = FileBytes::open(self.app, &file.path)?;
        let bar = progress::reading_bar(&self.app.output, file.layout.size());
        let at = |bytes| bar.set_position(bytes);
        let added = self.wait(self.daemon.add(Arc::new(bytes), &options, &at));
        bar.finish_and_clear();
        let added =
            added.map_err(|error| error.context(format!("failed to publish `{}`", file.name)))?;
        if added == *root {
            return Ok(());
        }
        let (ours, theirs) = (cid::text(root), cid::text(&added));
        Err(CommandError::new(
            ExitCode::Integrity,
            format!("kubo calls `{}` {theirs}, callao {ours}", file.name),
        )
        .hint("if somebody writes to the file, publish it again when nobody does")
        .hint(format!(
            "what kubo took is pinned: `ipfs pin rm {theirs}` lets it go"
        )))
    }

    /// Gives the file a path in kubo's Files: its name, and if something else has that, its name with a number.
    fn name(&self, file: &Measured) -> Result<String, CommandError> {
        let root = file.layout.root();
        self.wait(self.daemon.make_dir(DIRECTORY))?;
        for number in 1..=NAMES_COUNT_MAX {
            let path = format!("{DIRECTORY}/{}", numbered(&file.name, number));
            match self.wait(self.daemon.entry(&path))? {
                Some(there) if there == *root => return Ok(path),
                Some(_) => {}
                None => {
                    self.wait(self.daemon.name(root, &path))?;
                    return Ok(path);
                }
            }
        }
        Err(CommandError::new(
            ExitCode::Unexpected,
            format!(
                "kubo's Files have {NAMES_COUNT_MAX} other files named like `{DIRECTORY}/{}`",
                file.name
            ),
        )
        .hint("it is pinned; remove some of them (`ipfs files rm`) and publish it again"))
    }

    /// Has the root announced. That kubo does not is no failure: it may be meant so.
    fn announce(&self, file: &Measured) -> Result<bool, CommandError> {
        match self.wait_for(self.daemon.provide(file.layout.root()))? {
            Ok(()) => Ok(true),
            Err(error) => {
                let why = error.to_string();
                self.app
                    .output
                    .info(format!("kubo did not announce it now: {why}"));
                Ok(false)
            }
        }
    }

    /// Kubo refers only to files below the directory that holds its repository, and only if it is told to.
    fn check_filestore(
        &self,
        api: &Url,
        repository: Option<&Path>,
        files: &[Measured],
    ) -> Result<(), CommandError> {
        if !kubo_rpc::is_loopback(api) {
            return Err(CommandError::usage(format!(
                "--nocopy: kubo at {} is on another computer and cannot refer to files of this one",
                self.place
            )));
        }
        if !self.publishing.shape.raw_leaves {
            return Err(CommandError::usage(format!(
                "--nocopy needs leaves that are bare bytes, which profile {} does not have",
                self.publishing.profile.name()
            )));
        }
        if !self.wait(self.daemon.has_filestore())? {
            return Err(CommandError::usage("--nocopy: the filestore of this kubo is off").hint(
                "switch it on (`ipfs config --json Experimental.FilestoreEnabled true`) and start the daemon again",
            ));
        }
        // Of a daemon that was given by its address only itself knows where it is, and refuses what it must.
        let repository = repository.map(host::real_path);
        let above = repository.as_deref().and_then(Path::parent);
        for file in files {
            path_as_text(&file.path)?;
            if let Some(above) = above.filter(|above| !file.path.starts_with(above)) {
                return Err(CommandError::usage(format!(
                    "--nocopy: kubo refers only to files below `{}`, and `{}` is not there",
                    above.display(),
                    file.path.display()
                )));
            }
        }
        Ok(())
    }

    /// Waits for the daemon, or for a signal; its refusal is our error.
    fn wait<T>(
        &self,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, CommandError> {
        self.wait_for(work)?.map_err(|error| {
            let failed = CommandError::new(
                ExitCode::Network,
                format!("kubo at {}: {error}", self.place),
            );
            match error {
                SourceError::Network(why) if why.contains("refused") => failed.hint(
                    "start it (`ipfs daemon`, or IPFS Desktop), or name another: --to kubo:ADDRESS",
                ),
                _ => failed,
            }
        })
    }

    /// Waits for the daemon, or for a signal.
    fn wait_for<T>(
        &self,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<Result<T, SourceError>, CommandError> {
        let done = self.runtime.block_on(async {
            tokio::select! {
                () = self.app.interrupt.token().cancelled() => None,
                done = work => Some(done),
            }
        });
        done.ok_or_else(|| CommandError::interrupted().hint("run the same command again"))
    }
}

/// A path as kubo is told it, in the header of a request.
fn path_as_text(path: &Path) -> Result<&str, CommandError> {
    let text = path.to_str();
    text.filter(|text| !text.chars().any(char::is_control))
        .ok_or_else(|| {
            CommandError::usage(format!(
                "--nocopy: the path `{}` cannot be told to kubo: it is not plain text",
                path.display()
            ))
        })
}

/// `disk.qcow2`, `disk-2.qcow2`, `disk-3.qcow2`.
fn numbered(name: &str, number: u32) -> String {
    match name.rsplit_once('.') {
        _ if number == 1 => name.to_string(),
        Some((stem, extension)) if !stem.is_empty() => format!("{stem}-{number}.{extension}"),
        _ => format!("{name}-{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_before_the_extension() {
        let table = [
            ("disk.qcow2", 1, "disk.qcow2"),
            ("disk.qcow2", 2, "disk-2.qcow2"),
            ("disk", 3, "disk-3"),
            (".hidden", 2, ".hidden-2"),
            ("a.tar.gz", 2, "a.tar-2.gz"),
        ];
        for (name, number, wanted) in table {
            assert_eq!(numbered(name, number), wanted);
        }
    }

    #[test]
    fn a_path_must_fit_into_a_header() {
        assert!(path_as_text(Path::new("/a/\u{e9} b.img")).is_ok());
        let error = path_as_text(Path::new("/a\r\nb.img")).expect_err("a new line");
        assert!(error.message.starts_with("--nocopy: the path"));
    }
}
