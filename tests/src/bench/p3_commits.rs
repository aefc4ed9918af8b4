//! P3: what a commit takes that waits for the receiver.
//!
//! The receiver under test is the only synchronous standby. Before each run: a checkpoint, an empty directory, a new slot.

use super::moments::percentile;
use super::pgbench::{self, Outcome, Run};
use super::rival::{self, Pair, Rival};
use super::stage::Stage;
use super::{Figure, Goal, Part, Samples};
use crate::server::Server;
use anyhow::Result;
use std::time::Duration;

/// What both programs call themselves by default.
const STANDBY: &str = "pg_receivewal";

/// The sessions that commit at the same time, and the least ratio of commits in a second.
const CLIENTS: [(u32, f64); 3] = [(1, 1.0), (8, 1.25), (32, 1.1)];

const NO_STANDBY: &str = "no standby";

/// Measures it.
///
/// # Errors
/// A server or a program fails.
pub(super) async fn measure(stage: &Stage) -> Result<Figure> {
    let (scale, time) = if stage.quick() { (5, 2) } else { (50, 10) };
    let time = Duration::from_secs(time);
    let server = rival::server(stage).start().await?;
    pgbench::fill(stage, &server, scale).await?;

    let mut loads: Vec<Load> = CLIENTS.iter().map(|&(clients, _)| Load::of(clients)).collect();
    let (mut beside_off, mut beside_local) = (Beside::default(), Beside::default());
    for round in 0..rival::rounds(stage) {
        for load in &mut loads {
            for rival in Rival::both(round) {
                rival::doing(stage, "P3", round, format_args!("{}, {rival}", load.name()));
                let outcome =
                    with_standby(stage, &server, rival, async || load.run(stage, &server, time).await).await?;
                load.add(Some(rival), outcome);
            }
            rival::doing(stage, "P3", round, format_args!("{}, {NO_STANDBY}", load.name()));
            server.sql("CHECKPOINT").await?;
            let outcome = load.run(stage, &server, time).await?;
            load.add(None, outcome);
        }
        for (beside, synchronous_commit) in [(&mut beside_off, "off"), (&mut beside_local, "local")] {
            for rival in Rival::both(round) {
                rival::doing(stage, "P3", round, format_args!("1 beside 8 with {synchronous_commit}, {rival}"));
                let run = async || mixed(stage, &server, time, synchronous_commit).await;
                let (one, eight) = with_standby(stage, &server, rival, run).await?;
                beside.add(rival, one, &eight);
            }
        }
    }

    let mut parts = Vec::new();
    for (load, (_, least)) in loads.into_iter().zip(CLIENTS) {
        parts.extend(load.parts(least));
    }
    parts.extend(beside_off.parts("off", Goal::RatioAtMost(0.7)));
    parts.extend(beside_local.parts("local", Goal::Shown));
    let notes = vec![
        format!(
            "pgbench -N, scale {scale}, {} s a run, over the unix socket; fsync and synchronous_commit on; the \
                 receiver is the only synchronous standby. Latencies are of whole transactions.",
            time.as_secs()
        ),
        "Before each run a checkpoint: each meets the same first writes of pages.".into(),
        "The last parts: one session with synchronous_commit = on beside eight that do not wait for the \
         receiver: with off not for the server's own disk either, which is the goal's case."
            .into(),
    ];
    Ok(Figure { id: "P3", title: "Commits that wait for the receiver", unit: "commits/s", parts, notes })
}

/// Does `work` with `rival` as the only synchronous standby.
async fn with_standby<T>(
    stage: &Stage,
    server: &Server,
    rival: Rival,
    work: impl AsyncFnOnce() -> Result<T>,
) -> Result<T> {
    server.sql("CHECKPOINT").await?;
    let launch = rival.launch(stage)?.server(server).synchronous();
    let running = rival.start(stage, server, launch).await?;
    server.set("synchronous_standby_names", STANDBY).await?;
    server.wait_for_replication(STANDBY, "to be the synchronous standby", |row| row.sync_state == "sync").await?;
    let done = work().await?;
    server.set("synchronous_standby_names", "").await?;
    server.wait_for("current_setting('synchronous_standby_names') = ''").await?;
    running.end(server).await?;
    Ok(done)
}

async fn mixed(stage: &Stage, server: &Server, time: Duration, commit: &str) -> Result<(Outcome, Outcome)> {
    let one = Run { name: "one", clients: 1, synchronous_commit: "on", time, script: None };
    let eight = Run { name: "eight", clients: 8, synchronous_commit: commit, time, script: None };
    tokio::try_join!(one.on(stage, server), eight.on(stage, server))
}

/// One number of sessions.
struct Load {
    clients: u32,
    rate: Pair,
    p50: Pair,
    p99: Pair,
    /// Without any standby: rate, p50, p99.
    alone: [Vec<f64>; 3],
}

impl Load {
    fn of(clients: u32) -> Self {
        Self { clients, rate: Pair::default(), p50: Pair::default(), p99: Pair::default(), alone: Default::default() }
    }

    async fn run(&self, stage: &Stage, server: &Server, time: Duration) -> Result<Outcome> {
        let run = Run { name: "all", clients: self.clients, synchronous_commit: "on", time, script: None };
        run.on(stage, server).await
    }

    fn add(&mut self, rival: Option<Rival>, mut outcome: Outcome) {
        let [p50, p99] = [50, 99].map(|percent| percentile(&mut outcome.latencies, percent));
        match rival {
            Some(rival) => {
                self.rate.add(rival, outcome.rate);
                self.p50.add(rival, p50);
                self.p99.add(rival, p99);
            }
            None => {
                let values = [outcome.rate, p50, p99];
                self.alone.iter_mut().zip(values).for_each(|(samples, value)| samples.push(value));
            }
        }
    }

    fn name(&self) -> String {
        match self.clients {
            1 => "1 client".into(),
            more => format!("{more} clients"),
        }
    }

    fn parts(self, least: f64) -> [Part; 3] {
        let clients = self.name();
        let [rate, p50, p99] = self.alone.map(Samples::new);
        [
            self.rate.part(clients.clone(), "commits/s", Goal::RatioAtLeast(least)).other(NO_STANDBY, rate),
            self.p50.part(format!("{clients}, p50"), "ms", Goal::Shown).other(NO_STANDBY, p50),
            self.p99.part(format!("{clients}, p99"), "ms", Goal::RatioAtMost(1.0)).other(NO_STANDBY, p99),
        ]
    }
}

/// One synchronous session beside eight asynchronous ones.
#[derive(Default)]
struct Beside {
    latency: Pair,
    /// Transactions in a second of the eight.
    rate: Pair,
}

impl Beside {
    fn add(&mut self, rival: Rival, mut one: Outcome, eight: &Outcome) {
        self.latency.add(rival, percentile(&mut one.latencies, 50));
        self.rate.add(rival, eight.rate);
    }

    fn parts(self, commit: &str, goal: Goal) -> [Part; 2] {
        let name = format!("1 beside 8 with {commit}");
        [
            self.latency.part(format!("{name}, p50"), "ms", goal),
            self.rate.part(format!("{name}, the 8"), "commits/s", Goal::Shown),
        ]
    }
}
