//! P5: resident memory: idle, and the most it ever is in a catch-up, with the disk as it is and with a slow one.
//!
//! The slow disk is the machine's own behind `strace`, which lets every write and flush of the receiver take longer: no
//! privilege and no device of its own is needed, and the receiver is the process that is shipped.

use super::rival::{self, Pair, Rival, Running};
use super::stage::Stage;
use super::{Figure, Goal, Part, Samples};
use crate::receiver::{Launch, Receiver};
use crate::server::Server;
use crate::wait::{self, DEADLINE, Poll};
use anyhow::{Context, Result};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use wal_agent::wal::Lsn;

/// After the receiver streams: what it needed for starting is given back.
const SETTLE: Duration = Duration::from_secs(2);

/// How much longer a write takes on the slow disk, and a flush.
const SLOW_WRITE: Duration = Duration::from_millis(20);
const SLOW_FLUSH: Duration = Duration::from_millis(200);

/// One statement's WAL.
const MEGABYTES: u32 = 64;

/// Measures it.
///
/// # Errors
/// A server or a program fails.
pub(super) async fn measure(stage: &Stage) -> Result<Figure> {
    let (statements, slow_for) = if stage.quick() { (4, 3) } else { (16, 15) };
    let slow_for = Duration::from_secs(slow_for);
    let has_strace = has_strace();
    let server = rival::server(stage).start().await?;
    let [mut idle, mut after, mut peak, mut slow] = [(); 4].map(|()| Pair::default());
    for round in 0..rival::rounds(stage) {
        for rival in Rival::both(round) {
            rival::doing(stage, "P5", round, rival);
            server.sql("CHECKPOINT").await?;
            let launch = rival.launch(stage)?.server(&server).synchronous();
            let running = rival.start(stage, &server, launch).await?;
            // reason: idle is what it is when nothing happens for a while
            sleep(SETTLE).await;
            idle.add(rival, megabytes(running.receiver.resident_memory())?);
            running.end(&server).await?;

            let end = write_wal(&server, rival, statements).await?;
            let launch = rival.launch(stage)?.server(&server).status_interval(1);
            let running = begin(stage, rival, launch)?;
            flushed(&server, &running.receiver, rival, end).await?;
            peak.add(rival, megabytes(running.receiver.peak_memory())?);
            // reason: as above
            sleep(SETTLE).await;
            after.add(rival, megabytes(running.receiver.resident_memory())?);
            running.end(&server).await?;

            if has_strace {
                let end = write_wal(&server, rival, statements).await?;
                let launch = on_slow_disk(stage, rival)?.server(&server).status_interval(1);
                let running = begin(stage, rival, launch)?;
                // Time is up, or the WAL is, whatever comes first: both are as good as the other.
                let _ = timeout(slow_for, flushed(&server, &running.receiver, rival, end)).await;
                slow.add(rival, megabytes(running.receiver.peak_memory())?);
                running.end(&server).await?;
            }
        }
    }
    let slow_note = if has_strace {
        format!(
            "The slow disk: strace delays each of the receiver's writes by {} ms and each flush by {} ms; the peak of {} s.",
            SLOW_WRITE.as_millis(),
            SLOW_FLUSH.as_millis(),
            slow_for.as_secs()
        )
    } else {
        "The slow disk was not measured: it needs strace, which is not on this machine or may not trace.".into()
    };
    let notes = vec![
        format!("Idle: VmRSS {} s after it has caught up, with a slot. Peaks: VmHWM.", SETTLE.as_secs()),
        format!("Catch-up by slot of {} MB.", statements * MEGABYTES),
        slow_note,
    ];
    let slow = match has_strace {
        true => slow.part("peak on a slow disk", "MB", Goal::AtMost(24.0)),
        false => Part::new("peak on a slow disk", "MB", Samples::default(), Goal::AtMost(24.0)),
    };
    let parts = vec![
        idle.part("idle", "MB", Goal::AtMost(12.0)),
        after.part("idle after a catch-up", "MB", Goal::AtMost(12.0)),
        peak.part("peak", "MB", Goal::AtMost(24.0)),
        slow,
    ];
    Ok(Figure { id: "P5", title: "Resident memory", unit: "MB", parts, notes })
}

/// Makes WAL for a new slot of `rival` and returns its end.
async fn write_wal(server: &Server, rival: Rival, statements: u32) -> Result<Lsn> {
    server.sql("CHECKPOINT").await?;
    server.create_slot(rival.name(), true).await?;
    for _ in 0..statements {
        let message = "SELECT pg_logical_emit_message(false, 'bench', repeat('x', 1 << 20))";
        server.sql(&format!("{message} FROM generate_series(1, {MEGABYTES})")).await?;
    }
    server.switch_wal().await
}

/// Starts it on its slot, which is there, and does not wait.
fn begin(stage: &Stage, rival: Rival, launch: Launch) -> Result<Running> {
    let dir = stage.empty_dir(rival.name())?;
    Running::spawn(rival, launch, dir)
}

async fn flushed(server: &Server, receiver: &Receiver, rival: Rival, end: Lsn) -> Result<()> {
    wait::until(format!("{} to flush {end}", rival.name()), 2 * DEADLINE, async || {
        let rows = server.replications().await?;
        let is_there = rows.iter().any(|row| row.flush >= end);
        let state = || format!("{rows:?}; stderr:\n{}", receiver.stderr());
        Ok(if is_there { Poll::Ready(()) } else { Poll::Pending(state()) })
    })
    .await
}

/// The contestant under strace, as a process of its own: strace becomes its grandchild.
fn on_slow_disk(stage: &Stage, rival: Rival) -> Result<Launch> {
    // The agent's runtime writes to its own wake-up descriptors with write(2), and never to a file.
    let writes = match rival {
        Rival::Ours => "pwrite64,pwritev,pwritev2",
        Rival::Theirs => "write,pwrite64,pwritev,pwritev2",
    };
    let flushes = "fsync,fdatasync,sync_file_range";
    let launch = Launch::program("strace".as_ref()).unnamed();
    let launch = launch.args(["-D", "-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null"]);
    let launch = launch.arg("-e").arg(format!("trace={writes},{flushes}"));
    let launch = launch.arg("-e").arg(format!("inject={writes}:delay_enter={}", SLOW_WRITE.as_micros()));
    let launch = launch.arg("-e").arg(format!("inject={flushes}:delay_enter={}", SLOW_FLUSH.as_micros()));
    Ok(launch.arg("--").arg(rival.program(stage)?))
}

/// Whether strace is here, may trace, and knows all that is asked of it.
fn has_strace() -> bool {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null"]);
    command.args(["-e", "trace=fsync", "-e", "inject=fsync:delay_enter=1", "--", "true"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn megabytes(bytes: Option<u64>) -> Result<f64> {
    Ok(bytes.context("the receiver has ended, or this is no Linux")? as f64 / f64::from(1 << 20))
}
