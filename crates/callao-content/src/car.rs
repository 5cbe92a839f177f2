//! CAR: blocks one after another in a file or stream. A push parser for versions 1 and 2, and what is needed to write
//! version 1. It does not hash blocks: that is [`crate::cid::verify_block`], and the reader's caller decides.
//!
//! ```text
//! v1:  vi(len) DAG-CBOR {roots: [CID...], version: 1}     then sections     vi(len) CID data
//! v2:  0a a1 67 "version" 02     16 bytes of flags, u64 data offset, u64 data size, u64 index offset     a v1 at the offset
//! ```

mod header;

use bytes::{Buf, Bytes, BytesMut};

use crate::cid::{self, Cid};
use crate::error::Error;
use crate::limits::{
    BLOCK_SIZE_BYTES_MAX, CAR_HEADER_BYTES_MAX, CAR_SECTION_BYTES_MAX, CID_BYTES_MAX,
};
use crate::varint;

/// The first bytes of every version 2 CAR.
pub const V2_PRAGMA: [u8; 11] = *b"\x0a\xa1\x67version\x02";
/// Bytes of the fixed header of version 2, after the pragma.
const V2_HEADER_BYTES: usize = 40;

/// What a CAR contains, in order: one header, then blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The header of the (inner) version 1 CAR.
    Header {
        /// The roots that it names. Often none or wrong; never proof of anything.
        roots: Vec<Cid>,
    },
    /// A block. Not verified.
    Block {
        /// The CID that the section claims.
        cid: Cid,
        /// Where `data` begins, in bytes from the start of the stream.
        offset: u64,
        /// The block.
        data: Bytes,
    },
}

/// A parser that bytes are pushed into, in pieces of any size.
#[derive(Debug, Clone)]
pub struct Reader {
    buffer: BytesMut,
    /// Where `buffer` begins in the stream.
    position: u64,
    /// Where the blocks end, if version 2 says so.
    end: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of the stream.
    Pragma,
    /// After the pragma of version 2.
    FixedHeader,
    /// Before the inner CAR of version 2, which begins at this position.
    Skip(u64),
    /// Before the header of (the inner) version 1.
    Header,
    /// Between sections.
    Sections,
    /// After the inner CAR of version 2: what follows is an index.
    Ended,
}

/// The start of a section, for readers that can seek: where the block's data lies without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionHead {
    /// The CID that the section claims.
    pub cid: Cid,
    /// Bytes before the data: the length and the CID.
    pub head_length: usize,
    /// Bytes of data.
    pub data_length: usize,
}

impl SectionHead {
    /// How many bytes at the start of a section are always enough for [`Self::decode`].
    pub const BYTES_MAX: usize = varint::VARINT_BYTES_MAX + CID_BYTES_MAX;

    /// Reads the start of a section. `None` if there are too few bytes to say.
    ///
    /// # Errors
    /// [`Error::Car`] with `offset`, where the bytes lie in the file: a section that is empty, larger than any block may be,
    /// or without a CID.
    pub fn decode(bytes: &[u8], offset: u64) -> Result<Option<Self>, Error> {
        let Some((length, prefix)) = read_length(bytes, offset)? else {
            return Ok(None);
        };
        if length == 0 {
            return Err(refuse(offset, "an empty section"));
        }
        if length > CAR_SECTION_BYTES_MAX as u64 {
            return Err(refuse(
                offset,
                format!(
                    "a section of {length} bytes; at most {CAR_SECTION_BYTES_MAX} are accepted"
                ),
            ));
        }
        let (length, body) = (length as usize, &bytes[prefix..]);
        if body.len() < length.min(CID_BYTES_MAX) {
            return Ok(None);
        }
        let at = offset + prefix as u64;
        let (cid, cid_length) = cid::from_prefix(&body[..length.min(body.len())])
            .map_err(|error| refuse(at, error.to_string()))?;
        let data_length = length - cid_length;
        if data_length > BLOCK_SIZE_BYTES_MAX {
            let max = BLOCK_SIZE_BYTES_MAX;
            return Err(refuse(
                at,
                format!("block {cid} has {data_length} bytes; at most {max} are accepted"),
            ));
        }
        Ok(Some(Self {
            cid,
            head_length: prefix + cid_length,
            data_length,
        }))
    }
}

impl Reader {
    /// At the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            position: 0,
            end: u64::MAX,
            state: State::Pragma,
        }
    }

    /// Takes the next bytes and gives what they complete. At most one block is kept between calls.
    ///
    /// # Errors
    /// [`Error::Car`] with the place. The events before it are lost and nothing more can be read.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, Error> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while self.step(&mut events)? {}
        Ok(events)
    }

    /// The end of the stream.
    ///
    /// # Errors
    /// [`Error::Car`] if it ends inside a header or section, or before the end that version 2 announced. A CAR without a
    /// single block is good.
    pub fn finish(&self) -> Result<(), Error> {
        let end = self.position + self.buffer.len() as u64;
        match self.state {
            State::Ended => Ok(()),
            State::Sections if self.buffer.is_empty() && self.end == u64::MAX => Ok(()),
            State::Sections => Err(refuse(end, "it ends inside a section")),
            _ => Err(refuse(end, "it ends inside its header")),
        }
    }

    /// Does one thing if there are bytes for it; says whether to go on.
    fn step(&mut self, events: &mut Vec<Event>) -> Result<bool, Error> {
        match self.state {
            State::Pragma => self.pragma(),
            State::FixedHeader => self.fixed_header(),
            State::Skip(start) => Ok(self.skip_to(start)),
            State::Header => self.header(events),
            State::Sections => self.section(events),
            State::Ended => {
                self.consume(self.buffer.len());
                Ok(false)
            }
        }
    }

    fn pragma(&mut self) -> Result<bool, Error> {
        let known = self.buffer.len().min(V2_PRAGMA.len());
        if self.buffer[..known] != V2_PRAGMA[..known] {
            self.state = State::Header;
            return Ok(true);
        }
        if known < V2_PRAGMA.len() {
            return Ok(false);
        }
        self.consume(V2_PRAGMA.len());
        self.state = State::FixedHeader;
        Ok(true)
    }

    fn fixed_header(&mut self) -> Result<bool, Error> {
        if self.buffer.len() < V2_HEADER_BYTES {
            return Ok(false);
        }
        let mut fields = &self.buffer[16..V2_HEADER_BYTES];
        let (start, size) = (fields.get_u64_le(), fields.get_u64_le());
        let first = (V2_PRAGMA.len() + V2_HEADER_BYTES) as u64;
        let end = start
            .checked_add(size)
            .filter(|&end| start >= first && end < u64::MAX && size > 0);
        let end = end.ok_or(refuse(
            self.position + 16,
            "the header of version 2 places the data nowhere",
        ))?;
        self.consume(V2_HEADER_BYTES);
        self.end = end;
        self.state = State::Skip(start);
        Ok(true)
    }

    fn skip_to(&mut self, start: u64) -> bool {
        let gap = (start - self.position).min(self.buffer.len() as u64);
        self.consume(gap as usize);
        if self.position < start {
            return false;
        }
        self.state = State::Header;
        true
    }

    fn header(&mut self, events: &mut Vec<Event>) -> Result<bool, Error> {
        let at = self.position;
        let Some((length, prefix)) = read_length(&self.buffer, at)? else {
            return Ok(false);
        };
        if length > CAR_HEADER_BYTES_MAX as u64 || length == 0 {
            let max = CAR_HEADER_BYTES_MAX;
            return Err(refuse(
                at,
                format!("a header of {length} bytes; 1 to {max} are accepted"),
            ));
        }
        let total = prefix + length as usize;
        self.check_end(total)?;
        // The first byte tells a web page from a header; no need to wait for as many bytes as the page seems to claim.
        if self
            .buffer
            .get(prefix)
            .is_some_and(|&first| !header::begins(first))
        {
            return Err(refuse(at + prefix as u64, "the header is not a map"));
        }
        if self.buffer.len() < total {
            return Ok(false);
        }
        let header = header::decode(&self.buffer[prefix..total]);
        let roots =
            header.map_err(|(offset, reason)| refuse(at + (prefix + offset) as u64, reason))?;
        self.consume(total);
        self.state = State::Sections;
        events.push(Event::Header { roots });
        Ok(true)
    }

    fn section(&mut self, events: &mut Vec<Event>) -> Result<bool, Error> {
        if self.position == self.end {
            self.state = State::Ended;
            return Ok(true);
        }
        let Some(head) = SectionHead::decode(&self.buffer, self.position)? else {
            return Ok(false);
        };
        let total = head.head_length + head.data_length;
        self.check_end(total)?;
        if self.buffer.len() < total {
            self.buffer.reserve(total - self.buffer.len());
            return Ok(false);
        }
        self.consume(head.head_length);
        let offset = self.position;
        let data = self.buffer.split_to(head.data_length).freeze();
        self.position += head.data_length as u64;
        events.push(Event::Block {
            cid: head.cid,
            offset,
            data,
        });
        Ok(true)
    }

    /// Whether something of `length` bytes ends before the inner CAR of version 2 does.
    fn check_end(&self, length: usize) -> Result<(), Error> {
        if length as u64 > self.end - self.position {
            return Err(refuse(
                self.position,
                "a section reaches beyond the data that the header of version 2 announces",
            ));
        }
        Ok(())
    }

    fn consume(&mut self, length: usize) {
        self.buffer.advance(length);
        self.position += length as u64;
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

/// The pieces of a version 1 CAR; the blocks themselves are written by the caller, in between.
#[derive(Debug, Clone, Copy)]
pub struct Writer;

impl Writer {
    /// The header, which comes first.
    #[must_use]
    pub fn header(roots: &[Cid]) -> Vec<u8> {
        let body = header::encode(roots);
        let mut out = Vec::with_capacity(body.len() + 4);
        varint::write(body.len() as u64, &mut out);
        out.extend_from_slice(&body);
        out
    }

    /// What comes before a block of `length` bytes.
    #[must_use]
    pub fn block_prefix(cid: &Cid, length: usize) -> Vec<u8> {
        let cid = cid.to_bytes();
        let mut out = Vec::with_capacity(cid.len() + 4);
        varint::write((cid.len() + length) as u64, &mut out);
        out.extend_from_slice(&cid);
        out
    }
}

/// The integer before a header or section; `None` if it is not complete.
fn read_length(bytes: &[u8], offset: u64) -> Result<Option<(u64, usize)>, Error> {
    match varint::read(bytes) {
        None if bytes.len() >= varint::VARINT_BYTES_MAX => Err(refuse(offset, "a bad length")),
        read => Ok(read),
    }
}

fn refuse(offset: u64, reason: impl Into<String>) -> Error {
    Error::Car {
        offset,
        reason: reason.into(),
    }
}
