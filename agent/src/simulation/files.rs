//! What the simulated disk holds, compared with the one true log: never asks the agent.

use super::log::{Log, SEGMENT, file_name, segment_size};
use crate::{
    store::memory::{Memory, View},
    wal::{HistoryName, SegmentFile},
};
use std::collections::BTreeMap;

const SECTOR: usize = 512;
static ZEROS: [u8; SECTOR] = [0; SECTOR];

/// Says what is wrong with a file: its bytes, the durable ones, and their version.
type Check<'a> = dyn FnMut(&[u8], &[u8], u64) -> Option<String> + 'a;

/// Looks through the directory; what it has seen before and what has not changed since is not read again.
#[derive(Default)]
pub(super) struct Files {
    seen: BTreeMap<String, u64>,
}

/// The first byte on the way to `timeline` from `from` to `to` that no file has.
pub(super) fn missing(memory: &Memory, log: &mut Log, view: View, timeline: u32, from: u64, to: u64) -> Option<u64> {
    let mut at = from;
    while at < to {
        let end = to.min((at / SEGMENT + 1) * SEGMENT);
        for (owner, from, to) in log.pieces(timeline, at, end) {
            let expected = log.bytes(timeline, from, to);
            let range = (from % SEGMENT) as usize..(from % SEGMENT + (to - from)) as usize;
            let holds = |name: &str| {
                let same = |visible: &[u8], durable: &[u8], _| {
                    let bytes = if view == View::Visible { visible } else { durable };
                    bytes.get(range.clone()).is_some_and(|bytes| bytes == expected)
                };
                memory.look(view, name, same) == Some(true)
            };
            // A later timeline's file begins with its ancestors' bytes.
            let held = (owner..=timeline).any(|timeline| {
                let name = file_name(timeline, from / SEGMENT);
                holds(&name) || holds(&(name + ".partial"))
            });
            if !held {
                return Some(from);
            }
        }
        at = end;
    }
    None
}

impl Files {
    /// The first thing that is wrong with a file, if there is one.
    pub(super) fn wrong(&mut self, memory: &Memory, log: &mut Log) -> Option<String> {
        memory.names().into_iter().find_map(|name| self.wrong_file(memory, log, &name))
    }

    fn wrong_file(&mut self, memory: &Memory, log: &mut Log, name: &str) -> Option<String> {
        let look = |check: &mut Check<'_>| {
            memory.look(View::Visible, name, check).flatten().map(|problem| format!("{name} {problem}"))
        };
        if let Some(HistoryName(timeline)) = HistoryName::parse(name) {
            let expected = log.history(timeline.get());
            return look(&mut |visible, durable, _| {
                let whole = visible == expected.as_bytes() && durable == expected.as_bytes();
                (!whole).then(|| "is not its timeline's history, whole and durable".to_owned())
            });
        }
        let file = SegmentFile::parse(name, segment_size())?;
        let (timeline, segment) = (file.name.timeline.get(), file.name.segment.get());
        if timeline > log.timeline() {
            return Some(format!("{name} is of a timeline that there never was"));
        }
        let expected = log.segment(timeline, segment);
        look(&mut |visible, durable, version| {
            if self.seen.insert(name.to_owned(), version) == Some(version) {
                return None;
            }
            let wrong = match file.partial {
                false if visible.len() != expected.len() => return Some(format!("has {} bytes", visible.len())),
                false if durable != expected => return Some("has its final name and is not durable".to_owned()),
                // What has not arrived yet is zero.
                partial => {
                    visible.chunks(SECTOR).zip(expected.chunks(SECTOR)).enumerate().find_map(|(index, (have, want))| {
                        if have == want || partial && have == &ZEROS[..have.len()] {
                            return None;
                        }
                        let wrong = |(have, want): (&u8, &u8)| have != want && !(partial && *have == 0);
                        have.iter().zip(want).position(wrong).map(|at| index * SECTOR + at)
                    })
                }
            };
            wrong.map(|at| format!("has another byte than the log at offset {at}"))
        })
    }
}
