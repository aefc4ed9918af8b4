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
    let mut family = vec![root];
    let _ = kill_process(root, Signal::STOP);
    // One that has stopped starts no more children. So these are all when a listing shows no others that was begun
    // after all had stopped: not the one that shows them stopped, which may have missed what one started just before.
    // Stopping takes a moment each: the number is a bound for what should never happen.
    let mut all_are_still = false;
    for _ in 0..1000 {
        let processes = processes();
        let children = processes.iter().filter(|p| family.contains(&p.parent) && !family.contains(&p.pid));
        let children: Vec<Pid> = children.map(|p| p.pid).collect();
        if children.is_empty() && all_are_still {
            break;
        }
        all_are_still = children.is_empty() && processes.iter().all(|p| p.is_still || !family.contains(&p.pid));
        for child in &children {
            let _ = kill_process(*child, Signal::STOP);
        }
        family.extend(children);
    }
    for member in family {
        let _ = kill_process(member, Signal::KILL);
    }
}

/// The process of `child`, which has not been waited for.
pub(crate) fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// A line of the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: Pid,
    parent: Pid,
    /// It is stopped, or dead and not yet waited for.
    is_still: bool,
}

/// All processes: from /proc, where there is none from `ps`.
fn processes() -> Vec<Process> {
    if let Ok(entries) = fs::read_dir("/proc") {
        let stats = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        return stats.filter_map(|stat| parse_stat(&stat)).collect();
    }
    let Ok(output) = Command::new("ps").args(["-A", "-o", "pid=,stat=,ppid="]).output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| process(line.split_whitespace())).collect()
}

/// From `pid (name) state ppid …`; a name may contain anything.
fn parse_stat(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (_, rest) = rest.rsplit_once(") ")?;
    process(std::iter::once(pid).chain(rest.split(' ')))
}

fn process<'a>(mut fields: impl Iterator<Item = &'a str>) -> Option<Process> {
    let (number, state, parent) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Process { pid: pid(number)?, parent: pid(parent)?, is_still: state.starts_with(['T', 'Z', 'X']) })
}

fn pid(digits: &str) -> Option<Pid> {
    Pid::from_raw(digits.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_name_with_brackets_does_not_hide_the_parent() {
        let check = |stat: &str, number: &str, parent: &str, is_still: bool| {
            let expected = pid(number).zip(pid(parent)).map(|(pid, parent)| Process { pid, parent, is_still });
            assert_eq!(parse_stat(stat), expected, "{stat}");
        };
        check("12 (a ) R 7) S 5 12 12 0 -1", "12", "5", false);
        check("12 (postgres) T 1 1", "12", "1", true);
        check("12 (x) Z 1 1", "12", "1", true);
    }

    #[test]
    fn a_family_that_keeps_growing_is_killed_whole() {
        // Children of children hold the pipe for ever; and each is only about to be started when the killing begins.
        for _ in 0..20 {
            let mut shell = command(Path::new("/bin/sh"), None);
            let shell =
                shell.args(["-c", "echo; (cat /dev/zero | tail -f /dev/null; :) & wait"]).stdout(Stdio::piped());
            let mut child = shell.spawn().unwrap();
            child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
            // Returns only when the last holder of the pipe has ended.
            kill_tree(&mut child);
            assert!(!child.wait().unwrap().success());
        }
    }
}
