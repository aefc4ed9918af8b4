//! `PageCheck`: whether a stream of WAL consists of the pages that it must consist of.
//!
//! Only headers are looked at, and pages of zeros: behind a segment switch a server zeroes whole pages up to the
//! segment's end. Otherwise a page's header holds the major's magic, the page's address, the timeline that the history
//! names for it, on a segment's first page the cluster, and as much of a record as the page before has left over
//! (`XLogReaderValidatePageHeader` and `XLogDecodeNextRecord` in `src/backend/access/transam/xlogreader.c`). The records
//! themselves are not read.

use super::page::{PageError, PageHeader, PageMagic, XLOG_BLOCK_SIZE, same};
use super::{Lsn, SegmentSize, SystemIdentifier, TimelineHistory, TimelineId};

const PAGE: usize = XLOG_BLOCK_SIZE as usize;

/// What zeros are compared with, a page at a time.
static ZEROS: [u8; PAGE] = [0; PAGE];

/// Looks at a stream of WAL as it comes, in pieces of any size, without allocating.
#[derive(Clone, Debug)]
pub struct PageCheck {
    magic: Option<PageMagic>,
    system: SystemIdentifier,
    size: SegmentSize,
    history: TimelineHistory,
    /// The timeline of the last page, which none behind it goes below.
    reached: Option<TimelineId>,
    /// How much of a record the next page must begin with, where the last one tells.
    owed: Option<u32>,
    /// Where the next byte is expected. Anywhere else, everything begins anew.
    next: Lsn,
    within: Within,
}

/// Where in a page the next byte stands.
#[derive(Clone, Debug)]
enum Within {
    /// In its header, of which the first bytes have come.
    Header { bytes: [u8; PageHeader::LONG_LEN], have: usize },
    /// Behind its header, or behind bytes that were never seen.
    Body,
    /// In zeros, which go on to the end of the segment.
    Zeros,
}

/// A page that is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the WAL page at {at} is wrong: {source}")]
pub struct BadPage {
    /// Where the page begins.
    pub at: Lsn,
    /// What is wrong with it.
    pub source: PageError,
}

impl PageCheck {
    /// For the WAL of a cluster along `history`. Where `magic` is not known the first page tells.
    ///
    /// A history without ancestors that is not timeline 1's is taken for one that nobody has: then a page may be of any
    /// older timeline.
    pub fn new(
        magic: Option<PageMagic>,
        system: SystemIdentifier,
        size: SegmentSize,
        history: TimelineHistory,
    ) -> Self {
        Self { magic, system, size, history, reached: None, owed: None, next: Lsn::INVALID, within: Within::Body }
    }

    /// Looks at the `bytes` that stand at `at`. They need not begin or end with a page: what has not come is not missed.
    /// Bytes that do not follow those of the last call begin a new stream, whose first page is the first that is there
    /// from its beginning.
    ///
    /// # Errors
    /// The first page that is wrong. The rest of it and of `bytes` is not looked at; a later call may go on with any page.
    pub fn push(&mut self, at: Lsn, bytes: &[u8]) -> Result<(), BadPage> {
        if at != self.next {
            (self.reached, self.owed, self.within) = (None, None, Within::Body);
        }
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let offset = (at.get() % u64::from(XLOG_BLOCK_SIZE)) as usize;
            let (piece, behind) = rest.split_at(rest.len().min(PAGE - offset));
            if let Err(source) = self.piece(at, offset, piece) {
                // Not where the next byte is: the stream has ended.
                (self.next, self.within) = (Lsn::INVALID, Within::Body);
                return Err(BadPage { at: Lsn::new(at.get() - offset as u64), source });
            }
            at = Lsn::new(at.get().saturating_add(piece.len() as u64));
            rest = behind;
        }
        self.next = at;
        Ok(())
    }

    /// The magic that the pages have, once it is known.
    pub fn magic(&self) -> Option<PageMagic> {
        self.magic
    }

    /// A part of one page.
    fn piece(&mut self, at: Lsn, offset: usize, piece: &[u8]) -> Result<(), PageError> {
        let is_first = self.size.offset_of(at) == 0;
        if offset == 0 && (is_first || !matches!(self.within, Within::Zeros)) {
            self.within = Within::Header { bytes: [0; PageHeader::LONG_LEN], have: 0 };
        }
        let body = match &mut self.within {
            Within::Body => return Ok(()),
            Within::Zeros => piece,
            Within::Header { bytes, have } => {
                let len = match self.size.offset_of(at) < XLOG_BLOCK_SIZE.into() {
                    true => PageHeader::LONG_LEN,
                    false => PageHeader::SHORT_LEN,
                };
                let (header, body) = piece.split_at(piece.len().min(len - *have));
                bytes[*have..*have + header.len()].copy_from_slice(header);
                *have += header.len();
                if *have < len {
                    return Ok(());
                }
                let header = *bytes;
                self.header(Lsn::new(at.get() - offset as u64), header.get(..len).unwrap_or(&header))?;
                body
            }
        };
        match self.within {
            Within::Zeros if body != &ZEROS[..body.len()] => Err(PageError::NotZero),
            _ => Ok(()),
        }
    }

    /// A whole header, of the page at `page`.
    fn header(&mut self, page: Lsn, bytes: &[u8]) -> Result<(), PageError> {
        let is_first = self.size.offset_of(page) == 0;
        if bytes.iter().all(|&byte| byte == 0) {
            self.within = Within::Zeros;
            self.owed = None;
            return if is_first { Err(PageError::NoHeader) } else { Ok(()) };
        }
        let header = PageHeader::parse(bytes);
        // Bytes that are no page at all are best told by their magic.
        if let (Some(expected), &[low, high, ..]) = (self.magic, bytes) {
            same("magic", PageMagic(u16::from_le_bytes([low, high])), expected)?;
        }
        let header = match header {
            // A short header says that it is a long one.
            Err(PageError::Short) => return Err(PageError::Malformed { what: "flags", found: bytes[2].into() }),
            header => header?,
        };
        same("address", header.address, page)?;
        match header.segment {
            Some(segment) => {
                same("system identifier", segment.system, self.system)?;
                same("segment size", segment.segment_size, self.size)?;
            }
            None if is_first => return Err(PageError::Malformed { what: "flags", found: bytes[2].into() }),
            None => {}
        }
        self.timeline(page, header.timeline)?;
        if let Some(owed) = self.owed
            && !header.overwrites
        {
            same("remaining length", header.remaining, owed)?;
        }
        self.magic = Some(header.magic);
        self.reached = Some(header.timeline);
        self.owed = owed(&header);
        self.within = Within::Body;
        Ok(())
    }

    fn timeline(&self, page: Lsn, found: TimelineId) -> Result<(), PageError> {
        let newest = self.history.timeline();
        if !self.history.ancestors().is_empty() || newest == TimelineId::FIRST {
            return same("timeline", found, self.history.timeline_at(page));
        }
        match self.reached {
            _ if found > newest => same("timeline", found, newest),
            Some(reached) if found < reached => same("timeline", found, reached),
            _ => Ok(()),
        }
    }
}

/// What the page behind this one must begin with, if this one tells: the rest of a record that does not end here, and
/// nothing if it fills this page to the end. Where another record begins here, only that record knows.
fn owed(header: &PageHeader) -> Option<u32> {
    let room = XLOG_BLOCK_SIZE - header.len() as u32;
    (header.remaining.next_multiple_of(8) >= room).then(|| header.remaining.saturating_sub(room))
}

#[cfg(test)]
mod tests;
