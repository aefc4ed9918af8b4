//! P7: how long a synchronous receiver is silent while WAL is pending, with a server that writes as fast as it can.
//!
//! A relay notes when WAL comes and when acknowledgements pass. The disk's own price of an acknowledgement is measured in
//! the same minute, on the same file system, and under the same load: a probe takes the receiver's place.

use super::moments::{milliseconds, percentile, waits};
use super::pgbench::Run;
use super::rival::{self, Pair, Rival};
use super::stage::Stage;
use super::{Figure, Goal, Samples};
use crate::server::Server;
use crate::tap::Tap;
use anyhow::{Context, Result, ensure};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// Sessions that write, and what each commits: locally, so that none waits for the receiver.
const SESSIONS: u32 = 8;
const SCRIPT: &str = "SELECT pg_logical_emit_message(true, 'bench', repeat('x', 32768));\n";

/// What is not counted at the load's beginning and end.
const EDGE: Duration = Duration::from_millis(250);

/// The probes: the WAL as fast as the server writes it, and little at a time.
const ALL: &str = "disk, all WAL";
const LITTLE: &str = "disk, 8 KB";

/// What a probe writes at least.
const BLOCK: usize = 8 << 10;

/// The size of a file: a segment's.
const FILE: usize = 16 << 20;

/// Measures it.
///
/// # Errors
/// A server or a program fails.
pub(super) async fn measure(stage: &Stage) -> Result<Figure> {
    let time = Duration::from_secs(if stage.quick() { 2 } else { 10 });
    let server = rival::server(stage).start().await?;
    let (mut p50, mut p99, mut max) = (Pair::default(), Pair::default(), Pair::default());
    let (mut all, mut little) = (Moments::default(), Moments::default());
    let mut rates = Vec::new();
    for round in 0..rival::rounds(stage) {
        for rival in Rival::both(round) {
            rival::doing(stage, "P7", round, rival);
            let Observed { mut silences, rate } = observe(stage, &server, rival, time).await?;
            p99.add(rival, percentile(&mut silences, 99));
            max.add(rival, percentile(&mut silences, 100));
            p50.add(rival, percentile(&mut silences, 50));
            if rival == Rival::Ours {
                rates.push(rate);
            }
        }
        rival::doing(stage, "P7", round, "the disk");
        let rate = rates.last().copied().unwrap_or_default();
        all.add(&mut flushes(stage, &server, time, rate).await?);
        little.add(&mut flushes(stage, &server, time, 0.0).await?);
    }
    let goal = Goal::RatioToAtMost { other: ALL, most: 2.0 };
    let part = |pair: Pair, name, goal, moment: fn(&Moments) -> &Vec<f64>| {
        let of = |moments| Samples::new(moment(moments).iter().copied());
        pair.part(name, "ms", goal).other(ALL, of(&all)).other(LITTLE, of(&little))
    };
    let parts = vec![
        part(p99, "p99", goal, |moments| &moments.p99),
        part(max, "max", Goal::Shown, |moments| &moments.max),
        part(p50, "p50", Goal::Shown, |moments| &moments.p50),
    ];
    let rate = Samples::new(rates).median().unwrap_or_default() / f64::from(1 << 20);
    let notes = vec![
        format!(
            "{SESSIONS} sessions commit messages of 32 KB with synchronous_commit = local for {} s; the receiver is \
                 synchronous, behind a relay that notes both directions.",
            time.as_secs()
        ),
        "Counted from the arrival of WAL, or the acknowledgement before, to the next that advances; what is still \
         unacknowledged at the end counts, too."
            .into(),
        format!(
            "The disk: a probe in the receiver's place, right after the receivers and under the same load. It writes what \
                 has come meanwhile ({rate:.0} MB/s of WAL), or 8 KB each time, then fdatasync; into preallocated files of \
                 16 MiB, with the next file and its directory entry where one is full."
        ),
    ];
    Ok(Figure { id: "P7", title: "Silence while WAL is pending, under saturation", unit: "ms", parts, notes })
}

/// What one run showed.
struct Observed {
    /// How long WAL was pending each time, in milliseconds.
    silences: Vec<f64>,
    /// Bytes of WAL that the server wrote in a second.
    rate: f64,
}

/// What a probe took, in milliseconds, of each round.
#[derive(Default)]
struct Moments {
    p50: Vec<f64>,
    p99: Vec<f64>,
    max: Vec<f64>,
}

impl Moments {
    fn add(&mut self, taken: &mut [f64]) {
        self.p50.push(percentile(taken, 50));
        self.p99.push(percentile(taken, 99));
        self.max.push(percentile(taken, 100));
    }
}

async fn observe(stage: &Stage, server: &Server, rival: Rival, time: Duration) -> Result<Observed> {
    server.sql("CHECKPOINT").await?;
    let tap = Tap::on(server.port()).await?;
    let launch = rival.launch(stage)?.dbname(&tap.conninfo()).synchronous();
    let running = rival.start(stage, server, launch).await?;
    let (start, from) = (Instant::now(), server.flush_lsn().await?);
    load(time).on(stage, server).await?;
    let rate = server.flush_lsn().await?.bytes_since(from) as f64 / start.elapsed().as_secs_f64();
    let silences = waits(&tap.arrivals(), &tap.statuses(), (start + EDGE, start + time - EDGE));
    running.end(server).await?;
    ensure!(!silences.is_empty(), "no WAL came to {rival}");
    Ok(Observed { silences: silences.into_iter().map(milliseconds).collect(), rate })
}

/// What writing and flushing takes while the same load runs, in milliseconds.
async fn flushes(stage: &Stage, server: &Server, time: Duration, rate: f64) -> Result<Vec<f64>> {
    server.sql("CHECKPOINT").await?;
    let dir = stage.dir().join("probe");
    fs::create_dir_all(&dir)?;
    let (place, end) = (dir.clone(), Instant::now() + time);
    let probe = tokio::task::spawn_blocking(move || probe(&place, end, rate));
    load(time).on(stage, server).await?;
    let taken = probe.await.context("the probe failed")??;
    fs::remove_dir_all(dir)?;
    Ok(taken.into_iter().map(milliseconds).collect())
}

fn load(time: Duration) -> Run<'static> {
    Run { name: "load", clients: SESSIONS, synchronous_commit: "local", time, script: Some(SCRIPT) }
}

/// Until `end`: writes what has come at `rate` since the last time, 8 KB at least, and flushes it; one file after the other.
fn probe(dir: &Path, end: Instant, rate: f64) -> Result<Vec<Duration>> {
    let wal = vec![1; FILE];
    let (mut taken, mut files) = (Vec::new(), 0);
    let (mut file, mut room) = (next_file(dir, files)?, &wal[..]);
    let mut last = Duration::ZERO;
    while Instant::now() < end {
        let start = Instant::now();
        let come = (rate * last.as_secs_f64()) as usize;
        let mut left = (come - come % BLOCK).clamp(BLOCK, FILE);
        while left > 0 {
            let (part, rest) = room.split_at(left.min(room.len()));
            file.write_all(part)?;
            file.sync_data()?;
            (left, room) = (left - part.len(), rest);
            if room.is_empty() {
                fs::remove_file(dir.join(files.to_string()))?;
                files += 1;
                (file, room) = (next_file(dir, files)?, &wal[..]);
            }
        }
        last = start.elapsed();
        taken.push(last);
    }
    Ok(taken)
}

fn next_file(dir: &Path, number: u64) -> Result<File> {
    let file = File::create(dir.join(number.to_string()))?;
    fallocate(&file, FallocateFlags::empty(), 0, FILE as u64).context("cannot preallocate a file")?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    Ok(file)
}
