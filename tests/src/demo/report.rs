//! The figures at the end, and how figures look. Pure but for one look at the agent's directory.

use crate::compare;
use crate::load::{Commit, percentile};
use anyhow::{Context, Result};
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;
use wal_agent::wal::{Lsn, SegmentFile, SegmentSize};

/// What the demonstration has shown.
#[derive(Clone, Debug)]
pub struct Proof {
    /// All commits that clients were told of.
    pub acknowledged: Vec<Commit>,
    /// How many of them the recovered server lacks.
    pub lost: usize,
    /// All rows of the recovered server: those too whose clients were never told.
    pub rows: usize,
    /// What the agent had received.
    pub received: Received,
    /// Bytes of it that were compared with the server's WAL and found equal.
    pub compared: u64,
    /// How long clients wrote.
    pub wrote: Duration,
}

/// What is in a receiver's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Where the first segment begins.
    pub start: Lsn,
    /// Finished segments.
    pub segments: usize,
    /// Segments that were being received.
    pub partials: usize,
    /// Bytes of WAL in all of them.
    pub bytes: u64,
}

impl Received {
    /// Looks into `dir`.
    ///
    /// # Errors
    /// It cannot be read, or has no WAL.
    pub(super) fn scan(dir: &Path, size: SegmentSize) -> Result<Self> {
        let mut starts = Vec::new();
        let (mut segments, mut partials, mut bytes) = (0, 0, 0);
        for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let entry = entry?;
            let Some(file) = SegmentFile::parse(&entry.file_name().to_string_lossy(), size) else { continue };
            starts.push(size.start_of(file.name.segment));
            if file.partial {
                partials += 1;
                bytes += compare::received(&entry.path())?;
            } else {
                segments += 1;
                bytes += size.bytes();
            }
        }
        let start = starts.into_iter().min().with_context(|| format!("no WAL in {}", dir.display()))?;
        Ok(Self { start, segments, partials, bytes })
    }
}

/// The table.
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &str, note: &str| {
            let gap = if note.is_empty() { "" } else { "   " };
            writeln!(f, "  {name:<22}{value:>12}{gap}{note}")
        };
        let (all, seconds) = (self.acknowledged.len(), self.wrote.as_secs_f64());
        let cut_off = match self.rows.saturating_sub(all - self.lost) {
            0 => String::new(),
            more => format!("and {more} that the kill left unacknowledged"),
        };
        row("commits acknowledged", &count(all), "")?;
        row("commits found", &count(all - self.lost), &cut_off)?;
        row("commits lost", &count(self.lost), "")?;
        let Received { segments, partials, bytes, .. } = self.received;
        row("WAL received", &mebibytes(bytes), &format!("{} and {partials} .partial", plural(segments, "segment")))?;
        row("equal to the server's", &mebibytes(self.compared), "")?;
        let at = |percent| percentile(&self.acknowledged, percent).map_or("-".into(), latency);
        row("commit latency", &at(50), &format!("p50;  p99 {},  max {}", at(99), at(100)))?;
        let commits = format!("{}/s", count((all as f64 / seconds) as usize));
        row("throughput", &commits, &format!("{}/s of WAL", mebibytes((bytes as f64 / seconds) as u64)))
    }
}

/// 12345 as `12,345`.
pub(super) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 segment`, `2 segments`
pub(super) fn plural(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Bytes in PostgreSQL's MB, which are of 2^20 bytes.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / f64::from(1 << 20))
}

/// A latency in milliseconds.
pub(super) fn latency(latency: Duration) -> String {
    format!("{:.1} ms", latency.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[test]
    fn the_table_says_what_was_proven() {
        let commit = |ms| Commit { id: 1, at: Instant::now(), latency: Duration::from_millis(ms) };
        let received = Received { start: Lsn::INVALID, segments: 8, partials: 1, bytes: 140_000_000 };
        let acknowledged = (1..=2000).map(commit).collect();
        let wrote = Duration::from_secs(20);
        let proof = Proof { acknowledged, lost: 3, rows: 2005, received, compared: 140_000_000, wrote };
        let expected = [
            "  commits acknowledged         2,000",
            "  commits found                1,997   and 8 that the kill left unacknowledged",
            "  commits lost                     3",
            "  WAL received              133.5 MB   8 segments and 1 .partial",
            "  equal to the server's     133.5 MB",
            "  commit latency           1000.0 ms   p50;  p99 1980.0 ms,  max 2000.0 ms",
            "  throughput                   100/s   6.7 MB/s of WAL",
        ];
        assert_eq!(proof.to_string().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn large_numbers_are_readable() {
        for (number, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), expected);
        }
    }
}
