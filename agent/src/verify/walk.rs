//! Reading one segment: its pages through a [`Walker`], the rest of its last record from the segments behind, and a
//! judgement on where the chain ends.

use super::lineage;
use super::records::{Break, First, Link, Note, PAGE, Reason, Walker};
use super::report::{Cluster, Finding, Kind};
use super::survey::{Held, Survey};
use super::tail::{Ending, Tail};
use crate::wal::{Lsn, PageCheck, SegmentName, SegmentSize, TimelineId};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What is read at a time: the memory that a thread needs.
const CHUNK: usize = 512 * 1024;

/// Findings of damage in one file that are told one by one.
const MAX_DAMAGE: usize = 10;

/// How often damage is looked at again at most.
const MAX_LOOKS: u32 = 100;

/// What is the same for all segments.
pub(super) struct Walk<'a> {
    pub(super) dir: &'a Path,
    pub(super) survey: &'a Survey,
    pub(super) cluster: Cluster,
    /// Where timelines were left, as histories say.
    pub(super) switches: &'a BTreeSet<(TimelineId, Lsn)>,
    /// Told how many bytes have been read.
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
}

/// What was found in a segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Walked {
    pub(super) first: Option<First>,
    /// The last whole record that begins here.
    pub(super) last: Option<Link>,
    /// The same, where it is known how the chain goes on behind it.
    pub(super) link: Option<Link>,
    /// No record begins here.
    pub(super) is_within_a_record: bool,
    /// Where what was received ends, if that is before the end of the segment.
    pub(super) tip: Option<Lsn>,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) findings: Vec<Finding>,
}

/// What comes behind a record that does not end in its segment.
enum Rest {
    /// What it must be, as far as the segment goes.
    Right,
    /// Not received in whole, or wrong in a way that is told elsewhere.
    Missing,
    Broken(Break),
}

impl Walk<'_> {
    /// Reads a segment that is not compressed. `chunk` is memory to be used again.
    pub(super) fn segment(&self, name: SegmentName, held: &Held, chunk: &mut Vec<u8>) -> Walked {
        chunk.resize(CHUNK, 0);
        let mut walked = self.look(name, held, chunk);
        // What looks damaged may just be being written: then another look finds it whole, and perhaps what is behind it
        // in the same state. Only what is found twice is there.
        for _ in 1..MAX_LOOKS {
            let Some(damage) = walked.damage() else { break };
            let again = self.look(name, held, chunk);
            let stays = again.damage() == Some(damage);
            walked = again;
            if stays {
                break;
            }
        }
        (self.progress)(held.len);
        walked
    }

    fn look(&self, name: SegmentName, held: &Held, chunk: &mut [u8]) -> Walked {
        let mut walked = Walked::default();
        if let Err(error) = self.read(name, held, chunk, &mut walked) {
            walked.find(Kind::Unreadable, held, None, format!("it cannot be read: {error}"));
        }
        walked
    }

    fn read(&self, name: SegmentName, held: &Held, chunk: &mut [u8], walked: &mut Walked) -> io::Result<()> {
        let size = self.cluster.segment_size;
        let (file, partial) = self.open(held)?;
        let start = size.start_of(name.segment);
        let mut walker = Walker::new(self.pages(name.timeline), size, start);
        let (mut damage, mut untold) = (0, None);
        pages(&file, size, chunk, |page| {
            let Err(broken) = walker.page(page) else { return Ok(ControlFlow::Continue(())) };
            match self.ending(&file, name, partial, start, &broken)? {
                Ending::Damage => {
                    damage += 1;
                    if damage <= MAX_DAMAGE {
                        walked.find(Kind::Damage, held, Some(broken.at), broken.reason.to_string());
                    } else {
                        untold.get_or_insert(broken.at);
                    }
                    return Ok(ControlFlow::Continue(()));
                }
                Ending::Remains(end) => {
                    let what = format!("behind the last whole record are remains up to {end}");
                    walked.find(Kind::Remains, held, Some(broken.from), what);
                }
                Ending::Tip => {}
            }
            walked.tip = Some(walker.chain().last.map_or(broken.from, |link| link.end));
            Ok(ControlFlow::Break(()))
        })?;
        if let Some(at) = untold {
            let what = format!("from here on {} more places are damaged", damage - MAX_DAMAGE);
            walked.find(Kind::MoreDamage, held, Some(at), what);
        }
        walked.bytes = walker.next().bytes_since(start).min(held.len);
        if walked.tip.is_none() {
            if walker.next() < size.end_of(name.segment) {
                walked.tip = Some(walker.next());
            } else if partial && walker.is_lost() {
                walked.tip = walker.chain().last.map(|link| link.end);
            } else if let Some(record) = walker.unfinished() {
                self.finish(name, held, record, &mut walker, walked, chunk)?;
            }
            if partial && walked.tip.is_none() {
                walked.find(Kind::NotRenamed, held, None, "it is whole".to_owned());
            }
        }
        for note in walker.notes() {
            match *note {
                Note::CutOff { record, page } => {
                    let what = format!("a crash of the server cut this record off; WAL goes on at {page}");
                    walked.find(Kind::CutOff, held, Some(record), what);
                }
                Note::BehindSwitch { at } => {
                    let what = "there are other bytes than zeros behind a segment switch".to_owned();
                    walked.find(Kind::BehindSwitch, held, Some(at), what);
                }
            }
        }
        let chain = walker.chain();
        walked.first = chain.first;
        walked.records = chain.records;
        walked.is_within_a_record = chain.is_without_a_record() && walked.tip.is_none();
        let link = walker.link().filter(|_| walked.tip.is_none());
        (walked.last, walked.link) = (chain.last, link);
        Ok(())
    }

    /// Reads the rest of the record that does not end in `name`.
    fn finish(
        &self,
        name: SegmentName,
        held: &Held,
        record: Lsn,
        walker: &mut Walker,
        walked: &mut Walked,
        chunk: &mut [u8],
    ) -> io::Result<()> {
        let mut last = name;
        loop {
            let Some(next) = lineage::behind(self.survey, self.cluster.segment_size, last) else { return Ok(()) };
            let Some(held_next) = self.survey.segments.get(&next).filter(|held| !held.compressed) else {
                return Ok(());
            };
            walker.finish_in(self.pages(next.timeline));
            match self.rest(next, held_next, walker, chunk)? {
                Rest::Right if walker.unfinished() == Some(record) => last = next,
                Rest::Right | Rest::Missing => return Ok(()),
                Rest::Broken(broken) => {
                    walked.find(Kind::Damage, held, Some(broken.at), broken.reason.to_string());
                    return Ok(());
                }
            }
        }
    }

    /// Walks through the pages of the next segment up to the end of the record, or to the end of the segment.
    fn rest(&self, name: SegmentName, held: &Held, walker: &mut Walker, chunk: &mut [u8]) -> io::Result<Rest> {
        let size = self.cluster.segment_size;
        let (file, partial) = self.open(held)?;
        let record = walker.unfinished();
        let mut rest = Rest::Right;
        pages(&file, size, chunk, |page| {
            let Err(broken) = walker.page(page) else {
                let goes_on = walker.unfinished() == record;
                return Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) });
            };
            let start = size.start_of(name.segment);
            rest = match self.ending(&file, name, partial, start, &broken)? {
                Ending::Tip | Ending::Remains(_) => Rest::Missing,
                // The next segment's own walk finds it.
                Ending::Damage if matches!(broken.reason, Reason::Page(_) | Reason::NoPage) => Rest::Missing,
                Ending::Damage => Rest::Broken(broken),
            };
            Ok(ControlFlow::Break(()))
        })?;
        Ok(rest)
    }

    /// What a break means: where a segment is still being received, or its timeline was left, a chain may end.
    fn ending(&self, file: &File, name: SegmentName, partial: bool, start: Lsn, broken: &Break) -> io::Result<Ending> {
        if !partial && !self.switches.contains(&(name.timeline, broken.from)) {
            return Ok(Ending::Damage);
        }
        let from = broken.from.max(start);
        let mut tail = Tail::new(from, broken);
        let mut at = from;
        let mut bytes = vec![0; 64 * 1024];
        while at < self.cluster.segment_size.end_of(name.segment) {
            // Up to a boundary of sectors, also where `from` is none.
            let len = bytes.len() - (at.get() % 512) as usize;
            let read = file.read_at(bytes.get_mut(..len).unwrap_or_default(), at.bytes_since(start))?;
            if read == 0 {
                break;
            }
            tail.take(at, bytes.get(..read).unwrap_or_default());
            at = Lsn::new(at.get() + read as u64);
        }
        Ok(tail.ending())
    }

    fn pages(&self, timeline: TimelineId) -> PageCheck {
        let Cluster { system, segment_size, magic } = self.cluster;
        PageCheck::new(magic, system, segment_size, self.survey.history_of(timeline))
    }

    /// Opens a segment's file, which a living agent may have finished meanwhile; says whether it is still partial.
    fn open(&self, held: &Held) -> io::Result<(File, bool)> {
        match File::open(self.dir.join(&held.file)) {
            Err(error) if held.partial && error.kind() == io::ErrorKind::NotFound => {
                let name = held.file.strip_suffix(".partial").unwrap_or(&held.file);
                Ok((File::open(self.dir.join(name))?, false))
            }
            opened => Ok((opened?, held.partial)),
        }
    }
}

impl Walked {
    /// The first place that is damaged.
    fn damage(&self) -> Option<Lsn> {
        self.findings.iter().find(|finding| finding.kind == Kind::Damage)?.at
    }

    fn find(&mut self, kind: Kind, held: &Held, at: Option<Lsn>, what: String) {
        self.findings.push(Finding { kind, file: Some(held.file.clone()), at, to: None, what });
    }
}

/// Hands each whole page of a segment to `page` until that has enough.
fn pages(
    file: &File,
    size: SegmentSize,
    chunk: &mut [u8],
    mut page: impl FnMut(&[u8]) -> io::Result<ControlFlow<()>>,
) -> io::Result<()> {
    let mut at = 0;
    while at < size.bytes() {
        let mut have = 0;
        while let Some(room) = chunk.get_mut(have..).filter(|room| !room.is_empty()) {
            match file.read_at(room, at + have as u64)? {
                0 => break,
                read => have += read,
            }
        }
        let have = (size.bytes() - at).min(have as u64) as usize;
        for bytes in chunk.get(..have).unwrap_or_default().chunks_exact(PAGE) {
            if page(bytes)?.is_break() {
                return Ok(());
            }
        }
        if have < PAGE {
            return Ok(());
        }
        at += have as u64;
    }
    Ok(())
}

/// The first byte in which two files differ, of the first `len`.
pub(super) fn first_difference(one: &Path, other: &Path, len: u64) -> io::Result<Option<u64>> {
    let (one, other) = (File::open(one)?, File::open(other)?);
    let (mut ours, mut theirs) = (vec![0; CHUNK / 2], vec![0; CHUNK / 2]);
    let mut at = 0;
    while at < len {
        let want = (len - at).min(ours.len() as u64) as usize;
        let (ours, theirs) = (ours.get_mut(..want).unwrap_or_default(), theirs.get_mut(..want).unwrap_or_default());
        one.read_exact_at(ours, at)?;
        other.read_exact_at(theirs, at)?;
        if ours != theirs {
            let difference = ours.iter().zip(&*theirs).position(|(one, other)| one != other);
            return Ok(difference.map(|offset| at + offset as u64));
        }
        at += want as u64;
    }
    Ok(None)
}
