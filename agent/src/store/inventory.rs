//! What a directory holds, by names and sizes alone: cost does not grow with what is in the files.

use super::{error::StoreError, fs::FileSystem};
use crate::wal::{Compression, HistoryName, SegmentFile, SegmentName, SegmentSize, TimelineId};
use std::collections::{BTreeMap, BTreeSet};

/// The segments and histories of a directory. Everything else in it is none of our business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// By segment, then timeline. Where both are there, the finished file hides the partial one.
    pub segments: BTreeMap<SegmentName, Held>,
    /// The timelines whose history is kept.
    pub histories: BTreeSet<TimelineId>,
    /// Files with a finished segment's name that cannot be one.
    pub wrong_size: Vec<WrongSize>,
}

/// How a segment is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// As a `.partial`: from its beginning up to somewhere.
    Partial,
    /// Whole.
    Complete,
}

/// A file that has a finished segment's name and another size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongSize {
    /// The file.
    pub name: String,
    /// Its size in bytes.
    pub len: u64,
}

impl Inventory {
    pub(super) fn take(
        fs: &dyn FileSystem,
        size: SegmentSize,
        io: impl Fn(&'static str, &str, std::io::Error) -> StoreError,
    ) -> Result<Self, StoreError> {
        let mut inventory = Self::default();
        for name in fs.list().map_err(|error| io("read directory", "", error))? {
            if let Some(HistoryName(timeline)) = HistoryName::parse(&name) {
                inventory.histories.insert(timeline);
                continue;
            }
            let Some(file) = SegmentFile::parse(&name, size) else { continue };
            let Some(len) = fs.len(&name).map_err(|error| io("stat file", &name, error))? else { continue };
            if !file.partial && file.compression == Compression::None && len != size.bytes() {
                inventory.wrong_size.push(WrongSize { name, len });
                continue;
            }
            let held = if file.partial { Held::Partial } else { Held::Complete };
            let entry = inventory.segments.entry(file.name).or_insert(held);
            *entry = held.max(*entry);
        }
        inventory.wrong_size.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(inventory)
    }
}
