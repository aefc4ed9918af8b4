//! The vocabulary of the write-ahead log: positions, timelines, segments, names, histories and page headers.
//!
//! Owns the rules by which PostgreSQL names and numbers WAL (`src/include/access/xlog_internal.h`,
//! `src/backend/access/transam/timeline.c`). Everything here is a pure value: this room does no I/O, knows no
//! connection and no directory, and never logs.

mod history;
mod lsn;
mod name;
mod page;
mod page_check;
mod segment;
#[cfg(test)]
pub(crate) mod testing;
mod timeline;

pub use history::{HistoryEntry, HistoryError, HistoryFile, TimelineHistory};
pub use lsn::{Lsn, ParseLsnError};
pub use name::{Compression, HistoryName, SegmentFile, SegmentName};
pub use page::{FirstPage, MAX_RECORD_LEN, PageError, PageHeader, PageMagic, SegmentHeader, XLOG_BLOCK_SIZE};
pub use page_check::{BadPage, PageCheck};
pub use segment::{InvalidSegmentSize, SegmentNo, SegmentSize};
pub use timeline::{SystemIdentifier, TimelineId};
