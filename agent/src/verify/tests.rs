//! Directories, written as an agent would, and everything that may be wrong with one.

use super::*;
use crate::wal::testing::LogWriter;
use crate::wal::{HistoryName, TimelineHistory};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

const SEGMENT: usize = 1 << 20;

fn timeline(number: u32) -> TimelineId {
    TimelineId::new(number).unwrap()
}

/// Timeline 1 from segment 3 on.
fn log() -> LogWriter {
    LogWriter::new(TimelineHistory::root(TimelineId::FIRST), 3)
}

/// Records of many sizes up to this number of bytes.
fn fill(log: &mut LogWriter, bytes: usize) {
    for len in [50, 9000, 3, 40_000, 700, 0, 8100].into_iter().cycle() {
        if log.bytes.len() >= bytes {
            break;
        }
        log.record(len);
    }
}

/// The log goes on as the timeline of this number, from here.
fn promote(log: &LogWriter, number: u32) -> LogWriter {
    let lines: String =
        log.history.ancestors().iter().map(|entry| format!("{}\t{}\tx\n", entry.timeline, entry.end)).collect();
    let content = format!("{lines}{}\t{}\tx\n", log.history.timeline(), log.end());
    let history = TimelineHistory::parse(timeline(number), content.as_bytes()).unwrap();
    LogWriter { history, ..log.clone() }
}

struct Dir(TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// All of a log's segments under its timeline's name, from one that is `skipped` segments behind its first, and its
    /// history.
    fn holding(self, log: &LogWriter, skipped: usize) -> Self {
        let timeline = log.history.timeline();
        for (index, bytes) in log.bytes.chunks(SEGMENT).enumerate().skip(skipped) {
            let segment = log.size.segment_of(Lsn::new(log.begin.get() + (index * SEGMENT) as u64));
            let name = SegmentName { segment, timeline };
            let mut whole = bytes.to_vec();
            whole.resize(SEGMENT, 0);
            let name = if bytes.len() == SEGMENT { name.file_name(log.size) } else { name.partial_file_name(log.size) };
            self.write(&name, &whole);
        }
        if timeline != TimelineId::FIRST {
            let lines = log.history.ancestors().iter().map(|entry| format!("{}\t{}\tx\n", entry.timeline, entry.end));
            self.write(&HistoryName(timeline).to_string(), lines.collect::<String>().as_bytes());
        }
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Changes the bytes of a file.
    fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(name)).unwrap();
        change(&mut bytes);
        self.write(name, &bytes);
    }

    fn verify(&self) -> Report {
        verify(self.0.path()).unwrap()
    }

    /// What is found: kinds, and where.
    fn found(&self) -> Vec<(Kind, Option<Lsn>)> {
        self.verify().findings.iter().map(|finding| (finding.kind, finding.at)).collect()
    }
}

fn name(timeline: u32, segment: u32) -> String {
    format!("{timeline:08X}{:08X}{segment:08X}", 0)
}

fn partial(timeline: u32, segment: u32) -> String {
    name(timeline, segment) + ".partial"
}

#[test]
fn a_sound_directory_is_sound() {
    let mut log = log();
    fill(&mut log, 2 * SEGMENT + 1000);
    log.switch();
    let last = log.record(100);
    let dir = Dir::new().holding(&log, 0);
    let report = dir.verify();
    assert_eq!((report.verdict(), report.findings.as_slice(), report.segments), (Verdict::Sound, [].as_slice(), 4));
    let [range] = report.timelines.as_slice() else { panic!("{report:?}") };
    assert_eq!((range.from, range.last_record, range.to), (log.begin, Some(last), Some(log.end())));
    assert_eq!(report.cluster.and_then(|cluster| cluster.magic?.major()), Some(18));
}

#[test]
fn a_record_may_go_through_whole_segments() {
    let mut log = log();
    fill(&mut log, SEGMENT / 2);
    let long = log.record(5 * SEGMENT / 2);
    let dir = Dir::new().holding(&log, 0);
    assert_eq!(dir.found(), []);
    dir.change(&name(1, 5), |bytes| bytes[5000] ^= 1);
    assert_eq!(dir.found(), [(Kind::Damage, Some(long))]);
}

#[test]
fn a_directory_may_begin_in_the_middle_of_a_record() {
    let mut log = log();
    log.record(5 * SEGMENT / 2);
    fill(&mut log, 4 * SEGMENT + 10);
    assert_eq!(Dir::new().holding(&log, 1).found(), []);
}

#[test]
fn each_flipped_byte_is_found() {
    let mut log = log();
    fill(&mut log, 2 * SEGMENT + 30_000);
    for at in [100, 9_000, 70_000, SEGMENT - 20, SEGMENT + 500, 2 * SEGMENT - 9, 2 * SEGMENT + 60, 2 * SEGMENT + 29_000]
    {
        let mut damaged = log.clone();
        damaged.bytes[at] ^= 0x55;
        let report = Dir::new().holding(&damaged, 0).verify();
        assert_eq!(report.verdict(), Verdict::Damaged, "{at}: {report:?}");
        let [finding] = report.findings.as_slice() else { panic!("{at}: {report:?}") };
        let found = finding.at.unwrap();
        assert!(found.get() <= log.begin.get() + at as u64, "{at}: {report:?}");
    }
}

#[test]
fn a_missing_segment_is_a_hole() {
    let mut log = log();
    fill(&mut log, 4 * SEGMENT + 10);
    let dir = Dir::new().holding(&log, 0);
    fs::remove_file(dir.path(&name(1, 4))).unwrap();
    fs::remove_file(dir.path(&name(1, 5))).unwrap();
    let report = dir.verify();
    let [hole] = report.findings.as_slice() else { panic!("{report:?}") };
    assert_eq!((hole.at, hole.to), (Some(Lsn::new(0x40_0000)), Some(Lsn::new(0x60_0000))));
    assert_eq!(report.verdict(), Verdict::Hole);
}

#[test]
fn a_segment_that_was_never_finished_is_a_hole() {
    let mut log = log();
    fill(&mut log, 2 * SEGMENT + 10);
    let dir = Dir::new().holding(&log, 0);
    fs::rename(dir.path(&name(1, 4)), dir.path(&partial(1, 4))).unwrap();
    assert_eq!(dir.found(), [(Kind::NotRenamed, None)]);
    dir.change(&partial(1, 4), |bytes| bytes[16 * 8192..].fill(0));
    let found = dir.found();
    assert!(matches!(found[..], [(Kind::Hole, Some(at))] if at <= Lsn::new(0x42_0000)), "{found:?}");
}

#[test]
fn remains_behind_the_end_are_no_damage() {
    let mut log = log();
    fill(&mut log, SEGMENT / 2);
    let dir = Dir::new().holding(&log, 0);
    dir.change(&partial(1, 3), |bytes| bytes[0x1_0000..0x1_0200].fill(0));
    let report = dir.verify();
    let [remains] = report.findings.as_slice() else { panic!("{report:?}") };
    assert_eq!((remains.kind, report.verdict()), (Kind::Remains, Verdict::Sound));
    assert_eq!(report.timelines[0].to, remains.at);
    // With a name that promises that all is there, it is.
    fs::rename(dir.path(&partial(1, 3)), dir.path(&name(1, 3))).unwrap();
    assert_eq!(dir.verify().verdict(), Verdict::Damaged);
}

#[test]
fn a_promotion_within_a_segment_is_followed() {
    let mut one = log();
    fill(&mut one, 2 * SEGMENT + 20_000);
    let mut two = promote(&one, 2);
    fill(&mut two, 4 * SEGMENT + 10);
    // What the old primary wrote beyond, and nobody else saw.
    one.record(30_000);
    let dir = Dir::new().holding(&one, 0).holding(&two, 2);
    assert_eq!(dir.found(), []);
    let report = dir.verify();
    let ends: Vec<_> = report.timelines.iter().map(|range| (range.timeline.get(), range.to)).collect();
    assert_eq!(ends, [(1, Some(one.end())), (2, Some(two.end()))]);

    // The way to timeline 2 leads over timeline 1's segments.
    fs::rename(dir.path(&name(1, 4)), dir.path("kept")).unwrap();
    assert_eq!(dir.found(), [(Kind::Hole, Some(Lsn::new(0x40_0000)))]);
    fs::rename(dir.path("kept"), dir.path(&name(1, 4))).unwrap();
    // Its own first one cannot be replaced by the old timeline's.
    fs::rename(dir.path(&name(2, 5)), dir.path("kept")).unwrap();
    assert_eq!(dir.found(), [(Kind::Hole, Some(Lsn::new(0x50_0000)))]);
    fs::rename(dir.path("kept"), dir.path(&name(2, 5))).unwrap();
    fs::remove_file(dir.path("00000002.history")).unwrap();
    assert_eq!(dir.found(), [(Kind::NoHistory, None)]);
}

#[test]
fn a_timeline_in_between_needs_no_file() {
    let mut one = log();
    fill(&mut one, SEGMENT + 20_000);
    let mut two = promote(&one, 2);
    two.record(1000);
    let mut three = promote(&two, 3);
    fill(&mut three, 3 * SEGMENT);
    assert_eq!(Dir::new().holding(&one, 0).holding(&three, 1).found(), []);
    // With the histories of all.
    let dir = Dir::new().holding(&one, 0).holding(&two, 1).holding(&three, 1);
    assert_eq!(dir.found(), []);
    let stopped = format!("1\t{}\tx\n2\t{}\tx\n3\t0/380000\tbefore 2026\n", one.end(), two.end());
    dir.write("00000004.history", stopped.as_bytes());
    assert_eq!(dir.found(), []);
    dir.write("00000002.history", b"1\t0/500000\tx\n");
    assert!(dir.found().contains(&(Kind::History, None)));
}

#[test]
fn a_segment_of_another_past_is_told() {
    let mut one = log();
    fill(&mut one, SEGMENT + 20_000);
    let mut two = promote(&one, 2);
    fill(&mut two, 2 * SEGMENT);
    let mut other = log();
    other.record(12_345);
    fill(&mut other, SEGMENT + 20_000);
    // Whole in itself, but not what timeline 2 came from.
    let found: Vec<Kind> =
        Dir::new().holding(&other, 0).holding(&two, 1).found().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(found, [Kind::Damage, Kind::Divergence]);
}

#[test]
fn a_segment_of_another_past_is_told_where_records_end_with_segments() {
    let two_segments = |len| {
        let mut log = log();
        while log.bytes.len() < SEGMENT - 8192 {
            log.record(1000);
        }
        log.record(len);
        log.fill_page();
        let first = log.record(10);
        log.fill_page();
        (log, first)
    };
    let ((log, first), (other, _)) = (two_segments(100), two_segments(200));
    let dir = Dir::new().holding(&log, 0);
    assert_eq!(dir.found(), []);
    dir.change(&partial(1, 4), |bytes| bytes[..8192].copy_from_slice(&other.bytes[SEGMENT..]));
    assert_eq!(dir.found(), [(Kind::BrokenChain, Some(first))]);
}

#[test]
fn a_crash_at_the_end_of_a_segment_is_no_damage() {
    let mut log = log();
    fill(&mut log, SEGMENT - 20_000);
    while log.bytes.len() / 8192 < SEGMENT / 8192 - 1 {
        log.record(1000);
    }
    let record = log.crash_within_a_record(1);
    fill(&mut log, SEGMENT + 1000);
    let dir = Dir::new().holding(&log, 0);
    let report = dir.verify();
    let [cut_off] = report.findings.as_slice() else { panic!("{report:?}") };
    assert_eq!((cut_off.kind, cut_off.at, report.verdict()), (Kind::CutOff, Some(record), Verdict::Sound));
}

#[test]
fn what_does_not_belong_there_is_told() {
    let mut log = log();
    fill(&mut log, 2 * SEGMENT + 10);
    let dir = Dir::new().holding(&log, 0);
    let check = |name: &str, bytes: &[u8], expected: &[Kind]| {
        dir.write(name, bytes);
        let found: Vec<Kind> = dir.found().into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(found, expected, "{name}");
        fs::remove_file(dir.path(name)).unwrap();
    };
    let mut foreign = LogWriter { system: crate::wal::SystemIdentifier::new(9), ..self::log() };
    fill(&mut foreign, SEGMENT);
    check(&name(1, 9), &foreign.bytes[..SEGMENT], &[Kind::Foreign]);
    check(&partial(1, 4), &[], &[Kind::Twice]);
    check(&(name(1, 2) + ".gz"), &[1], &[Kind::Compressed]);
    check("00000002.history", b"", &[Kind::History]);
    check("00000002.history", b"x", &[Kind::History]);
    check("00000002.history", b"1\t0/400100\tx\n", &[]);
    check("notes.txt", b"x", &[]);

    dir.write("notes.txt", b"");
    fs::create_dir(dir.path(".wal-agent")).unwrap();
    assert_eq!(dir.verify().unknown, ["notes.txt"]);
    let identity = |record: &str| {
        dir.write(".wal-agent/identity", record.as_bytes());
        dir.found().into_iter().map(|(kind, _)| kind).collect::<BTreeSet<Kind>>()
    };
    assert_eq!(
        identity("wal-agent identity 1\nsystem-identifier 7000000000000000001\nsegment-size 1048576\n"),
        [].into()
    );
    assert_eq!(
        identity("system-identifier 8\nsegment-size 1048576\n"),
        [Kind::Foreign, Kind::Identity, Kind::Empty].into()
    );
    assert_eq!(identity("nonsense"), [Kind::Identity].into());
}

#[test]
fn a_truncated_segment_is_told_once() {
    let mut log = log();
    fill(&mut log, 3 * SEGMENT + 10);
    let dir = Dir::new().holding(&log, 0);
    dir.change(&name(1, 4), |bytes| bytes.truncate(300_000));
    let found = dir.found();
    assert!(found.contains(&(Kind::WrongSize, None)), "{found:?}");
    assert!(found.iter().all(|(kind, _)| matches!(kind, Kind::WrongSize | Kind::Hole)), "{found:?}");
    dir.change(&name(1, 4), |bytes| bytes.clear());
    assert!(dir.found().contains(&(Kind::WrongSize, None)));
}

#[test]
fn an_empty_directory_proves_nothing() {
    let report = Dir::new().verify();
    assert_eq!((report.verdict(), report.findings[0].kind), (Verdict::Unverified, Kind::Empty));
}

#[test]
fn much_damage_is_summed_up() {
    let mut log = log();
    fill(&mut log, SEGMENT);
    for page in 1..100 {
        log.bytes[page * 8192 + 8] ^= 1;
    }
    let report = Dir::new().holding(&log, 0).verify();
    assert!((3..=12).contains(&report.findings.len()), "{}", report.text());
    assert!(report.findings.iter().any(|finding| finding.kind == Kind::MoreDamage));
}

#[test]
fn a_report_is_said_in_two_ways() {
    let mut log = log();
    fill(&mut log, 3 * SEGMENT + 10);
    let dir = Dir::new().holding(&log, 0);
    fs::remove_file(dir.path(&name(1, 4))).unwrap();
    let report = dir.verify();
    let text = report.text();
    assert!(text.starts_with("from 0/400000 to 0/500000: WAL is missing on the way to timeline 1 ("), "{text}");
    assert!(text.ends_with("\nincomplete: WAL is missing between what is there\n"), "{text}");
    let json = report.json();
    assert_eq!((&json["verdict"], &json["findings"][0]["kind"]), (&"hole".into(), &"hole".into()));
    assert_eq!(json["timelines"][0]["from"], "0/300000");
}
