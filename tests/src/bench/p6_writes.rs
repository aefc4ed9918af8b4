//! P6: how much the disk is made to do for the catch-up of P1: bytes written, and calls that wait for it.

use super::catch_up::{self, Link, Receiver, Run};
use super::stage::Stage;
use super::{Figure, Goal, Part, Samples, usage};
use crate::process;
use anyhow::{Context, Result};
use std::env::{split_paths, var_os};
use std::fs;
use std::path::{Path, PathBuf};

const CALLS: &str = "fsync,fdatasync,syncfs,sync_file_range";

/// The bytes of each round of P1, and the calls of one more run under strace.
pub(super) async fn measure(stage: &Stage) -> Result<Figure> {
    let measured = stage.catch_up(Link::Plaintext).await?;
    let per_byte = |runs: &[Run]| Samples::new(runs.iter().map(|run| run.usage.written as f64 / measured.bytes as f64));
    let bytes = Part::new("written", "bytes per WAL byte", per_byte(&measured.ours), Goal::AtMost(1.05));
    let bytes = bytes.theirs(per_byte(&measured.theirs));
    let mut notes = vec![
        "Written: what each process of P1 made dirty and did not truncate again, by its /proc/PID/io at its end. The file \
         system's own journal is not in it."
            .into(),
        format!(
            "Calls: {} (only those that wait), without --synchronous, noted by strace in one more run: how many more there \
             are with each segment that is complete, to the nearest 0.05. Start and stop do not count.",
            CALLS.replace(',', ", ")
        ),
    ];
    let (ours, theirs) = calls_of_both(stage).await.unwrap_or_else(|error| {
        // strace may be missing, or forbidden to look into another process.
        let reason = format!("{error:#}").lines().map(str::trim).collect::<Vec<_>>().join(" ");
        notes.push(format!("The calls are not measured here: {reason}"));
        (Samples::default(), Samples::default())
    });
    let calls = Part::new("sync calls", "calls per segment", ours, Goal::AtMost(2.0)).theirs(theirs);
    Ok(Figure {
        id: "P6",
        title: "Work for the disk in a catch-up",
        unit: bytes.unit,
        parts: vec![bytes, calls],
        notes,
    })
}

async fn calls_of_both(stage: &Stage) -> Result<(Samples, Samples)> {
    let strace = find("strace").context("there is no strace")?;
    let ours = calls_per_segment(stage, &strace, Receiver::Ours).await?;
    Ok((ours, calls_per_segment(stage, &strace, Receiver::Theirs).await?))
}

async fn calls_per_segment(stage: &Stage, strace: &Path, receiver: Receiver) -> Result<Samples> {
    stage.doing(format_args!("P6  counting the sync calls of {receiver}"));
    let source = stage.source().await?;
    let dir = catch_up::fresh(stage, source).await?;
    let end = source.end_position(source.segments());
    let traced = catch_up::command(stage, Link::Plaintext, receiver, &dir, end).await?;
    let trace = stage.dir().join("strace.log");
    let mut command = process::command(strace, None);
    // Which call renames differs between processors.
    command.args(["-f", "-e", &format!("trace={CALLS},?rename,?renameat,?renameat2"), "-o"]).arg(&trace);
    command.arg(traced.get_program()).args(traced.get_args());
    usage::run(command, &stage.dir().join("receiver.log")).await?;
    source.check(&dir, source.segments())?;
    let slope = slope(&calls_at_renames(&fs::read_to_string(trace)?)).context("strace noted no segments")?;
    // Directories are synced a bit before a rename or after it: that is worth a call more or less, here and there.
    Ok(Samples::new([(slope * 20.0).round() / 20.0]))
}

/// How many calls had been made when each segment got its final name. strace notes each call at its beginning, and some
/// once more at their end.
fn calls_at_renames(trace: &str) -> Vec<f64> {
    let (mut calls, mut at_renames) = (0.0, Vec::new());
    for line in trace.lines() {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        match call.split_once('(') {
            // Without a flag to wait it waits for nothing.
            Some(("sync_file_range", arguments)) if !arguments.contains("_WAIT_") => {}
            Some((name, _)) if CALLS.split(',').any(|counted| counted == name) => calls += 1.0,
            Some((name, arguments)) if name.starts_with("rename") && arguments.contains(".partial\"") => {
                at_renames.push(calls);
            }
            _ => {}
        }
    }
    at_renames
}

/// By how much the values grow from one to the next: that of the straight line that fits them best.
fn slope(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let (middle, mean) = ((values.len() - 1) as f64 / 2.0, values.iter().sum::<f64>() / values.len() as f64);
    let offsets = (0..values.len()).map(|number| number as f64 - middle);
    let squares: f64 = offsets.clone().map(|offset| offset * offset).sum();
    Some(offsets.zip(values).map(|(offset, value)| offset * (value - mean)).sum::<f64>() / squares)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = var_os("PATH")?;
    split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_wait_are_counted_once_until_each_segment_is_complete() {
        let trace = "\
            12    rename(\"/x/identity.tmp\", \"/x/identity\") = 0\n\
            12    fdatasync(5 <unfinished ...>\n\
            13    sync_file_range(5, 0, 1048576, SYNC_FILE_RANGE_WRITE) = 0\n\
            12    <... fdatasync resumed>)          = 0\n\
            12    rename(\"/x/1.partial\", \"/x/1\" <unfinished ...>\n\
            13    sync_file_range(5, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE|SYNC_FILE_RANGE_WRITE) = 0\n\
            12    <... rename resumed>)             = 0\n\
            12    fsync(6)                          = 0\n\
            12    renameat2(AT_FDCWD, \"/x/2.partial\", AT_FDCWD, \"/x/2\", 0) = 0\n\
            12    fsync(6)                          = 0\n\
            12    +++ exited with 0 +++\n";
        assert_eq!(calls_at_renames(trace), [1.0, 3.0]);
        assert!(calls_at_renames("").is_empty());
    }

    #[test]
    fn a_call_that_comes_early_or_late_hardly_changes_the_slope() {
        assert_eq!((slope(&[]), slope(&[4.0]), slope(&[4.0, 6.0, 8.0])), (None, None, Some(2.0)));
        let late: Vec<f64> = (0..50).map(|number| f64::from(2 * number + i32::from(number == 49))).collect();
        assert!(slope(&late).is_some_and(|slope| (2.0..2.005).contains(&slope)));
    }
}
