//! Bytes out of a blob: decompressed, and out of an archive if it is one. Bounded, pulled piece by piece, interrupted
//! between two pieces. Knows neither staging files nor digests: it reads from a reader and hands bytes to a sink.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use callao_fetch::oci::choose::{Form, Packing, is_disk_name};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

const BUFFER_BYTES: usize = 256 * 1024;
/// What stands between two files of an archive: their names. More is not an archive but an attack.
const BETWEEN_FILES_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// A window that every zstd can make without being told to.
const WINDOW_BYTES_MAX: u64 = 128 * 1024 * 1024;
const BLOCK_BYTES: usize = 512;
const MEMBERS_SHOWN_COUNT: usize = 8;

/// Where bytes go.
pub(super) trait Sink {
    /// The next bytes of the file.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure>;
    /// What came so far was not the file: another one begins.
    fn again(&mut self) -> Result<(), Failure>;
}

/// Why nothing comes out.
#[derive(Debug)]
pub(super) enum Failure {
    /// The blob is not what its media type says, or has no such file.
    Bad(String),
    /// No such file in the archive, or several.
    NotThere(String),
    /// Whoever takes the bytes cannot.
    Sink(crate::error::CommandError),
}

/// Unpacks `packed` into `sink`.
pub(super) fn unpack(packed: impl Read, form: &Form, sink: &mut dyn Sink) -> Result<(), Failure> {
    let reader = BufReader::with_capacity(BUFFER_BYTES, packed);
    match form {
        Form::Plain => pump(&mut { reader }, sink),
        Form::Packed(packing) => pump(&mut *unpacked(reader, *packing)?, sink),
        Form::Tar { packing, member } => {
            let plain: Box<dyn Read + '_> = match packing {
                Some(packing) => unpacked(reader, *packing)?,
                None => Box::new(reader),
            };
            archive(plain, member.as_deref(), sink)
        }
        Form::FileOrTar(packing) => {
            let mut plain = unpacked(reader, *packing)?;
            let mut head = vec![0; BLOCK_BYTES];
            let count = read_full(&mut *plain, &mut head).map_err(bad)?;
            head.truncate(count);
            let is_tar = head.get(257..262) == Some(b"ustar");
            let mut whole = Cursor::new(head).chain(plain);
            match is_tar {
                true => archive(Box::new(whole), None, sink),
                false => pump(&mut whole, sink),
            }
        }
    }
}

fn unpacked<'a>(
    reader: impl BufRead + 'a,
    packing: Packing,
) -> Result<Box<dyn Read + 'a>, Failure> {
    Ok(match packing {
        Packing::Gzip => Box::new(MultiGzDecoder::new(reader)),
        Packing::Zstd => Box::new(Frames::new(reader)),
    })
}

/// Everything that `reader` has.
fn pump(reader: &mut dyn Read, sink: &mut dyn Sink) -> Result<(), Failure> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match read_full(reader, &mut buffer).map_err(bad)? {
            0 => return Ok(()),
            count => sink.take(&buffer[..count])?,
        }
    }
}

/// The one file of an archive that is meant: the named one; else the only disk, or the only file.
fn archive(
    reader: Box<dyn Read + '_>,
    member: Option<&str>,
    sink: &mut dyn Sink,
) -> Result<(), Failure> {
    let budget = Cell::new(None);
    let mut archive = tar::Archive::new(Budgeted {
        reader,
        budget: &budget,
    });
    let mut found = Found::default();
    let mut entries = archive.entries().map_err(bad)?;
    loop {
        // Names and padding: an archive that has more of them than that would fill the memory.
        budget.set(Some(BETWEEN_FILES_BYTES_MAX));
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(bad)?;
        budget.set(None);
        let kind = entry.header().entry_type();
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = name
            .trim_start_matches("./")
            .trim_start_matches('/')
            .to_string();
        let is_file = kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse();
        if is_file && found.is_better(&name, member) {
            if found.rank > 0 {
                sink.again()?;
            }
            found.take(name, member);
            pump(&mut entry, sink)?;
        } else {
            if is_file {
                found.note(name, member);
            }
            io::copy(&mut entry, &mut io::sink()).map_err(bad)?;
        }
    }
    found.verdict(member)
}

/// What an archive had so far.
#[derive(Default)]
struct Found {
    /// 0: nothing yet; 1: a file; 2: a disk, or the named file.
    rank: u8,
    /// Files of this rank.
    names: Vec<String>,
    /// Any others, for the message.
    others: Vec<String>,
}

impl Found {
    fn is_better(&self, name: &str, member: Option<&str>) -> bool {
        rank(name, member) > self.rank
    }

    fn take(&mut self, name: String, member: Option<&str>) {
        self.rank = rank(&name, member);
        self.others.append(&mut self.names);
        self.names = vec![name];
    }

    fn note(&mut self, name: String, member: Option<&str>) {
        let is_equal = self.rank > 0 && rank(&name, member) == self.rank;
        let list = match is_equal {
            true => &mut self.names,
            false => &mut self.others,
        };
        if list.len() <= MEMBERS_SHOWN_COUNT {
            list.push(name);
        }
    }

    fn verdict(self, member: Option<&str>) -> Result<(), Failure> {
        let listed = |names: &[String]| {
            let shown = names.iter().take(MEMBERS_SHOWN_COUNT);
            let shown: Vec<String> = shown.map(|name| format!("`{}`", shortened(name))).collect();
            match names.len() > MEMBERS_SHOWN_COUNT {
                true => format!("{} and more", shown.join(", ")),
                false => shown.join(", "),
            }
        };
        match (&self.names[..], member) {
            ([_], _) => Ok(()),
            ([_, ..], None) => Err(Failure::NotThere(format!(
                "there are several files in the archive: {}",
                listed(&self.names)
            ))),
            // The same name twice: the last one would win where archives are unpacked to disk.
            ([_, ..], Some(member)) => {
                Err(Failure::Bad(format!("`{member}` is in the archive twice")))
            }
            ([], Some(member)) if self.others.is_empty() => Err(Failure::NotThere(format!(
                "there is no file `{member}` in the archive"
            ))),
            ([], Some(member)) => Err(Failure::NotThere(format!(
                "there is no file `{member}` in the archive; there is {}",
                listed(&self.others)
            ))),
            ([], None) => Err(Failure::NotThere("there is no file in the archive".into())),
        }
    }
}

fn rank(name: &str, member: Option<&str>) -> u8 {
    match member {
        Some(member) if name == member.trim_start_matches('/') => 2,
        // Something else than what is named is never it.
        Some(_) => 0,
        None if is_disk_name(name) => 2,
        None => 1,
    }
}

fn shortened(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// A reader that gives no more than the budget, while there is one.
struct Budgeted<'a> {
    reader: Box<dyn Read + 'a>,
    budget: &'a Cell<Option<u64>>,
}

impl Read for Budgeted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if let Some(left) = self.budget.get() {
            let left = left
                .checked_sub(count as u64)
                .ok_or_else(|| io::Error::other("the names in the archive are too long"))?;
            self.budget.set(Some(left));
        }
        Ok(count)
    }
}

/// All frames of a zstd file, one after the other; those that hold no data are skipped.
struct Frames<R: Read> {
    state: State<R>,
}

enum State<R: Read> {
    Between(Looked<R>),
    Inside(Box<StreamingDecoder<Looked<R>, FrameDecoder>>),
    Ended,
}

/// A reader whose next bytes were looked at already.
struct Looked<R> {
    head: Cursor<Vec<u8>>,
    rest: R,
}

impl<R: Read> Read for Looked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.head.read(buffer)? {
            0 => self.rest.read(buffer),
            count => Ok(count),
        }
    }
}

impl<R: Read> Frames<R> {
    fn new(reader: R) -> Self {
        let looked = Looked {
            head: Cursor::default(),
            rest: reader,
        };
        Frames {
            state: State::Between(looked),
        }
    }

    /// The next frame with data, or the end.
    fn begin(mut reader: Looked<R>) -> io::Result<State<R>> {
        loop {
            let mut head = vec![0; 4];
            let count = read_full(&mut reader, &mut head)?;
            if count == 0 {
                return Ok(State::Ended);
            }
            head.truncate(count);
            if !is_skippable(&head) {
                reader.head = Cursor::new(head);
                let mut decoder = FrameDecoder::new();
                decoder.set_max_window_size(WINDOW_BYTES_MAX);
                let frame = StreamingDecoder::new_with_decoder(reader, decoder);
                return Ok(State::Inside(Box::new(frame.map_err(io::Error::other)?)));
            }
            let mut length = [0; 4];
            reader.read_exact(&mut length)?;
            let length = u64::from(u32::from_le_bytes(length));
            io::copy(&mut (&mut reader).take(length), &mut io::sink())?;
        }
    }
}

/// RFC 8878 3.1.2.
fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18])
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Ok(0),
                State::Between(reader) => self.state = Self::begin(reader)?,
                State::Inside(mut decoder) => match decoder.read(buffer)? {
                    0 if !buffer.is_empty() => {
                        self.state = State::Between(decoder.into_inner());
                    }
                    count => {
                        self.state = State::Inside(decoder);
                        return Ok(count);
                    }
                },
            }
        }
    }
}

/// Reads until the buffer is full or the end is reached.
fn read_full(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match reader.read(&mut buffer[done..])? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

fn bad(error: io::Error) -> Failure {
    Failure::Bad(error.to_string())
}

#[cfg(test)]
mod tests;
