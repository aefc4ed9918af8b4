//! The bodies of the fuzz targets: everything that reads bytes of a stranger, and what must hold whatever they are.
//!
//! Plain functions that panic where something does not hold. `fuzz_targets` feeds them what a fuzzer finds; the test
//! suite includes this very file and feeds them what `proptest` draws.

use bytes::{Bytes, BytesMut};
use std::path::Path;
use wal_agent::{
    conninfo::{Conninfo, Environment, Overrides, parse_connection_string, parse_service_file},
    replication::Message,
    wal::{FirstPage, HistoryName, SegmentFile, SegmentSize, TimelineHistory, TimelineId},
    wire::frame::{Phase, decode},
};

/// A connection string: understood or refused, and no password is shown by either.
pub fn conninfo(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(typed) = parse_connection_string(text) {
        if let Some(password) = typed.get("password").filter(|password| password.len() > 8) {
            let shown = format!("{typed:?}");
            let elsewhere = typed.iter().any(|(name, value)| name != "password" && value.contains(password));
            assert!(elsewhere || !shown.contains(password), "{shown}");
        }
        // No files of this machine: what is asked for by name is not there.
        if typed.get("passfile").is_none() && typed.get("service").is_none() {
            let _ = Conninfo::resolve(Some(text), &Overrides::default(), &Environment::default());
        }
    }
}

/// A service file.
pub fn service_file(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        let _ = parse_service_file(text, "a", Path::new("pg_service.conf"));
    }
}

/// What a server sends: in one piece or byte by byte, it is the same messages up to the same end.
pub fn frame(data: &[u8]) {
    for phase in [Phase::Startup, Phase::Query, Phase::Copy, Phase::CopyEnd] {
        let mut whole = BytesMut::from(data);
        let (mut pieces, mut fed) = (BytesMut::new(), 0);
        loop {
            let at_once = decode(&mut whole, phase);
            let bit_by_bit = loop {
                match decode(&mut pieces, phase) {
                    Ok(None) if fed < data.len() => {
                        pieces.extend_from_slice(data.get(fed..=fed).unwrap_or_default());
                        fed += 1;
                    }
                    decided => break decided,
                }
            };
            match (at_once, bit_by_bit) {
                (Ok(Some(_)), Ok(Some(_))) => assert_eq!(whole.len(), pieces.len() + data.len() - fed),
                (Ok(None), Ok(None)) => break,
                (Err(a), Err(b)) => {
                    assert_eq!(a, b);
                    break;
                }
                _ => panic!("{data:?} is read in two ways"),
            }
        }
    }
}

/// A message of the stream: WAL never runs over the end of the log.
pub fn message(data: &[u8]) {
    if let Ok(Message::Wal { start, data: wal, .. }) = Message::parse(Bytes::copy_from_slice(data)) {
        assert!(wal.len() < data.len());
        assert!(start.checked_add(wal.len() as u64).is_some());
    }
}

/// The first page of a segment: its header is the one of the segment at its address, and of no other.
pub fn page(data: &[u8]) {
    let Ok(page) = FirstPage::parse(data) else { return };
    let segment = page.segment_size.segment_of(page.address);
    if page.segment_size.start_of(segment) == page.address {
        assert_eq!(page.check(page.system, page.segment_size, segment), Ok(()));
    }
    if let Some(previous) = segment.previous() {
        assert!(page.check(page.system, page.segment_size, previous).is_err());
    }
}

/// A history file: the ways from timeline to timeline cover the log without gap or overlap.
pub fn history(data: &[u8]) {
    for number in [1, 2, 7, u32::MAX] {
        let Some(timeline) = TimelineId::new(number) else { continue };
        let Ok(history) = TimelineHistory::parse(timeline, data) else { continue };
        let ranges: Vec<_> = history.ranges().collect();
        assert!(ranges.is_sorted_by(|before, after| before.0 < after.0 && before.2 == Some(after.1)));
        assert_eq!(ranges.last().map(|(timeline, _, end)| (*timeline, *end)), Some((timeline, None)));
    }
}

/// A file's name: what is a segment or a history is called so by us, too.
pub fn name(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for shift in [20, 24, 30] {
        let Ok(size) = SegmentSize::new(1 << shift) else { continue };
        if let Some(file) = SegmentFile::parse(text, size) {
            assert!(text.starts_with(&file.name.file_name(size)), "{text}");
            assert_eq!(file.partial, text.ends_with(".partial"));
        }
    }
    if let Some(history) = HistoryName::parse(text) {
        assert_eq!(history.to_string(), text);
    }
}
