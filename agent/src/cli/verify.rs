//! `wal-agent verify`: a command of our own, with a command line of its own.

use super::{Command, error::Fault, help::entry};
use crate::exit;
use std::{ffi::OsString, path::PathBuf};

/// The first argument that asks for it.
pub(super) const NAME: &str = "verify";

/// Verifying a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verify {
    /// Which. Not yet looked at.
    pub directory: PathBuf,
    /// One JSON object instead of lines for people.
    pub json: bool,
}

/// What follows `verify`.
pub(super) fn parse(args: &[OsString]) -> Result<Command, Fault> {
    let (mut directory, mut json, mut options) = (None, false, true);
    for arg in args {
        match arg.to_str() {
            Some("--") if options => options = false,
            Some("--json") if options => json = true,
            Some("--help" | "-?" | "-h") if options => return Ok(Command::VerifyHelp),
            Some(option) if options && option.starts_with('-') => {
                return Err(fault(format!("unrecognized option '{option}'")));
            }
            _ if directory.is_some() => {
                return Err(fault(format!("too many command-line arguments (first is \"{}\")", arg.display())));
            }
            _ => directory = Some(PathBuf::from(arg)),
        }
    }
    let directory = directory.ok_or_else(|| fault("no directory specified".to_owned()))?;
    Ok(Command::Verify(Verify { directory, json }))
}

fn fault(message: String) -> Fault {
    Fault::usage_of(NAME, message)
}

/// The text of `verify --help` for a program of this name, newline included.
pub fn help(program: &str) -> String {
    let mut text = format!(
        "{program} {NAME} looks whether a directory of received WAL is whole: names, sizes,\n\
         page headers, every record's checksum and link, across segments and timelines. It reads\n\
         only, needs no server, and may run beside the agent that fills the directory.\n\n\
         Usage:\n  {program} {NAME} [OPTION]... DIR\n\nOptions:\n"
    );
    text += &entry("      --json", "one JSON object instead of lines for people");
    text += &entry("  -?, --help", "show this help, then exit");
    text += "\nExit codes:\n";
    for (code, meaning) in exit::ALL {
        // The table's text for all commands ends with what the code means here.
        if let Some((_, meaning)) = meaning.split_once("verify: ") {
            text += &entry(&format!("  {code}"), meaning);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_and_perhaps_json() {
        let check = |args: &[&str], expected: Result<Command, &str>| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            assert_eq!(parse(&args), expected.map_err(|message| fault(message.to_owned())), "{args:?}");
        };
        let verify = |directory: &str, json| Ok(Command::Verify(Verify { directory: directory.into(), json }));
        check(&["/wal"], verify("/wal", false));
        check(&["--json", "/wal"], verify("/wal", true));
        check(&["/wal", "--json"], verify("/wal", true));
        check(&["--", "--json"], verify("--json", false));
        check(&["/wal", "--help"], Ok(Command::VerifyHelp));
        check(&[], Err("no directory specified"));
        check(&["a", "b"], Err("too many command-line arguments (first is \"b\")"));
        check(&["--jsn", "a"], Err("unrecognized option '--jsn'"));
    }

    #[test]
    fn the_help_lists_the_verdicts() {
        let text = help("wal-agent");
        assert!(["  0 ", "  10 ", "  11 ", "  12 ", "  1 "].iter().all(|code| text.contains(code)), "{text}");
        assert!(text.lines().all(|line| line.len() <= 95), "{text}");
    }
}
