//! How the program ends: every exit code, in one table that the code, `--help` and the README share.
//!
//! It names outcomes and nothing else: who ends the program, and when, is decided elsewhere.

use std::process::ExitCode;

/// An outcome of the whole program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Help, version, a slot action, a signal, or the end position reached.
    Done,
    /// What `pg_receivewal` reports as failure: usage, connection string, directory, slot action, end position, and
    /// under `--no-loop` anything that would be retried without it.
    Failed,
    /// At start: the directory holds another cluster's WAL, or segments of another size.
    ForeignDirectory,
    /// Another agent is using the directory.
    DirectoryInUse,
    /// At stop: the last flush or rename failed.
    StopIncomplete,
    /// `verify` found damage.
    Damaged,
    /// `verify` found no damage, but WAL is missing.
    Hole,
    /// `verify` found nothing wrong, but could not look at everything.
    Unverified,
    /// A second signal, of this number, came while the first was being obeyed.
    SecondSignal(u8),
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::ForeignDirectory => 3,
            Self::DirectoryInUse => 4,
            Self::StopIncomplete => 6,
            Self::Damaged => 10,
            Self::Hole => 11,
            Self::Unverified => 12,
            Self::SecondSignal(number) => 128_u8.saturating_add(number),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Every exit code and its meaning, as `--help` lists them.
pub const ALL: &[(&str, &str)] = &[
    ("0", "done: help, version, slot action, stopped by a signal, or end position reached; verify: all is sound"),
    (
        "1",
        "as pg_receivewal: wrong usage, connection string or directory; a failed slot action or end position; \
         with --no-loop, anything that would otherwise be retried; \
         verify: wrong usage, or a directory that cannot be read",
    ),
    ("3", "at start: the directory belongs to another cluster or has another segment size"),
    ("4", "another agent is using the directory"),
    ("6", "the last flush or rename at stop failed: what had not been acknowledged may be missing"),
    ("10", "verify: a file is damaged, or belongs to another cluster"),
    ("11", "verify: no file is damaged, but WAL is missing between them"),
    ("12", "verify: nothing is wrong, but not everything could be looked at, or there is no WAL"),
    ("128+n", "a second signal, number n, ended the program at once"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_each_code_once() {
        let started = [Exit::Done, Exit::Failed, Exit::ForeignDirectory, Exit::DirectoryInUse, Exit::StopIncomplete];
        let verified = [Exit::Damaged, Exit::Hole, Exit::Unverified];
        let codes: Vec<String> = started.iter().chain(&verified).map(|exit| exit.code().to_string()).collect();
        let listed: Vec<&str> = ALL.iter().map(|(code, _)| *code).collect();
        assert_eq!(
            listed.split_last(),
            Some((&"128+n", codes.iter().map(String::as_str).collect::<Vec<_>>().as_slice()))
        );
    }

    #[test]
    fn a_second_signal_ends_as_the_shell_reports_signals() {
        assert_eq!([Exit::SecondSignal(2).code(), Exit::SecondSignal(15).code()], [130, 143]);
        assert_eq!(Exit::SecondSignal(255).code(), 255);
    }
}
