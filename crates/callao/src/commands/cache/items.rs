//! What is in Lima's cache, whoever made it, and the files that were added; and which of them a WHAT means. Reads no
//! data and judges nothing.

use std::path::{Path, PathBuf};

use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_store::catalogue::{Catalogue, Held, Kind};
use callao_store::disk::Stamp;
use callao_store::lima::{self, Entry};

use crate::app::App;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host;

/// One file that is in the cache, or known to it.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) path: PathBuf,
    pub(super) owner: Kind,
    /// `None`: the file is not there, though something says that it should be.
    pub(super) stamp: Option<Stamp>,
    /// The location that it is for.
    pub(super) url: Option<String>,
    pub(super) held: Option<Held>,
    /// What the digest files say.
    pub(super) said: Vec<Digest>,
    /// Digest files that say nothing of use.
    pub(super) unusable: Vec<Algorithm>,
    /// `Last-Modified` and `Content-Type` as the origin sent them.
    pub(super) time: Option<String>,
    pub(super) content_type: Option<String>,
}

impl Item {
    fn of_entry(entry: Entry, held: Option<Held>) -> Self {
        Item {
            url: location(&entry).or_else(|| held.as_ref()?.file.url.clone()),
            path: entry.path,
            owner: Kind::Lima,
            stamp: entry.stamp,
            held,
            said: entry.digests,
            unusable: entry.unusable,
            time: entry.time,
            content_type: entry.content_type,
        }
    }

    fn of_user(held: Held, stamp: Option<Stamp>) -> Self {
        Item {
            path: held.file.path.clone(),
            owner: Kind::User,
            stamp,
            url: None,
            held: Some(held),
            said: Vec::new(),
            unusable: Vec::new(),
            time: None,
            content_type: None,
        }
    }

    /// What the catalogue knows, if the file is still in the state in which it was verified.
    pub(super) fn trusted(&self) -> Option<&Held> {
        let stamp = self.stamp?;
        self.held
            .as_ref()
            .filter(|held| Catalogue::trusted(held, &stamp))
    }

    /// Digests that are believed or, where nobody looked yet, said.
    pub(super) fn digests(&self) -> Vec<String> {
        let digests = match self.trusted() {
            Some(held) => &held.object.digests,
            None => &self.said,
        };
        digests.iter().map(ToString::to_string).collect()
    }

    /// CIDs that are believed.
    pub(super) fn cids(&self) -> Vec<String> {
        self.trusted()
            .map(|held| held.object.roots.iter().map(cid::text).collect())
            .unwrap_or_default()
    }

    /// What the file should be: as the catalogue knows it, and as its digest files say.
    pub(super) fn expected(&self) -> Vec<Digest> {
        let mut expected = self
            .known()
            .map(|held| held.object.digests.clone())
            .unwrap_or_default();
        for said in &self.said {
            if !expected.contains(said) {
                expected.push(*said);
            }
        }
        expected
    }

    /// What the catalogue knows, if that is about this very file. With another inode limactl has renewed the entry,
    /// and what callao knew was of the older bytes, unless the digest files still say the same.
    pub(super) fn known(&self) -> Option<&Held> {
        self.held.as_ref().filter(|held| {
            self.owner == Kind::User
                || self
                    .stamp
                    .is_none_or(|stamp| held.file.stamp.same_file(&stamp))
                || self
                    .said
                    .iter()
                    .any(|said| held.object.digests.contains(said))
        })
    }
}

/// The location that an entry says it is for, if its directory is that of this location.
fn location(entry: &Entry) -> Option<String> {
    let url = entry.url.clone()?;
    let key = entry.path.parent()?.file_name()?;
    (key == callao_store::places::lima_key(&url).as_str()).then_some(url)
}

/// Everything, by path: entries of Lima's cache and files of the user's. Directories without `data` count if a digest
/// file speaks for it; files of the user's that are gone do not.
pub(super) fn all(app: &App) -> Result<Vec<Item>, CommandError> {
    let mut items = Vec::new();
    for entry in lima::list_entries(&*app.disk, &app.places)? {
        let speaks = !entry.digests.is_empty() || !entry.unusable.is_empty();
        if entry.stamp.is_some() || speaks {
            let held = known(app, &entry.path)?;
            items.push(Item::of_entry(entry, held));
        }
    }
    for held in listed(app)? {
        if held.file.kind == Kind::User {
            let path = &held.file.path;
            let stamp = app
                .disk
                .stat(path)
                .map_err(|error| CommandError::io("look at", path, &error))?;
            if stamp.is_some() {
                items.push(Item::of_user(held, stamp));
            }
        }
    }
    items.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(items)
}

/// Everything that the catalogue has.
pub(super) fn listed(app: &App) -> Result<Vec<Held>, CommandError> {
    Ok(app
        .catalogue()
        .map(Catalogue::list)
        .transpose()?
        .unwrap_or_default())
}

/// Those that WHAT means; all of them if it is empty.
///
/// # Errors
/// Not found: it means none.
pub(super) fn chosen(app: &App, what: &[String]) -> Result<Vec<Item>, CommandError> {
    let mut items = all(app)?;
    items.retain(|item| is_chosen(app, item, what));
    if items.is_empty() && !what.is_empty() {
        return Err(CommandError::new(
            ExitCode::NotFound,
            format!("the cache has nothing of `{}`", what.join("`, `")),
        ));
    }
    Ok(items)
}

fn is_chosen(app: &App, item: &Item, what: &[String]) -> bool {
    let held = item.held.as_ref().map(|held| &held.object);
    let matches = |text: &String| {
        let path = app.host.path(text);
        let digest = |digest: &Digest| digest.to_string() == *text;
        item.path == path
            || item.path.parent() == Some(&path)
            || item.path == host::real_path(&path)
            || item.url.as_ref() == Some(text)
            || item.said.iter().any(digest)
            || held.is_some_and(|object| {
                object.digests.iter().any(digest)
                    || object.roots.iter().any(|root| cid::text(root) == *text)
            })
    };
    what.is_empty() || what.iter().any(matches)
}

fn known(app: &App, path: &Path) -> Result<Option<Held>, CommandError> {
    Ok(app
        .catalogue()
        .map(|catalogue| catalogue.by_path(path))
        .transpose()?
        .flatten())
}
