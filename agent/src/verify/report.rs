//! What was found, and how it is said: lines for people, or one JSON object.

use crate::wal::{Lsn, PageMagic, SegmentSize, SystemIdentifier, TimelineId};
use serde_json::{Value, json};
use std::fmt::{self, Write};

/// What all findings come to. The worst one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every record is whole, and none is missing.
    Sound,
    /// Nothing wrong was found, but not everything could be looked at.
    Unverified,
    /// WAL is missing between what is there.
    Hole,
    /// A file is not what it must be.
    Damaged,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is, for programs.
    pub kind: Kind,
    /// The file; `None` if it is about what is not there.
    pub file: Option<String>,
    /// Where it begins.
    pub at: Option<Lsn>,
    /// Where it ends, if that is known.
    pub to: Option<Lsn>,
    /// What was found, for people.
    pub what: String,
}

/// The kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A record or a page is wrong.
    Damage,
    /// More of the same in this file.
    MoreDamage,
    /// A segment's first record does not follow the last one of the segment before.
    BrokenChain,
    /// A timeline's first segment does not begin with the bytes of the timeline that it came from.
    Divergence,
    /// Another cluster's segment, or one of another size.
    Foreign,
    /// A segment's file has another size than a segment.
    WrongSize,
    /// A history file is none, or contradicts another.
    History,
    /// The identity record cannot be read, or belongs to another cluster.
    Identity,
    /// A file cannot be read.
    Unreadable,
    /// WAL is missing.
    Hole,
    /// A compressed segment: not looked into.
    Compressed,
    /// A timeline's history file is not there.
    NoHistory,
    /// There is no WAL in the directory.
    Empty,
    /// A crash of the server cut a record off.
    CutOff,
    /// Bytes that no recovery reads are not zeros.
    BehindSwitch,
    /// Behind the end of what was received are remains of an earlier try.
    Remains,
    /// A whole segment under its preliminary name.
    NotRenamed,
    /// A segment is there twice.
    Twice,
}

/// What a directory was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// As it was named.
    pub directory: String,
    /// Whose WAL it is.
    pub cluster: Option<Cluster>,
    /// Segments that are there, whatever their state.
    pub segments: u64,
    /// Bytes of WAL that were read, each counted once.
    pub bytes: u64,
    /// Whole records.
    pub records: u64,
    /// Each timeline, oldest first.
    pub timelines: Vec<Range>,
    /// By file and position.
    pub findings: Vec<Finding>,
    /// Entries of the directory that are no WAL.
    pub unknown: Vec<String>,
}

/// A cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Drawn by `initdb`.
    pub system: SystemIdentifier,
    /// Chosen by `initdb`.
    pub segment_size: SegmentSize,
    /// How its pages are marked; `None` if there is no page.
    pub magic: Option<PageMagic>,
}

/// What is there of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The timeline.
    pub timeline: TimelineId,
    /// Its files.
    pub segments: u64,
    /// Its first byte.
    pub from: Lsn,
    /// Where its last whole record begins.
    pub last_record: Option<Lsn>,
    /// Behind its last whole record.
    pub to: Option<Lsn>,
}

impl Kind {
    /// What it makes of the whole.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Damage
            | Self::MoreDamage
            | Self::BrokenChain
            | Self::Divergence
            | Self::Foreign
            | Self::WrongSize
            | Self::History
            | Self::Identity
            | Self::Unreadable => Verdict::Damaged,
            Self::Hole => Verdict::Hole,
            Self::Compressed | Self::NoHistory | Self::Empty => Verdict::Unverified,
            Self::CutOff | Self::BehindSwitch | Self::Remains | Self::NotRenamed | Self::Twice => Verdict::Sound,
        }
    }

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Damage => "damage",
            Self::MoreDamage => "more-damage",
            Self::BrokenChain => "broken-chain",
            Self::Divergence => "divergence",
            Self::Foreign => "foreign",
            Self::WrongSize => "wrong-size",
            Self::History => "history",
            Self::Identity => "identity",
            Self::Unreadable => "unreadable",
            Self::Hole => "hole",
            Self::Compressed => "compressed",
            Self::NoHistory => "no-history",
            Self::Empty => "empty",
            Self::CutOff => "cut-off",
            Self::BehindSwitch => "behind-switch",
            Self::Remains => "remains",
            Self::NotRenamed => "not-renamed",
            Self::Twice => "twice",
        }
    }

    /// What a person should do about it.
    fn advice(self) -> &'static str {
        match self {
            Self::Damage | Self::MoreDamage | Self::BrokenChain | Self::WrongSize | Self::Divergence => {
                "recovery stops here: set the file aside and fetch this segment from the server or an archive, \
                 or take a new base backup"
            }
            Self::Foreign => "move it out of this directory",
            Self::History => "fetch it from the server or an archive: a recovery needs it to find its way",
            Self::Identity => "if the segments are of the right cluster, remove the record: the agent writes it anew",
            Self::Unreadable => "see to its permissions and its disk, then verify again",
            Self::Hole => "recovery stops here: fetch what is missing from an archive, or take a new base backup",
            Self::Compressed => "not looked into: decompress a copy to verify it",
            Self::NoHistory => "fetch it from the server or an archive: without it no recovery follows this timeline",
            Self::Empty => "is this the right directory?",
            Self::CutOff => "nothing to do: recovery knows it",
            Self::BehindSwitch => "nothing to do: recovery does not read them",
            Self::Remains => "nothing to do: the agent receives them again",
            Self::NotRenamed => "nothing to do: the agent renames it at its next start",
            Self::Twice => "the second one was not looked into, and is not needed",
        }
    }
}

impl Verdict {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Unverified => "unverified",
            Self::Hole => "hole",
            Self::Damaged => "damaged",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sound => "sound: every record is whole, and none is missing",
            Self::Unverified => "not verified: nothing wrong was found, but not everything could be looked at",
            Self::Hole => "incomplete: WAL is missing between what is there",
            Self::Damaged => "damaged: not every file is what it must be",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        match (self.at, self.to) {
            (Some(at), Some(to)) => write!(f, "from {at} to {to}: ")?,
            (Some(at), None) => write!(f, "at {at}: ")?,
            (None, _) => {}
        }
        write!(f, "{} ({})", self.what, self.kind.advice())
    }
}

impl Report {
    /// What it all comes to.
    pub fn verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.kind.verdict()).max().unwrap_or(Verdict::Sound)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        for finding in &self.findings {
            let _ = writeln!(text, "{finding}");
        }
        for name in &self.unknown {
            let _ = writeln!(text, "{name}: not WAL, ignored");
        }
        if let Some(Cluster { system, segment_size, magic }) = self.cluster {
            let major = magic.and_then(PageMagic::major);
            let written_by = major.map(|major| format!(", written by PostgreSQL {major}")).unwrap_or_default();
            let _ = writeln!(text, "cluster {system}, segments of {segment_size}{written_by}");
        }
        for range in &self.timelines {
            let Range { timeline, segments, from, to, last_record } = range;
            let _ = write!(text, "timeline {timeline}: {segments} segments from {from}");
            let _ = match to.zip(*last_record) {
                Some((to, last)) => writeln!(text, " to {to}, the end of the last whole record (at {last})"),
                None => writeln!(text, ", no whole record"),
            };
        }
        let _ = writeln!(text, "{} segments, {} bytes, {} records", self.segments, self.bytes, self.records);
        let _ = writeln!(text, "{}", self.verdict());
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let lsn = |lsn: Option<Lsn>| lsn.map(|lsn| lsn.to_string());
        let findings = self.findings.iter().map(|finding| {
            json!({
                "kind": finding.kind.name(),
                "verdict": finding.kind.verdict().name(),
                "file": finding.file,
                "at": lsn(finding.at),
                "to": lsn(finding.to),
                "what": finding.what,
                "advice": finding.kind.advice(),
            })
        });
        let timelines = self.timelines.iter().map(|range| {
            json!({
                "timeline": range.timeline.get(),
                "segments": range.segments,
                "from": range.from.to_string(),
                "last_record": lsn(range.last_record),
                "to": lsn(range.to),
            })
        });
        json!({
            "directory": self.directory,
            "verdict": self.verdict().name(),
            // A number that JSON's readers may not have: text.
            "system_identifier": self.cluster.map(|cluster| cluster.system.to_string()),
            "segment_size": self.cluster.map(|cluster| cluster.segment_size.bytes()),
            "postgresql": self.cluster.and_then(|cluster| cluster.magic?.major()),
            "segments": self.segments,
            "bytes": self.bytes,
            "records": self.records,
            "timelines": timelines.collect::<Vec<_>>(),
            "findings": findings.collect::<Vec<_>>(),
            "unknown": self.unknown,
        })
    }
}
