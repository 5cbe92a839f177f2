//! A plain copy over HTTP, to compare with: one connection, one body, straight into a file, synced. Nothing is checked.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use callao_store::disk::{Disk, RealDisk};

const PIECE_BYTES: usize = 256 * 1024;

/// Copies `http://HOST:PORT/` to `target` and says how long it took.
pub(crate) fn over_http(url: &str, target: &Path) -> io::Result<Duration> {
    let started = Instant::now();
    let host = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host)?;
    write!(stream, "GET /copy.img HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
    let mut reader = BufReader::with_capacity(PIECE_BYTES, stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let file = RealDisk.create_new(target)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut position = 0;
    while position < length {
        match reader.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                file.write_at(&piece[..read], position)?;
                position += read as u64;
            }
        }
    }
    file.sync_data()?;
    Ok(started.elapsed())
}
