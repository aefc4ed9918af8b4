//! `cargo xtask test`: everything, or the inner loop, with one summary over all test programs.

use super::{Failure, say};
use anyhow::{Context, Result};
use harness::{agent, postgres, server};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use tokio::time::Instant;

/// What all test programs said together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    passed: u64,
    failed: u64,
    failures: Vec<String>,
}

pub(super) fn run(args: &[String]) -> Result<(), Failure> {
    let (quick, filters): (Vec<&String>, Vec<&String>) = args.iter().partition(|arg| *arg == "--quick");
    if let Some(option) = filters.iter().find(|arg| arg.starts_with('-')) {
        return Err(Failure::Usage(format!("unknown option {option:?}")));
    }
    let start = Instant::now();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("test").arg("--no-fail-fast");
    if quick.is_empty() {
        server::sweep();
        postgres::fetch_all()?;
        say("building wal-agent\n");
        agent::binary(agent::Profile::Dev)?;
        cargo.arg("--workspace");
    } else {
        let packages = ["--package", "wal-agent", "--package", "wal-replica-tests"];
        cargo.args(packages).args(["--lib", "--bins", "--test", "tidy", "--test", "documents"]);
    }
    // Scenarios mostly wait, for servers and for the disk: more of them than cores keep the machine busy.
    let threads = std::thread::available_parallelism().map_or(4, |cores| 2 * cores.get());
    cargo.arg("--").arg(format!("--test-threads={threads}")).args(filters).stdout(Stdio::piped());

    let mut child = cargo.spawn().context("cannot run cargo")?;
    let summary = Summary::of(BufReader::new(child.stdout.take().context("cargo has no stdout")?))?;
    let ok = child.wait()?.success();
    say(&summary.text(start.elapsed().as_secs()));
    if ok && summary.passed == 0 {
        return Err(Failure::Usage("no test has such a name".into()));
    }
    // Programs that do not compile, or crash, fail without a result of their own.
    if ok && summary.failed == 0 { Ok(()) } else { Err(Failure::Told) }
}

impl Summary {
    /// Passes on what cargo prints, and adds up what it says.
    fn of(stdout: impl BufRead) -> Result<Self> {
        let mut summary = Self::default();
        for line in stdout.lines() {
            let line = line?;
            summary.add(&line);
            writeln!(io::stdout(), "{line}")?;
        }
        Ok(summary)
    }

    fn add(&mut self, line: &str) {
        if let Some(results) = line.strip_prefix("test result: ") {
            // "ok. 12 passed; 0 failed; 0 ignored; …"
            let count = |what| {
                let clause = results.split([';', '.']).find_map(|clause| clause.trim().strip_suffix(what));
                clause.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0)
            };
            self.passed += count("passed");
            self.failed += count("failed");
        } else if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failures.push(name.to_owned());
        }
    }

    fn text(&self, seconds: u64) -> String {
        let failures: String = self.failures.iter().map(|name| format!("FAILED {name}\n")).collect();
        let (minutes, seconds) = (seconds / 60, seconds % 60);
        format!("\n{failures}{} passed, {} failed, {minutes} min {seconds} s\n", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_programs_are_added_up() {
        let output = "running 2 tests\n\
            test a::b ... ok\n\
            test a::c ... FAILED\n\
            test result: FAILED. 12 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.11s\n\
            test result: ok. 30 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 1.00s\n";
        let mut summary = Summary::default();
        output.lines().for_each(|line| summary.add(line));
        assert_eq!(summary, Summary { passed: 42, failed: 1, failures: vec!["a::c".into()] });
        assert_eq!(summary.text(61), "\nFAILED a::c\n42 passed, 1 failed, 1 min 1 s\n");
    }
}
