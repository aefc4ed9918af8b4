//! Starting PostgreSQL's programs in a known environment, and ending a whole tree of processes.

use crate::account::Account;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `program` as `account`, free of what the caller's environment would tell libpq or change in messages.
pub(crate) fn command(program: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    // The caller's directory may be closed to the account.
    command.current_dir("/").env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
    if let Some(Account { uid, gid }) = account {
        command.uid(uid).gid(gid);
    }
    command
}

/// Runs `command` to its end.
///
/// # Errors
/// It cannot be started, or fails: then the error holds all that it said.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = [output.stdout, output.stderr].concat();
    bail!("{program} failed ({}):\n{}", output.status, String::from_utf8_lossy(&text).trim())
}

/// Kills `root` and all its descendants with SIGKILL, and returns when all are gone. `root.stdout` must be a pipe
/// that nothing is written to.
pub(crate) fn kill_tree(root: &mut Child) {
    if let Ok(None) = root.try_wait() {
        kill_family(pid_of(root));
    }
    // It was killed, or had ended.
    let _ = root.wait();
    // Every descendant has inherited this pipe: its end is the end of the last of them.
    if let Some(mut stdout) = root.stdout.take() {
        let _ = std::io::copy(&mut stdout, &mut std::io::sink());
    }
}

/// Sends SIGKILL to `root` and all its descendants.
pub(crate) fn kill_family(root: Pid) {
    // What cannot be signalled is gone already, which is what is wanted: errors mean nothing here.
    // A stopped process starts no more children while they are listed.
    let _ = kill_process(root, Signal::STOP);
    for descendant in descendants(root) {
        let _ = kill_process(descendant, Signal::KILL);
    }
    let _ = kill_process(root, Signal::KILL);
}

/// The process of `child`, which has not been waited for.
pub(crate) fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn descendants(root: Pid) -> Vec<Pid> {
    let parents = parents();
    let mut found = vec![root.as_raw_nonzero().get()];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.into_iter().skip(1).filter_map(Pid::from_raw).collect()
}

/// All processes with their parents: from /proc, where there is none from `ps`.
fn parents() -> Vec<(i32, i32)> {
    if let Ok(entries) = fs::read_dir("/proc") {
        let stats = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        return stats.filter_map(|stat| parse_stat(&stat)).collect();
    }
    let Ok(output) = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    let pairs = text.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().map(str::parse);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    });
    pairs.collect()
}

/// Process and parent from `pid (name) state ppid …`; a name may contain anything.
fn parse_stat(stat: &str) -> Option<(i32, i32)> {
    let (pid, rest) = stat.split_once(" (")?;
    let (_, rest) = rest.rsplit_once(") ")?;
    Some((pid.parse().ok()?, rest.split(' ').nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_hide_the_parent() {
        assert_eq!(parse_stat("12 (a ) R 7) S 5 12 12 0 -1"), Some((12, 5)));
        assert_eq!(parse_stat("12 (postgres) Z 1 1"), Some((12, 1)));
    }

    #[test]
    fn grandchildren_are_killed_too() {
        let mut shell = command(Path::new("/bin/sh"), None);
        let mut child =
            shell.args(["-c", "(cat /dev/zero >/dev/null; :) & wait"]).stdout(Stdio::piped()).spawn().unwrap();
        // Returns only when the last holder of the pipe has ended.
        kill_tree(&mut child);
        assert!(!child.wait().unwrap().success());
    }
}
