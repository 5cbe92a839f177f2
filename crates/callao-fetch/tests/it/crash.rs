//! Power cuts, failing calls and a full disk at every single disk operation of a fetch with its publication:
//! afterwards the old state or the new one, never an entry that limactl would trust with wrong bytes, and the next
//! run finishes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use callao_content::digest::{Algorithm, Digest};
use callao_fetch::engine::{self, Fetch};
use callao_fetch::event::Silent;
use callao_fetch::request::Wanted;
use callao_store::disk::Disk;
use callao_store::disk::faulty::{Fault, FaultyDisk, Survive};
use callao_store::lima::{self, From, Meta};
use callao_store::places::Places;
use callao_store::staging::{About, Staging};
use callao_store::{lock::WaitChoice, proof};
use callao_testkit::image::Image;
use callao_testkit::origin::{Behaviour, Origin};
use tokio_util::sync::CancellationToken;

use crate::bench::{Bench, http};

/// Two leaves: enough for every kind of operation.
const SIZE: usize = 300_000;

/// The operations are counted until a run meets no fault any more; a run that never gets there is a defect.
const OPERATIONS_MAX: u64 = 500;

struct Subject {
    bench: Bench,
    origin: Origin,
    with_layout: bool,
}

impl Subject {
    fn new(with_layout: bool) -> Self {
        let bench = Bench::new(Image::Random(41).bytes(SIZE));
        let origin = Origin::start(bench.image.clone(), Behaviour::default());
        Subject {
            bench,
            origin,
            with_layout,
        }
    }

    /// What `callao get` does for one file.
    async fn get(&self, disk: &FaultyDisk) -> Result<PathBuf, String> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let places = Places::new(Path::new("/cache"));
        let layout = self.with_layout.then(|| self.bench.layout.clone());
        let wanted = if self.with_layout {
            self.bench.by_both()
        } else {
            self.bench.by_digest()
        };
        let about = about(&wanted);
        let staging = Staging::open(Arc::clone(&disk), &places, "crash", &about, &mut |_| {
            WaitChoice::GiveUp
        });
        let staging = Arc::new(staging.map_err(|error| error.to_string())?);
        let fetch = Fetch {
            wanted,
            staging: Arc::clone(&staging),
            layout,
            sources: vec![http(&self.origin.url())],
            late: None,
            host: String::new(),
            observer: Arc::new(Silent),
            cancel: CancellationToken::new(),
        };
        let done = engine::run(fetch)
            .await
            .map_err(|error| error.to_string())?;
        let staging = Arc::into_inner(staging).expect("the engine let go of it");
        let meta = Meta {
            content_type: None,
            last_modified: done.report.last_modified,
        };
        let url = self.origin.url();
        let digests = done.report.digests;
        let from = From::Staging(staging);
        let published = lima::publish(&*disk, &places, &url, from, &digests, &meta, &mut |_| {
            WaitChoice::GiveUp
        });
        let path = published.map_err(|error| error.to_string())?.path;
        proof::save(&*disk, &places, &done.layout).map_err(|error| error.to_string())?;
        Ok(path)
    }

    /// The next run gets the file.
    async fn finish(&self, disk: &FaultyDisk, when: &str) {
        let path = self.get(disk).await;
        let path = path.unwrap_or_else(|error| panic!("{when}, next run: {error}"));
        let data = disk.peek(&path).unwrap_or_default();
        assert!(data == *self.bench.image, "{when}");
        self.check(disk, when);
    }

    /// What limactl would trust must be right.
    fn check(&self, disk: &FaultyDisk, when: &str) {
        for path in disk.files() {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let Some(algorithm) = name.strip_suffix(".digest") else {
                continue;
            };
            assert_eq!(algorithm, "sha256", "{when}: {name}");
            let said = String::from_utf8(disk.peek(&path).expect("listed")).expect("text");
            let data = disk.peek(&path.with_file_name("data"));
            let right =
                data.is_some_and(|data| Digest::of(Algorithm::Sha256, &data).to_string() == said);
            assert!(right, "{when}: `{said}` stands beside other data");
        }
    }
}

fn about(wanted: &Wanted) -> About {
    About {
        name: wanted.name.clone(),
        digest: wanted.digest.map(|digest| digest.to_string()),
        cid: wanted.cid.map(|cid| callao_content::cid::text(&cid)),
        ..About::default()
    }
}

async fn stop_everywhere(with_layout: bool, fault: Fault, survive: &[Survive]) {
    let subject = Subject::new(with_layout);
    for operation in 0..OPERATIONS_MAX {
        let disk = FaultyDisk::new();
        disk.arm(operation, fault);
        let result = subject.get(&disk).await;
        if !disk.fault_met() {
            assert_eq!(result.map(|_| ()), Ok(()), "no fault, no error");
            assert!(
                operation > 20,
                "a fetch has more operations than {operation}"
            );
            return;
        }
        if fault != Fault::Crash {
            // The same machine goes on: without the fault the next run finishes on the same disk.
            disk.disarm();
            let when = format!("{fault:?} at operation {operation}");
            subject.check(&disk, &when);
            subject.finish(&disk, &when).await;
        }
        for survive in survive {
            let when = format!("{fault:?} at operation {operation}, {survive:?}");
            let after = disk.recover(*survive);
            subject.check(&after, &when);
            subject.finish(&after, &when).await;
        }
    }
    panic!("more than {OPERATIONS_MAX} operations for {SIZE} bytes");
}

#[tokio::test]
async fn power_cuts_with_a_layout() {
    stop_everywhere(
        true,
        Fault::Crash,
        &[
            Survive::Worst,
            Survive::Best,
            Survive::Seed(1),
            Survive::Seed(2),
        ],
    )
    .await;
}

#[tokio::test]
async fn power_cuts_without_a_layout() {
    stop_everywhere(
        false,
        Fault::Crash,
        &[Survive::Worst, Survive::Best, Survive::Seed(3)],
    )
    .await;
}

#[tokio::test]
async fn failing_calls() {
    stop_everywhere(true, Fault::Error, &[Survive::Worst]).await;
}

#[tokio::test]
async fn a_full_disk() {
    stop_everywhere(false, Fault::NoSpace, &[Survive::Worst]).await;
}
