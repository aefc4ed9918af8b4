//! P1: how fast WAL that a slot has kept is received and made durable, over plain TCP.

use super::catch_up::{CatchUp, Link};
use super::stage::Stage;
use super::{Figure, Goal, Part};
use anyhow::Result;

/// The rounds, against pg_receivewal and against the lower of the two ceilings.
pub(super) async fn measure(stage: &Stage) -> Result<Figure> {
    let measured = stage.catch_up(Link::Plaintext).await?;
    let (discard, disk) = (measured.rates(&measured.discard), measured.disk_rates());
    let goal = Goal::All(vec![Goal::RatioAtLeast(2.0), Goal::RatioToAtLeast { other: "lower ceiling", least: 0.9 }]);
    let lower = discard.lesser(&disk);
    let part = Part::new("plaintext", "MB/s", measured.rates(&measured.ours), goal)
        .theirs(measured.rates(&measured.theirs))
        .other("discarding", discard)
        .other("disk alone", disk)
        .other("lower ceiling", lower);
    Ok(Figure {
        id: "P1",
        title: "Durable catch-up",
        unit: part.unit,
        notes: notes(measured, &part),
        parts: vec![part],
    })
}

/// What there is to say about a catch-up.
pub(super) fn notes(measured: &CatchUp, part: &Part) -> Vec<String> {
    let [ours, theirs] = measured.start_up.map(|took| took.as_secs_f64() * 1e3);
    let mut notes = vec![
        format!(
            "{:.2} GB of WAL that a slot has kept, from the start of the process to its end, when all is durable; what was \
             received is compared with the server's own files.",
            measured.gigabytes()
        ),
        format!("Start, first message and stop alone take {ours:.0} ms; pg_receivewal's {theirs:.0} ms."),
        "Discarding: a process that drops what it receives and sends the same statuses. Disk alone: the same number of \
         bytes written once into reserved files of a segment's size, with one fdatasync and one sync of the directory \
         each."
            .into(),
    ];
    let shares = ["discarding", "disk alone", "lower ceiling"].map(|name| (name, part.ratio_to(name)));
    for (name, share) in shares.into_iter().filter_map(|(name, share)| Some((name, share?))) {
        notes.push(format!("Share of {name}: {share:.2}."));
    }
    notes
}
