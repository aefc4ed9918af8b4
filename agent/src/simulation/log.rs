//! The one true log: which bytes the cluster's WAL has at each place of each timeline.
//!
//! Timelines follow each other, 1, 2, 3, …; each leaves its ancestor at a switch point. What an ancestor has behind that
//! point is a divergent tail: it remains as true under the ancestor's name as it was.

use crate::wal::{SegmentName, SegmentNo, SegmentSize, TimelineId, XLOG_BLOCK_SIZE};
use bytes::Bytes;
use std::{collections::BTreeMap, fmt::Write, sync::LazyLock};

/// The smallest that a cluster can have.
pub(super) const SEGMENT: u64 = 1 << 20;
pub(super) const SYSTEM: u64 = 7_311_000_000_000_000_042;
pub(super) const SERVER_VERSION: &str = "17.5";
const MAGIC: u16 = 0xD116;
/// The longest that a page's header can be.
pub(super) const HEADER: u64 = 40;
pub(super) const PAGE: usize = XLOG_BLOCK_SIZE as usize;

/// No byte in it is zero, and no page of WAL is cut from the same place as its neighbours.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let noise = (0..64 * 1024).map(|_| {
        state = mixed(state);
        (state >> 32) as u8 | 1
    });
    noise.collect()
});

/// One step of a multiplicative hash: enough to tell places apart.
fn mixed(value: u64) -> u64 {
    let value = (value ^ value >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9).wrapping_add(0x94D0_49BB_1331_11EB);
    value ^ value >> 32
}

#[derive(Debug, Default)]
pub(super) struct Log {
    /// Where timeline 2 begins, timeline 3, ….
    switches: Vec<u64>,
    segments: BTreeMap<(u32, u64), Bytes>,
}

impl Log {
    /// The latest timeline.
    pub(super) fn timeline(&self) -> u32 {
        self.switches.len() as u32 + 1
    }

    /// The next timeline begins at `switch`.
    pub(super) fn promote(&mut self, switch: u64) {
        assert!(self.begin(self.timeline()) <= switch, "timelines begin one behind the other");
        self.switches.push(switch);
    }

    /// Where `timeline` begins.
    pub(super) fn begin(&self, timeline: u32) -> u64 {
        timeline.checked_sub(2).map_or(0, |index| self.switches[index as usize])
    }

    /// Where `timeline` was left, if it was.
    pub(super) fn end(&self, timeline: u32) -> Option<u64> {
        self.switches.get(timeline as usize - 1).copied()
    }

    /// The timelines that the bytes from `from` to `to` belong to on the way to `timeline`.
    pub(super) fn pieces(&self, timeline: u32, from: u64, to: u64) -> Vec<(u32, u64, u64)> {
        let piece = |id| {
            let end = if id == timeline { to } else { self.end(id).unwrap_or(to).min(to) };
            (id, self.begin(id).max(from), end)
        };
        (1..=timeline).map(piece).filter(|(_, from, to)| from < to).collect()
    }

    pub(super) fn history(&self, timeline: u32) -> String {
        let mut text = String::new();
        for ancestor in 1..timeline {
            let end = self.begin(ancestor + 1);
            writeln!(text, "{ancestor}\t{:X}/{:08X}\tno recovery target specified\n", end >> 32, end & 0xFFFF_FFFF)
                .expect("a string takes everything");
        }
        text
    }

    /// A whole segment of `timeline`, as it would be had the timeline gone on for ever.
    pub(super) fn segment(&mut self, timeline: u32, number: u64) -> Bytes {
        if let Some(known) = self.segments.get(&(timeline, number)) {
            return known.clone();
        }
        let start = number * SEGMENT;
        let inherited = (self.begin(timeline).clamp(start, start + SEGMENT) - start) as usize;
        let mut bytes = Vec::with_capacity(SEGMENT as usize);
        if inherited > 0 {
            bytes.extend_from_slice(&self.segment(timeline - 1, number)[..inherited]);
        }
        for index in inherited / PAGE..SEGMENT as usize / PAGE {
            let page = page(timeline, start + (index * PAGE) as u64);
            bytes.extend_from_slice(&page[bytes.len() - index * PAGE..]);
        }
        let bytes = Bytes::from(bytes);
        // A segment is the same whatever comes later, but for a timeline that has yet to get its beginning.
        self.segments.insert((timeline, number), bytes.clone());
        bytes
    }

    /// The bytes of `timeline` from `from` to `to`, which lie in one segment.
    pub(super) fn bytes(&mut self, timeline: u32, from: u64, to: u64) -> Bytes {
        let start = from - from % SEGMENT;
        self.segment(timeline, from / SEGMENT).slice((from - start) as usize..(to - start) as usize)
    }
}

/// No WAL ends within a page's header: there or behind, for a place that does.
pub(super) fn behind_header(lsn: u64) -> u64 {
    let page = lsn - lsn % PAGE as u64;
    if lsn == page { lsn } else { lsn.max(page + HEADER) }
}

/// The name of a segment's finished file.
pub(super) fn file_name(timeline: u32, segment: u64) -> String {
    let timeline = TimelineId::new(timeline).expect("timelines count from 1");
    SegmentName { timeline, segment: SegmentNo::new(segment) }.file_name(segment_size())
}

pub(super) fn segment_size() -> SegmentSize {
    SegmentSize::new(SEGMENT).expect("1 MB")
}

/// A page with its header. One in 16 is empty behind it, as behind a switch of segments.
fn page(timeline: u32, address: u64) -> Vec<u8> {
    let hash = mixed(mixed(address) ^ u64::from(timeline));
    let from = hash as usize % (NOISE.len() - PAGE);
    let mut page = if hash >> 60 == 0 { vec![0; PAGE] } else { NOISE[from..from + PAGE].to_vec() };
    let first = address.is_multiple_of(SEGMENT);
    page[..24].fill(0);
    page[..2].copy_from_slice(&MAGIC.to_le_bytes());
    page[2] = if first { 2 } else { 0 };
    page[4..8].copy_from_slice(&timeline.to_le_bytes());
    page[8..16].copy_from_slice(&address.to_le_bytes());
    if first {
        page[24..32].copy_from_slice(&SYSTEM.to_le_bytes());
        page[32..36].copy_from_slice(&(SEGMENT as u32).to_le_bytes());
        page[36..40].copy_from_slice(&XLOG_BLOCK_SIZE.to_le_bytes());
    }
    page
}
