//! The containerd archives of a template that names none: those of the installed limactl, else the list that is built in.
//! What limactl said is kept, with what it was then, so that it is asked once; that file can be lost at any time.

use std::path::PathBuf;

use callao_template::{Arch, File, Template, archives};

use crate::app::App;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host;
use crate::limactl::Limactl;

const KEPT_BYTES_MAX: u64 = 64 * 1024;

/// limactl takes a locator that ends like an image for a template with this image alone: it fills that without reading
/// a file or opening a socket.
const SMALLEST_TEMPLATE: &str = "file:///callao-amd64.img";

/// Adds the archives that limactl would add, if a guest of this architecture gets containerd and the template names
/// none.
///
/// # Errors
/// Interrupted.
pub(crate) fn complete(app: &App, template: &mut Template, arch: Arch) -> Result<(), CommandError> {
    if archives::are_missing(template, arch) {
        template.archives = usual(app)?;
    }
    Ok(())
}

fn usual(app: &App) -> Result<Vec<File>, CommandError> {
    if let Some(limactl) = Limactl::find(&app.host) {
        match of_limactl(app, &limactl) {
            Ok(files) if !files.is_empty() => {
                app.output.detail(format!(
                    "The template names no containerd archives: those of `{}` are taken",
                    limactl.path().display()
                ));
                return Ok(files);
            }
            Ok(_) => {}
            Err(error) if error.kind == ExitCode::Interrupted => return Err(error),
            Err(error) => app.output.info(format!(
                "limactl does not tell its containerd archives, so those of {} are taken: {}",
                archives::BUILT_IN_OF,
                error.message
            )),
        }
    } else {
        app.output.detail(format!(
            "The template names no containerd archives: those of {} are taken, since no limactl is installed",
            archives::BUILT_IN_OF
        ));
    }
    Ok(archives::built_in()?)
}

fn of_limactl(app: &App, limactl: &Limactl) -> Result<Vec<File>, CommandError> {
    let kept = app.places.containerd_archives();
    let mark = mark_of(app, limactl);
    if let Some(mark) = &mark
        && let Ok(bytes) = host::read_small_file(&kept, KEPT_BYTES_MAX)
        && let Ok(text) = String::from_utf8(bytes)
        && text.lines().next() == Some(mark)
        && let Ok(files) = archives::read(&text)
    {
        return Ok(files);
    }
    let files = archives::read(&limactl.fill(app, SMALLEST_TEMPLATE)?)?;
    if let Some(mark) = mark {
        keep(app, kept, &format!("{mark}\n{}", archives::write(&files)));
    }
    Ok(files)
}

/// A comment that changes when another limactl is installed.
fn mark_of(app: &App, limactl: &Limactl) -> Option<String> {
    let path = host::real_path(limactl.path());
    let stamp = app.disk.stat(&path).ok().flatten()?;
    Some(format!(
        "# {:?} {} {}",
        path.display().to_string(),
        stamp.size,
        stamp.mtime_ns
    ))
}

/// Whether it can be kept or not, it is known now.
fn keep(app: &App, path: PathBuf, text: &str) {
    let temporary = crate::commands::beside(&path);
    let written = (|| {
        app.disk.create_dir_all(&app.places.own())?;
        app.disk.remove(&temporary)?;
        app.disk
            .create_new(&temporary)?
            .write_at(text.as_bytes(), 0)?;
        app.disk.rename(&temporary, &path)
    })();
    if let Err(error) = written {
        app.output.detail(format!(
            "What limactl says is not kept in `{}`: {error}",
            path.display()
        ));
        app.disk.remove(&temporary).unwrap_or(false);
    }
}
