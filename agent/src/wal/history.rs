//! Timeline histories: from which ancestor, and where, a timeline branched off.
//!
//! The format is PostgreSQL's (`readTimeLineHistory` in `timeline.c`): a line for each ancestor, oldest first, with its
//! number, the position where it was left, and a reason; `#` begins a comment.

use super::{Lsn, TimelineId};
use std::fmt;

/// The way from timeline to timeline that leads to the present of `timeline`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineHistory {
    timeline: TimelineId,
    /// Numbers and ends grow from entry to entry, and every number is below `timeline`.
    ancestors: Vec<HistoryEntry>,
}

/// An ancestor and where it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The ancestor.
    pub timeline: TimelineId,
    /// The switch point: the first byte that no longer belongs to the ancestor.
    pub end: Lsn,
}

/// Why a text is no timeline history. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Not a number, white space, and an LSN.
    #[error("line {line} is not \"timeline, switch point, reason\"")]
    Syntax {
        /// Where.
        line: usize,
    },
    /// Ancestors must be named oldest first.
    #[error("line {line} goes back: timelines must grow from line to line")]
    Order {
        /// Where.
        line: usize,
    },
    /// An ancestor with a number not below the timeline itself.
    #[error("line {line} names an ancestor that is not older than the timeline itself")]
    NotAnAncestor {
        /// Where.
        line: usize,
    },
}

/// The content of a timeline's history file.
#[derive(Clone, PartialEq, Eq)]
pub struct HistoryFile {
    /// Whose history it is.
    pub timeline: TimelineId,
    /// The bytes as the server has them.
    pub content: Vec<u8>,
}

impl fmt::Debug for HistoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HistoryFile({}, {} bytes)", self.timeline, self.content.len())
    }
}

impl TimelineHistory {
    /// A timeline without ancestors.
    pub fn root(timeline: TimelineId) -> Self {
        Self { timeline, ancestors: Vec::new() }
    }

    /// The history of `timeline` from the content of its history file.
    ///
    /// A line may go back to a position before those above it: that is what a server writes whose recovery was to
    /// follow all of them, and stopped earlier (`recovery_target_timeline = latest` with a target on an ancestor). Then
    /// nothing beyond that position was taken from them.
    ///
    /// # Errors
    /// [`HistoryError`] names the first line that PostgreSQL would not accept either.
    pub fn parse(timeline: TimelineId, content: &[u8]) -> Result<Self, HistoryError> {
        let mut ancestors: Vec<HistoryEntry> = Vec::new();
        for (index, raw) in content.split(|&byte| byte == b'\n').enumerate() {
            let line = index + 1;
            let text = String::from_utf8_lossy(raw);
            let mut words = text.split_whitespace();
            let Some(first) = words.next().filter(|word| !word.starts_with('#')) else { continue };
            let entry = Self::entry(first, words.next()).ok_or(HistoryError::Syntax { line })?;
            if entry.timeline >= timeline {
                return Err(HistoryError::NotAnAncestor { line });
            }
            if ancestors.last().is_some_and(|last| last.timeline >= entry.timeline) {
                return Err(HistoryError::Order { line });
            }
            ancestors.iter_mut().for_each(|earlier| earlier.end = earlier.end.min(entry.end));
            ancestors.push(entry);
        }
        Ok(Self { timeline, ancestors })
    }

    fn entry(timeline: &str, end: Option<&str>) -> Option<HistoryEntry> {
        Some(HistoryEntry { timeline: TimelineId::new(timeline.parse().ok()?)?, end: end?.parse().ok()? })
    }

    /// The timeline whose history this is.
    pub fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// The ancestors, oldest first.
    pub fn ancestors(&self) -> &[HistoryEntry] {
        &self.ancestors
    }

    /// Whether the way to the present leads over `timeline`.
    pub fn contains(&self, timeline: TimelineId) -> bool {
        timeline == self.timeline || self.ancestors.iter().any(|entry| entry.timeline == timeline)
    }

    /// Where `timeline` was left: `None` for the present timeline, and for one that is not in this history.
    pub fn end_of(&self, timeline: TimelineId) -> Option<Lsn> {
        self.ancestors.iter().find(|entry| entry.timeline == timeline).map(|entry| entry.end)
    }

    /// Where `timeline` begins, `0/0` for the oldest: `None` for one that is not in this history.
    pub fn begin_of(&self, timeline: TimelineId) -> Option<Lsn> {
        self.ranges().find(|(id, _, _)| *id == timeline).map(|(_, begin, _)| begin)
    }

    /// The timeline that the byte at `lsn` belongs to on the way to the present.
    pub fn timeline_at(&self, lsn: Lsn) -> TimelineId {
        self.ancestors.iter().find(|entry| lsn < entry.end).map_or(self.timeline, |entry| entry.timeline)
    }

    /// Each timeline on the way, oldest first, with its first byte and (but for the present one) the byte behind its last.
    pub fn ranges(&self) -> impl Iterator<Item = (TimelineId, Lsn, Option<Lsn>)> {
        let begins = std::iter::once(Lsn::INVALID).chain(self.ancestors.iter().map(|entry| entry.end));
        let ends = self.ancestors.iter().map(|entry| (entry.timeline, Some(entry.end)));
        begins.zip(ends.chain([(self.timeline, None)])).map(|(begin, (id, end))| (id, begin, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tli(number: u32) -> TimelineId {
        TimelineId::new(number).expect("not zero")
    }

    const OF_FOUR: &[u8] = b"1\t0/3000148\tno recovery target specified\n\n# a comment\n 2 0/5000000 x\n";

    #[test]
    fn a_history_says_who_owns_each_byte() {
        let history = TimelineHistory::parse(tli(4), OF_FOUR).expect("well-formed");
        let at = |lsn| history.timeline_at(Lsn::new(lsn)).get();
        assert_eq!([at(0), at(0x300_0147), at(0x300_0148), at(0x4FF_FFFF), at(0x500_0000)], [1, 1, 2, 2, 4]);
        assert_eq!(history.end_of(tli(2)), Some(Lsn::new(0x500_0000)));
        assert_eq!(history.begin_of(tli(2)), Some(Lsn::new(0x300_0148)));
        assert_eq!((history.end_of(tli(4)), history.begin_of(tli(3))), (None, None));
        assert!(history.contains(tli(4)) && history.contains(tli(1)) && !history.contains(tli(3)));
    }

    #[test]
    fn a_recovery_that_stopped_before_a_switch_never_came_to_it() {
        let history = TimelineHistory::parse(tli(4), b"1 0/30\n2 0/50\n3 0/20 before 2026\n").expect("PostgreSQL's");
        let at = |lsn| history.timeline_at(Lsn::new(lsn)).get();
        assert_eq!([at(0x1F), at(0x20), at(0x60)], [1, 4, 4]);
        assert_eq!(history.begin_of(tli(4)), Some(Lsn::new(0x20)));
    }

    #[test]
    fn what_postgresql_refuses_is_refused_with_its_line() {
        let check = |content: &[u8], error| assert_eq!(TimelineHistory::parse(tli(3), content), Err(error));
        check(b"x 0/1", HistoryError::Syntax { line: 1 });
        check(b"1", HistoryError::Syntax { line: 1 });
        check(b"0 0/1", HistoryError::Syntax { line: 1 });
        check(b"#\n1 0-1", HistoryError::Syntax { line: 2 });
        check(b"2 0/1\n1 0/2", HistoryError::Order { line: 2 });
        check(b"2 0/1\n2 0/2", HistoryError::Order { line: 2 });
        check(b"3 0/1", HistoryError::NotAnAncestor { line: 1 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = TimelineHistory::parse(tli(9), &content);
        }

        #[test]
        fn ranges_cover_the_log_without_a_gap(ends in proptest::collection::vec(1..u64::MAX, 0..6)) {
            let mut ends = ends;
            ends.sort_unstable();
            let text: String =
                ends.iter().enumerate().map(|(i, &end)| format!("{}\t{}\tx\n", i + 1, Lsn::new(end))).collect();
            let history = TimelineHistory::parse(tli(100), text.as_bytes()).expect("ordered");
            let ranges: Vec<_> = history.ranges().collect();
            prop_assert_eq!(ranges[0].1, Lsn::INVALID);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].2 == Some(pair[1].1)));
            prop_assert_eq!(ranges[ranges.len() - 1].2, None);
        }
    }
}
