//! One segment file while it is being received.
//!
//! A `.partial` has its full size from the beginning, as `pg_receivewal` leaves it: space is reserved, reads as zeros, and
//! no later `fdatasync` has a size to record. One that is there already is continued in place: what arrives is compared
//! with it, a zero standing for "not yet written". Equal bytes are written again all the same: after a failed flush the
//! kernel may hold pages that never reached the disk and call them clean.

use super::{
    Claim,
    directory::{Directory, SPARE},
    error::StoreError,
    fs::{File, Open},
    spare::Spare,
};
use crate::wal::{FirstPage, Lsn, PageError, PageMagic, SegmentName};
use bytes::Bytes;
use std::{
    io::{self, IoSlice},
    sync::Arc,
};

/// Buffers handed to one `pwritev`; the kernel's own limit is 1024.
const MAX_PARTS: usize = 256;
/// So much is written before the disk is told to begin with it: a segment's last flush then has little left to do. Smaller
/// pieces only cost calls, larger ones leave the disk idle for longer.
const WRITE_BACK: u64 = 256 << 10;
/// A multiple of every page size that Linux has, 64 KiB at most.
const PAGE: u64 = 64 << 10;
/// Zeros are written in pieces of this size where a file system cannot reserve space.
const ZEROS: usize = 1 << 20;

pub(super) struct Segment {
    pub(super) name: SegmentName,
    pub(super) file_name: String,
    /// Shared with the flusher for the time of a flush.
    pub(super) file: Arc<dyn File>,
    pub(super) start: Lsn,
    /// Whether `open` made the file, so that its directory entry is not durable yet.
    pub(super) created: bool,
    /// Whether it had been prepared: it is full of zeros, not merely reserved.
    pub(super) prepared: bool,
    /// Whether the file had bytes before this stream.
    resumed: bool,
    /// Up to here the disk has been told to begin.
    begun: u64,
    /// Whether this is the finished file itself, streamed once more: nothing is left to rename.
    pub(super) finished: bool,
}

impl Segment {
    /// Opens the place for a segment: its finished file, its `.partial`, or a new one, which is `spare` if there is one.
    pub(super) fn open(
        directory: &Directory,
        claim: &Claim,
        name: SegmentName,
        spare: &mut Spare,
    ) -> Result<Self, StoreError> {
        let (fs, size) = (directory.fs.as_ref(), claim.identity.segment_size);
        let (final_name, partial) = (name.file_name(size), name.partial_file_name(size));
        let stat = |name: &str| fs.len(name).map_err(|error| directory.io("stat file", name, error));

        let finished = stat(&final_name)? == Some(size.bytes());
        let file_name = if finished { final_name } else { partial };
        let before = stat(&file_name)?;
        let start = size.start_of(name.segment);
        if before.is_none()
            && let Some(file) = spare.ready(claim)
        {
            let renamed = fs.rename(SPARE, &file_name);
            spare.used();
            if renamed.is_ok() {
                return Ok(Self {
                    name,
                    file_name,
                    file,
                    start,
                    created: true,
                    prepared: true,
                    resumed: false,
                    begun: 0,
                    finished,
                });
            }
        }
        spare.passed_over();
        let how = if finished { Open::ReadWrite } else { Open::Create(claim.mode) };
        let file =
            fs.open(&file_name, how).map_err(|error| directory.io("open write-ahead log file", &file_name, error))?;
        let (created, resumed) = (before.is_none(), before.is_some_and(|len| len > 0));
        let segment = Self { name, file_name, file, start, created, prepared: false, resumed, begun: 0, finished };
        if before != Some(size.bytes()) {
            let mut shaped = segment.shape(directory, size.bytes(), before.unwrap_or(0));
            if shaped.as_ref().is_err_and(is_full) {
                // What a spare takes up is better used here.
                spare.discard(directory);
                shaped = segment.shape(directory, size.bytes(), before.unwrap_or(0));
            }
            shaped.map_err(|error| {
                if created {
                    // Nothing is in it; a failure to remove it costs nothing either, as it is healed when reopened.
                    let _ = fs.remove(&segment.file_name);
                }
                directory.io("reserve space for write-ahead log file", &segment.file_name, error)
            })?;
        }
        Ok(segment)
    }

    /// Gives the file its full size. Bytes beyond it, if something put them there, are no WAL of this segment.
    fn shape(&self, directory: &Directory, size: u64, before: u64) -> io::Result<()> {
        if before > size {
            return self.file.set_len(size);
        }
        match self.file.reserve(size) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            done => return done,
        }
        if !directory.cannot_reserve.replace(true) {
            tracing::info!(
                "the file system cannot reserve space for a file: each segment of \"{}\" is filled with zeros first",
                directory.path_of("").display()
            );
        }
        let zeros = vec![0; ZEROS];
        let mut at = before;
        while at < size {
            let part = ZEROS.min(usize::try_from(size - at).unwrap_or(ZEROS));
            self.file.write_at(&mut [IoSlice::new(&zeros[..part])], at)?;
            at += part as u64;
        }
        Ok(())
    }

    /// Writes `parts`, one behind the other, from `offset`. They end within the segment.
    pub(super) fn write(&mut self, directory: &Directory, offset: u64, parts: &[Bytes]) -> Result<(), StoreError> {
        if self.resumed {
            self.compare(directory, offset, parts)?;
        }
        let mut at = offset;
        for batch in parts.chunks(MAX_PARTS) {
            let mut slices: Vec<IoSlice<'_>> = batch.iter().map(|part| IoSlice::new(part)).collect();
            self.file
                .write_at(&mut slices, at)
                .map_err(|error| directory.io("write to write-ahead log file", &self.file_name, error))?;
            at += batch.iter().map(|part| part.len() as u64).sum::<u64>();
        }
        // Whole pages only: the next write goes into the last one, and must not find it on its way to the disk.
        let whole = at - at % PAGE;
        if whole.saturating_sub(self.begun) >= WRITE_BACK {
            let begun = self.file.start_write_back(self.begun, whole - self.begun);
            begun.map_err(|error| directory.io("write back write-ahead log file", &self.file_name, error))?;
            self.begun = whole;
        }
        Ok(())
    }

    /// Whether the first page is this segment's; it also says which magic the server's WAL has.
    pub(super) fn check_first_page(&self, directory: &Directory, claim: &Claim) -> Result<PageMagic, StoreError> {
        let page_error = |source| StoreError::Page { path: directory.path_of(&self.file_name), source };
        let mut header = [0; FirstPage::LEN];
        self.file.read_at(&mut header, 0).map_err(|error| directory.io("read file", &self.file_name, error))?;
        let page = FirstPage::parse(&header).map_err(page_error)?;
        page.check(claim.identity.system, claim.identity.segment_size, self.name.segment).map_err(page_error)?;
        let foreign = |what, found: String, expected: String| page_error(PageError::Foreign { what, found, expected });
        if page.timeline > self.name.timeline {
            return Err(foreign("timeline", page.timeline.to_string(), self.name.timeline.to_string()));
        }
        match claim.magic {
            Some(expected) if expected != page.magic => {
                Err(foreign("magic", format!("{:04X}", page.magic.0), format!("{:04X}", expected.0)))
            }
            _ => Ok(page.magic),
        }
    }

    fn compare(&self, directory: &Directory, offset: u64, parts: &[Bytes]) -> Result<(), StoreError> {
        let mut at = offset;
        for part in parts {
            let mut kept = vec![0; part.len()];
            self.file.read_at(&mut kept, at).map_err(|error| directory.io("read file", &self.file_name, error))?;
            if let Some(index) = first_difference(&kept, part, self.finished) {
                let path = directory.path_of(&self.file_name);
                return Err(StoreError::Conflict { path, at: Lsn::new(self.start.get() + at + index as u64) });
            }
            at += part.len() as u64;
        }
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The first byte of `kept` that `received` would destroy. In a finished segment a zero is a byte like any other.
fn first_difference(kept: &[u8], received: &[u8], finished: bool) -> Option<usize> {
    if kept == received {
        return None;
    }
    kept.iter().zip(received).position(|(&kept, &received)| kept != received && (finished || kept != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_is_room_and_any_other_byte_is_kept() {
        let check = |kept: &[u8], received: &[u8], finished, expected| {
            assert_eq!(first_difference(kept, received, finished), expected, "{kept:?} {received:?}");
        };
        check(b"abc", b"abc", false, None);
        check(b"a\0\0", b"abc", false, None);
        check(b"a\0\0", b"abc", true, Some(1));
        check(b"\0\0c", b"abc", false, None);
        check(b"a\0x", b"abc", false, Some(2));
        check(b"abc", b"ab\0", false, Some(2));
    }
}
