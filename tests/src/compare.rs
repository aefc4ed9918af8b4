//! Whether receivers' directories are what they must be: equal to each other, and to the server's pg_wal.
//!
//! A finished segment or a history file must be equal to the last byte, in name and mode too. A `.partial` must be equal
//! as far as both have received; what is beyond that must be zeros. The agent's own `.wal-agent` is the only entry that
//! may be on one side alone.

use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use wal_agent::wal::{HistoryName, SegmentFile, SegmentName, SegmentNo, SegmentSize};

/// What was compared and found equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Equal {
    /// Finished segments.
    pub segments: usize,
    /// Segments still being received.
    pub partials: usize,
    /// History files.
    pub histories: usize,
    /// Bytes of WAL that were compared.
    pub bytes: u64,
}

/// Compares the agent's directory with that of `pg_receivewal`, which streamed the same server.
///
/// # Errors
/// A list of all differences; or a directory cannot be read.
pub fn receivers(agent: &Path, reference: &Path, size: SegmentSize) -> Result<Equal> {
    let mut report = Report::default();
    let (ours, theirs) = (entries(agent)?, entries(reference)?);
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        let (Some(our), Some(their)) = (ours.get(name), theirs.get(name)) else {
            if name != ".wal-agent" {
                let dir = if ours.contains_key(name) { agent } else { reference };
                report.differ(name, format_args!("only in {}", dir.display()));
            }
            continue;
        };
        if our.mode != their.mode {
            report.differ(name, format_args!("mode {:o}, in the reference {:o}", our.mode, their.mode));
        }
        if our.size != their.size {
            report.differ(name, format_args!("{} bytes, in the reference {}", our.size, their.size));
        }
        let extent = match Kind::of(name, size) {
            Kind::Partial(_) => Extent::BothReceived,
            Kind::Finished(_) | Kind::History | Kind::Other => Extent::Whole,
        };
        report.count(Kind::of(name, size));
        report.contents(name, &agent.join(name), &reference.join(name), extent)?;
    }
    report.finish(format_args!("{} and {}", agent.display(), reference.display()))
}

/// Compares a receiver's directory with the server's pg_wal: all that is in the directory must be there, equal, and
/// no segment may be missing between the first and the last.
///
/// # Errors
/// A list of all differences; or a directory cannot be read.
pub fn with_server(receiver: &Path, pg_wal: &Path, size: SegmentSize) -> Result<Equal> {
    let mut report = Report::default();
    let mut received = BTreeSet::<SegmentNo>::new();
    for (name, entry) in entries(receiver)? {
        let kind = Kind::of(&name, size);
        let (theirs, extent) = match kind {
            Kind::Finished(segment) => (segment.file_name(size), Extent::Whole),
            Kind::Partial(segment) => (segment.file_name(size), Extent::FirstReceived),
            Kind::History => (name.clone(), Extent::Whole),
            Kind::Other if name == ".wal-agent" => continue,
            Kind::Other => {
                report.differ(&name, format_args!("no receiver writes a file of this name"));
                continue;
            }
        };
        if let Kind::Finished(segment) | Kind::Partial(segment) = kind {
            received.insert(segment.segment);
            if entry.size != size.bytes() {
                report.differ(&name, format_args!("{} bytes", entry.size));
            }
        }
        report.count(kind);
        if pg_wal.join(&theirs).is_file() {
            report.contents(&name, &receiver.join(&name), &pg_wal.join(&theirs), extent)?;
        } else {
            report.differ(&name, format_args!("the server does not have it (any more)"));
        }
    }
    for pair in received.iter().zip(received.iter().skip(1)).filter(|(a, b)| a.next() != **b) {
        report.differ("a gap", format_args!("segment number {} is followed by {}", pair.0.get(), pair.1.get()));
    }
    report.finish(format_args!("{} and {}", receiver.display(), pg_wal.display()))
}

/// What an entry of a receiver's directory is.
#[derive(Clone, Copy)]
enum Kind {
    Finished(SegmentName),
    Partial(SegmentName),
    History,
    Other,
}

impl Kind {
    fn of(name: &str, size: SegmentSize) -> Self {
        match SegmentFile::parse(name, size) {
            Some(file) if file.partial => Self::Partial(file.name),
            Some(file) => Self::Finished(file.name),
            None if HistoryName::parse(name).is_some() => Self::History,
            None => Self::Other,
        }
    }
}

/// How far two files have to be equal.
#[derive(Clone, Copy)]
enum Extent {
    /// To the last byte.
    Whole,
    /// As far as both have received; beyond the end of what one has received there are zeros.
    BothReceived,
    /// As far as the first has received: the second is the server's, which may hold anything beyond.
    FirstReceived,
}

struct Entry {
    mode: u32,
    size: u64,
}

fn entries(dir: &Path) -> Result<BTreeMap<String, Entry>> {
    let read = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    read.map(|entry| {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        Ok((name, Entry { mode: metadata.permissions().mode() & 0o7777, size: metadata.len() }))
    })
    .collect()
}

#[derive(Default)]
struct Report {
    equal: Equal,
    differences: String,
}

impl Report {
    fn differ(&mut self, name: &str, what: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.differences, "  {name}: {what}");
    }

    fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Finished(_) => self.equal.segments += 1,
            Kind::Partial(_) => self.equal.partials += 1,
            Kind::History => self.equal.histories += 1,
            Kind::Other => {}
        }
    }

    fn contents(&mut self, name: &str, ours: &Path, theirs: &Path, extent: Extent) -> Result<()> {
        let end = match extent {
            Extent::Whole => u64::MAX,
            Extent::BothReceived => received(ours)?.min(received(theirs)?),
            Extent::FirstReceived => received(ours)?,
        };
        let (equal, difference) = compare(ours, theirs, end)?;
        self.equal.bytes += equal;
        if let Some(what) = difference {
            self.differ(name, format_args!("{what}"));
        }
        Ok(())
    }

    fn finish(self, what: fmt::Arguments<'_>) -> Result<Equal> {
        ensure!(self.differences.is_empty(), "{what} differ:\n{}", self.differences);
        Ok(self.equal)
    }
}

const CHUNK: usize = 1 << 20;

/// The end of what was received into a file: behind it are zeros only.
///
/// # Errors
/// It cannot be read.
pub fn received(path: &Path) -> Result<u64> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let zeros = vec![0; CHUNK];
    let (mut chunk, mut position, mut end) = (vec![0; CHUNK], 0, 0);
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(end);
        }
        // Compared as a whole first: byte by byte, 1 GB takes long without optimisation.
        if chunk[..read] != zeros[..read]
            && let Some(last) = chunk[..read].iter().rposition(|byte| *byte != 0)
        {
            end = position + last as u64 + 1;
        }
        position += read as u64;
    }
}

/// How many bytes of the first `end` were compared, and the first difference.
fn compare(ours: &Path, theirs: &Path, end: u64) -> Result<(u64, Option<String>)> {
    let open = |path: &Path| -> Result<_> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(BufReader::with_capacity(CHUNK, file.take(end)))
    };
    let (mut ours, mut theirs) = (open(ours)?, open(theirs)?);
    let (mut a, mut b, mut position) = (Vec::new(), Vec::new(), 0);
    loop {
        a.clear();
        b.clear();
        ours.by_ref().take(CHUNK as u64).read_to_end(&mut a)?;
        theirs.by_ref().take(CHUNK as u64).read_to_end(&mut b)?;
        if a != b {
            let offset = a.iter().zip(&b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
            let at = |bytes: &[u8]| bytes.get(offset).map_or("end of file".into(), |byte| format!("{byte:02x}"));
            let what = format!("byte {:#x} is {}, expected was {}", position + offset as u64, at(&a), at(&b));
            return Ok((position, Some(what)));
        }
        position += a.len() as u64;
        if a.len() < CHUNK {
            return Ok((position, None));
        }
    }
}

#[cfg(test)]
mod tests;
