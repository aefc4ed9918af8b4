//! `SegmentSize` and `SegmentNo`: how the log is cut into files.

use super::Lsn;
use std::fmt;

const MIB: u32 = 1024 * 1024;

/// The cluster's `wal_segment_size`: a power of two from 1 MB to 1 GB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentSize(u32);

/// The number is not a possible `wal_segment_size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes is no WAL segment size (a power of two between 1 MB and 1 GB)")]
pub struct InvalidSegmentSize(pub u64);

/// The number of a segment, counted from the beginning of the log, whatever the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNo(u64);

impl SegmentSize {
    /// What `initdb` chooses unless told otherwise.
    pub const DEFAULT: Self = Self(16 * MIB);

    /// `bytes` as a segment size.
    ///
    /// # Errors
    /// [`InvalidSegmentSize`] unless it is a power of two from 1 MB to 1 GB.
    pub fn new(bytes: u64) -> Result<Self, InvalidSegmentSize> {
        match u32::try_from(bytes) {
            Ok(size) if size.is_power_of_two() && (MIB..=1024 * MIB).contains(&size) => Ok(Self(size)),
            _ => Err(InvalidSegmentSize(bytes)),
        }
    }

    /// Bytes in each segment file.
    pub const fn bytes(self) -> u64 {
        self.0 as u64
    }

    /// How many segments share the middle part of a segment's name (`XLogSegmentsPerXLogId`).
    pub const fn segments_per_log_id(self) -> u64 {
        0x1_0000_0000 / self.bytes()
    }

    /// The segment that holds the byte at `lsn`.
    pub const fn segment_of(self, lsn: Lsn) -> SegmentNo {
        SegmentNo(lsn.get() / self.bytes())
    }

    /// How far into its segment the byte at `lsn` stands.
    pub const fn offset_of(self, lsn: Lsn) -> u64 {
        lsn.get() % self.bytes()
    }

    /// The first byte of the segment that holds `lsn`.
    pub const fn floor(self, lsn: Lsn) -> Lsn {
        Lsn::new(lsn.get() - self.offset_of(lsn))
    }

    /// The first byte of `segment`.
    pub const fn start_of(self, segment: SegmentNo) -> Lsn {
        Lsn::new(segment.0.saturating_mul(self.bytes()))
    }

    /// The first byte after `segment`.
    pub const fn end_of(self, segment: SegmentNo) -> Lsn {
        self.start_of(segment.next())
    }
}

impl fmt::Display for SegmentSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MB", self.0 / MIB)
    }
}

impl SegmentNo {
    /// The segment with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The segment behind this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The segment before this one, if there is one.
    pub const fn previous(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_powers_of_two_from_1_mb_to_1_gb_are_sizes() {
        for mib in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024_u64] {
            assert!(SegmentSize::new(mib << 20).is_ok(), "{mib} MB");
        }
        for bytes in [0, 1, 512 << 10, (1 << 20) - 1, 3 << 20, 2048 << 20, u64::MAX] {
            assert_eq!(SegmentSize::new(bytes), Err(InvalidSegmentSize(bytes)));
        }
    }

    proptest! {
        #[test]
        fn every_byte_belongs_to_one_segment(lsn in 0..u64::MAX / 2, shift in 20_u32..=30) {
            let (lsn, size) = (Lsn::new(lsn), SegmentSize::new(1 << shift).expect("a power of two in range"));
            let segment = size.segment_of(lsn);
            prop_assert!(size.start_of(segment) <= lsn && lsn < size.end_of(segment));
            prop_assert_eq!(size.floor(lsn), size.start_of(segment));
            prop_assert_eq!(size.start_of(segment).checked_add(size.offset_of(lsn)), Some(lsn));
        }
    }
}
