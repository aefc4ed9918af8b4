//! The header of a segment's first page: which cluster, which segment, which major wrote it.
//!
//! `XLogLongPageHeaderData` in `src/include/access/xlog_internal.h`, in the byte order of the server (little-endian on
//! every platform that CloudNativePG builds for):
//!
//! ```text
//!  0 u16 magic     4 u32 timeline   16 u32 remaining length   24 u64 system identifier   36 u32 block size
//!  2 u16 flags     8 u64 address    20 (padding)              32 u32 segment size        40 …
//! ```
//! Only the first page is read here; records are no business of this module.

use super::{Lsn, SegmentNo, SegmentSize, SystemIdentifier, TimelineId};

/// `XLOG_BLCKSZ`: the page size of every server that this product streams from.
pub const XLOG_BLOCK_SIZE: u32 = 8192;

/// `XLP_LONG_HEADER`: set on, and only on, the first page of a segment.
const LONG_HEADER: u16 = 0x0002;

/// The number with which a major version marks its WAL pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageMagic(pub u16);

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

/// Why the first bytes of a segment are not what they must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Fewer bytes than a long page header has.
    #[error("the segment is too short for a page header")]
    Short,
    /// Flags, timeline, segment or block size cannot be those of a first page.
    #[error("it does not begin as a segment does ({what} in its page header: {found})")]
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
}

impl PageMagic {
    /// `XLOG_PAGE_MAGIC` of a major version, `None` for one that this table does not know.
    pub const fn of_major(major: u32) -> Option<Self> {
        Some(Self(match major {
            13 => 0xD106,
            14 => 0xD10D,
            15 => 0xD110,
            16 => 0xD113,
            17 => 0xD116,
            18 => 0xD118,
            _ => return None,
        }))
    }
}

impl FirstPage {
    /// Bytes of a long page header.
    pub const LEN: usize = 40;

    /// Reads the header of a segment's first page.
    ///
    /// # Errors
    /// [`PageError::Short`] and [`PageError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PageError> {
        let header: &[u8; Self::LEN] = bytes.first_chunk().ok_or(PageError::Short)?;
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let malformed = |what, found| PageError::Malformed { what, found };

        let (flags, block_size, size) = (u16_at(2), u32_at(36), u64::from(u32_at(32)));
        if flags & LONG_HEADER == 0 {
            return Err(malformed("flags", u64::from(flags)));
        }
        if block_size != XLOG_BLOCK_SIZE {
            return Err(malformed("block size", u64::from(block_size)));
        }
        Ok(Self {
            magic: PageMagic(u16_at(0)),
            timeline: TimelineId::new(u32_at(4)).ok_or_else(|| malformed("timeline", 0))?,
            address: Lsn::new(u64_at(8)),
            system: SystemIdentifier::new(u64_at(24)),
            segment_size: SegmentSize::new(size).map_err(|_| malformed("segment size", size))?,
        })
    }

    /// Whether this is the first page of `segment` in this cluster.
    ///
    /// # Errors
    /// [`PageError::Foreign`] names the first field that says otherwise.
    pub fn check(&self, system: SystemIdentifier, size: SegmentSize, segment: SegmentNo) -> Result<(), PageError> {
        let same = |what, found: String, expected: String| {
            if found == expected { Ok(()) } else { Err(PageError::Foreign { what, found, expected }) }
        };
        same("system identifier", self.system.to_string(), system.to_string())?;
        same("segment size", self.segment_size.to_string(), size.to_string())?;
        same("address", self.address.to_string(), size.start_of(segment).to_string())
    }
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
    fn what_no_server_writes_is_malformed() {
        assert_eq!(FirstPage::parse(&header()[..39]), Err(PageError::Short));
        for (at, value, what) in [(2, 0, "flags"), (4, 0, "timeline"), (35, 3, "segment size"), (37, 0, "block size")] {
            let mut bytes = header();
            bytes[at] = value;
            assert!(
                matches!(FirstPage::parse(&bytes), Err(PageError::Malformed { what: w, .. }) if w == what),
                "{what}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = FirstPage::parse(&bytes);
        }
    }
}
