//! P6: how much the disk is made to do for the catch-up of P1: bytes written, and calls that wait for it.

use super::catch_up::{self, Link, Receiver, Run};
use super::stage::Stage;
use super::{Figure, Goal, Part, Samples, usage};
use crate::process;
use anyhow::Result;
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
            "Calls: {} (only those that wait), without --synchronous, counted by strace in two more runs, of half of the \
             WAL and of all of it: what the second half took, so without start and stop.",
            CALLS.replace(',', ", ")
        ),
    ];
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    match find("strace") {
        Some(strace) => {
            ours = calls_per_segment(stage, &strace, Receiver::Ours).await?;
            theirs = calls_per_segment(stage, &strace, Receiver::Theirs).await?;
        }
        None => notes.push("The calls are not measured: strace is not on this machine.".into()),
    }
    let calls = Part::new("sync calls", "calls per segment", ours, Goal::AtMost(2.0)).theirs(theirs);
    Ok(Figure {
        id: "P6",
        title: "Work for the disk in a catch-up",
        unit: bytes.unit,
        parts: vec![bytes, calls],
        notes,
    })
}

/// What the second half of the WAL takes.
async fn calls_per_segment(stage: &Stage, strace: &Path, receiver: Receiver) -> Result<Samples> {
    stage.doing(format_args!("P6  counting the sync calls of {receiver}"));
    let all = stage.source().await?.segments();
    let half = all / 2;
    let first_half = calls(stage, strace, receiver, half).await?;
    let whole = calls(stage, strace, receiver, all).await?;
    Ok(Samples::new([(whole as f64 - first_half as f64) / (all - half) as f64]))
}

/// What the first `segments` take, start and stop included.
async fn calls(stage: &Stage, strace: &Path, receiver: Receiver, segments: u64) -> Result<usize> {
    let source = stage.source().await?;
    let dir = catch_up::fresh(stage, source).await?;
    let end = source.end_position(segments);
    let counted = catch_up::command(stage, Link::Plaintext, receiver, &dir, end).await?;
    let trace = stage.dir().join("strace.log");
    let mut command = process::command(strace, None);
    command.args(["-f", "-e", &format!("trace={CALLS}"), "-o"]).arg(&trace);
    command.arg(counted.get_program()).args(counted.get_args());
    usage::run(command, &stage.dir().join("receiver.log")).await?;
    source.check(&dir, segments)?;
    Ok(waiting_calls(&fs::read_to_string(trace)?))
}

/// Calls that strace noted, each once: at its beginning. Without a flag to wait, `sync_file_range` waits for nothing.
fn waiting_calls(trace: &str) -> usize {
    let waits = |line: &&str| {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        match call.split_once('(') {
            Some(("sync_file_range", arguments)) => arguments.contains("_WAIT_"),
            Some((name, _)) => CALLS.split(',').any(|counted| counted == name),
            None => false,
        }
    };
    trace.lines().filter(waits).count()
}

fn find(program: &str) -> Option<PathBuf> {
    let path = var_os("PATH")?;
    split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_that_waits_is_counted_once() {
        let trace = "\
            12    fdatasync(5 <unfinished ...>\n\
            13    sync_file_range(5, 0, 1048576, SYNC_FILE_RANGE_WRITE) = 0\n\
            12    <... fdatasync resumed>)          = 0\n\
            13    sync_file_range(5, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE|SYNC_FILE_RANGE_WRITE) = 0\n\
            12    fsync(6)                          = 0\n\
            12    +++ exited with 0 +++\n";
        assert_eq!(waiting_calls(trace), 3);
        assert_eq!(waiting_calls(""), 0);
    }
}
