//! `LogWriter`: WAL as a server writes it, for tests: records over pages and segments, switches, crashes.

use super::{Lsn, PageMagic, SegmentSize, SystemIdentifier, TimelineHistory, XLOG_BLOCK_SIZE};

const PAGE: u64 = XLOG_BLOCK_SIZE as u64;

/// Writes from the beginning of a segment on.
#[derive(Clone, Debug)]
pub(crate) struct LogWriter {
    pub(crate) magic: PageMagic,
    pub(crate) system: SystemIdentifier,
    pub(crate) size: SegmentSize,
    pub(crate) history: TimelineHistory,
    pub(crate) begin: Lsn,
    /// All that was written from `begin` on.
    pub(crate) bytes: Vec<u8>,
    pub(crate) previous: Lsn,
    /// The record that a crash has cut off, if the next page comes instead of its rest.
    pub(crate) cut_off: Option<Lsn>,
}

impl LogWriter {
    /// In 1 MB segments, from the beginning of the one with this number.
    pub(crate) fn new(history: TimelineHistory, segment: u64) -> Self {
        Self {
            magic: PageMagic(0xD118),
            system: SystemIdentifier::new(7_000_000_000_000_000_001),
            size: SegmentSize::new(1 << 20).unwrap(),
            history,
            begin: Lsn::new(segment << 20),
            bytes: Vec::new(),
            previous: Lsn::INVALID,
            cut_off: None,
        }
    }

    /// Where the next byte is written.
    pub(crate) fn end(&self) -> Lsn {
        Lsn::new(self.begin.get() + self.bytes.len() as u64)
    }

    /// A record with so many bytes behind its header; returns where it begins.
    pub(crate) fn record(&mut self, len: usize) -> Lsn {
        let data: Vec<u8> = (0..len).map(|i| (i % 251) as u8 + 1).collect();
        self.write(2, 0x10, &data)
    }

    /// A segment switch and the zeros behind it.
    pub(crate) fn switch(&mut self) -> Lsn {
        let start = self.write(0, 0x40, &[]);
        let len = (self.bytes.len() as u64).next_multiple_of(self.size.bytes());
        self.bytes.resize(len as usize, 0);
        start
    }

    /// A record that the server does not live to write beyond its first `pages` ends of pages, and what recovery writes
    /// instead of the rest.
    pub(crate) fn crash_within_a_record(&mut self, pages: u64) -> Lsn {
        let previous = self.previous;
        let start = self.record((PAGE * (pages + 1)) as usize);
        self.bytes.truncate((start.get().next_multiple_of(PAGE) + (pages - 1) * PAGE - self.begin.get()) as usize);
        (self.previous, self.cut_off) = (previous, Some(start));
        let mut data = vec![255, 16];
        data.extend(start.get().to_le_bytes());
        data.extend(9_u64.to_le_bytes());
        self.write(0, 0xD0, &data);
        start
    }

    /// Fills the page that is being written to its last byte.
    pub(crate) fn fill_page(&mut self) -> Lsn {
        let room = PAGE - self.end().get() % PAGE;
        self.record(room as usize - 24)
    }

    fn write(&mut self, manager: u8, info: u8, data: &[u8]) -> Lsn {
        if self.end().get().is_multiple_of(PAGE) {
            self.page(0);
        }
        let start = self.end();
        let mut record = Vec::new();
        record.extend((24 + data.len() as u32).to_le_bytes());
        record.extend(7_u32.to_le_bytes());
        record.extend(self.previous.get().to_le_bytes());
        record.extend([info, manager, 0, 0]);
        let crc = crc32c::crc32c_append(crc32c::crc32c(data), &record);
        record.extend(crc.to_le_bytes());
        record.extend(data);
        let mut rest = record.as_slice();
        while !rest.is_empty() {
            if self.end().get().is_multiple_of(PAGE) {
                self.page(rest.len() as u32);
            }
            let room = (PAGE - self.end().get() % PAGE) as usize;
            let (piece, behind) = rest.split_at(rest.len().min(room));
            self.bytes.extend(piece);
            rest = behind;
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.previous = start;
        start
    }

    fn page(&mut self, remaining: u32) {
        let page = self.end();
        let is_first = self.size.offset_of(page) == 0;
        let overwrites = self.cut_off.take().is_some();
        let flags = u16::from(remaining != 0) | u16::from(is_first) << 1 | u16::from(overwrites) << 3;
        self.bytes.extend(self.magic.0.to_le_bytes());
        self.bytes.extend(flags.to_le_bytes());
        self.bytes.extend(self.history.timeline_at(page).get().to_le_bytes());
        self.bytes.extend(page.get().to_le_bytes());
        self.bytes.extend(remaining.to_le_bytes());
        self.bytes.extend([0; 4]);
        if is_first {
            self.bytes.extend(self.system.get().to_le_bytes());
            self.bytes.extend((self.size.bytes() as u32).to_le_bytes());
            self.bytes.extend(XLOG_BLOCK_SIZE.to_le_bytes());
        }
    }
}
