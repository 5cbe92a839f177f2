//! A file that arrives by HTTP: into a temporary file, then under its name, complete or not at all. Never over a file that
//! is there. Knows no header and nothing of what the file is for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use callao_store::disk::Disk;
use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;

use super::name::numbered;
use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// Pieces between the socket and the disk.
const PIECES_COUNT_MAX: usize = 16;
/// Time without a byte after which a sender is taken for gone.
pub(super) const STALL_MAX: Duration = Duration::from_secs(60);
/// How long the rest of a file that was refused is read, and how long the next byte of it is waited for.
const DRAIN_MAX: Duration = Duration::from_secs(10);
const DRAIN_PAUSE_MAX: Duration = Duration::from_millis(500);
/// What an upload leaves free on the disk: the machine has to go on working.
const SPARE_BYTES: u64 = 256 << 20;
/// How often the free space is looked at, in bytes written.
const LOOK_BYTES: u64 = 64 << 20;
/// Files of one name.
const SAME_NAME_COUNT_MAX: u32 = 1000;
/// Temporary files begin so; no name of a file does.
const TEMPORARY: &str = ".upload-";

/// Asks a file system how much is free.
type Free = dyn Fn(&Path) -> Option<u64> + Send + Sync;

/// Where files go.
pub(super) struct Place {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    /// Free bytes of the file system that holds the directory; `None` if that is not known.
    pub(super) free: Box<Free>,
    /// [`STALL_MAX`].
    pub(super) stall: Duration,
}

impl Place {
    /// Removes what a crash left.
    pub(super) fn sweep(&self) {
        let names = self.disk.list(&self.dir).unwrap_or_default();
        for name in names.iter().filter(|name| name.starts_with(TEMPORARY)) {
            self.drop_file(&self.dir.join(name));
        }
    }

    /// Removes a file. If that fails, there is one file too many: nothing depends on it.
    pub(super) fn drop_file(&self, path: &Path) {
        self.disk.remove(path).unwrap_or(false);
    }
}

/// Takes all bytes; the path of the file that holds them, synced. `length` is what was announced. If this future is dropped,
/// or fails, nothing is left.
pub(super) async fn receive<E: std::fmt::Display>(
    place: &Arc<Place>,
    name: String,
    length: Option<u64>,
    mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<PathBuf, CommandError> {
    let (sender, receiver) = mpsc::channel(PIECES_COUNT_MAX);
    let writer = {
        let place = Arc::clone(place);
        tokio::task::spawn_blocking(move || write(&place, &name, length, receiver))
    };
    let sent = forward(place, &mut pieces, &sender).await;
    // Without the end the writer removes what it has.
    drop(sender);
    let written = writer
        .await
        .map_err(|error| CommandError::new(ExitCode::Unexpected, error.to_string()))?;
    if sent.is_ok() && written.is_err() {
        drain(&mut pieces).await;
    }
    sent.and(written)
}

/// Hands the pieces and the end to the writer; also ends when the writer does, which has failed then.
async fn forward<E: std::fmt::Display>(
    place: &Place,
    pieces: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    sender: &mpsc::Sender<Option<Bytes>>,
) -> Result<(), CommandError> {
    loop {
        let piece = tokio::select! {
            () = sender.closed() => return Ok(()),
            piece = tokio::time::timeout(place.stall, pieces.next()) => piece,
        };
        let piece = match piece {
            Err(_) => {
                return Err(broken(&format!(
                    "no byte came for {} s",
                    place.stall.as_secs_f64()
                )));
            }
            Ok(Some(Err(error))) => return Err(broken(&error.to_string())),
            Ok(Some(Ok(bytes))) => Some(bytes),
            Ok(None) => None,
        };
        let is_end = piece.is_none();
        if sender.send(piece).await.is_err() || is_end {
            return Ok(());
        }
    }
}

/// Takes what still comes for a moment: a browser that is sending sees a connection that was cut, and not the answer.
async fn drain<E>(pieces: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin)) {
    let all = async {
        while let Ok(Some(Ok(_))) = tokio::time::timeout(DRAIN_PAUSE_MAX, pieces.next()).await {}
    };
    // What is left after that is the connection's end.
    tokio::time::timeout(DRAIN_MAX, all).await.unwrap_or(());
}

fn broken(why: &str) -> CommandError {
    CommandError::new(ExitCode::Network, format!("the upload broke off: {why}"))
        .hint("send the file again; nothing of it was kept")
}

/// Writes on a blocking thread what comes, up to the end (`None`).
fn write(
    place: &Arc<Place>,
    name: &str,
    length: Option<u64>,
    mut pieces: mpsc::Receiver<Option<Bytes>>,
) -> Result<PathBuf, CommandError> {
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| CommandError::io(doing, &path, &error)
    };
    place
        .disk
        .create_dir_all(&place.dir)
        .map_err(failed("create", &place.dir))?;
    room(place, length.unwrap_or_default())?;
    let temporary = Temporary::new(place);
    let path = &temporary.path;
    let file = place
        .disk
        .create_new(path)
        .map_err(failed("create", path))?;
    if let Some(length) = length {
        // No space: that comes here, not after half of the file.
        file.allocate(length)
            .map_err(failed("make room for", path))?;
    }
    let (mut at, mut looked) = (0, 0);
    loop {
        let Some(piece) = pieces.blocking_recv() else {
            return Err(broken("the sender is gone"));
        };
        let Some(bytes) = piece else { break };
        if length.is_none() && at >= looked + LOOK_BYTES {
            looked = at;
            room(place, 0)?;
        }
        file.write_at(&bytes, at).map_err(failed("write", path))?;
        at += bytes.len() as u64;
    }
    file.set_len(at).map_err(failed("write", path))?;
    file.sync_data().map_err(failed("sync", path))?;
    let path = publish(place, &temporary, name)?;
    place
        .disk
        .sync_dir(&place.dir)
        .map_err(failed("sync", &place.dir))
        .inspect_err(|_| place.drop_file(&path))?;
    Ok(path)
}

/// Is there room for so many more bytes?
fn room(place: &Place, bytes: u64) -> Result<(), CommandError> {
    let Some(free) = (place.free)(&place.dir) else {
        return Ok(());
    };
    if free >= bytes.saturating_add(SPARE_BYTES) {
        return Ok(());
    }
    let dir = place.dir.display();
    Err(CommandError::new(
        ExitCode::Disk,
        format!("there is no room for this file in `{dir}`"),
    )
    .hint("make room, or register the file where it is: callao add FILE"))
}

/// Gives the file its name, or the next one that is free. A hard link is never made over another file.
fn publish(place: &Place, temporary: &Temporary, name: &str) -> Result<PathBuf, CommandError> {
    for number in 1..=SAME_NAME_COUNT_MAX {
        let path = place.dir.join(numbered(name, number));
        match place.disk.hard_link(&temporary.path, &path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(CommandError::io("create", &path, &error)),
        }
    }
    let dir = place.dir.display();
    Err(CommandError::new(
        ExitCode::Disk,
        format!("`{dir}` has {SAME_NAME_COUNT_MAX} files of the name `{name}`"),
    ))
}

/// A temporary file, gone when dropped.
struct Temporary {
    place: Arc<Place>,
    path: PathBuf,
}

impl Temporary {
    fn new(place: &Arc<Place>) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{TEMPORARY}{}-{number}", std::process::id());
        Temporary {
            place: Arc::clone(place),
            path: place.dir.join(name),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.place.drop_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callao_store::disk::faulty::{Fault, FaultyDisk};
    use futures::stream;

    fn place(disk: &FaultyDisk, free: Option<u64>) -> Arc<Place> {
        Arc::new(Place {
            disk: Arc::new(disk.clone()),
            dir: "/data/added".into(),
            free: Box::new(move |_| free),
            stall: Duration::from_millis(20),
        })
    }

    /// Sends these pieces on a runtime of its own.
    fn send(
        place: &Arc<Place>,
        name: &str,
        length: Option<u64>,
        pieces: Vec<Result<Bytes, &'static str>>,
    ) -> Result<PathBuf, CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(receive(place, name.into(), length, stream::iter(pieces)))
    }

    fn names(disk: &FaultyDisk) -> Vec<String> {
        disk.list(Path::new("/data/added")).expect("a directory")
    }

    fn content(disk: &FaultyDisk, path: &Path) -> Vec<u8> {
        let file = disk.open_read(path).expect("the file");
        let mut bytes = vec![0; file.stamp().expect("a stamp").size as usize];
        file.read_at(&mut bytes, 0).expect("bytes");
        bytes
    }

    #[test]
    fn a_file_arrives_whole_and_never_over_another() {
        let disk = FaultyDisk::new();
        let place = place(&disk, None);
        let pieces = |text: &'static str| {
            let (one, two) = text.as_bytes().split_at(1);
            vec![Ok(Bytes::from_static(one)), Ok(Bytes::from_static(two))]
        };
        let first = send(&place, "a.img", Some(5), pieces("first")).expect("it arrives");
        let second = send(&place, "a.img", None, pieces("2nd")).expect("it arrives");
        assert_eq!(names(&disk), ["a-2.img", "a.img"]);
        assert_eq!(content(&disk, &first), b"first");
        assert_eq!(content(&disk, &second), b"2nd");
    }

    #[test]
    fn an_interrupted_upload_leaves_nothing() {
        let disk = FaultyDisk::new();
        let place = place(&disk, None);
        let pieces = vec![Ok(Bytes::from_static(b"half")), Err("connection reset")];
        let error = send(&place, "a.img", Some(8), pieces).expect_err("half a file");
        assert_eq!(error.message, "the upload broke off: connection reset");
        assert_eq!(error.hints, ["send the file again; nothing of it was kept"]);
        assert_eq!(names(&disk), [""; 0]);
    }

    #[test]
    fn a_sender_that_goes_silent_is_given_up() {
        let disk = FaultyDisk::new();
        let place = place(&disk, None);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let half = stream::iter([Ok::<_, &str>(Bytes::from_static(b"half"))]);
        let pieces = Box::pin(half.chain(stream::pending()));
        let error = runtime
            .block_on(receive(&place, "a.img".into(), None, pieces))
            .expect_err("it has no end");
        assert_eq!(
            error.message,
            "the upload broke off: no byte came for 0.02 s"
        );
        assert_eq!(names(&disk), [""; 0]);
    }

    #[test]
    fn nothing_is_left_when_the_receiver_is_dropped() {
        let disk = FaultyDisk::new();
        let place = place(&disk, None);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let half = stream::iter([Ok::<_, &str>(Bytes::from_static(b"half"))]);
            let pieces = Box::pin(half.chain(stream::pending()));
            let receiving = receive(&place, "a.img".into(), Some(8), pieces);
            // Cancelled at its first wait, as hyper does when the connection is gone.
            tokio::select! {
                biased;
                _ = receiving => panic!("the file has no end"),
                () = tokio::task::yield_now() => {}
            }
        });
        // Waits for the blocking threads.
        drop(runtime);
        assert_eq!(names(&disk), [""; 0]);
    }

    #[test]
    fn a_full_disk_is_said_before_anything_is_written() {
        let disk = FaultyDisk::new();
        let place = place(&disk, Some(SPARE_BYTES + 7));
        let pieces = || vec![Ok(Bytes::from_static(b"12345678"))];
        let error = send(&place, "a.img", Some(8), pieces()).expect_err("no room");
        assert_eq!(
            error.message,
            "there is no room for this file in `/data/added`"
        );
        assert_eq!(
            error.hints,
            ["make room, or register the file where it is: callao add FILE"]
        );
        assert_eq!(names(&disk), [""; 0]);
        send(
            &place,
            "b.img",
            Some(7),
            vec![Ok(Bytes::from_static(b"1234567"))],
        )
        .expect("it fits");
    }

    #[test]
    fn a_disk_that_fails_at_any_step_leaves_nothing() {
        let pieces = || vec![Ok(Bytes::from_static(b"12345678"))];
        let whole = FaultyDisk::new();
        send(&place(&whole, None), "a.img", Some(8), pieces()).expect("it arrives");
        // The last operation removes the temporary name: that is the one that may fail without a word.
        for step in 0..whole.ops() - 1 {
            for fault in [Fault::Error, Fault::NoSpace] {
                let disk = FaultyDisk::new();
                disk.arm(step, fault);
                let sent = send(&place(&disk, None), "a.img", Some(8), pieces());
                disk.disarm();
                match sent {
                    Ok(path) => assert_eq!(content(&disk, &path), b"12345678"),
                    Err(error) => {
                        assert_eq!(error.kind, ExitCode::Disk, "step {step}");
                        assert_eq!(names(&disk), [""; 0], "step {step} {fault:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_a_crash_left_is_swept_away() {
        let disk = FaultyDisk::new();
        let place = place(&disk, None);
        disk.create_dir_all(&place.dir).expect("a directory");
        for name in [".upload-1-0", "kept.img"] {
            disk.create_new(&place.dir.join(name)).expect("a file");
        }
        place.sweep();
        assert_eq!(names(&disk), ["kept.img"]);
    }

    #[test]
    fn a_thousand_files_of_one_name_are_enough() {
        let disk = FaultyDisk::new();
        let place = place(&disk, None);
        disk.create_dir_all(&place.dir).expect("a directory");
        for number in 1..=SAME_NAME_COUNT_MAX {
            disk.create_new(&place.dir.join(numbered("a", number)))
                .expect("a file");
        }
        let error = send(&place, "a", None, Vec::new()).expect_err("too many");
        assert_eq!(
            error.message,
            "`/data/added` has 1000 files of the name `a`"
        );
    }
}
