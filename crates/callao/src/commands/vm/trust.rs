//! Keeps the files of the cache trusted while instances get and lose their links to them. A link that is made or removed
//! changes the ctime of the file, and a file whose ctime changed is hashed once more: an image at every `create`.

use std::path::PathBuf;

use crate::app::App;

/// Does something that makes or removes links to some of these files, and nothing else to any of them.
pub(super) fn kept<T>(app: &App, files: &[PathBuf], work: impl FnOnce() -> T) -> T {
    // Held open: the names may be gone afterwards.
    let before: Vec<_> = files
        .iter()
        .filter_map(|path| app.disk.open_read(path).ok())
        .filter_map(|file| file.stamp().ok().map(|stamp| (file, stamp)))
        .collect();
    let done = work();
    for (file, before) in before {
        if let Ok(after) = file.stamp()
            && after.ctime_ns != before.ctime_ns
            && let Some(catalogue) = app.catalogue()
        {
            // What is not noted is hashed once more, which is no reason to fail.
            let _ = catalogue.restamp(&before, &after);
        }
    }
    done
}
