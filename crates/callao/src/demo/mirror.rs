//! Plain mirrors of one file: with ranges, ETag and date like any web server; on demand with a lie in it.

use std::sync::Arc;

use callao_store::disk::DiskFile;

use super::server::{Answer, Body, Request};

/// The date that the mirrors send with the file.
const LAST_MODIFIED: &str = "Sun, 09 Jun 2024 12:00:00 GMT";

/// A file on a mirror.
#[derive(Clone)]
pub(crate) struct Mirror {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) size: u64,
    pub(crate) etag: String,
    /// One bit is wrong at this position of every so many bytes; `None`: honest.
    pub(crate) lie_every: Option<u64>,
}

impl Mirror {
    /// Answers one request; every path is the file.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let mut headers = vec![
            ("Content-Type", "application/octet-stream".to_string()),
            ("Accept-Ranges", "bytes".to_string()),
            ("ETag", self.etag.clone()),
            ("Last-Modified", LAST_MODIFIED.to_string()),
        ];
        let (status, start, end) = match request
            .range
            .as_deref()
            .map(|range| read_range(range, self.size))
        {
            None => ("200 OK", 0, self.size),
            Some(None) => return Answer::text("416 Range Not Satisfiable", "no such range"),
            Some(Some((start, end))) => {
                headers.push((
                    "Content-Range",
                    format!("bytes {start}-{}/{}", end - 1, self.size),
                ));
                ("206 Partial Content", start, end)
            }
        };
        let (file, lie_every) = (Arc::clone(&self.file), self.lie_every);
        let read = move |position: u64, buffer: &mut [u8]| {
            let count = file.read_at(buffer, start + position)?;
            if let Some(every) = lie_every {
                lie(&mut buffer[..count], start + position, every);
            }
            Ok(count)
        };
        Answer {
            status,
            headers,
            body: Body {
                length: end - start,
                read: Box::new(read),
            },
        }
    }
}

/// Flips a bit in the middle of each stretch of `every` bytes of the file.
fn lie(bytes: &mut [u8], offset: u64, every: u64) {
    let middle = every / 2;
    let first = (middle + every - offset % every) % every;
    for position in (first..bytes.len() as u64).step_by(every as usize) {
        bytes[position as usize] ^= 1;
    }
}

/// `bytes=from-to` as a half-open range within `size`.
pub(crate) fn read_range(text: &str, size: u64) -> Option<(u64, u64)> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let start: u64 = from.parse().ok()?;
    let end = if to.is_empty() {
        size
    } else {
        to.parse::<u64>().ok()?.saturating_add(1).min(size)
    };
    (start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_http() {
        assert_eq!(read_range("bytes=0-4", 10), Some((0, 5)));
        assert_eq!(read_range("bytes=5-", 10), Some((5, 10)));
        assert_eq!(read_range("bytes=5-99", 10), Some((5, 10)));
        assert_eq!(
            (
                read_range("bytes=10-", 10),
                read_range("bytes=x-1", 10),
                read_range("items=0-1", 10)
            ),
            (None, None, None)
        );
    }

    #[test]
    fn a_lie_stands_at_the_same_place_whatever_is_asked() {
        let mut whole = vec![0; 40];
        lie(&mut whole, 0, 16);
        assert_eq!(
            whole
                .iter()
                .enumerate()
                .filter(|(_, byte)| **byte == 1)
                .map(|(at, _)| at)
                .collect::<Vec<_>>(),
            [8, 24]
        );
        let mut part = vec![0; 10];
        lie(&mut part, 20, 16);
        assert_eq!(part[4], 1);
    }
}
