//! P2: the same as P1 over TLS 1.3.

use super::catch_up::Link;
use super::p1_catch_up::notes;
use super::stage::Stage;
use super::{Figure, Goal, Part};
use anyhow::Result;

/// The rounds, against pg_receivewal and against a receiver that only decrypts.
pub(super) async fn measure(stage: &Stage) -> Result<Figure> {
    let measured = stage.catch_up(Link::Tls).await?;
    let ceiling = Goal::RatioToAtLeast { other: "discarding", least: 0.9 };
    let goal = Goal::Any(vec![Goal::RatioAtLeast(1.5), ceiling]);
    let part = Part::new("TLS 1.3", "MB/s", measured.rates(&measured.ours), goal)
        .theirs(measured.rates(&measured.theirs))
        .other("discarding", measured.rates(&measured.discard))
        .other("disk alone", measured.disk_rates());
    let mut notes = notes(measured, &part);
    notes.push("Here the receiver that discards decrypts, too: it is the ceiling of TLS.".into());
    Ok(Figure { id: "P2", title: "Durable catch-up over TLS 1.3", unit: part.unit, notes, parts: vec![part] })
}
