//! The commands: which there are, their arguments, and how they end.

mod bench;
mod demo;
mod test;

use anyhow::Result;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::interval;

const HELP: &str = "\
Usage: cargo xtask COMMAND

  demo                     the whole story in about a minute: a server under load is lost with all its data, and comes
                           back from a base backup and the WAL that wal-agent received, with every acknowledged commit
       --seconds N         how long clients write (20)
       --clients N         how many there are (8)
       --postgres MAJOR    a fetched PostgreSQL, 13 to 18, instead of the one on this machine
       --keep              leave the recovered server and wal-agent running, and say how to look at them

  bench                    wal-agent and pg_receivewal side by side on this machine: figures with their goals, written to
                           target/bench/report.json and report.md with plots. Takes a while; nothing else should run
       --quick             an impression in less than 3 minutes: little WAL, 2 rounds
       --only P1,P4        only these figures
       --rounds N          how many rounds (5)
       --dir DIR           write below DIR, which decides on the file system (a directory for temporary files on a disk)
       --save-docs         put the report into docs/performance.md, too

  test [FILTER…]           run all tests, or those whose names contain a FILTER: unit, property, scenario and
                           documentation tests; PostgreSQL 13 to 18 is fetched first where it is missing
  test --quick [FILTER…]   the inner loop: only what needs no server
  fetch                    fetch PostgreSQL 13 to 18 into the cache

Fetched programs are kept in WAL_REPLICA_CACHE, by default ~/.cache/wal-replica (for root /var/cache/wal-replica).
";

/// Why a command did not succeed.
#[derive(Debug)]
enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// The command has said all there is to say.
    Told,
    /// Anything else.
    Error(anyhow::Error),
}

/// Runs the command that `args` name: exit code 0 if it succeeded, 2 if there is no such command, else 1.
pub(crate) fn main(args: Vec<String>) -> ExitCode {
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Told) => ExitCode::FAILURE,
        Err(Failure::Usage(message)) => {
            say(&format!("xtask: {message}; see cargo xtask --help\n"));
            ExitCode::from(2)
        }
        Err(Failure::Error(error)) => {
            say(&format!("xtask: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), Failure> {
    let (command, args) = args.split_first().map_or((None, args), |(command, args)| (Some(command.as_str()), args));
    let asks_for_help = |arg: &String| arg == "--help" || arg == "-h";
    match command {
        _ if args.iter().any(asks_for_help) => help(),
        Some("demo") => demo::run(args),
        Some("bench") => bench::run(args),
        Some("bench-discard") => bench::run_discard(args),
        Some("test") => test::run(args),
        Some("fetch") => {
            no_more(args)?;
            Ok(harness::postgres::fetch_all()?)
        }
        Some("--help" | "-h" | "help") => help(),
        Some(other) => Err(Failure::Usage(format!("there is no command {other:?}"))),
        None => Err(Failure::Usage("which command?".into())),
    }
}

fn help() -> Result<(), Failure> {
    // Whoever closed the pipe has read enough.
    let _ = io::stdout().write_all(HELP.as_bytes());
    Ok(())
}

fn no_more(args: &[String]) -> Result<(), Failure> {
    match args.first() {
        Some(arg) => Err(Failure::Usage(format!("unexpected argument {arg:?}"))),
        None => Ok(()),
    }
}

/// Becomes true with the first signal that asks us to end. From then on all our programs are ended, too: what is done may be
/// waiting for one.
fn interruption() -> Result<watch::Receiver<bool>> {
    let (mut int, mut term, mut hup) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let (interrupt, interrupted) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
        interrupt.send_replace(true);
        let mut ticks = interval(Duration::from_millis(50));
        loop {
            harness::demo::kill_children();
            ticks.tick().await;
        }
    });
    Ok(interrupted)
}

/// Writes to stderr, where the words about a command go.
fn say(text: &str) {
    // There is nobody left to tell that nobody listens.
    let _ = io::stderr().write_all(text.as_bytes());
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_command_is_said_in_one_sentence() {
        let check = |args: &[&str], expected: &str| {
            let args: Vec<String> = args.iter().map(|arg| (*arg).into()).collect();
            match run(&args) {
                Err(Failure::Usage(message)) => assert_eq!(message, expected),
                other => panic!("{args:?}: {other:?}"),
            }
        };
        check(&[], "which command?");
        check(&["tset"], "there is no command \"tset\"");
        check(&["fetch", "17"], "unexpected argument \"17\"");
        check(&["test", "--fast"], "unknown option \"--fast\"");
    }
}
