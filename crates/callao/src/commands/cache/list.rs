//! `callao cache list`: what is in Lima's cache and what was added.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use callao_content::cid;
use callao_store::catalogue::{Catalogue, Kind};
use callao_store::disk::Stamp;
use serde::Serialize;

use super::items::{self, Item};
use crate::app::App;
use crate::error::CommandError;
use crate::host::{self, FileKind};
use crate::output::human;

/// One file, as `--json` has it.
#[derive(Debug, Serialize)]
struct Listed {
    #[serde(rename = "type")]
    event: &'static str,
    path: PathBuf,
    /// The location under which it is in Lima's cache.
    urls: Vec<String>,
    size: u64,
    /// Since it was written, in seconds.
    age_seconds: u64,
    /// As computed by callao; for an entry that only limactl knows, what its digest files say.
    digests: Vec<String>,
    cids: Vec<String>,
    /// `digest`, `cid`, `both`, `content-only`; `no` if callao never verified this state of the file.
    verified: &'static str,
    owner: &'static str,
}

pub(super) fn run(app: &App) -> Result<(), CommandError> {
    let mut inodes = BTreeMap::new();
    let mut count = 0;
    for item in items::all(app)? {
        let Some(stamp) = item.stamp else { continue };
        let listed = listed(&item, &stamp);
        app.output.json(&listed);
        app.output.result(text(&listed));
        // Hard links count once.
        inodes.insert((stamp.dev, stamp.inode), stamp.size);
        count += 1;
    }
    for car in cars(app)? {
        app.output.json(&car);
        app.output.result(car.text());
        count += 1;
        inodes.insert((u64::MAX, count), car.size);
    }
    let total: u64 = inodes.values().sum();
    app.output
        .info(format!("{count} files, {} on disk", human::bytes(total)));
    Ok(())
}

/// A CAR that was added, as `--json` has it.
#[derive(Debug, Serialize)]
struct ListedCar {
    #[serde(rename = "type")]
    event: &'static str,
    path: PathBuf,
    size: u64,
    /// Its roots.
    cids: Vec<String>,
    owner: &'static str,
}

impl ListedCar {
    fn text(&self) -> String {
        let size = human::bytes(self.size);
        let mut text = format!("{}  {size}  CAR", self.path.display());
        for cid in &self.cids {
            text.extend(["\n  cid ", cid]);
        }
        text
    }
}

/// Those that are still there.
fn cars(app: &App) -> Result<Vec<ListedCar>, CommandError> {
    let records = app.catalogue().map_or(Ok(Vec::new()), Catalogue::cars)?;
    let mut cars = Vec::new();
    for record in records {
        if let Some(FileKind::File { size }) = host::kind_of(&record.path) {
            cars.push(ListedCar {
                event: "item",
                path: record.path,
                size,
                cids: record.roots.iter().map(cid::text).collect(),
                owner: "user",
            });
        }
    }
    Ok(cars)
}

fn listed(item: &Item, stamp: &Stamp) -> Listed {
    let written = stamp.mtime_ns / 1_000_000_000;
    Listed {
        event: "item",
        urls: item.url.clone().into_iter().collect(),
        size: stamp.size,
        age_seconds: u64::try_from(host::unix_now() - written).unwrap_or(0),
        digests: item.digests(),
        cids: item.cids(),
        verified: item
            .trusted()
            .map_or("no", |held| held.object.verified.name()),
        owner: match item.owner {
            Kind::Lima => "lima",
            Kind::User => "user",
        },
        path: item.path.clone(),
    }
}

fn text(listed: &Listed) -> String {
    let age = human::duration(Duration::from_secs(listed.age_seconds));
    let mut text = format!(
        "{}  {}  {age} old  verified: {}",
        listed.path.display(),
        human::bytes(listed.size),
        listed.verified
    );
    let lines = [
        ("url", &listed.urls),
        ("digest", &listed.digests),
        ("cid", &listed.cids),
    ];
    for (name, values) in lines {
        for value in values {
            text.extend(["\n  ", name, " ", value]);
        }
    }
    text
}
