//! How segments hang together: which one comes before and behind another, along timelines; where one is missing; and
//! whether the chain of records leads from one to the next. Pure, over a survey and what was found in each segment.

use super::records::{First, Link};
use super::report::{Finding, Kind, Range};
use super::survey::Survey;
use super::walk::Walked;
use crate::wal::{Lsn, PageHeader, SegmentName, SegmentNo, SegmentSize, TimelineId, XLOG_BLOCK_SIZE};
use std::collections::{BTreeMap, BTreeSet};

/// What was found in each segment.
pub(super) type Results = BTreeMap<SegmentName, Walked>;

/// The timeline whose file is `segment` on the way to `timeline`: the newest that has a byte in it, for its file begins
/// with the bytes of those before.
fn owner(survey: &Survey, size: SegmentSize, timeline: TimelineId, segment: SegmentNo) -> TimelineId {
    survey.history_of(timeline).timeline_at(Lsn::new(size.end_of(segment).get().saturating_sub(1)))
}

/// The file that `name` goes on from.
pub(super) fn before(survey: &Survey, size: SegmentSize, name: SegmentName) -> Option<SegmentName> {
    let segment = name.segment.previous()?;
    let before = SegmentName { segment, timeline: owner(survey, size, name.timeline, segment) };
    survey.segments.contains_key(&before).then_some(before)
}

/// The file in which a record goes on that does not end in `name`. Of several it is one that has all of the record: a
/// finished one; or that of the newest timeline, which holds at least what an older one's partial file does.
pub(super) fn behind(survey: &Survey, size: SegmentSize, name: SegmentName) -> Option<SegmentName> {
    let own = SegmentName { segment: name.segment.next(), ..name };
    if survey.segments.get(&own).is_some_and(|held| !held.partial) {
        return Some(own);
    }
    let newest = SegmentName { timeline: TimelineId::new(u32::MAX)?, ..own };
    let mut later = survey.segments.range(own..=newest).map(|(name, _)| *name);
    later.rfind(|candidate| *candidate == own || before(survey, size, *candidate) == Some(name))
}

/// Where WAL is missing between files, on the way to each timeline; `results` tell how far each partial file goes.
pub(super) fn holes(survey: &Survey, size: SegmentSize, results: &Results) -> Vec<Finding> {
    let timelines: BTreeSet<TimelineId> = survey.segments.keys().map(|name| name.timeline).collect();
    // By position, so that what is missing on the way to several timelines is told once.
    let mut holes: BTreeMap<(Lsn, Lsn), TimelineId> = BTreeMap::new();
    for timeline in timelines {
        let names = survey
            .segments
            .keys()
            .filter(|name| name.timeline <= timeline && owner(survey, size, timeline, name.segment) == name.timeline);
        let names: Vec<SegmentName> = names.copied().collect();
        // Up to its own last one: what is behind that on an older timeline does not lead here.
        let own = names.iter().rposition(|name| name.timeline == timeline).map_or(0, |last| last + 1);
        for pair in names.get(..own).unwrap_or_default().windows(2) {
            let &[one, other] = pair else { continue };
            let tip = results.get(&one).and_then(|walked| walked.tip);
            let (from, to) = (tip.unwrap_or(size.end_of(one.segment)), size.start_of(other.segment));
            if from < to {
                holes.entry((from, to)).or_insert(timeline);
            }
        }
    }
    let holes = holes.into_iter().map(|((from, to), timeline)| {
        let what = format!("WAL is missing on the way to timeline {timeline}");
        Finding { kind: Kind::Hole, file: None, at: Some(from), to: Some(to), what }
    });
    holes.collect()
}

/// Follows the chain of records from segment to segment: where it does not hold.
pub(super) fn chain(survey: &Survey, size: SegmentSize, results: &Results) -> Vec<Finding> {
    let mut links: BTreeMap<SegmentName, Link> = BTreeMap::new();
    let mut findings = Vec::new();
    // In the order of segments: the one before a segment has had its turn.
    for (name, walked) in results {
        let link = before(survey, size, *name).and_then(|before| links.get(&before).copied());
        if let (Some(link), Some(first)) = (link, walked.first)
            && let Some(what) = contradiction(size, link, first)
        {
            let file = survey.segments.get(name).map(|held| held.file.clone());
            findings.push(Finding { kind: Kind::BrokenChain, file, at: Some(first.start), to: None, what });
        }
        // A segment in the midst of a record hands on what it was handed.
        let link = if walked.is_within_a_record { link } else { walked.link };
        links.extend(link.map(|link| (*name, link)));
    }
    findings
}

/// Why `first`, the first record of a segment, does not come behind `link`.
fn contradiction(size: SegmentSize, link: Link, first: First) -> Option<String> {
    let expected = record_at(size, link.end);
    if first.start != expected {
        return Some(format!("a record begins here, where the segment before leads to {expected}"));
    }
    if first.previous != link.record {
        let (found, expected) = (first.previous, link.record);
        return Some(format!("the record names {found} as the one before, which begins at {expected}"));
    }
    (first.overwrites != link.cut_off).then(|| "the record does not go with the one that a crash cut off".to_owned())
}

/// Where the record begins whose place is `lsn`: at the beginning of a page, behind its header.
fn record_at(size: SegmentSize, lsn: Lsn) -> Lsn {
    let header = match (size.offset_of(lsn), lsn.get() % u64::from(XLOG_BLOCK_SIZE)) {
        (0, _) => PageHeader::LONG_LEN,
        (_, 0) => PageHeader::SHORT_LEN,
        _ => 0,
    };
    Lsn::new(lsn.get().saturating_add(header as u64))
}

/// What there is of each timeline.
pub(super) fn ranges(survey: &Survey, size: SegmentSize, results: &Results) -> Vec<Range> {
    let mut ranges: BTreeMap<TimelineId, Range> = BTreeMap::new();
    for name in survey.segments.keys() {
        let timeline = name.timeline;
        let begin = survey.history_of(timeline).begin_of(timeline).unwrap_or_default();
        let from = size.start_of(name.segment).max(begin);
        let range = Range { timeline, segments: 0, from, last_record: None, to: None };
        let range = ranges.entry(timeline).or_insert(range);
        range.segments += 1;
        if let Some(link) = results.get(name).and_then(|walked| walked.last) {
            (range.last_record, range.to) = (Some(link.record), Some(link.end));
        }
    }
    ranges.into_values().collect()
}
