//! P8: from the start of the program to streaming, into a directory that holds many finished segments.
//!
//! Both use the same directory, one after the other. Its segments are stand-ins: files of the right size and name before
//! the segment that is being written. The server's WAL is moved ahead to make room for their names.

use super::moments::{milliseconds, percentile};
use super::rival::{self, Pair, Rival};
use super::stage::Stage;
use super::watcher::Watcher;
use super::{Figure, Goal, Part};
use crate::server::Server;
use anyhow::{Context, Result};
use rustix::fs::sync;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use tokio::time::Instant;
use wal_agent::wal::{SegmentName, SegmentNo, SegmentSize, TimelineId};

/// Finished segments: few, and as many as the goal says.
const FEW: u64 = 1_000;
const MANY: u64 = 100_000;

/// Where the server's WAL begins: above so many segments.
const BEGIN: SegmentNo = SegmentNo::new(MANY + 1_000);

/// Starts in each round: its value is their median.
const STARTS: u32 = 3;

const SPARSE: &str = "sparse";

/// What is in the stand-ins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Nothing: holes of the right size.
    Sparse,
    /// Data in every block.
    Full,
}

/// Measures it.
///
/// # Errors
/// A server or a program fails.
pub(super) async fn measure(stage: &Stage) -> Result<Figure> {
    let some = if stage.quick() { 16 } else { 200 };
    let mut server = rival::server(stage).create()?;
    server.skip_wal_to(&name(BEGIN))?;
    server.start().await?;
    let place = Place::of_agent(stage, server).await?;

    let many = place.measure(stage, MANY, Content::Sparse).await?;
    let few = place.measure(stage, FEW, Content::Sparse).await?;
    let sparse = place.measure(stage, some, Content::Sparse).await?;
    let full = place.measure(stage, some, Content::Full).await?;

    let count = |segments: u64| format!("{segments} segments");
    let sparse: Part = sparse.part(count(some) + ", sparse", "ms", Goal::Shown);
    let content = Goal::RatioToAtMost { other: SPARSE, most: 1.5 };
    let full = full.part(count(some) + ", full of data", "ms", content).other(SPARSE, sparse.ours.clone());
    let parts =
        vec![many.part(count(MANY), "ms", Goal::AtMost(1000.0)), few.part(count(FEW), "ms", Goal::Shown), full, sparse];
    let notes = vec![
        "From the start of the program to its row in pg_stat_replication with state = streaming, on an idle server, looked \
         at every millisecond; the median of three starts."
            .into(),
        "Finished segments are sparse stand-ins unless said otherwise, in a directory that the agent has used before; \
         what the system knows of the directory is in its cache."
            .into(),
    ];
    Ok(Figure { id: "P8", title: "Start into a directory with many segments", unit: "ms", parts, notes })
}

/// The directory, and the server that its WAL is of.
struct Place {
    server: Server,
    watcher: Watcher,
    dir: PathBuf,
    /// The segment that is being written.
    current: SegmentNo,
}

impl Place {
    /// A directory that the agent has begun.
    async fn of_agent(stage: &Stage, server: Server) -> Result<Self> {
        let dir = stage.empty_dir("archive")?;
        let watcher = Watcher::of(&server).await?.0;
        let current = server.segment_size().segment_of(server.flush_lsn().await?);
        let launch = Rival::Ours.launch(stage)?.name(Rival::Ours.name()).server(&server).directory(&dir);
        let mut receiver = launch.synchronous().spawn()?;
        receiver.quiet();
        receiver.wait_streaming(&server).await?;
        // With the first WAL the directory becomes the cluster's.
        server.sql("SELECT pg_logical_emit_message(true, 'bench', 'begin')").await?;
        receiver.wait_flushed(&server, server.flush_lsn().await?).await?;
        receiver.stop().await?;
        watcher.gone(Rival::Ours.name()).await?;
        Ok(Self { server, watcher, dir, current })
    }

    /// Starts both in each round, with so many finished segments.
    async fn measure(&self, stage: &Stage, segments: u64, content: Content) -> Result<Pair> {
        let what = format!("{segments} segments, {}", if content == Content::Full { "full of data" } else { SPARSE });
        stage.doing(format_args!("P8, {what}"));
        let stand_ins: Vec<PathBuf> = (self.current.get() - segments..self.current.get())
            .map(|number| self.dir.join(name(SegmentNo::new(number))))
            .collect();
        let block = vec![1; 1 << 20];
        for path in &stand_ins {
            let mut file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
            match content {
                Content::Sparse => file.set_len(SegmentSize::DEFAULT.bytes())?,
                Content::Full => (0..SegmentSize::DEFAULT.bytes() >> 20).try_for_each(|_| file.write_all(&block))?,
            }
        }
        // What has been written here is no load for the disk any more.
        sync();
        let mut taken = Pair::default();
        for round in 0..rival::rounds(stage) {
            let [mut ours, mut theirs] = [Vec::new(), Vec::new()];
            rival::doing(stage, "P8", round, &what);
            for number in 0..STARTS {
                for rival in Rival::both(round + number) {
                    let took = self.start(stage, rival).await?;
                    if rival == Rival::Ours { ours.push(took) } else { theirs.push(took) }
                }
            }
            taken.add(Rival::Ours, percentile(&mut ours, 50));
            taken.add(Rival::Theirs, percentile(&mut theirs, 50));
        }
        stand_ins.iter().try_for_each(fs::remove_file)?;
        Ok(taken)
    }

    /// The milliseconds until it streams.
    async fn start(&self, stage: &Stage, rival: Rival) -> Result<f64> {
        let launch = rival.launch(stage)?.name(rival.name()).server(&self.server).directory(&self.dir);
        let start = Instant::now();
        let mut receiver = launch.spawn()?;
        receiver.quiet();
        let streaming = self.watcher.streaming(rival.name()).await;
        let streaming = streaming.with_context(|| format!("its stderr:\n{}", receiver.stderr()))?;
        receiver.stop().await?;
        self.watcher.gone(rival.name()).await?;
        Ok(milliseconds(streaming - start))
    }
}

fn name(segment: SegmentNo) -> String {
    SegmentName { segment, timeline: TimelineId::FIRST }.file_name(SegmentSize::DEFAULT)
}
