//! The directory by names, sizes and first pages: whose WAL it is, which segments there are, and how timelines hang
//! together. No segment is read beyond its first page here.

use super::report::{Cluster, Finding, Kind};
use crate::wal::{
    Compression, FirstPage, HistoryName, PageMagic, SegmentFile, SegmentName, SegmentSize, SystemIdentifier,
    TimelineHistory, TimelineId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// What the agent keeps for itself.
const OWN: &str = ".wal-agent";

/// Far more than any history or identity record has.
const MAX_TEXT: u64 = 1 << 20;

/// What there is.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    pub(super) cluster: Option<Cluster>,
    /// The segments of the cluster, each once.
    pub(super) segments: BTreeMap<SegmentName, Held>,
    pub(super) histories: BTreeMap<TimelineId, TimelineHistory>,
    pub(super) unknown: Vec<String>,
    pub(super) findings: Vec<Finding>,
}

/// How a segment is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) file: String,
    pub(super) len: u64,
    pub(super) partial: bool,
    pub(super) compressed: bool,
}

impl Survey {
    /// Looks at `dir`.
    ///
    /// # Errors
    /// It cannot be listed.
    pub(super) fn take(dir: &Path) -> io::Result<Self> {
        let mut survey = Self::default();
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let mut name = entry?.file_name().to_string_lossy().into_owned();
            let mut metadata = fs::metadata(dir.join(&name));
            if metadata.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                // A living agent has finished it since it was listed, or removed it.
                name = name.strip_suffix(".partial").unwrap_or(&name).to_owned();
                metadata = fs::metadata(dir.join(&name));
            }
            match metadata {
                Ok(metadata) if metadata.is_file() && is_a_segments(&name) => files.push((name, metadata.len())),
                Ok(metadata) if metadata.is_file() && HistoryName::parse(&name).is_some() => survey.history(dir, &name),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                _ if name == OWN => {}
                _ => survey.unknown.push(name),
            }
        }
        files.sort();
        files.dedup_by(|one, other| one.0 == other.0);
        survey.unknown.sort();
        let first_pages = survey.first_pages(dir, &files);
        survey.cluster = survey.identify(dir, &first_pages);
        survey.segments(files, &first_pages);
        survey.relate_histories();
        Ok(survey)
    }

    /// The history of a timeline, without ancestors where it is not known.
    pub(super) fn history_of(&self, timeline: TimelineId) -> TimelineHistory {
        self.histories.get(&timeline).cloned().unwrap_or_else(|| TimelineHistory::root(timeline))
    }

    fn find(&mut self, kind: Kind, file: &str, what: String) {
        self.findings.push(Finding { kind, file: Some(file.to_owned()), at: None, to: None, what });
    }

    fn history(&mut self, dir: &Path, name: &str) {
        let Some(HistoryName(timeline)) = HistoryName::parse(name) else { return };
        let content = match read_text(&dir.join(name)) {
            Ok(content) => content,
            Err(error) => return self.find(Kind::Unreadable, name, format!("it cannot be read: {error}")),
        };
        match TimelineHistory::parse(timeline, &content) {
            Ok(history) if history.ancestors().is_empty() => {
                self.find(Kind::History, name, "it names no ancestor".to_owned());
            }
            Ok(history) => drop(self.histories.insert(timeline, history)),
            Err(error) => self.find(Kind::History, name, format!("it is no timeline history: {error}")),
        }
    }

    /// An ancestor's own history must be the beginning of each descendant's.
    fn relate_histories(&mut self) {
        let mut contradictions = Vec::new();
        for (timeline, history) in &self.histories {
            for (index, entry) in history.ancestors().iter().enumerate() {
                let Some(ancestor) = self.histories.get(&entry.timeline) else { continue };
                let before = ancestor.ancestors().iter().map(|older| (older.timeline, older.end.min(entry.end)));
                if !before.eq(history.ancestors().iter().take(index).map(|older| (older.timeline, older.end))) {
                    contradictions.push((*timeline, entry.timeline));
                }
            }
        }
        for (timeline, ancestor) in contradictions {
            let what = format!("it tells another way to timeline {ancestor} than {}", HistoryName(ancestor));
            self.find(Kind::History, &HistoryName(timeline).to_string(), what);
        }
        let timelines: BTreeSet<TimelineId> = self.segments.keys().map(|name| name.timeline).collect();
        for timeline in timelines {
            let name = HistoryName(timeline).to_string();
            let known = self.histories.contains_key(&timeline) || timeline == TimelineId::FIRST;
            if !known && !self.findings.iter().any(|finding| finding.file.as_ref() == Some(&name)) {
                self.find(Kind::NoHistory, &name, "the history file is missing".to_owned());
            }
        }
    }

    /// The first pages that can be read as such.
    fn first_pages(&mut self, dir: &Path, files: &[(String, u64)]) -> BTreeMap<String, FirstPage> {
        let mut pages = BTreeMap::new();
        for (name, _) in files.iter().filter(|(name, _)| !is_compressed(name)) {
            let mut bytes = Vec::new();
            let read =
                File::open(dir.join(name)).and_then(|file| file.take(FirstPage::LEN as u64).read_to_end(&mut bytes));
            if read.is_ok()
                && let Ok(page) = FirstPage::parse(&bytes)
            {
                pages.insert(name.clone(), page);
            }
        }
        pages
    }

    /// Whose WAL this is: what the record says, or without one what most segments say.
    fn identify(&mut self, dir: &Path, pages: &BTreeMap<String, FirstPage>) -> Option<Cluster> {
        let file = format!("{OWN}/identity");
        let record = match read_text(&dir.join(&file)) {
            Ok(record) => parse_identity(&record),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.find(Kind::Unreadable, &file, format!("it cannot be read: {error}"));
                None
            }
        };
        if dir.join(&file).exists() && record.is_none() {
            self.find(Kind::Identity, &file, "it is no identity record".to_owned());
        }
        let mut votes: BTreeMap<(u64, u64, PageMagic), usize> = BTreeMap::new();
        for page in pages.values() {
            *votes.entry((page.system.get(), page.segment_size.bytes(), page.magic)).or_default() += 1;
        }
        let winner = |of: Option<(u64, u64)>| {
            let votes = votes.iter().filter(|((system, size, _), _)| of.is_none_or(|own| own == (*system, *size)));
            votes.max_by_key(|(_, votes)| **votes).map(|(candidate, _)| *candidate)
        };
        let (system, size, magic) = match record {
            Some((system, size)) => {
                if winner(Some((system, size))).is_none() && !pages.is_empty() {
                    let what = format!("it names cluster {system}, of which there is no segment");
                    self.find(Kind::Identity, &file, what);
                }
                (system, size, winner(Some((system, size))).map(|(_, _, magic)| magic))
            }
            None => winner(None).map(|(system, size, magic)| (system, size, Some(magic)))?,
        };
        Some(Cluster { system: SystemIdentifier::new(system), segment_size: SegmentSize::new(size).ok()?, magic })
    }

    /// Sorts the files: this cluster's segments, each once, and what is wrong with the others.
    fn segments(&mut self, files: Vec<(String, u64)>, pages: &BTreeMap<String, FirstPage>) {
        let Some(cluster) = self.cluster else {
            for (name, _) in files {
                let compressed = is_compressed(&name);
                let kind = if compressed { Kind::Compressed } else { Kind::Damage };
                let what = if compressed { "it is compressed" } else { "it does not begin as a segment does" };
                self.find(kind, &name, what.to_owned());
            }
            return;
        };
        for (name, len) in files {
            if let Some(page) = pages.get(&name)
                && (page.system, page.segment_size) != (cluster.system, cluster.segment_size)
            {
                let (system, size) = (page.system, page.segment_size);
                self.find(Kind::Foreign, &name, format!("it belongs to cluster {system} with segments of {size}"));
                continue;
            }
            let Some(file) = SegmentFile::parse(&name, cluster.segment_size) else {
                let what = format!("no segment of {} has this name", cluster.segment_size);
                self.find(Kind::Foreign, &name, what);
                continue;
            };
            let compressed = file.compression != Compression::None;
            if compressed {
                self.find(Kind::Compressed, &name, "it is compressed".to_owned());
            } else if len != cluster.segment_size.bytes() && (!file.partial || len > cluster.segment_size.bytes()) {
                self.find(Kind::WrongSize, &name, format!("it has {len} bytes, not {}", cluster.segment_size));
            }
            let held = Held { file: name, len, partial: file.partial, compressed };
            match self.segments.get_mut(&file.name) {
                None => drop(self.segments.insert(file.name, held)),
                Some(other) => {
                    let rank = |held: &Held| (held.partial, held.compressed);
                    let second = if rank(&held) < rank(other) { std::mem::replace(other, held) } else { held };
                    let what = format!("{} is there, too", other.file);
                    self.find(Kind::Twice, &second.file, what);
                }
            }
        }
    }
}

/// Whether a segment of any size may be called so: with the smallest, most numbers are possible.
fn is_a_segments(name: &str) -> bool {
    SegmentSize::new(1 << 20).is_ok_and(|size| SegmentFile::parse(name, size).is_some())
}

fn is_compressed(name: &str) -> bool {
    let stem = name.strip_suffix(".partial").unwrap_or(name);
    stem.ends_with(".gz") || stem.ends_with(".lz4")
}

fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_TEXT).read_to_end(&mut text)?;
    Ok(text)
}

/// The cluster and the segment size that an identity record names.
fn parse_identity(record: &[u8]) -> Option<(u64, u64)> {
    let text = str::from_utf8(record).ok()?;
    let number = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok());
    Some((number("system-identifier")?, number("segment-size")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Identity;

    #[test]
    fn the_agents_identity_record_is_read() {
        let (system, segment_size) = (SystemIdentifier::new(u64::MAX), SegmentSize::DEFAULT);
        let record = Identity { system, segment_size }.to_string();
        assert_eq!(parse_identity(record.as_bytes()), Some((u64::MAX, 16 << 20)));
        for bad in ["", "system-identifier 7", "system-identifier x\nsegment-size 1", "\u{7f}"] {
            assert_eq!(parse_identity(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
