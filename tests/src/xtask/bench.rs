//! `cargo xtask bench`: its options.

use super::{Failure, interruption, say};
use anyhow::Context;
use harness::bench::progress::Progress;
use harness::bench::{self, FIGURES, Options, discard};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use wal_agent::wal::Lsn;

pub(super) fn run(args: &[String]) -> Result<(), Failure> {
    let options = parse(args).map_err(Failure::Usage)?;
    let progress = if io::stdout().is_terminal() { Progress::terminal() } else { Progress::lines(io::stdout()) };
    if options.quick {
        progress.say("A quick run: little WAL, few rounds. An impression, no measurement.");
    }
    // Preparing blocks its thread at times: signals have another.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async { bench::run(options, progress, interruption()?).await })?;
    if report.is_complete() {
        return Ok(());
    }
    say("xtask: some figures could not be measured\n");
    Err(Failure::Told)
}

/// A hidden command, for the benchmark itself: the receiver that discards, as a process of its own.
pub(super) fn run_discard(args: &[String]) -> Result<(), Failure> {
    let [conninfo, slot, start, end] = args else {
        return Err(Failure::Usage("bench-discard CONNINFO SLOT START END is for the benchmark itself".into()));
    };
    let position = |text: &String| text.parse::<Lsn>().with_context(|| format!("{text:?} is no position"));
    let (start, end) = (position(start)?, position(end)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(discard::run(conninfo, slot, start, end))?)
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = if args.iter().any(|arg| arg == "--quick") { Options::quick() } else { Options::default() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (name, value) = arg.split_once('=').map_or((arg.as_str(), None), |(name, value)| (name, Some(value)));
        let mut needed = |what: &str| {
            let value = value.or_else(|| args.next().map(String::as_str)).filter(|value| !value.is_empty());
            value.ok_or_else(|| format!("{name} needs {what}"))
        };
        match name {
            "--only" => options.only = figures(needed("figures such as P1,P4")?)?,
            "--rounds" => {
                const WHAT: &str = "a number from 1 to 100";
                let rounds = needed(WHAT)?.parse().ok().filter(|rounds| (1..=100).contains(rounds));
                options.rounds = rounds.ok_or_else(|| format!("--rounds needs {WHAT}"))?;
            }
            "--dir" => options.dir = Some(PathBuf::from(needed("a directory")?)),
            "--quick" if value.is_none() => {}
            "--save-docs" if value.is_none() => {
                options.docs = Some(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs"));
            }
            _ => return Err(format!("unknown option {arg:?}")),
        }
    }
    if options.docs.is_some() && (options.quick || !options.only.is_empty()) {
        return Err("--save-docs is for a whole run, without --quick and --only".into());
    }
    Ok(options)
}

fn figures(list: &str) -> Result<Vec<&'static str>, String> {
    let find = |wanted: &str| FIGURES.iter().map(|figure| figure.id).find(|id| id.eq_ignore_ascii_case(wanted));
    let known: Vec<&str> = FIGURES.iter().map(|figure| figure.id).collect();
    let unknown = |wanted: &str| format!("there is no figure {wanted:?}: --only takes some of {}", known.join(","));
    list.split(',').map(|wanted| find(wanted).ok_or_else(|| unknown(wanted))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &str) -> Result<Options, String> {
        parse(&args.split_whitespace().map(Into::into).collect::<Vec<String>>())
    }

    #[test]
    fn options_are_understood_in_both_forms() {
        assert_eq!(parsed(""), Ok(Options::default()));
        let expected = Options { only: vec!["P1", "P4"], rounds: 7, dir: Some("/x".into()), ..Options::default() };
        assert_eq!(parsed("--only P1,p4 --rounds=7 --dir /x"), Ok(expected));
        assert_eq!(parsed("--rounds 1 --quick"), Ok(Options { rounds: 1, ..Options::quick() }));
        assert!(parsed("--save-docs").unwrap().docs.unwrap().ends_with("docs"));
    }

    #[test]
    fn what_is_no_option_is_said_in_one_sentence() {
        let check = |args, expected: &str| assert_eq!(parsed(args).unwrap_err(), expected);
        check("--rounds", "--rounds needs a number from 1 to 100");
        check("--rounds 0", "--rounds needs a number from 1 to 100");
        check("--dir=", "--dir needs a directory");
        check("--only", "--only needs figures such as P1,P4");
        check("--quick=yes", "unknown option \"--quick=yes\"");
        check("faster", "unknown option \"faster\"");
        check("--save-docs --quick", "--save-docs is for a whole run, without --quick and --only");
        let known: Vec<&str> = FIGURES.iter().map(|figure| figure.id).collect();
        check("--only P1,P0", &format!("there is no figure \"P0\": --only takes some of {}", known.join(",")));
    }
}
