//! `callao create`: fetches what a new instance is made of, as `get` does, and makes it: a link to the image, and a disk
//! on top. Nothing of an instance is there before all of it is.

use std::path::Path;

use callao_store::links;
use callao_template::{image_locator, machine};
use callao_vm::disk::{self, DiskError, Image};
use callao_vm::instance::{Draft, Instance};
use callao_vm::places::Places as InstancePlaces;
use callao_vm::spec::{Origin, Spec};
use callao_vm::unpack;

use super::recipe::{self, Recipe};
use super::{instances, list, surroundings, tools, trust};
use crate::app::App;
use crate::cli::{CreateArgs, NewArgs, SourceArgs};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::plan::Noun;
use crate::get::run::Job;
use crate::get::satisfy;
use crate::get::sources::Places;
use crate::get::what::{self, What};
use crate::host;
use crate::output::human;
use crate::output::json::Got;

/// What comes after an instance is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Done,
    /// It is started.
    Start,
}

pub(crate) fn run(app: &App, args: &CreateArgs) -> Result<(), CommandError> {
    if let Ok(there) = instances(app)?.find(&args.what) {
        return Err(exists(there.name()));
    }
    let what = what(app, &args.what)?;
    let instance = make(app, what, &args.new, &args.sources, Then::Done)?;
    app.output.json(&list::of(&instance));
    app.output.result(instance.name());
    Ok(())
}

/// Reads a WHAT that is no instance.
///
/// # Errors
/// Usage, not found.
pub(super) fn what(app: &App, text: &str) -> Result<What, CommandError> {
    what::read(text, &app.host, &host::kind_of).map_err(|mut error| {
        let is_name = machine::check_name(text).is_ok() && !image_locator::is_image(text);
        if error.kind == ExitCode::NotFound && is_name {
            error.message = format!("there is neither an instance `{text}` nor such a file");
            error.hints = vec![format!(
                "callao list shows the instances; template:{text} would be a template"
            )];
        }
        error
    })
}

fn exists(name: &str) -> CommandError {
    CommandError::new(
        ExitCode::Machine,
        format!("there is an instance `{name}` already"),
    )
    .hint(format!(
        "callao start {name} starts it; --name gives the new one another name"
    ))
}

/// Makes an instance.
///
/// # Errors
/// Those of `get`; virtual machine: it is there already, its image cannot be used, a tool is missing.
pub(super) fn make(
    app: &App,
    what: What,
    new: &NewArgs,
    sources: &SourceArgs,
    then: Then,
) -> Result<Instance, CommandError> {
    let recipe = recipe::of(app, what, new, sources)?;
    let all = instances(app)?;
    if all.find(&recipe.name).is_ok() {
        return Err(exists(&recipe.name));
    }
    let around = surroundings::of(
        app,
        &recipe.name,
        &all.place(&recipe.name),
        recipe.needs.arch,
    )?;
    let machine = machine::read(&recipe.needs.template, &around, &recipe.overrides)?;
    // Everything that can be wrong here is said before a long download, not after it.
    let qemu_img = tools::qemu_img(app)?;
    if then == Then::Start {
        tools::check(app, &machine)?;
    }
    let draft = all.draft(&recipe.name)?;
    let files = fetch(app, &recipe, sources)?;
    app.interrupt.check()?;
    place(app, &files, draft.places())?;
    let disk_bytes = machine.disk_bytes;
    let image = tools::wait(make_disk(&qemu_img, draft.places(), disk_bytes))?
        .map_err(|error| of_image(error, &files.image))?;
    let spec = Spec::new(origin(&recipe, &files), image.format, machine);
    let instance = finish(draft, &spec)?;
    app.output.info(format!(
        "Instance `{}` is there: {} CPU{}, {} of memory, a disk of {}",
        spec.name,
        spec.machine.cpus,
        if spec.machine.cpus == 1 { "" } else { "s" },
        human::short_bytes(spec.machine.memory_bytes),
        human::short_bytes(spec.machine.disk_bytes)
    ));
    Ok(instance)
}

fn finish(draft: Draft, spec: &Spec) -> Result<Instance, CommandError> {
    draft.finish(spec).map_err(|error| match error {
        callao_vm::Error::Exists { name } => exists(&name),
        other => other.into(),
    })
}

/// The files of an instance, where they are now.
struct Files {
    image: Got,
    kernel: Option<Got>,
    initrd: Option<Got>,
    archive: Option<Got>,
    firmware: Option<Got>,
}

/// Fetches everything, as `get` does.
fn fetch(app: &App, recipe: &Recipe, sources: &SourceArgs) -> Result<Files, CommandError> {
    let job = Job::new(app, Places::new(app, sources, &[])?, None, false);
    let mut all: Vec<Got> = Vec::new();
    for need in &recipe.needs.needs {
        for got in satisfy::any_of(&job, need)? {
            app.output.json(&got);
            all.push(got);
        }
    }
    let mut take = |noun: Noun| {
        let at = all.iter().position(|got| got.what == noun.bare())?;
        Some(all.swap_remove(at))
    };
    Ok(Files {
        image: take(Noun::Image).ok_or_else(|| {
            CommandError::new(
                ExitCode::Template,
                format!(
                    "template {} names no image for {}",
                    recipe.needs.template.name, recipe.needs.arch
                ),
            )
        })?,
        kernel: take(Noun::Kernel),
        initrd: take(Noun::Initrd),
        archive: take(Noun::Archive),
        firmware: take(Noun::Firmware),
    })
}

/// Gives the files their names in the instance. An entry of the cache never changes, so it is linked; a file of the
/// user's may, so it is cloned or copied.
fn place(app: &App, files: &Files, places: &InstancePlaces) -> Result<(), CommandError> {
    let cache = app.places.cache();
    let put = |got: &Got, to: &Path| -> Result<(), CommandError> {
        let from = Path::new(&got.path);
        let how = match from.starts_with(cache) {
            true => trust::kept(app, &[from.to_owned()], || {
                links::place(&*app.disk, from, to)
            })?,
            false => links::place_own(&*app.disk, from, to)?,
        };
        app.output.detail(format!(
            "`{}` is {} `{}`",
            to.display(),
            match how {
                links::How::HardLinked => "a hard link to",
                links::How::Reflinked => "a clone of",
                _ => "a copy of",
            },
            from.display()
        ));
        Ok(())
    };
    let optional = [
        (&files.kernel, places.kernel()),
        (&files.initrd, places.initrd()),
        (&files.archive, places.archive()),
        (&files.firmware, places.firmware()),
    ];
    for (got, to) in optional {
        if let Some(got) = got {
            put(got, &to)?;
        }
    }
    let image = Path::new(&files.image.path);
    let packed = unpack::kind_of(image).map_err(|error| CommandError::io("read", image, &error))?;
    match packed {
        Some(packed) => unpack_image(app, &files.image, packed, &places.base()),
        None => put(&files.image, &places.base()),
    }
}

/// A packed image is unpacked into the instance: QEMU cannot read it as it is.
fn unpack_image(
    app: &App,
    image: &Got,
    packed: unpack::Packed,
    to: &Path,
) -> Result<(), CommandError> {
    app.output.info(format!(
        "Unpacking {} of {}",
        human::bytes(image.size),
        packed.name()
    ));
    let _guard = app.interrupt.guard();
    let ended = unpack::unpack(
        Path::new(&image.path),
        to,
        &mut |_| {},
        app.interrupt.token(),
    );
    match ended {
        Ok(_) => Ok(()),
        Err(unpack::UnpackError::Cancelled { .. }) => Err(CommandError::interrupted()),
        Err(error) => Err(error.into()),
    }
}

/// An image that cannot be used is known to the user by where it came from.
fn of_image(error: DiskError, image: &Got) -> CommandError {
    match error {
        DiskError::Refused { why, .. } => CommandError::new(
            ExitCode::Machine,
            format!("the image `{}` cannot be used: {why}", image.location),
        ),
        error @ DiskError::TooSmall { .. } => {
            CommandError::from(error).hint("--disk, or disk: in the template, makes it larger")
        }
        other => other.into(),
    }
}

/// The disk that the guest writes to, on top of the image.
async fn make_disk(
    qemu_img: &Path,
    places: &InstancePlaces,
    disk_bytes: u64,
) -> Result<Image, DiskError> {
    let (base, overlay) = (places.base(), places.disk());
    let name = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let image = disk::inspect(qemu_img, &base).await?;
    let (base, overlay) = (name(&base), name(&overlay));
    disk::create_overlay(qemu_img, places.dir(), &base, image, &overlay, disk_bytes).await?;
    Ok(image)
}

fn origin(recipe: &Recipe, files: &Files) -> Origin {
    let command_line = files.kernel.as_ref().map(|kernel| {
        machine::kernel_command_line(
            &recipe.needs.template,
            &files.image.location,
            &kernel.location,
        )
    });
    Origin {
        name: recipe.name.clone(),
        created: host::unix_now(),
        image: files.image.location.clone(),
        digest: files.image.digest.clone(),
        kernel_command_line: command_line.map(Option::unwrap_or_default),
    }
}
