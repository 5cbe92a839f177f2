//! The threads behind a fetch: one writes (and proves what arrives out of order), one hashes the file in order (and
//! proves on the way, in the same pass), one starts write-back early. They do positioned, synchronous I/O off the
//! runtime: a runtime thread that hashes or writes cannot receive. They take jobs from the engine and report to it;
//! they decide nothing.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use callao_content::digest::Algorithm;
use callao_content::layout::Layout;
use callao_store::staging::Staging;
use tokio::sync::mpsc;

use crate::buffer::Buffer;
use crate::error::Error;
use crate::limits::JOBS_COUNT_MAX;
use crate::message::{Message, Report};

mod digester;
mod writer;

/// A part of a buffer that has its place in the file.
#[derive(Clone)]
pub(crate) struct Piece {
    /// Number for the reports.
    pub id: u64,
    /// Where in the file it belongs.
    pub offset: u64,
    /// The buffer it is part of.
    pub buffer: Arc<Buffer>,
    /// Which part.
    pub part: Range<usize>,
}

impl Piece {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer.filled()[self.part.clone()]
    }
}

/// Work for the writing thread.
pub(crate) enum WriteJob {
    /// Write; with `prove`, only what fits the leaves from this one on.
    Write { piece: Piece, prove: Option<usize> },
    /// Prove leaves that are on disk already.
    Prove { leaves: Range<usize> },
    /// Write the bytes of a proven leaf to its repetitions.
    Copy { from: usize, to: Vec<usize> },
}

/// Work for the digest thread.
pub(crate) enum DigestJob {
    /// The next bytes of the file; with `first`, prove the leaves from this one on in the same pass.
    Take { piece: Piece, first: Option<usize> },
    /// The next bytes of the file are on disk.
    ReadBack { range: Range<u64> },
    /// Begin again at byte 0.
    Restart,
    /// That was the last byte.
    Finish,
}

/// Work for the flushing thread.
enum FlushJob {
    WriteBack(Range<u64>),
    Sync,
}

/// What all threads share.
#[derive(Clone)]
struct Shared {
    staging: Arc<Staging>,
    layout: Arc<OnceLock<Arc<Layout>>>,
    engine: mpsc::Sender<Message>,
}

impl Shared {
    fn report(&self, report: Report) {
        // An error means that the engine is gone; the queue of this thread then ends as well.
        self.engine
            .blocking_send(Message::Worker(report))
            .unwrap_or(());
    }

    /// Sends what `work` has to say; `false` after a failure of the disk.
    fn outcome(&self, result: Result<Report, callao_store::error::Error>) -> bool {
        let well = result.is_ok();
        self.report(result.unwrap_or_else(Report::Failed));
        well
    }
}

/// The running threads. Dropping ends their queues; [`Pipeline::join`] waits for them.
pub(crate) struct Pipeline {
    write: SyncSender<WriteJob>,
    digest: SyncSender<DigestJob>,
    flush: SyncSender<FlushJob>,
    layout: Arc<OnceLock<Arc<Layout>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pipeline {
    /// Starts the threads; the hashes of the first `journalled` leaves are on disk already.
    pub(crate) fn start(
        staging: &Arc<Staging>,
        algorithms: Vec<Algorithm>,
        journalled: usize,
        engine: mpsc::Sender<Message>,
    ) -> Result<Pipeline, Error> {
        let shared = Shared {
            staging: Arc::clone(staging),
            layout: Arc::default(),
            engine,
        };
        let layout = Arc::clone(&shared.layout);
        let (write, write_jobs) = sync_channel(JOBS_COUNT_MAX);
        let (digest, digest_jobs) = sync_channel(JOBS_COUNT_MAX);
        let (flush, flush_jobs) = sync_channel(JOBS_COUNT_MAX);
        let (one, two, three) = (shared.clone(), shared.clone(), shared);
        let regions = flush.clone();
        let threads = vec![
            spawn("callao-write", one.clone(), move || {
                writer::run(&one, &write_jobs, &regions)
            })?,
            spawn("callao-digest", two.clone(), move || {
                digester::run(&two, &digest_jobs, algorithms, journalled)
            })?,
            spawn("callao-flush", three.clone(), move || {
                flush_run(&three, &flush_jobs)
            })?,
        ];
        Ok(Pipeline {
            write,
            digest,
            flush,
            layout,
            threads,
        })
    }

    /// From now on leaves can be proven.
    pub(crate) fn use_layout(&self, layout: Arc<Layout>) -> Result<(), Error> {
        self.layout
            .set(layout)
            .map_err(|_| Error::Internal("a second layout for one file".into()))
    }

    /// Queues work for the writing thread. Never blocks: chunks are bounded by the pool, the rest by the engine.
    pub(crate) fn write(&self, job: WriteJob) -> Result<(), Error> {
        self.write
            .try_send(job)
            .map_err(|_| Error::Internal("the writing thread is gone or behind".into()))
    }

    /// Queues work for the digest thread.
    pub(crate) fn digest(&self, job: DigestJob) -> Result<(), Error> {
        self.digest
            .try_send(job)
            .map_err(|_| Error::Internal("the digest thread is gone or behind".into()))
    }

    /// Everything is written: make it durable.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.flush
            .send(FlushJob::Sync)
            .map_err(|_| Error::Internal("the flushing thread is gone".into()))
    }

    /// Ends the queues and hands back the threads to wait for.
    pub(crate) fn end(self) -> Vec<JoinHandle<()>> {
        self.threads
    }
}

/// Starts a named thread that reports if it dies of a panic: otherwise the engine would wait for ever.
fn spawn(
    name: &'static str,
    shared: Shared,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    struct Alarm(Shared, &'static str);
    impl Drop for Alarm {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.report(Report::Died(self.1));
            }
        }
    }
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            let alarm = Alarm(shared, name);
            work();
            drop(alarm);
        })
        .map_err(|error| Error::Internal(format!("no thread `{name}`: {error}")))
}

fn flush_run(shared: &Shared, jobs: &Receiver<FlushJob>) {
    for job in jobs {
        match job {
            FlushJob::WriteBack(range) => shared.staging.start_writeback(range),
            FlushJob::Sync => {
                shared.outcome(shared.staging.sync().map(|()| Report::Synced));
            }
        }
    }
}
