//! P4: what the catch-up of P1 costs in CPU time: the receiver's own, and the whole machine's.

use super::catch_up::{Link, Run};
use super::stage::Stage;
use super::{Figure, Goal, Part, Samples};
use anyhow::Result;
use std::time::Duration;

const UNIT: &str = "CPU s/GB";

/// The rounds of P1, looked at from the other side.
pub(super) async fn measure(stage: &Stage) -> Result<Figure> {
    let measured = stage.catch_up(Link::Plaintext).await?;
    let per_gigabyte = |runs: &[Run], cost: fn(&Run) -> Duration| {
        Samples::new(runs.iter().map(|run| cost(run).as_secs_f64() / measured.gigabytes()))
    };
    let part = |name: &str, goal, cost: fn(&Run) -> Duration| {
        let part = Part::new(name, UNIT, per_gigabyte(&measured.ours, cost), goal);
        part.theirs(per_gigabyte(&measured.theirs, cost))
    };
    let parts = vec![
        part("the process", Goal::RatioAtMost(0.6), |run| run.usage.cpu),
        part("the whole machine", Goal::RatioAtMost(1.0), |run| run.machine_cpu),
    ];
    let notes = vec![
        "Of the runs of P1. The process: its user and system time. The whole machine: everything that was busy from the \
         start of the process until a sync at its end returned, the server's walsender and the kernel's write-back \
         included; both receivers have the same there."
            .into(),
        format!("While nothing is asked of the server, {:.2} cores are busy.", measured.idle),
    ];
    Ok(Figure { id: "P4", title: "CPU time of a durable catch-up", unit: UNIT, parts, notes })
}
