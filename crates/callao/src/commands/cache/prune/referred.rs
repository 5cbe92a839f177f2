//! Which entries somebody refers to: Lima's instances, and the templates of this computer. Fails before anything is
//! removed if one of them cannot be read, since then nobody knows what it refers to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use callao_store::places::lima_key;
use callao_template::{ARCHES, File, Template};

use crate::app::App;
use crate::cli::PruneArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::{self, FileKind};
use crate::template;

/// Either of these (the second one is that of older versions) means that an instance has what it needs.
const DISKS: [&str; 2] = ["disk", "diffdisk"];

/// Keys of entries, and who refers to them.
#[derive(Debug, Default)]
pub(super) struct References {
    /// Instances that have no disk yet: they are about to take what they need.
    needed: BTreeMap<String, String>,
    referred: BTreeMap<String, String>,
}

impl References {
    /// Who is about to take this entry.
    pub(super) fn needed_by(&self, key: &str) -> Option<String> {
        self.needed.get(key).cloned()
    }

    /// Who refers to this entry.
    pub(super) fn referred_by(&self, key: &str) -> Option<String> {
        self.referred.get(key).cloned()
    }
}

/// Reads all instances, and with `--keep-referred` all templates that a name leads to.
///
/// # Errors
/// Template: one of them cannot be read, and `--ignore-unreadable` was not given.
pub(super) fn read(app: &App, args: &PruneArgs) -> Result<References, CommandError> {
    let mut reader = Reader {
        app,
        references: References::default(),
        usual_archives: None,
        unreadable: Vec::new(),
    };
    for (name, dir) in instances(app) {
        // An instance that has its disk needs nothing of the cache to start.
        let needs = !DISKS
            .iter()
            .any(|disk| host::kind_of(&dir.join(disk)).is_some());
        let path = dir.join("lima.yaml");
        // Without it limactl has not got as far as to say what the instance is.
        if (needs || args.keep_referred) && host::kind_of(&path).is_some() {
            let who = format!("instance {name}");
            reader.take(&who, &path.display().to_string(), needs)?;
        }
    }
    if args.keep_referred {
        for installed in template::search::installed(&app.host) {
            let locator = format!("template:{}", installed.name);
            reader.take(&locator, &locator, false)?;
        }
        // For instances and templates of other architectures, whatever this limactl says.
        for file in callao_template::archives::built_in()? {
            reader.refer("containerd", &file, false);
        }
    }
    finish(reader, args.ignore_unreadable)
}

fn finish(reader: Reader<'_>, ignore_unreadable: bool) -> Result<References, CommandError> {
    if reader.unreadable.is_empty() {
        return Ok(reader.references);
    }
    if ignore_unreadable {
        for line in reader.unreadable {
            reader.app.output.warning(format!("not looked at: {line}"));
        }
        return Ok(reader.references);
    }
    let mut error = CommandError::new(
        ExitCode::Template,
        "nothing was removed: it is not known what these refer to",
    );
    error.details = reader.unreadable;
    Err(error.hint("--ignore-unreadable goes on without them; what only they refer to may go"))
}

/// Collects references.
struct Reader<'a> {
    app: &'a App,
    references: References,
    /// What Lima adds where a template names no archives; asked for once.
    usual_archives: Option<Vec<File>>,
    unreadable: Vec<String>,
}

impl Reader<'_> {
    /// # Errors
    /// Interrupted; everything else is noted.
    fn take(&mut self, who: &str, locator: &str, needs: bool) -> Result<(), CommandError> {
        self.app.interrupt.check()?;
        let template = match template::references::of(self.app, locator) {
            Ok(Some(template)) => template,
            Ok(None) => return Ok(()),
            Err(error) if error.kind == ExitCode::Interrupted => return Err(error),
            Err(error) => {
                let reason = error.to_string().replace('\n', " ");
                // Most errors of a template name it themselves.
                self.unreadable.push(match reason.contains(who) {
                    true => reason,
                    false => format!("{who}: {reason}"),
                });
                return Ok(());
            }
        };
        for file in files_of(&template) {
            self.refer(who, file, needs);
        }
        for file in self.archives_of(template)? {
            self.refer(who, &file, needs);
        }
        Ok(())
    }

    /// Those that Lima adds, for any architecture.
    fn archives_of(&mut self, mut template: Template) -> Result<Vec<File>, CommandError> {
        let missing = ARCHES
            .into_iter()
            .find(|arch| callao_template::archives::are_missing(&template, *arch));
        let Some(arch) = missing else {
            return Ok(Vec::new());
        };
        if self.usual_archives.is_none() {
            template::archives::complete(self.app, &mut template, arch)?;
            self.usual_archives = Some(template.archives);
        }
        Ok(self.usual_archives.clone().unwrap_or_default())
    }

    fn refer(&mut self, who: &str, file: &File, needs: bool) {
        let key = lima_key(&file.location);
        if needs {
            self.references.needed.insert(key.clone(), who.to_owned());
        }
        self.references.referred.insert(key, who.to_owned());
    }
}

/// Every file that a template names, for all architectures.
fn files_of(template: &Template) -> impl Iterator<Item = &File> {
    let images = template.images.iter().flat_map(|image| {
        [
            Some(&image.file),
            image.kernel.as_ref(),
            image.initrd.as_ref(),
        ]
        .into_iter()
        .flatten()
    });
    let firmware = template.firmware.images.iter().map(|image| &image.file);
    images
        .chain(&template.archives)
        .chain(firmware)
        .chain(&template.virtio_win)
}

/// Name and directory of each instance, as limactl finds them.
fn instances(app: &App) -> Vec<(String, PathBuf)> {
    let Some(home) = template::lima_home::dir(&app.host) else {
        return Vec::new();
    };
    host::names_in(&home)
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .filter(|name| !name.starts_with(['.', '_']))
        .map(|name| (name.clone(), home.join(name)))
        .filter(|(_, dir)| host::kind_of(dir) == Some(FileKind::Directory))
        .collect()
}
