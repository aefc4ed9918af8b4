//! `wal-agent verify`: whether what is in a directory is WAL that a recovery can read, from the first record to the last.
//!
//! ```text
//! survey    names, sizes, histories, first pages: what there is
//! walk      one segment after another, by as many threads as there are cores
//!   records the chain of records through pages, and their checksums
//!   tail    where a segment that is still being received ends
//! lineage   from segment to segment, along timelines: links and holes
//! report    what was found, and how it is said
//! ```
//! It only reads, takes no lock, and asks no server: a directory that an agent is filling may be looked at, too. What it
//! calls broken is what `pg_waldump` and a recovery stop at.

mod lineage;
mod records;
mod report;
mod survey;
mod tail;
mod walk;

pub use report::{Cluster, Finding, Kind, Range, Report, Verdict};

use crate::wal::{Lsn, SegmentName, SegmentSize, TimelineId};
use indicatif::{ProgressBar, ProgressStyle};
use lineage::Results;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use survey::{Held, Survey};
use walk::Walk;

/// More do not make a disk faster.
const MAX_THREADS: usize = 16;

/// Looks through `dir`, with a progress bar if stderr is a terminal.
///
/// # Errors
/// The directory cannot be listed, or no thread started. What is wrong with a file in it is a [`Finding`].
pub fn verify(dir: &Path) -> io::Result<Report> {
    let survey = Survey::take(dir)?;
    let mut findings = survey.findings.clone();
    let (mut timelines, mut results) = (Vec::new(), Results::new());
    if let Some(cluster) = survey.cluster {
        let size = cluster.segment_size;
        let switches = survey.histories.values().flat_map(|history| history.ancestors());
        let switches: BTreeSet<(TimelineId, Lsn)> = switches.map(|entry| (entry.timeline, entry.end)).collect();
        let bar = bar(survey.segments.values().map(|held| held.len).sum());
        let progress = |bytes| bar.inc(bytes);
        results = walk_all(&Walk { dir, survey: &survey, cluster, switches: &switches, progress: &progress })?;
        bar.finish_and_clear();
        findings.extend(results.values().flat_map(|walked| walked.findings.iter().cloned()));
        findings.extend(lineage::chain(&survey, size, &results));
        findings.extend(lineage::holes(&survey, size, &results));
        findings.extend(divergences(dir, &survey, size, &results));
        timelines = lineage::ranges(&survey, size, &results);
    }
    if survey.segments.is_empty() {
        let what = format!("there is no WAL in {}", dir.display());
        findings.push(Finding { kind: Kind::Empty, file: None, at: None, to: None, what });
    }
    findings.sort_by(|a, b| (&a.file, a.at).cmp(&(&b.file, b.at)));
    Ok(Report {
        directory: dir.display().to_string(),
        cluster: survey.cluster,
        segments: survey.segments.len() as u64,
        bytes: results.values().map(|walked| walked.bytes).sum(),
        records: results.values().map(|walked| walked.records).sum(),
        timelines,
        findings,
        unknown: survey.unknown,
    })
}

/// Walks through all segments, each in a thread's turn.
fn walk_all(walk: &Walk<'_>) -> io::Result<Results> {
    let segments: Vec<(&SegmentName, &Held)> =
        walk.survey.segments.iter().filter(|(_, held)| !held.compressed).collect();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS).min(segments.len());
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Results::new()));
    let work = || {
        let mut chunk = Vec::new();
        while let Some((name, held)) = segments.get(next.fetch_add(1, Ordering::Relaxed)) {
            let walked = walk.segment(**name, held, &mut chunk);
            if let Ok(mut results) = results.lock() {
                results.insert(**name, walked);
            }
        }
    };
    thread::scope(|scope| {
        (0..threads).try_for_each(|number| {
            let thread = thread::Builder::new().name(format!("verify-{number}"));
            thread.spawn_scoped(scope, work).map(drop)
        })
    })?;
    results.into_inner().map_err(|_| io::Error::other("a thread panicked"))
}

/// The first segment of a timeline begins with the bytes of those before, up to where it was begun.
fn divergences(dir: &Path, survey: &Survey, size: SegmentSize, results: &Results) -> Vec<Finding> {
    let mut findings = Vec::new();
    for history in survey.histories.values() {
        let Some(begin) = history.begin_of(history.timeline()) else { continue };
        let segment = size.segment_of(begin);
        let start = size.start_of(segment);
        let held = |timeline| {
            let name = SegmentName { segment, timeline };
            survey.segments.get(&name).filter(|held| !held.compressed).map(|held| (name, held))
        };
        let Some((name, own)) = held(history.timeline()) else { continue };
        for ancestor in history.ancestors().iter().filter(|ancestor| ancestor.end > start) {
            let Some((other, before)) = held(ancestor.timeline) else { continue };
            let tip = |name| results.get(&name).and_then(|walked| walked.tip).unwrap_or(Lsn::new(u64::MAX));
            let end = ancestor.end.min(tip(other)).min(tip(name));
            let len = end.bytes_since(start).min(own.len).min(before.len);
            let (kind, at, what) = match walk::first_difference(&dir.join(&own.file), &dir.join(&before.file), len) {
                Ok(None) => continue,
                Ok(Some(offset)) => {
                    let what = format!("it differs from {}, and its timeline begins only at {begin}", before.file);
                    (Kind::Divergence, start.checked_add(offset), what)
                }
                // A living agent may have renamed it; both were read before.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => (Kind::Unreadable, None, format!("it cannot be compared with {}: {error}", before.file)),
            };
            findings.push(Finding { kind, file: Some(own.file.clone()), at, to: None, what });
        }
    }
    findings
}

/// On stderr, and only if that is a terminal.
fn bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests;
