//! The benchmark: the agent and pg_receivewal side by side on this machine, figure by figure.
//!
//! ```text
//! figure     a figure: its values round by round, its goal, whether it is met
//! stage      what each figure gets: programs, a directory, the shared server, progress
//! source     that server, with WAL to catch up with
//! catch_up   the rounds of receiving it; discard and disk are their ceilings
//! usage      one measured run of a program
//! p1_…       the figures, each a function of the stage
//! machine    on what it was measured
//! report     what is left of it: report.json, report.md, plots, docs/performance.md
//! ```
//!
//! A new figure is a module with `measure` and a line in [`FIGURES`]. Receivers take turns within a round, so that what
//! disturbs the machine disturbs all of them.

pub mod catch_up;
pub mod discard;
pub mod figure;
pub mod machine;
pub mod progress;
pub mod report;
pub mod source;
pub mod stage;
pub mod usage;

mod disk;
mod p1_catch_up;
mod p2_tls;
mod p4_cpu;
mod p6_writes;

pub use crate::process::kill_children;
pub use figure::{Figure, Goal, Part, Samples};

use crate::agent::{self, Profile};
use anyhow::{Result, anyhow, bail};
use machine::{Machine, file_system};
use progress::Progress;
use report::{Outcome, Report};
use stage::Stage;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How long a signal may be on its way to us after it has ended what we waited for.
const SIGNAL: Duration = Duration::from_millis(500);

/// Rounds, unless told otherwise.
pub const ROUNDS: u32 = 5;

/// What can be measured.
#[derive(Debug)]
pub struct Entry {
    /// `P1`, `P2`…
    pub id: &'static str,
    /// What it is, in some words.
    pub title: &'static str,
    measure: for<'a> fn(&'a Stage) -> Measuring<'a>,
}

type Measuring<'a> = Pin<Box<dyn Future<Output = Result<Figure>> + 'a>>;

/// Every figure, in the order in which they are measured.
pub static FIGURES: &[Entry] = &[
    Entry { id: "P1", title: "durable catch-up", measure: |stage| Box::pin(p1_catch_up::measure(stage)) },
    Entry { id: "P2", title: "durable catch-up over TLS 1.3", measure: |stage| Box::pin(p2_tls::measure(stage)) },
    Entry { id: "P4", title: "CPU time of a durable catch-up", measure: |stage| Box::pin(p4_cpu::measure(stage)) },
    Entry { id: "P6", title: "work for the disk in a catch-up", measure: |stage| Box::pin(p6_writes::measure(stage)) },
];

/// What may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which figures; all if there is none.
    pub only: Vec<&'static str>,
    /// How many rounds.
    pub rounds: u32,
    /// An impression in little time.
    pub quick: bool,
    /// How many segments of WAL are caught up with.
    pub segments: u32,
    /// On which file system: an existing directory, or one to be made. Else where temporary files lie on a disk.
    pub dir: Option<PathBuf>,
    /// How the agent is built.
    pub profile: Profile,
    /// Where the report goes. Else into `bench` where cargo builds.
    pub report: Option<PathBuf>,
    /// Where the documentation is that is to show the report.
    pub docs: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            only: Vec::new(),
            rounds: ROUNDS,
            quick: false,
            segments: 100,
            dir: None,
            profile: Profile::Shipped,
            report: None,
            docs: None,
        }
    }
}

impl Options {
    /// Little time: fewer rounds, less WAL.
    #[must_use]
    pub fn quick() -> Self {
        Self { quick: true, rounds: 2, segments: 20, ..Self::default() }
    }

    fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.contains(&id)
    }

    /// The directory below which everything is written.
    fn base(&self) -> Result<PathBuf> {
        if let Some(dir) = &self.dir {
            return Ok(std::path::absolute(dir)?);
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let in_memory =
            |dir: &Path| file_system(&mounts, dir).is_some_and(|(name, _)| ["tmpfs", "ramfs"].contains(&name.as_str()));
        let places = [std::env::temp_dir(), "/var/tmp".into(), agent::target_dir()?.join("bench")];
        let place = places.into_iter().find(|dir| !in_memory(dir));
        place.ok_or_else(|| anyhow!("nothing is on a disk here: --dir says where to write"))
    }
}

/// Measures what `options` say and writes the report, which is returned. A figure that cannot be measured is a part of it.
///
/// Becoming true, `interrupted` ends it; whoever interrupts has to end our programs, with [`kill_children`]. In the end no process is left and no file but the report.
///
/// # Errors
/// Nothing can be measured, the report cannot be written, or it was interrupted.
pub async fn run(options: Options, progress: Progress, mut interrupted: watch::Receiver<bool>) -> Result<Report> {
    let stage = Stage::new(options.clone(), progress);
    let measured = tokio::select! {
        biased;
        Ok(_) = interrupted.wait_for(|interrupted| *interrupted) => Err(anyhow!("interrupted")),
        measured = async { measure(stage.as_ref().map_err(|error| anyhow!("{error:#}"))?).await } => measured,
    };
    if let Ok(stage) = &stage {
        stage.progress().finish();
    }
    // A terminal may have ended one of our programs a moment before we hear of the same signal. What such a figure says is
    // no news.
    let is_whole = measured.as_ref().is_ok_and(|report| report.figures.iter().all(|outcome| outcome.result.is_ok()));
    let signal = timeout(SIGNAL, interrupted.wait_for(|interrupted| *interrupted));
    if !is_whole && matches!(signal.await, Ok(Ok(_))) {
        bail!("interrupted: all processes are ended, all files removed");
    }
    let report = measured?;
    let dir = options.report.map_or_else(|| Ok(agent::target_dir()?.join("bench")), anyhow::Ok)?;
    report.write(&dir)?;
    if let Some(docs) = &options.docs {
        report.write_docs(docs)?;
    }
    Ok(report)
}

async fn measure(stage: &Stage) -> Result<Report> {
    let start = Instant::now();
    let machine = Machine::look(stage)?;
    let mut figures = Vec::new();
    for entry in FIGURES.iter().filter(|entry| stage.wants(entry.id)) {
        stage.doing(format_args!("{}  {}", entry.id, entry.title));
        let result = (entry.measure)(stage).await.map_err(|error| format!("{error:#}"));
        let outcome = Outcome { id: entry.id, title: entry.title, result };
        stage.say(&outcome);
        figures.push(outcome);
    }
    Ok(Report { machine, figures, quick: stage.quick(), rounds: stage.rounds(), took: start.elapsed() })
}
