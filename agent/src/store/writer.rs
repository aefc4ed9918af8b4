//! Receives WAL in order and decides, file by file, what is written, flushed and renamed when.
//!
//! A state machine without a thread of its own: [`super::engine`] feeds it jobs and runs the work that it asks for.
//! For each segment there is one `fdatasync` at its end and one `fsync` of the directory, which makes its `.partial` entry
//! and the previous segment's final name durable together; acknowledgements bring their own.

use super::{
    Claim, FlushMode, OnDurable,
    directory::Directory,
    error::StoreError,
    segment::Segment,
    spare::{Fill, Filled, Situation, Spare},
    work::{Dirty, Flush, FlushError},
};
use crate::{
    counters::Counters,
    verbose,
    wal::{FirstPage, Lsn, PageMagic, SegmentName, TimelineId},
};
use bytes::Bytes;
use std::{collections::VecDeque, mem, sync::Arc};
use tokio::sync::watch;

#[cfg(test)]
mod tests;

/// Segments that are full but not yet durable. Beyond this, what arrives waits in memory, and so does the server.
const MAX_FULL: usize = 4;

/// Writes of so many bytes are announced: whoever has stopped reading may go on. Smaller ones are seen by whoever looks.
const NOTICE: u64 = 64 << 10;

/// Tells one stream's progress from an earlier one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamId(pub u64);

/// What the store has done with the WAL it was given.
///
/// `flushed` ≤ `written`, and within one stream both only grow.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The stream that this is about.
    pub stream: StreamId,
    /// The byte behind the last one that the operating system has.
    pub written: Lsn,
    /// The byte behind the last one that is durable, with its directory entry.
    pub flushed: Lsn,
    /// Whether more is to come.
    pub state: State,
}

/// The state of a stream's files.
#[derive(Clone, Debug, Default)]
pub enum State {
    /// Files are open.
    Open,
    /// Everything received is durable and no file is open: also before any stream has begun.
    #[default]
    Closed,
    /// Something failed: nothing was written after that.
    Failed(Arc<StoreError>),
}

impl Progress {
    /// Takes over that a flush of `stream` has made everything before `upto` durable: whether that is news.
    pub(super) fn raise_flushed(&mut self, stream: StreamId, upto: Lsn) -> bool {
        let news = self.stream == stream && upto > self.flushed;
        if news {
            self.flushed = upto;
        }
        news
    }
}

pub(super) struct Writer {
    mode: FlushMode,
    progress: Arc<watch::Sender<Progress>>,
    stream: Option<Stream>,
    /// Also an earlier stream's: its failure may take bytes of this one, in the same file, which this one's next flush would
    /// not miss.
    in_flight: Option<InFlight>,
    /// Changes to the directory so far, and how many of them are durable.
    changes: u64,
    durable_changes: u64,
    /// How a server of unknown major marks its pages: learned from the first segment, and then held.
    learned_magic: Option<PageMagic>,
    spare: Spare,
    hurried: bool,
    counters: Counters,
}

struct Stream {
    id: StreamId,
    claim: Claim,
    timeline: TimelineId,
    on_durable: OnDurable,
    /// Everything before this is in `open` or an earlier segment.
    written: Lsn,
    /// Everything before this is durable: never beyond `written`.
    flushed: Lsn,
    /// Received, not yet written; contiguous from `written`.
    waiting: VecDeque<Bytes>,
    waiting_bytes: u64,
    /// Whether the server had no more than this when it sent the last of it.
    caught_up: bool,
    /// The segment that holds `written`, once its first byte has arrived.
    open: Option<Segment>,
    /// The change that made the entry of `open`: durable once `durable_changes` has reached it.
    open_since: u64,
    /// Written to their ends, oldest first, each with the change that made its entry; renamed once durable.
    full: VecDeque<(Segment, u64)>,
    /// Somebody asked for everything up to here to be durable.
    wanted: Option<Lsn>,
    finishing: bool,
}

struct InFlight {
    stream: StreamId,
    upto: Lsn,
    changes: u64,
}

impl Writer {
    pub(super) fn new(mode: FlushMode, progress: Arc<watch::Sender<Progress>>, counters: Counters) -> Self {
        Self {
            mode,
            progress,
            stream: None,
            in_flight: None,
            changes: 0,
            durable_changes: 0,
            learned_magic: None,
            spare: Spare::default(),
            hurried: false,
            counters,
        }
    }

    pub(super) fn begin(
        &mut self,
        directory: &Directory,
        id: StreamId,
        claim: Claim,
        timeline: TimelineId,
        start: Lsn,
        on_durable: OnDurable,
    ) {
        self.spare.discard(directory);
        // Whatever an earlier stream did to the directory without a flush is still to be made durable.
        self.changes += 1;
        self.stream = Some(Stream {
            id,
            claim: Claim { magic: claim.magic.or(self.learned_magic), ..claim },
            timeline,
            on_durable,
            written: start,
            flushed: start,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            caught_up: false,
            open: None,
            open_since: 0,
            full: VecDeque::new(),
            wanted: None,
            finishing: false,
        });
        self.publish(State::Open);
    }

    /// Takes the next bytes. They are written by [`Self::advance`].
    pub(super) fn append(&mut self, at: Lsn, data: Bytes, caught_up: bool) {
        let Some(stream) = &mut self.stream else { return };
        let expected = stream.received();
        if at != expected || expected.checked_add(data.len() as u64).is_none() {
            return self.fail(StoreError::Discontinuous { at, expected });
        }
        stream.waiting_bytes += data.len() as u64;
        stream.waiting.push_back(data);
        stream.caught_up = caught_up;
    }

    /// Everything received so far, and pending renames, shall be durable soon.
    pub(super) fn flush(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.wanted = Some(stream.received());
        }
    }

    /// Nothing more comes: make everything durable and close.
    pub(super) fn finish(&mut self, directory: &Directory) {
        self.spare.discard(directory);
        match &mut self.stream {
            Some(stream) => stream.finishing = true,
            None => self.publish_if_open(State::Closed),
        }
    }

    /// Writes what can be written, and says which flush is due now, if one is and none is under way.
    pub(super) fn advance(&mut self, directory: &Directory) -> Option<Flush> {
        if let Err(error) = self.write(directory) {
            self.fail(error);
            return None;
        }
        loop {
            let flush = self.next_flush(directory)?;
            if self.mode != FlushMode::NoSync {
                return Some(flush);
            }
            // "Never" is at once: renames follow as if the disk had answered.
            self.flushed(directory, flush.stream, Ok(()));
            if let Err(error) = self.write(directory) {
                self.fail(error);
                return None;
            }
        }
    }

    /// Says which part of a spare segment is to be filled now, if one is and none is under way.
    pub(super) fn prepare(&mut self) -> Option<Fill> {
        let stream = self.stream.as_ref().filter(|stream| stream.open.is_some() && !stream.finishing)?;
        let offset = stream.claim.identity.segment_size.offset_of(stream.written);
        let situation = Situation { mode: self.mode, caught_up: stream.caught_up, offset };
        self.spare.due(&stream.claim, &situation)
    }

    /// A part of a spare segment has been filled, or could not be.
    pub(super) fn filled(&mut self, directory: &Directory, filled: Filled) {
        self.spare.filled(directory, filled);
    }

    /// Somebody waits for what is not written yet: nothing is waited for to make it faster, and it is announced.
    pub(super) fn hurry(&mut self) {
        self.hurried = true;
    }

    /// A flush has returned.
    pub(super) fn flushed(&mut self, directory: &Directory, id: StreamId, result: Result<(), FlushError>) {
        let flight = self.in_flight.take();
        let Some(stream) = &mut self.stream else { return };
        if let Err((doing, name, source)) = result {
            return self.fail(directory.io(doing, &name, source));
        }
        let Some(flight) = flight.filter(|flight| flight.stream == id && stream.id == id) else { return };
        stream.flushed = flight.upto;
        self.durable_changes = self.durable_changes.max(flight.changes);
        // Acknowledged first, renamed second: a commit waits for the former only.
        self.publish(State::Open);
        if let Err(error) = self.rename_full(directory) {
            self.fail(error);
        }
    }

    fn write(&mut self, directory: &Directory) -> Result<(), StoreError> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let before = stream.written;
        while !stream.waiting.is_empty() && stream.full.len() < MAX_FULL {
            // A later entry must not survive a crash that loses an earlier one: the next start would see no hole.
            let entry_pending = stream.full.iter().any(|(_, entry)| *entry > self.durable_changes);
            if stream.open.is_none() && entry_pending && self.mode != FlushMode::NoSync {
                break;
            }
            // A spare gets its name only when everything before it is durable. Who is in a hurry does without it.
            if stream.open.is_none() && !stream.full.is_empty() && self.spare.ready(&stream.claim).is_some() {
                if !self.hurried {
                    break;
                }
                self.spare.discard(directory);
            }
            let size = stream.claim.identity.segment_size;
            let mut segment = match stream.open.take() {
                Some(segment) => segment,
                None => {
                    let name = SegmentName { segment: size.segment_of(stream.written), timeline: stream.timeline };
                    let segment = Segment::open(directory, &stream.claim, name, &mut self.spare)?;
                    self.changes += u64::from(segment.created);
                    self.counters.prepared_segments.inc_by(u64::from(segment.prepared));
                    // Entries that were there are taken for durable only after a directory fsync of this stream.
                    stream.open_since = self.changes;
                    segment
                }
            };
            let offset = size.offset_of(stream.written);
            let room = size.bytes() - offset;
            let (parts, len) = stream.take_waiting(room);
            let written = segment.write(directory, offset, &parts);
            let segment = stream.open.insert(segment);
            written?;
            stream.written = Lsn::new(stream.written.get() + len);
            self.counters.written_bytes.inc_by(len);
            // As soon as its header has arrived: what is not this cluster's is never reported as written.
            let header = FirstPage::LEN as u64;
            if (offset..offset + len).contains(&(header - 1)) {
                let magic = Some(segment.check_first_page(directory, &stream.claim)?);
                (stream.claim.magic, self.learned_magic) = (magic, magic);
            }
            if len == room {
                let since = stream.open_since;
                stream.full.extend(stream.open.take().map(|segment| (segment, since)));
            }
        }
        if stream.written != before {
            self.publish(State::Open);
        }
        self.hurried = false;
        Ok(())
    }

    fn next_flush(&mut self, directory: &Directory) -> Option<Flush> {
        let stream = self.stream.as_mut().filter(|_| self.in_flight.is_none())?;
        let asked = stream.wanted.is_some() || (stream.finishing && stream.waiting.is_empty());
        let everything = asked || self.mode == FlushMode::Synchronous || self.mode == FlushMode::NoSync;
        let dirty_directory = self.changes > self.durable_changes && self.mode != FlushMode::NoSync;

        let mut upto = stream.flushed;
        let mut files = Vec::new();
        let mut since = 0;
        let open = stream.open.as_ref().filter(|_| everything && stream.written > stream.flushed);
        let full = stream.full.iter().map(|(segment, since)| (segment, *since));
        for (segment, entry) in full.chain(open.map(|segment| (segment, stream.open_since))) {
            let end = stream.claim.identity.segment_size.end_of(segment.name.segment);
            let (name, file) = (segment.file_name.clone(), segment.file.clone());
            files.push(Dirty { name, file, complete: end <= stream.written });
            since = since.max(entry);
            upto = upto.max(end.min(stream.written));
        }
        if stream.wanted.is_some_and(|wanted| wanted <= stream.written) {
            stream.wanted = None;
        }
        // A new segment's entry is made durable at once, while the segment fills.
        let new_entry = stream.open.is_some() && stream.open_since > self.durable_changes;
        let directory_is_due = dirty_directory && (asked || new_entry || since > self.durable_changes);
        if files.is_empty() && !directory_is_due {
            if stream.finishing && stream.waiting.is_empty() {
                self.close(directory);
            }
            return None;
        }
        let changes = if directory_is_due { self.changes } else { self.durable_changes };
        self.in_flight = Some(InFlight { stream: stream.id, upto, changes });
        let (progress, on_durable) = (Arc::downgrade(&self.progress), stream.on_durable.clone());
        let took = self.counters.flush_seconds.clone();
        Some(Flush { stream: stream.id, files, directory: directory_is_due, upto, progress, on_durable, took })
    }

    fn rename_full(&mut self, directory: &Directory) -> Result<(), StoreError> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let size = stream.claim.identity.segment_size;
        while let Some((segment, _)) = stream.full.front() {
            let end = size.end_of(segment.name.segment);
            if end > stream.flushed {
                break;
            }
            if !segment.finished {
                let name = segment.name.file_name(size);
                directory
                    .fs
                    .rename(&segment.file_name, &name)
                    .map_err(|error| directory.io("rename file", &segment.file_name, error))?;
                self.changes += 1;
            }
            verbose!("finished segment at {end} (timeline {})", stream.timeline);
            self.counters.finished_segments.inc();
            stream.full.pop_front();
        }
        Ok(())
    }

    fn close(&mut self, directory: &Directory) {
        let Some(stream) = self.stream.take() else { return };
        if let Some(segment) = stream.open.filter(|segment| !segment.finished) {
            let path = directory.path_of(&segment.file_name);
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            tracing::info!("not renaming \"{name}\", segment is not complete");
        }
        self.publish_if_open(State::Closed);
    }

    fn fail(&mut self, error: StoreError) {
        self.stream = None;
        self.publish_if_open(State::Failed(Arc::new(error)));
    }

    fn publish(&self, state: State) {
        let Some(stream) = &self.stream else { return };
        self.progress.send_if_modified(|progress| {
            let news = Progress { stream: stream.id, written: stream.written, flushed: stream.flushed, state };
            let same =
                progress.stream == news.stream && matches!((&progress.state, &news.state), (State::Open, State::Open));
            if !same {
                *progress = news;
                return true;
            }
            // A small write is not worth waking anybody: its flush follows, and tells both.
            let wrote = news.written.bytes_since(progress.written);
            progress.written = news.written;
            progress.raise_flushed(news.stream, news.flushed) || wrote >= NOTICE || (self.hurried && wrote > 0)
        });
    }

    /// Ends the stream that was published last, unless it has ended already.
    fn publish_if_open(&self, state: State) {
        self.progress.send_if_modified(|progress| {
            let open = matches!(progress.state, State::Open);
            if open {
                progress.state = state;
            }
            open
        });
    }
}

impl Stream {
    fn received(&self) -> Lsn {
        Lsn::new(self.written.get() + self.waiting_bytes)
    }

    /// Up to `room` bytes from the front of what waits.
    fn take_waiting(&mut self, room: u64) -> (Vec<Bytes>, u64) {
        let (mut parts, mut len) = (Vec::new(), 0);
        while let Some(front) = self.waiting.front_mut() {
            let fits = usize::try_from(room - len).unwrap_or(usize::MAX);
            let part = if front.len() <= fits { mem::take(front) } else { front.split_to(fits) };
            if front.is_empty() {
                self.waiting.pop_front();
            }
            len += part.len() as u64;
            parts.push(part);
            if len == room {
                break;
            }
        }
        self.waiting_bytes -= len;
        (parts, len)
    }
}
