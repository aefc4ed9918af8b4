//! The headers of WAL pages: which major wrote it, on which timeline, for which address; and on a segment's first page
//! for which cluster.
//!
//! `XLogPageHeaderData` and `XLogLongPageHeaderData` in `src/include/access/xlog_internal.h`, in the byte order of the
//! server (little-endian on every platform that CloudNativePG builds for):
//!
//! ```text
//!  0 u16 magic     4 u32 timeline   16 u32 remaining length   24 u64 system identifier   36 u32 block size
//!  2 u16 flags     8 u64 address    20 (padding)              32 u32 segment size        40 …
//! ```
//! The first 24 bytes stand on every page, all 40 on the first one of a segment. Whether a header fits where it stands
//! is for [`super::PageCheck`] to say; records are no business of this module.

use super::{Lsn, SegmentNo, SegmentSize, SystemIdentifier, TimelineId};
use std::fmt;

/// `XLOG_BLCKSZ`: the page size of every server that this product streams from.
pub const XLOG_BLOCK_SIZE: u32 = 8192;

/// `XLP_FIRST_IS_CONTRECORD`: the page begins in the middle of a record.
const CONTINUES: u16 = 0x0001;
/// `XLP_LONG_HEADER`: set on, and only on, the first page of a segment.
const LONG_HEADER: u16 = 0x0002;
/// `XLP_FIRST_IS_OVERWRITE_CONTRECORD`: the page begins with a new record instead of the rest of one that a crash cut off.
const OVERWRITES: u16 = 0x0008;
/// `XLP_ALL_FLAGS`; 0x0004 is `XLP_BKP_REMOVABLE`, which means nothing to a receiver.
const ALL_FLAGS: u16 = 0x000F;

/// The longest record that a server reads: one byte less than 1 GB (`MaxAllocSize`; from 16 on 1020 MB).
pub const MAX_RECORD_LEN: u32 = 0x3FFF_FFFF;

/// The number with which a major version marks its WAL pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageMagic(pub u16);

/// What the header of a page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHeader {
    /// Which major version wrote it.
    pub magic: PageMagic,
    /// The timeline of the page's first record.
    pub timeline: TimelineId,
    /// The address of the page.
    pub address: Lsn,
    /// Bytes of a record that began on an earlier page, from this page on. 0 if the page begins with a record.
    pub remaining: u32,
    /// The page begins with a record although the one before was not finished: a crash cut that off.
    pub overwrites: bool,
    /// What only the first page of a segment says.
    pub segment: Option<SegmentHeader>,
}

/// What the header of a segment's first page says besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The cluster.
    pub system: SystemIdentifier,
    /// The cluster's segment size.
    pub segment_size: SegmentSize,
}

/// What the header of a segment's first page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstPage {
    /// Which major version wrote it.
    pub magic: PageMagic,
    /// The timeline of the page's first record.
    pub timeline: TimelineId,
    /// The address of the page.
    pub address: Lsn,
    /// The cluster.
    pub system: SystemIdentifier,
    /// The cluster's segment size.
    pub segment_size: SegmentSize,
}

/// Why bytes are not the page that they must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Fewer bytes than a page header has.
    #[error("it is too short for a page header")]
    Short,
    /// A field has a value that no server writes there.
    #[error("no server writes such a page header ({what}: {found})")]
    Malformed {
        /// The field.
        what: &'static str,
        /// Its value.
        found: u64,
    },
    /// A well-formed header of something else.
    #[error("the page header's {what} is {found}, not {expected}")]
    Foreign {
        /// The field.
        what: &'static str,
        /// As the header says.
        found: String,
        /// As it must be.
        expected: String,
    },
    /// A page without a header where there must be one: a segment's first, or one that is not all zeros.
    #[error("the page has zeros for a header")]
    NoHeader,
    /// Behind a page of zeros come zeros, up to the end of the segment.
    #[error("there are other bytes than zeros behind a page of zeros")]
    NotZero,
}

impl fmt::Display for PageMagic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

impl PageMagic {
    /// `XLOG_PAGE_MAGIC` of each supported major version.
    const KNOWN: [(u32, u16); 6] = [(13, 0xD106), (14, 0xD10D), (15, 0xD110), (16, 0xD113), (17, 0xD116), (18, 0xD118)];

    /// `XLOG_PAGE_MAGIC` of a major version, `None` for one that this table does not know.
    pub fn of_major(major: u32) -> Option<Self> {
        Self::KNOWN.iter().find(|known| known.0 == major).map(|known| Self(known.1))
    }

    /// The major version that writes it, `None` for one that this table does not know.
    pub fn major(self) -> Option<u32> {
        Self::KNOWN.iter().find(|known| known.1 == self.0).map(|known| known.0)
    }
}

impl PageHeader {
    /// Bytes of the header of most pages (`SizeOfXLogShortPHD`).
    pub const SHORT_LEN: usize = 24;
    /// Bytes of the header of a segment's first page (`SizeOfXLogLongPHD`).
    pub const LONG_LEN: usize = 40;

    /// Reads the header at the beginning of `bytes`.
    ///
    /// # Errors
    /// [`PageError::Short`] and [`PageError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PageError> {
        let short: &[u8; Self::SHORT_LEN] = bytes.first_chunk().ok_or(PageError::Short)?;
        let malformed = |what, found| PageError::Malformed { what, found };

        let flags = u16_at(short, 2);
        if flags & !ALL_FLAGS != 0 {
            return Err(malformed("flags", flags.into()));
        }
        let segment = match flags & LONG_HEADER {
            0 => None,
            _ => Some(SegmentHeader::parse(bytes.first_chunk().ok_or(PageError::Short)?)?),
        };
        let remaining = u32_at(short, 16);
        if (remaining != 0) != (flags & CONTINUES != 0) || remaining > MAX_RECORD_LEN {
            return Err(malformed("remaining length", remaining.into()));
        }
        if flags & OVERWRITES != 0 && remaining != 0 {
            return Err(malformed("flags", flags.into()));
        }
        Ok(Self {
            magic: PageMagic(u16_at(short, 0)),
            timeline: TimelineId::new(u32_at(short, 4)).ok_or_else(|| malformed("timeline", 0))?,
            address: Lsn::new(u64_at(short, 8)),
            remaining,
            overwrites: flags & OVERWRITES != 0,
            segment,
        })
    }

    /// Bytes of this header: what follows belongs to records.
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    pub fn len(&self) -> usize {
        if self.segment.is_some() { Self::LONG_LEN } else { Self::SHORT_LEN }
    }
}

impl SegmentHeader {
    fn parse(bytes: &[u8; PageHeader::LONG_LEN]) -> Result<Self, PageError> {
        let malformed = |what, found| PageError::Malformed { what, found };
        let (size, block_size) = (u64::from(u32_at(bytes, 32)), u32_at(bytes, 36));
        if block_size != XLOG_BLOCK_SIZE {
            return Err(malformed("block size", block_size.into()));
        }
        Ok(Self {
            system: SystemIdentifier::new(u64_at(bytes, 24)),
            segment_size: SegmentSize::new(size).map_err(|_| malformed("segment size", size))?,
        })
    }
}

impl FirstPage {
    /// Bytes of a long page header.
    pub const LEN: usize = PageHeader::LONG_LEN;

    /// Reads the header of a segment's first page.
    ///
    /// # Errors
    /// [`PageError::Short`] and [`PageError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PageError> {
        let bytes: &[u8; Self::LEN] = bytes.first_chunk().ok_or(PageError::Short)?;
        let header = PageHeader::parse(bytes)?;
        let flags = u16_at(bytes, 2).into();
        let segment = header.segment.ok_or(PageError::Malformed { what: "flags", found: flags })?;
        Ok(Self {
            magic: header.magic,
            timeline: header.timeline,
            address: header.address,
            system: segment.system,
            segment_size: segment.segment_size,
        })
    }

    /// Whether this is the first page of `segment` in this cluster.
    ///
    /// # Errors
    /// [`PageError::Foreign`] names the first field that says otherwise.
    pub fn check(&self, system: SystemIdentifier, size: SegmentSize, segment: SegmentNo) -> Result<(), PageError> {
        same("system identifier", self.system, system)?;
        same("segment size", self.segment_size, size)?;
        same("address", self.address, size.start_of(segment))
    }
}

/// [`PageError::Foreign`] unless both are the same.
pub(super) fn same<T: PartialEq + ToString>(what: &'static str, found: T, expected: T) -> Result<(), PageError> {
    match found == expected {
        true => Ok(()),
        false => Err(PageError::Foreign { what, found: found.to_string(), expected: expected.to_string() }),
    }
}

// For positions that are known to lie within the array.
fn u16_at<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> [u8; FirstPage::LEN] {
        let mut bytes = [0; FirstPage::LEN];
        bytes[0..2].copy_from_slice(&0xD110_u16.to_le_bytes());
        bytes[2..4].copy_from_slice(&0x0007_u16.to_le_bytes());
        bytes[4..8].copy_from_slice(&3_u32.to_le_bytes());
        bytes[8..16].copy_from_slice(&0x0500_0000_u64.to_le_bytes());
        bytes[16] = 9;
        bytes[24..32].copy_from_slice(&7_311_u64.to_le_bytes());
        bytes[32..36].copy_from_slice(&(16_u32 << 20).to_le_bytes());
        bytes[36..40].copy_from_slice(&XLOG_BLOCK_SIZE.to_le_bytes());
        bytes
    }

    #[test]
    fn a_first_page_says_where_it_belongs() {
        let page = FirstPage::parse(&header()).expect("well-formed");
        assert_eq!((page.magic, page.timeline.get()), (PageMagic(0xD110), 3));
        let (system, size) = (SystemIdentifier::new(7311), SegmentSize::DEFAULT);
        assert_eq!(page.check(system, size, SegmentNo::new(5)), Ok(()));
        for (system, size, segment) in [
            (SystemIdentifier::new(7312), size, 5),
            (system, SegmentSize::new(1 << 20).expect("1 MB"), 5),
            (system, size, 6),
        ] {
            assert!(matches!(page.check(system, size, SegmentNo::new(segment)), Err(PageError::Foreign { .. })));
        }
    }

    #[test]
    fn another_page_is_none() {
        let mut bytes = header();
        bytes[2] = 1;
        let page = PageHeader::parse(&bytes[..24]).expect("a short header");
        assert_eq!((page.remaining, page.overwrites, page.segment, page.len()), (9, false, None, 24));
        assert!(matches!(FirstPage::parse(&bytes), Err(PageError::Malformed { what: "flags", found: 1 })));
    }

    #[test]
    fn what_no_server_writes_is_malformed() {
        assert_eq!(FirstPage::parse(&header()[..39]), Err(PageError::Short));
        assert_eq!(PageHeader::parse(&header()[..39]), Err(PageError::Short));
        for (at, value, what) in [
            (2, 0x17, "flags"),
            (2, 0x0B, "flags"),
            (2, 0x06, "remaining length"),
            (16, 0, "remaining length"),
            (19, 0x40, "remaining length"),
            (4, 0, "timeline"),
            (35, 3, "segment size"),
            (37, 0, "block size"),
        ] {
            let mut bytes = header();
            bytes[at] = value;
            assert!(
                matches!(FirstPage::parse(&bytes), Err(PageError::Malformed { what: w, .. }) if w == what),
                "{what}"
            );
        }
    }

    #[test]
    fn majors_and_magics_are_told_apart() {
        for major in 12..=19 {
            assert_eq!(
                PageMagic::of_major(major).and_then(PageMagic::major),
                (13..=18).contains(&major).then_some(major)
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (FirstPage::parse(&bytes), PageHeader::parse(&bytes));
        }
    }
}
