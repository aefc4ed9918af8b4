//! The names of segment and history files, as PostgreSQL writes them.
//!
//! ```text
//! 00000001 00000016 000000B3           timeline, log id, segment within the log id
//! …                        .partial    still being received
//! …                        .gz, .lz4   compressed by pg_receivewal (also before .partial)
//! 00000002.history                     how timeline 2 came about
//! ```

use super::{SegmentNo, SegmentSize, TimelineId};
use std::fmt;

/// Which segment of which timeline: what a segment file's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// The segment's number: the same place in the log on every timeline.
    pub segment: SegmentNo,
    /// The timeline it was received from.
    pub timeline: TimelineId,
}

/// How `pg_receivewal --compress` stored a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// The bytes themselves.
    None,
    /// `.gz`
    Gzip,
    /// `.lz4`
    Lz4,
}

/// A segment's file in a receiver's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// Which segment it is.
    pub name: SegmentName,
    /// How it is stored.
    pub compression: Compression,
    /// Whether it is still being received.
    pub partial: bool,
}

/// The history file of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryName(pub TimelineId);

impl SegmentName {
    /// The 24 digits of the finished segment's file name (`XLogFileName`).
    pub fn file_name(self, size: SegmentSize) -> String {
        let (per_id, segment) = (size.segments_per_log_id(), self.segment.get());
        format!("{:08X}{:08X}{:08X}", self.timeline.get(), segment / per_id, segment % per_id)
    }

    /// The name while the segment is being received.
    pub fn partial_file_name(self, size: SegmentSize) -> String {
        self.file_name(size) + ".partial"
    }

    fn parse(digits: &str, size: SegmentSize) -> Option<Self> {
        let (timeline, rest) = digits.split_at_checked(8)?;
        let (log_id, segment) = rest.split_at_checked(8)?;
        let (log_id, segment) = (hex8(log_id)?, hex8(segment)?);
        let per_id = size.segments_per_log_id();
        // A larger number belongs to a directory of another segment size.
        (segment < per_id).then_some(())?;
        Some(Self {
            timeline: TimelineId::new(u32::try_from(hex8(timeline)?).ok()?)?,
            segment: SegmentNo::new(log_id * per_id + segment),
        })
    }
}

impl SegmentFile {
    /// What `name` says, or `None` if no segment of this size is called so.
    pub fn parse(name: &str, size: SegmentSize) -> Option<Self> {
        let (name, partial) = strip(name, ".partial");
        let (name, gzip) = strip(name, ".gz");
        let (name, lz4) = if gzip { (name, false) } else { strip(name, ".lz4") };
        let compression = match (gzip, lz4) {
            (true, _) => Compression::Gzip,
            (_, true) => Compression::Lz4,
            _ => Compression::None,
        };
        Some(Self { name: SegmentName::parse(name, size)?, compression, partial })
    }
}

impl HistoryName {
    /// The timeline whose history a file of this name is.
    pub fn parse(name: &str) -> Option<Self> {
        let number = hex8(name.strip_suffix(".history")?)?;
        TimelineId::new(u32::try_from(number).ok()?).map(Self)
    }
}

impl fmt::Display for HistoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}.history", self.0.get())
    }
}

fn strip<'a>(name: &'a str, suffix: &str) -> (&'a str, bool) {
    name.strip_suffix(suffix).map_or((name, false), |stem| (stem, true))
}

/// Eight upper-case hexadecimal digits, and nothing else: PostgreSQL itself takes no other form.
fn hex8(digits: &str) -> Option<u64> {
    let well_formed = digits.len() == 8 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    well_formed.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(shift: u32) -> SegmentSize {
        SegmentSize::new(1 << shift).expect("a power of two in range")
    }

    proptest! {
        #[test]
        fn name_and_number_are_the_same_thing(
            timeline in 1..=u32::MAX, segment in 0..1_u64 << 34, shift in 20_u32..=30, partial: bool,
        ) {
            let size = size(shift);
            let segment = segment % (size.segments_per_log_id() << 32);
            let name = SegmentName {
                timeline: TimelineId::new(timeline).expect("not zero"),
                segment: SegmentNo::new(segment),
            };
            let text = if partial { name.partial_file_name(size) } else { name.file_name(size) };
            let file = SegmentFile { name, compression: Compression::None, partial };
            prop_assert_eq!(SegmentFile::parse(&text, size), Some(file));
        }

        #[test]
        fn any_name_is_read_or_ignored(text in "\\PC{0,40}", shift in 20_u32..=30) {
            let _ = (SegmentFile::parse(&text, size(shift)), HistoryName::parse(&text));
        }
    }

    #[test]
    fn what_pg_receivewal_leaves_behind_is_recognised() {
        let parse = |name: &str| SegmentFile::parse(name, SegmentSize::DEFAULT).map(|f| (f.compression, f.partial));
        let base = "0000000200000001000000FF";
        assert_eq!(parse(base), Some((Compression::None, false)));
        assert_eq!(parse(&format!("{base}.partial")), Some((Compression::None, true)));
        assert_eq!(parse(&format!("{base}.gz")), Some((Compression::Gzip, false)));
        assert_eq!(parse(&format!("{base}.lz4.partial")), Some((Compression::Lz4, true)));
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in [
            "",
            ".wal-agent",
            "lost+found",
            "00000002.history",
            "0000000200000001000000ff",
            "000000020000000100000100",
            "000000000000000100000000",
            "00000002000000010000000",
            "0000000200000001000000FF.zst",
            "0000000200000001000000FF.partial.gz",
            "0000000200000001000000FF.00000028.backup",
            "0000000200000001000000FF.tmp",
            "éééééééééééé",
        ] {
            assert_eq!(SegmentFile::parse(name, SegmentSize::DEFAULT), None, "{name:?}");
        }
    }

    #[test]
    fn history_names() {
        let two = TimelineId::new(2).map(HistoryName);
        assert_eq!(HistoryName::parse("00000002.history"), two);
        assert_eq!(two.map(|name| name.to_string()).as_deref(), Some("00000002.history"));
        for name in ["00000000.history", "2.history", "00000002.history.tmp", "0000000a.history"] {
            assert_eq!(HistoryName::parse(name), None, "{name:?}");
        }
    }
}
