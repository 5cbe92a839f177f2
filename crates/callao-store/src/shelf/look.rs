//! Looks at the disk: what is there, what of it may be served, and what became of what was served before.
//! Must not serve anything itself.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use callao_content::layout::Layout;
use callao_content::{Cid, cid};

use super::car::ShelvedCar;
use super::file::About;
use super::{Change, Listed, Owner, Policy, Shelved, What, adopt, fetches, origin};
use crate::catalogue::{Catalogue, Held, Kind};
use crate::disk::{Disk, Stamp};
use crate::error::{At, Error};
use crate::foreign::car::CarFile;
use crate::lima;
use crate::limits::{SHELF_LINGER_COUNT, SHELVED_FILES_COUNT_MAX};
use crate::places::Places;
use crate::{check, proof};

/// Remembers between two looks what need not be done again.
#[derive(Debug)]
pub(super) struct Looker {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) places: Places,
    pub(super) policy: Policy,
    /// What would be another if something had changed.
    seen: Option<Vec<Option<Stamp>>>,
    /// Files that were there, served or not.
    watched: Vec<PathBuf>,
    /// There are files that nobody has hashed yet.
    more: bool,
    /// Files whose bytes are not what they should be, in this state, and why.
    rejected: HashMap<PathBuf, (Stamp, String)>,
    /// Staging files that went away: how often they are still served.
    lingering: HashMap<PathBuf, u8>,
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) files: Vec<Arc<Shelved>>,
    pub(super) cars: Vec<Arc<ShelvedCar>>,
    pub(super) listed: Vec<Listed>,
}

impl Looker {
    pub(super) fn new(disk: Arc<dyn Disk>, places: Places, policy: Policy) -> Self {
        Looker {
            disk,
            places,
            policy,
            seen: None,
            watched: Vec::new(),
            more: false,
            rejected: HashMap::new(),
            lingering: HashMap::new(),
        }
    }

    /// What there is now, or `None` if nothing has changed, and what changed.
    pub(super) fn look(
        &mut self,
        catalogue: Option<&Catalogue>,
        before: &[Arc<Shelved>],
        cars: &[Arc<ShelvedCar>],
    ) -> Result<(Option<Seen>, Vec<Change>), Error> {
        let stamps = self.stamps()?;
        let broken =
            before.iter().any(|file| file.is_retired()) || cars.iter().any(|car| car.is_retired());
        if self.seen.as_ref() == Some(&stamps) && !broken && !self.more && self.lingering.is_empty()
        {
            fetches::update(&*self.disk, before);
            return Ok((None, Vec::new()));
        }
        let mut changes = Vec::new();
        self.reject_broken(before, &mut changes)?;
        let mut seen = Seen::default();
        self.more = false;
        let held = catalogue.map_or(Ok(Vec::new()), Catalogue::list)?;
        for held in &held {
            self.known(catalogue, held, before, &mut seen, &mut changes)?;
        }
        self.unknown(catalogue, &held, &mut seen, &mut changes)?;
        self.fetches(before, &mut seen)?;
        self.cars(catalogue, cars, &mut seen, &mut changes)?;
        seen.files.truncate(SHELVED_FILES_COUNT_MAX);
        compare(before, &seen.files, &mut changes);
        let still = seen.listed.iter().filter(|file| file.owner != Owner::Fetch);
        let watched: Vec<PathBuf> = still.map(|file| file.path.clone()).collect();
        // As it was when the look began: what came since is for the next one. Other files have no stamps yet.
        self.seen = (watched == self.watched).then_some(stamps);
        self.watched = watched;
        Ok((Some(seen), changes))
    }

    /// Stamps of everything that tells of a change. Staging files change all the time and are looked at otherwise.
    fn stamps(&self) -> Result<Vec<Option<Stamp>>, Error> {
        let database = self.places.catalogue();
        let log = database.with_extension("sqlite-wal");
        let fixed = [
            database,
            log,
            self.places.lima_download(),
            self.places.staging(),
        ];
        let all = fixed.iter().chain(&self.watched);
        all.map(|path| self.stat(path)).collect()
    }

    pub(super) fn stat(&self, path: &Path) -> Result<Option<Stamp>, Error> {
        self.disk.stat(path).at("examine", path)
    }

    /// What was served and turned out to be damaged is not looked at again in this state.
    fn reject_broken(
        &mut self,
        before: &[Arc<Shelved>],
        changes: &mut Vec<Change>,
    ) -> Result<(), Error> {
        for file in before.iter().filter(|file| file.is_retired()) {
            let reason = "a block of it does not have its hash any more".to_owned();
            if let Some(stamp) = self.stat(file.path())? {
                self.reject(file.path(), stamp, reason, changes);
            }
        }
        Ok(())
    }

    pub(super) fn reject(
        &mut self,
        path: &Path,
        stamp: Stamp,
        reason: String,
        changes: &mut Vec<Change>,
    ) {
        let entry = (stamp, reason.clone());
        if self.rejected.insert(path.to_owned(), entry.clone()) != Some(entry) {
            let (path, what) = (path.to_owned(), What::Retired(reason));
            changes.push(Change { path, what });
        }
    }

    /// A file of the catalogue.
    fn known(
        &mut self,
        catalogue: Option<&Catalogue>,
        held: &Held,
        before: &[Arc<Shelved>],
        seen: &mut Seen,
        changes: &mut Vec<Change>,
    ) -> Result<(), Error> {
        let path = &held.file.path;
        let Some(stamp) = self.stat(path)? else {
            return Ok(());
        };
        let about = about(held, stamp);
        let mut listed = listed(&about, held.object.roots.clone(), held.object.size);
        listed.why_not = self.may_serve(about.url.as_deref(), about.owner).err();
        if listed.why_not.is_none() {
            let layouts = self.layouts(held, before, &stamp);
            match self.is_still(catalogue, held, stamp, &layouts, changes) {
                Ok(()) if layouts.is_empty() => {
                    listed.why_not = Some(self.hash_it(catalogue, &about, changes));
                }
                Ok(()) => self.shelve(&about, layouts, before, seen)?,
                Err(reason) => listed.why_not = Some(reason),
            }
        }
        seen.listed.push(listed);
        Ok(())
    }

    /// `Err` says why not.
    pub(super) fn may_serve(&self, url: Option<&str>, owner: Owner) -> Result<(), String> {
        if self.policy.nothing {
            return Err("serving is switched off".into());
        }
        match (url, owner) {
            (None, Owner::User) => Ok(()),
            (None, _) => Err("nobody knows where it came from".into()),
            (Some(url), _) => Ok(origin::check(url, self.policy.private_origins)?),
        }
    }

    /// The layouts of a file, from what is served already or from the proofs.
    fn layouts(&self, held: &Held, before: &[Arc<Shelved>], stamp: &Stamp) -> Vec<Arc<Layout>> {
        let of_root = |root: &Cid| {
            let same = before.iter().find(|file| {
                is_same(file, &held.file.path, root) && file.about.stamp.same_bytes(stamp)
            });
            let layout = same.map(|file| Arc::clone(&file.layout));
            layout.or_else(|| proof::load(&*self.disk, &self.places, root).map(Arc::new))
        };
        let layouts = held.object.roots.iter().filter_map(of_root);
        layouts
            .filter(|layout| layout.size() == held.object.size)
            .collect()
    }

    /// Is it what the catalogue says? If it was touched, it is hashed once.
    fn is_still(
        &mut self,
        catalogue: Option<&Catalogue>,
        held: &Held,
        stamp: Stamp,
        layouts: &[Arc<Layout>],
        changes: &mut Vec<Change>,
    ) -> Result<(), String> {
        let path = &held.file.path;
        match self.rejected.get(path) {
            Some((state, reason)) if *state == stamp => return Err(reason.clone()),
            Some(_) => {
                self.rejected.remove(path);
            }
            None => {}
        }
        let (Some(layout), false) = (layouts.first(), Catalogue::trusted(held, &stamp)) else {
            return Ok(());
        };
        let bad = match check::bad_ranges(&*self.disk, path, layout) {
            Ok(bad) => bad.iter().map(|range| range.end - range.start).sum(),
            Err(_) => layout.size(),
        };
        if bad > 0 {
            let reason = format!("{bad} bytes of it are not what they were");
            self.reject(path, stamp, reason.clone(), changes);
            return Err(reason);
        }
        if let Some(catalogue) = catalogue {
            let file = crate::catalogue::FileRecord {
                stamp,
                ..held.file.clone()
            };
            // It is only quick: without it the file is hashed again at the next start.
            let _ = catalogue.record(&held.object, &file);
        }
        Ok(())
    }

    /// Entries that limactl made.
    fn unknown(
        &mut self,
        catalogue: Option<&Catalogue>,
        held: &[Held],
        seen: &mut Seen,
        changes: &mut Vec<Change>,
    ) -> Result<(), Error> {
        for entry in lima::list_entries(&*self.disk, &self.places)? {
            let known = held.iter().any(|held| held.file.path == entry.path);
            let Some(stamp) = entry.stamp.filter(|_| !known) else {
                continue;
            };
            let about = About {
                name: entry.url.as_deref().map(name_of).unwrap_or_default(),
                path: entry.path,
                owner: Owner::Lima,
                url: entry.url,
                digests: entry.digests,
                stamp,
            };
            let mut listed = listed(&about, Vec::new(), stamp.size);
            listed.why_not = Some(match self.may_serve(about.url.as_deref(), Owner::Lima) {
                Ok(()) => match self.rejected.get(&about.path) {
                    Some((state, reason)) if *state == stamp => reason.clone(),
                    _ => self.hash_it(catalogue, &about, changes),
                },
                Err(reason) => reason,
            });
            seen.listed.push(listed);
        }
        Ok(())
    }

    /// Hashes a file that has no layout yet, one at each look. It is served from the next look on; says what to say until
    /// then.
    fn hash_it(
        &mut self,
        catalogue: Option<&Catalogue>,
        about: &About,
        changes: &mut Vec<Change>,
    ) -> String {
        const LATER: &str = "it has not been hashed yet";
        let Some(catalogue) = catalogue else {
            return LATER.into();
        };
        let first = !self.more;
        self.more = true;
        if !first {
            return LATER.into();
        }
        match adopt::adopt(&*self.disk, &self.places, catalogue, about) {
            Ok(()) => {
                let (path, what) = (about.path.clone(), What::Hashed);
                changes.push(Change { path, what });
                LATER.into()
            }
            Err(reason) => {
                self.reject(&about.path, about.stamp, reason.clone(), changes);
                reason
            }
        }
    }

    /// Puts a file among those that are served, as it was if it was there before.
    fn shelve(
        &self,
        about: &About,
        layouts: Vec<Arc<Layout>>,
        before: &[Arc<Shelved>],
        seen: &mut Seen,
    ) -> Result<(), Error> {
        let mut opened = None;
        for layout in layouts {
            let same = before.iter().find(|file| {
                is_same(file, &about.path, layout.root())
                    && file.about.stamp.same_bytes(&about.stamp)
                    && file.about.url == about.url
                    && file.have.is_none()
            });
            if let Some(file) = same.filter(|file| !file.is_retired()) {
                seen.files.push(Arc::clone(file));
                continue;
            }
            let file = match &opened {
                Some(file) => Arc::clone(file),
                None => {
                    let file = self.disk.open_read(&about.path);
                    let file = file.at("open", &about.path)?;
                    Arc::clone(opened.insert(file))
                }
            };
            seen.files.push(Arc::new(Shelved {
                layout,
                about: about.clone(),
                file,
                have: None,
                retired: AtomicBool::new(false),
            }));
        }
        Ok(())
    }

    /// Staging files; those that went away a moment ago stay until their entry is there.
    fn fetches(&mut self, before: &[Arc<Shelved>], seen: &mut Seen) -> Result<(), Error> {
        fetches::look(self, before, seen)?;
        let mut lingering = HashMap::new();
        for file in before.iter().filter(|file| file.owner() == Owner::Fetch) {
            let root = file.layout.root();
            let still = seen
                .files
                .iter()
                .any(|other| cid::same_block(other.layout.root(), root));
            let left = self
                .lingering
                .get(file.path())
                .copied()
                .unwrap_or(SHELF_LINGER_COUNT);
            if !still && left > 0 {
                lingering.insert(file.path().to_owned(), left - 1);
                seen.files.push(Arc::clone(file));
            }
        }
        self.lingering = lingering;
        Ok(())
    }
}

impl Looker {
    /// CAR files that the user added.
    fn cars(
        &mut self,
        catalogue: Option<&Catalogue>,
        before: &[Arc<ShelvedCar>],
        seen: &mut Seen,
        changes: &mut Vec<Change>,
    ) -> Result<(), Error> {
        for car in before.iter().filter(|car| car.is_retired()) {
            let reason = "a block of it is not what its CID says".to_owned();
            self.reject(&car.path, car.stamp, reason, changes);
        }
        let records = catalogue.map_or(Ok(Vec::new()), Catalogue::cars)?;
        for record in records {
            let Some(stamp) = self.stat(&record.path)? else {
                continue;
            };
            let same = |car: &&Arc<ShelvedCar>| car.path == record.path && car.stamp == stamp;
            let why_not = match before.iter().find(same).filter(|car| !car.is_retired()) {
                _ if self.policy.nothing => Some("serving is switched off".into()),
                Some(car) => {
                    seen.cars.push(Arc::clone(car));
                    None
                }
                None => self.open_car(&record.path, stamp, seen, changes),
            };
            seen.listed.push(Listed {
                name: name_of(&record.path.to_string_lossy()),
                path: record.path,
                size: stamp.size,
                owner: Owner::Car,
                url: None,
                digests: Vec::new(),
                roots: record.roots,
                have_bytes: stamp.size,
                why_not,
            });
        }
        for car in before {
            let still = seen.listed.iter().any(|listed| listed.path == car.path);
            if !still {
                let (path, what) = (car.path.clone(), What::Gone);
                changes.push(Change { path, what });
            }
        }
        Ok(())
    }

    /// Why it is not served, if it cannot be.
    fn open_car(
        &mut self,
        path: &Path,
        stamp: Stamp,
        seen: &mut Seen,
        changes: &mut Vec<Change>,
    ) -> Option<String> {
        if let Some((state, reason)) = self.rejected.get(path)
            && *state == stamp
        {
            return Some(reason.clone());
        }
        match CarFile::open(path) {
            Ok(car) => {
                let car = Arc::new(ShelvedCar::new(car, path, stamp));
                let what = What::Appeared(car.roots.clone());
                changes.push(Change {
                    path: path.to_owned(),
                    what,
                });
                seen.cars.push(car);
                None
            }
            Err(error) => {
                let reason = error.to_string();
                self.reject(path, stamp, reason.clone(), changes);
                Some(reason)
            }
        }
    }
}

fn about(held: &Held, stamp: Stamp) -> About {
    let file = &held.file;
    let own = || {
        file.path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let name = file
        .url
        .as_deref()
        .map(name_of)
        .or_else(own)
        .unwrap_or_default();
    About {
        path: file.path.clone(),
        name,
        owner: match file.kind {
            Kind::Lima => Owner::Lima,
            Kind::User => Owner::User,
        },
        url: file.url.clone(),
        digests: held.object.digests.clone(),
        stamp,
    }
}

/// The last part of a location.
pub(super) fn name_of(location: &str) -> String {
    let path = location.split(['?', '#']).next().unwrap_or_default();
    let last = path.trim_end_matches('/').rsplit('/').next();
    last.unwrap_or_default().to_owned()
}

pub(super) fn listed(about: &About, roots: Vec<Cid>, size: u64) -> Listed {
    Listed {
        path: about.path.clone(),
        name: about.name.clone(),
        size,
        owner: about.owner,
        url: about.url.clone(),
        digests: about.digests.clone(),
        roots,
        have_bytes: size,
        why_not: None,
    }
}

pub(super) fn is_same(file: &Shelved, path: &Path, root: &Cid) -> bool {
    file.path() == path && cid::same_block(file.layout.root(), root)
}

/// What appeared and what went. A file that was found to be another one has been told already.
fn compare(before: &[Arc<Shelved>], now: &[Arc<Shelved>], changes: &mut Vec<Change>) {
    let has = |files: &[Arc<Shelved>], path: &Path| files.iter().any(|file| file.path() == path);
    let mut told: Vec<PathBuf> = Vec::new();
    for file in now.iter().filter(|file| !has(before, file.path())) {
        if told.iter().any(|path| path == file.path()) {
            continue;
        }
        told.push(file.path().to_owned());
        let same = now.iter().filter(|other| other.path() == file.path());
        let what = What::Appeared(same.map(|file| *file.layout.root()).collect());
        changes.push(Change {
            path: file.path().to_owned(),
            what,
        });
    }
    for file in before.iter().filter(|file| !has(now, file.path())) {
        let path = file.path().to_owned();
        if told.contains(&path) || changes.iter().any(|change| change.path == path) {
            continue;
        }
        told.push(path.clone());
        let what = What::Gone;
        changes.push(Change { path, what });
    }
}
