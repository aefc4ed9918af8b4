//! The record walker: follows the chain of records through pages, and checks each one's link and checksum.
//!
//! A record is a header of 24 bytes and data, begins at a multiple of 8, and goes on behind the header of the next page
//! where a page ends (`src/include/access/xlogrecord.h`; the rules are `XLogDecodeNextRecord`'s in `xlogreader.c`):
//!
//! ```text
//!  0 u32 length, header included   8 u64 previous record   17 u8 resource manager   20 u32 CRC-32C of the data, then
//!  4 u32 transaction              16 u8 info               18 (padding)                    of the header before it
//! ```
//! Pure: it is fed page by page, allocates nothing, and keeps 34 bytes of a record at most. What a break in the chain
//! means is for others to judge.

use crate::wal::{BadPage, Lsn, MAX_RECORD_LEN, PageCheck, PageError, PageHeader, SegmentSize, XLOG_BLOCK_SIZE};

/// Bytes of a page.
pub(super) const PAGE: usize = XLOG_BLOCK_SIZE as usize;

/// Bytes of a record's header.
const HEADER: usize = 24;
/// What is kept of a record: its header, and the position at the beginning of an OVERWRITE_CONTRECORD's data, behind
/// the two bytes that announce data.
const HEAD: usize = HEADER + 2 + 8;

/// `RM_XLOG_ID` with `XLOG_SWITCH`, without the four bits that do not tell the kind.
const SWITCH: (u8, u8) = (0, 0x40);
/// `RM_XLOG_ID` with `XLOG_OVERWRITE_CONTRECORD`.
const OVERWRITE: (u8, u8) = (0, 0xD0);

/// Walks from page to page.
#[derive(Clone, Debug)]
pub(super) struct Walker {
    pages: PageCheck,
    size: SegmentSize,
    /// The page that comes next.
    next: Lsn,
    state: State,
    /// Only the record that has begun is of interest.
    finishing: bool,
    chain: Chain,
    notes: Vec<Note>,
}

/// What was learned on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// The first record that begins on the way, if it is whole.
    pub(super) first: Option<First>,
    /// The last whole record, since the chain last broke.
    pub(super) last: Option<Link>,
    /// Whole records.
    pub(super) records: u64,
    /// The chain broke before the end of the first record.
    first_is_lost: bool,
}

/// What the first record says about those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) start: Lsn,
    /// Where the one before began.
    pub(super) previous: Lsn,
    /// The unfinished record for the rest of which it stands.
    pub(super) overwrites: Option<Lsn>,
}

/// The end of a chain of whole records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Where the last whole record begins.
    pub(super) record: Lsn,
    /// Where the next one begins: behind the page header, if this is the beginning of a page.
    pub(super) end: Lsn,
    /// The record at this position was cut off by a crash, and another one stands at `end`.
    pub(super) cut_off: Option<Lsn>,
}

/// Where the chain breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Break {
    /// The record, or the page.
    pub(super) at: Lsn,
    /// Behind the last whole record: nothing from here on is whole.
    pub(super) from: Lsn,
    /// How far the bytes go in which something is wrong.
    pub(super) to: Lsn,
    pub(super) reason: Reason,
}

/// Why the chain breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error("{0}")]
    Page(PageError),
    #[error("there are zeros where a page must be")]
    NoPage,
    #[error("there are zeros where a record must begin")]
    NoRecord,
    #[error("the record's length, {0} bytes, is impossible")]
    Length(u32),
    #[error("the record names {found} as the one before, which begins at {expected}")]
    Previous { found: Lsn, expected: Lsn },
    #[error("the record names {0} as the one before, which is not before it")]
    NotBefore(Lsn),
    #[error("the record's checksum is wrong")]
    Checksum,
    #[error("of the record {expected} bytes are left at {page}, where the page header says {found}")]
    Continuation { page: Lsn, found: u32, expected: u32 },
    #[error("the record stands for the rest of {}, where {} was cut off by a crash", one(.found), one(.expected))]
    Overwriting { found: Option<Lsn>, expected: Option<Lsn> },
}

/// What is worth a word, and no damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The record was cut off by a crash, and another one begins at `page` instead of its rest.
    CutOff { record: Lsn, page: Lsn },
    /// Behind a segment switch there are other bytes than zeros.
    BehindSwitch { at: Lsn },
}

#[derive(Clone, Debug)]
enum State {
    /// No record's beginning is known: it is told by the next page that is one. After a break, zeros are nothing new.
    Seek { broken: bool },
    /// Behind a whole record, or at the first one.
    Between,
    /// In a record.
    Within(Record),
    /// Behind a segment switch, up to the segment's end. `clean`: zeros so far.
    Switched { clean: bool },
}

#[derive(Clone, Debug)]
struct Record {
    start: Lsn,
    len: u32,
    have: u32,
    head: [u8; HEAD],
    crc: u32,
}

impl Walker {
    /// Notes that are kept.
    const MAX_NOTES: usize = 20;

    /// From the page at `start` on, whose pages have to pass `pages`.
    pub(super) fn new(pages: PageCheck, size: SegmentSize, start: Lsn) -> Self {
        let (state, chain) = (State::Seek { broken: false }, Chain::default());
        Self { pages, size, next: start, state, finishing: false, chain, notes: Vec::new() }
    }

    /// Goes on in another file, and no further than to the end of the unfinished record.
    pub(super) fn finish_in(&mut self, pages: PageCheck) {
        self.pages = pages;
        self.finishing = true;
    }

    /// The page that comes next.
    pub(super) fn next(&self) -> Lsn {
        self.next
    }

    /// The record that is not yet finished.
    pub(super) fn unfinished(&self) -> Option<Lsn> {
        match &self.state {
            State::Within(record) => Some(record.start),
            _ => None,
        }
    }

    /// The last whole record, if it is known how the chain goes on behind it.
    pub(super) fn link(&self) -> Option<Link> {
        self.chain.last.filter(|_| matches!(self.state, State::Between | State::Switched { .. }))
    }

    /// The chain broke, and no record was found since.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, State::Seek { broken: true })
    }

    pub(super) fn chain(&self) -> &Chain {
        &self.chain
    }

    pub(super) fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Walks through the next page, of [`PAGE`] bytes.
    ///
    /// # Errors
    /// Where the chain breaks. A later call looks for the next record that can be found.
    pub(super) fn page(&mut self, bytes: &[u8]) -> Result<(), Break> {
        let page = self.next;
        self.next = page.checked_add(PAGE as u64).unwrap_or(page);
        let walked = self.walk(page, bytes);
        if walked.is_err() {
            self.state = State::Seek { broken: true };
            self.chain.first_is_lost |= self.chain.first.is_none();
        }
        walked
    }

    fn walk(&mut self, page: Lsn, bytes: &[u8]) -> Result<(), Break> {
        let is_first = self.size.offset_of(page) == 0;
        if let (false, State::Switched { clean }) = (is_first, &mut self.state) {
            if *clean && let Some(at) = bytes.iter().position(|&byte| byte != 0) {
                *clean = false;
                self.note(Note::BehindSwitch { at: Lsn::new(page.get() + at as u64) });
            }
            return Ok(());
        }
        if bytes.iter().take(PageHeader::SHORT_LEN).all(|&byte| byte == 0) {
            return match self.state {
                State::Seek { broken: true } => Ok(()),
                _ => Err(self.broken_page(page, Reason::NoPage)),
            };
        }
        let checked = self.pages.push(page, bytes).and_then(|()| {
            let header = PageHeader::parse(bytes);
            header.map_err(|source| BadPage { at: page, source })
        });
        let header = checked.map_err(|bad| self.broken_page(page, Reason::Page(bad.source)))?;
        let offset = self.enter(page, &header)?;
        self.records(page, bytes, offset)
    }

    /// Where on a page its first record begins or goes on.
    fn enter(&mut self, page: Lsn, header: &PageHeader) -> Result<usize, Break> {
        match &self.state {
            State::Within(record) if header.overwrites => {
                let cut_off = record.start;
                if let Some(last) = &mut self.chain.last {
                    (last.end, last.cut_off) = (page, Some(cut_off));
                }
                self.note(Note::CutOff { record: cut_off, page });
                self.state = State::Between;
            }
            State::Within(Record { start, len, have, .. }) if header.remaining != len - have => {
                let (found, expected) = (header.remaining, len - have);
                let to = Lsn::new(page.get() + PageHeader::LONG_LEN as u64);
                return Err(Break {
                    at: *start,
                    from: *start,
                    to,
                    reason: Reason::Continuation { page, found, expected },
                });
            }
            State::Within(_) => {}
            State::Between | State::Switched { .. } if header.remaining != 0 => {
                let reason = Reason::Continuation { page, found: header.remaining, expected: 0 };
                return Err(self.broken_page(page, reason));
            }
            State::Between | State::Switched { .. } => self.state = State::Between,
            State::Seek { .. } => {
                let skipped = (header.remaining as usize).next_multiple_of(8);
                let begins = header.len() + skipped < PAGE;
                self.chain.last = None;
                self.state = if begins { State::Between } else { State::Seek { broken: false } };
                return Ok(if begins { header.len() + skipped } else { PAGE });
            }
        }
        Ok(header.len())
    }

    /// The records on a page, from `offset` on.
    fn records(&mut self, page: Lsn, bytes: &[u8], mut offset: usize) -> Result<(), Break> {
        while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
            match &mut self.state {
                State::Between if self.finishing => return Ok(()),
                State::Between => {
                    let start = Lsn::new(page.get() + offset as u64);
                    self.state = State::Within(Record::begin(start, rest)?);
                }
                State::Within(record) => {
                    let knew_header = record.have >= HEADER as u32;
                    let taken = record.take(rest);
                    offset += taken;
                    if !knew_header && record.have >= HEADER as u32 {
                        record.check_previous(self.chain.last)?;
                    }
                    if record.have == record.len {
                        let end = Lsn::new(page.get() + offset as u64);
                        let last = self.chain.last;
                        let state = self.chain.finish(record, last, end, self.size)?;
                        self.state = state;
                        offset = offset.next_multiple_of(8);
                    }
                }
                State::Switched { clean } => {
                    if let Some(at) = rest.iter().position(|&byte| byte != 0) {
                        *clean = false;
                        self.note(Note::BehindSwitch { at: Lsn::new(page.get() + (offset + at) as u64) });
                    }
                    return Ok(());
                }
                State::Seek { .. } => return Ok(()),
            }
        }
        Ok(())
    }

    fn broken_page(&self, page: Lsn, reason: Reason) -> Break {
        let from = match &self.state {
            State::Within(record) => record.start,
            _ => page,
        };
        Break { at: page, from, to: Lsn::new(page.get() + PageHeader::SHORT_LEN as u64), reason }
    }

    fn note(&mut self, note: Note) {
        if self.notes.len() < Self::MAX_NOTES {
            self.notes.push(note);
        }
    }
}

impl Record {
    /// The record that begins with `rest`, which holds at least its length: records begin at multiples of 8.
    fn begin(start: Lsn, rest: &[u8]) -> Result<Self, Break> {
        let len = rest.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        if len < HEADER as u32 || len > MAX_RECORD_LEN {
            let reason = if len == 0 { Reason::NoRecord } else { Reason::Length(len) };
            return Err(Break { at: start, from: start, to: Lsn::new(start.get() + 8), reason });
        }
        Ok(Self { start, len, have: 0, head: [0; HEAD], crc: 0 })
    }

    /// Takes what belongs to the record from the beginning of `rest`.
    fn take(&mut self, rest: &[u8]) -> usize {
        let missing = (self.len - self.have) as usize;
        let (piece, _) = rest.split_at(rest.len().min(missing));
        let have = self.have as usize;
        if let Some(head) = self.head.get_mut(have..) {
            head.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
        }
        if let Some(data) = piece.get(HEADER.saturating_sub(have)..) {
            self.crc = crc32c::crc32c_append(self.crc, data);
        }
        self.have += piece.len() as u32;
        piece.len()
    }

    fn head<const N: usize>(&self, at: usize) -> [u8; N] {
        self.head.get(at..).and_then(|bytes| bytes.first_chunk().copied()).unwrap_or([0; N])
    }

    fn previous(&self) -> Lsn {
        Lsn::new(u64::from_le_bytes(self.head(8)))
    }

    /// Resource manager and what it calls the record.
    fn kind(&self) -> (u8, u8) {
        let [info, manager] = self.head(16);
        (manager, info & 0xF0)
    }

    fn check_previous(&self, last: Option<Link>) -> Result<(), Break> {
        let found = self.previous();
        match last.map(|link| link.record) {
            Some(expected) if found != expected => Err(self.broken(Reason::Previous { found, expected })),
            None if found >= self.start => Err(self.broken(Reason::NotBefore(found))),
            _ => Ok(()),
        }
    }

    fn check_sum(&self) -> Result<(), Break> {
        let [head @ .., _, _, _, _] = self.head::<HEADER>(0);
        let crc = crc32c::crc32c_append(self.crc, &head);
        if crc == u32::from_le_bytes(self.head(20)) { Ok(()) } else { Err(self.broken(Reason::Checksum)) }
    }

    /// The unfinished record that this one stands for, if it is of that kind.
    fn overwritten(&self) -> Option<Lsn> {
        (self.kind() == OVERWRITE).then(|| Lsn::new(u64::from_le_bytes(self.head(HEADER + 2))))
    }

    fn broken(&self, reason: Reason) -> Break {
        let to = Lsn::new(self.start.get() + u64::from(self.have));
        Break { at: self.start, from: self.start, to, reason }
    }
}

fn one(record: &Option<Lsn>) -> String {
    record.map_or_else(|| "none".to_owned(), |at| format!("the one at {at}"))
}

impl Chain {
    /// Whether any record begins on the way.
    pub(super) fn is_without_a_record(&self) -> bool {
        self.first.is_none() && !self.first_is_lost
    }

    /// Joins `record`, which is whole and ends before `end`, and says what comes behind it.
    fn finish(&mut self, record: &Record, last: Option<Link>, end: Lsn, size: SegmentSize) -> Result<State, Break> {
        record.check_sum().map_err(|broken| Break { to: end, ..broken })?;
        let overwrites = record.overwritten();
        if let Some(last) = last
            && last.cut_off != overwrites
        {
            return Err(record.broken(Reason::Overwriting { found: overwrites, expected: last.cut_off }));
        }
        if self.first.is_none() && !self.first_is_lost {
            self.first = Some(First { start: record.start, previous: record.previous(), overwrites });
        }
        let switched = record.kind() == SWITCH;
        let end = Lsn::new(end.get().next_multiple_of(8));
        let end = if switched && size.offset_of(end) != 0 { size.end_of(size.segment_of(end)) } else { end };
        self.last = Some(Link { record: record.start, end, cut_off: None });
        self.records += 1;
        Ok(if switched { State::Switched { clean: true } } else { State::Between })
    }
}

#[cfg(test)]
mod tests;
