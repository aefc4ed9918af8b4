//! P9: how soon a receiver streams again after the server is back: a restart, and a standby's promotion behind the same
//! address.
//!
//! Both receivers go through the same outage at the same time, each with a slot of its own.

use super::address::Address;
use super::moments::milliseconds;
use super::rival::{self, Pair, Rival};
use super::stage::Stage;
use super::watcher::Watcher;
use super::{Figure, Goal, Part};
use crate::receiver::{Launch, Receiver};
use crate::server::{Server, Stop};
use crate::wait::{self, DEADLINE, Poll};
use anyhow::{Context, Result};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const RIVALS: [Rival; 2] = [Rival::Ours, Rival::Theirs];

/// Measures it.
///
/// # Errors
/// A server or a program fails.
pub(super) async fn measure(stage: &Stage) -> Result<Figure> {
    let outages = if stage.quick() { [1, 5] } else { [1, 60] };
    let mut parts = Vec::new();
    for seconds in outages {
        let outage = Duration::from_secs(seconds);
        let taken = restart(stage, outage).await?;
        parts.push(part(taken, format!("restart, {seconds} s away")));
    }
    let mut taken = Pair::default();
    for round in 0..rival::rounds(stage) {
        rival::doing(stage, "P9", round, "promotion");
        promotion(stage, &mut taken).await?;
    }
    parts.push(part(taken, "promotion".into()));
    let notes = vec![
        "Restart: from the first connection that the server accepts to the receiver's row in pg_stat_replication with state \
         = streaming, looked at every millisecond."
            .into(),
        "Promotion: the primary is killed and its address refuses connections for 1 s, until it leads to the standby, \
         which is promoted; counted from then on."
            .into(),
        "Both receivers at the same time, each with a slot; pg_receivewal waits 5 s between its attempts.".into(),
    ];
    Ok(Figure { id: "P9", title: "Streaming again after the server is back", unit: "ms", parts, notes })
}

fn part(taken: Pair, name: String) -> Part {
    taken.part(name, "ms", Goal::AtMost(1000.0))
}

/// Both receivers on `conninfo`, streaming from `server`.
async fn receivers(stage: &Stage, server: &Server, with: impl Fn(Launch) -> Launch) -> Result<Vec<Receiver>> {
    let mut receivers = Vec::new();
    for rival in RIVALS {
        server.create_slot(rival.name(), true).await?;
        let launch = with(rival.launch(stage)?).name(rival.name()).slot(rival.name()).synchronous();
        let mut receiver = launch.directory(&stage.empty_dir(rival.name())?).spawn()?;
        receiver.quiet();
        receiver.wait_streaming(server).await?;
        receivers.push(receiver);
    }
    Ok(receivers)
}

/// Adds what each took since `back`.
async fn add(taken: &mut Pair, watcher: &Watcher, receivers: &[Receiver], back: Instant) -> Result<()> {
    let [ours, theirs] = RIVALS.map(|rival| watcher.streaming(rival.name()));
    let said = || receivers.iter().map(Receiver::stderr).collect::<Vec<_>>().join("\n");
    let (ours, theirs) = tokio::try_join!(ours, theirs).with_context(|| format!("the receivers said:\n{}", said()))?;
    // What streamed before the first look took no time that could be seen.
    taken.add(Rival::Ours, milliseconds(ours.saturating_duration_since(back)));
    taken.add(Rival::Theirs, milliseconds(theirs.saturating_duration_since(back)));
    Ok(())
}

async fn restart(stage: &Stage, outage: Duration) -> Result<Pair> {
    let mut server = rival::server(stage).start().await?;
    let receivers = receivers(stage, &server, |launch| launch.server(&server)).await?;
    let mut taken = Pair::default();
    for round in 0..rival::rounds(stage) {
        rival::doing(stage, "P9", round, format_args!("restart, {} s away", outage.as_secs()));
        server.stop(Stop::Fast).await?;
        // reason: the length of the outage is what is compared
        sleep(outage).await;
        server.spawn()?;
        let (watcher, back) = Watcher::of(&server).await?;
        add(&mut taken, &watcher, &receivers, back).await?;
    }
    for receiver in receivers {
        receiver.stop().await?;
    }
    Ok(taken)
}

async fn promotion(stage: &Stage, taken: &mut Pair) -> Result<()> {
    let mut primary = rival::server(stage).start().await?;
    let standby = rival::server(stage).start_standby_of(&primary).await?;
    for rival in RIVALS {
        standby.create_slot(rival.name(), true).await?;
    }
    let mut address = Address::reserve()?;
    address.lead_to(primary.port()).await?;
    let mut receivers = receivers(stage, &primary, |launch| launch.dbname(&address.conninfo())).await?;

    // All have the same when the primary dies: who was ahead is another figure.
    primary.sql("SELECT pg_logical_emit_message(true, 'bench', 'the last words')").await?;
    let end = primary.flush_lsn().await?;
    for receiver in &mut receivers {
        receiver.wait_flushed(&primary, end).await?;
    }
    wait::until("the standby to have it all", DEADLINE, async || {
        let lsn = standby.current_lsn().await?;
        Ok(if lsn >= end { Poll::Ready(()) } else { Poll::Pending(lsn.to_string()) })
    })
    .await?;

    primary.kill();
    address.lead_nowhere().await;
    // reason: the length of the outage is what is compared
    sleep(Duration::from_secs(1)).await;
    standby.promote().await?;
    let watcher = Watcher::of(&standby).await?.0;
    address.lead_to(standby.port()).await?;
    add(taken, &watcher, &receivers, Instant::now()).await?;
    for receiver in receivers {
        receiver.stop().await?;
    }
    Ok(())
}
