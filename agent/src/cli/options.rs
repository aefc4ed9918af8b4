//! The table of options: each with its names, its value, its help, its environment variable and what it does.
//!
//! What is typed ends in [`AsTyped`], where options are parsed one by one but not yet judged together.

mod actions;
mod connection;
mod own;
mod receiving;

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    time::Duration,
};

use super::{
    Command, ConnectionOptions,
    error::Fault,
    scan::{Item, Scanner},
};
use crate::{logging::LogFormat, wal::Lsn};

/// One option.
#[derive(Debug)]
pub(super) struct Opt {
    /// The long name, without dashes.
    pub(super) long: &'static str,
    /// The short name.
    pub(super) short: Option<char>,
    /// The environment variable that sets it where the command line does not. Only our own options have one.
    pub(super) env: Option<&'static str>,
    /// What it takes and does.
    pub(super) kind: Kind,
    /// What `--help` says.
    pub(super) help: &'static str,
}

/// What an option takes and does.
#[derive(Debug)]
pub(super) enum Kind {
    /// Honoured as the first argument only, and then alone.
    First(fn() -> Command),
    /// It takes no value.
    Flag(fn(&mut AsTyped)),
    /// It takes a value, called `name` in the help.
    Value { name: &'static str, set: fn(&mut AsTyped, &Value<'_>) -> Result<(), Fault> },
}

/// A heading of `--help` and the options below it.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) options: &'static [Opt],
}

/// The options of `pg_receivewal` 18, in its groups.
pub(super) const INHERITED: &[Group] = &[
    Group { title: "Options", options: receiving::OPTIONS },
    Group { title: "Connection options", options: connection::OPTIONS },
    Group { title: "Replication slot", options: actions::OPTIONS },
];

/// What only we have.
pub(super) const OWN: Group = Group {
    title: "Options that pg_receivewal does not have, with their environment variables",
    options: own::OPTIONS,
};

/// `pg_receivewal`'s options.
pub(super) fn inherited() -> impl Iterator<Item = &'static Opt> {
    INHERITED.iter().flat_map(|group| group.options)
}

/// Our options.
pub(super) fn own() -> impl Iterator<Item = &'static Opt> {
    OWN.options.iter()
}

/// All options.
pub(super) fn all() -> impl Iterator<Item = &'static Opt> {
    inherited().chain(own())
}

/// Everything that was typed or set in the environment, option by option; the last of several wins.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AsTyped {
    pub(super) connection: ConnectionOptions,
    pub(super) directory: Option<PathBuf>,
    pub(super) end_position: Option<Lsn>,
    pub(super) if_not_exists: bool,
    pub(super) no_loop: bool,
    pub(super) no_sync: bool,
    /// Zero where `-s 0` was typed.
    pub(super) status_interval: Option<Duration>,
    pub(super) slot: Option<String>,
    pub(super) synchronous: bool,
    pub(super) verbosity: u8,
    pub(super) compress: Option<String>,
    pub(super) create_slot: bool,
    pub(super) drop_slot: bool,
    pub(super) log_format: LogFormat,
    pub(super) no_create_slot: bool,
    /// The first argument that is no option.
    pub(super) operand: Option<OsString>,
}

/// A value and where it comes from.
pub(super) struct Value<'a> {
    raw: &'a OsStr,
    /// As messages name it: `option -s/--status-interval`.
    origin: String,
}

impl Value<'_> {
    /// The value as text.
    pub(super) fn text(&self) -> Result<&str, Fault> {
        // Not shown: it may be a connection string.
        self.raw.to_str().ok_or_else(|| Fault::value(format!("the value of {} is not valid UTF-8", self.origin)))
    }

    /// The value as a path, which need not be text.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(self.raw)
    }

    /// The fault of a value that is none of what is `expected`.
    pub(super) fn invalid(&self, expected: &str) -> Fault {
        Fault::value(format!("invalid value \"{}\" for {}{expected}", self.raw.display(), self.origin))
    }
}

/// What the first argument alone decides.
pub(super) fn first_argument(arg: &OsStr) -> Option<Command> {
    all().find_map(|option| match option.kind {
        Kind::First(command) => is_spelled_out(option, arg).then(command),
        Kind::Flag(_) | Kind::Value { .. } => None,
    })
}

/// Whether `arg` is the whole name of `option`, long or short.
fn is_spelled_out(option: &Opt, arg: &OsStr) -> bool {
    let short = option.short.map(|short| format!("-{short}"));
    arg == OsStr::new(&format!("--{}", option.long)) || short.is_some_and(|short| arg == OsStr::new(&short))
}

/// Reads all options, then the environment for those of ours that were not typed.
pub(super) fn as_typed(
    args: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<AsTyped, Fault> {
    let mut typed = AsTyped::default();
    let mut seen = Vec::new();
    for item in Scanner::new(args.into_iter()) {
        match item? {
            Item::Option(option, value) => {
                apply(option, value, &mut typed)?;
                seen.push(option.long);
            }
            Item::Operand(operand) => {
                typed.operand.get_or_insert(operand);
            }
        }
    }
    for option in own().filter(|option| !seen.contains(&option.long)) {
        if let Some((variable, raw)) = option.env.and_then(|variable| Some((variable, env(variable)?))) {
            apply_env(option, &Value { raw: &raw, origin: format!("environment variable {variable}") }, &mut typed)?;
        }
    }
    Ok(typed)
}

fn apply(option: &Opt, value: Option<OsString>, typed: &mut AsTyped) -> Result<(), Fault> {
    match option.kind {
        Kind::First(_) => Err(Fault::usage(format!("option {} must be the first argument", dashed(option)))),
        Kind::Flag(set) => {
            set(typed);
            Ok(())
        }
        Kind::Value { set, .. } => {
            let raw = value.unwrap_or_default();
            set(typed, &Value { raw: &raw, origin: format!("option {}", dashed(option)) })
        }
    }
}

/// A flag's variable says whether it is set; any other is the value.
fn apply_env(option: &Opt, value: &Value<'_>, typed: &mut AsTyped) -> Result<(), Fault> {
    match option.kind {
        Kind::First(_) => {}
        Kind::Value { set, .. } => set(typed, value)?,
        Kind::Flag(set) => match value.text()?.to_ascii_lowercase().as_str() {
            "1" | "true" | "on" | "yes" => set(typed),
            "0" | "false" | "off" | "no" => {}
            _ => return Err(value.invalid(": use 1, true, on or yes, or 0, false, off or no")),
        },
    }
    Ok(())
}

/// `-s/--status-interval`
fn dashed(option: &Opt) -> String {
    match option.short {
        Some(short) => format!("-{short}/--{}", option.long),
        None => format!("--{}", option.long),
    }
}

/// For the tests that stand beside each option.
#[cfg(test)]
mod testing {
    use super::*;

    /// What `args` mean one by one.
    pub(super) fn typed(args: &[&str]) -> AsTyped {
        as_typed(args.iter().map(OsString::from), |_| None).unwrap()
    }

    /// What is said about `args`.
    pub(super) fn fault(args: &[&str]) -> Fault {
        as_typed(args.iter().map(OsString::from), |_| None).unwrap_err()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{testing::fault, *};

    #[test]
    fn names_are_unique() {
        let mut seen = HashSet::new();
        assert!(all().all(|option| seen.insert(option.long)));
        let mut seen = HashSet::new();
        assert!(all().filter_map(|option| option.short).all(|short| seen.insert(short)));
    }

    #[test]
    fn exactly_our_options_have_a_variable_named_after_them() {
        assert!(inherited().all(|option| option.env.is_none()));
        for option in own() {
            let expected = format!("WAL_AGENT_{}", option.long.to_uppercase().replace('-', "_"));
            assert_eq!(option.env, Some(expected.as_str()));
        }
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let check = |args: &[&str], variables: &[(&str, &str)], expected: Result<(LogFormat, bool), &str>| {
            let env =
                |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            let result = as_typed(args.iter().map(OsString::from), env);
            let result = result.map(|typed| (typed.log_format, typed.no_create_slot));
            assert_eq!(result, expected.map_err(Fault::value), "{args:?} {variables:?}");
        };
        let (format, slot) = ("WAL_AGENT_LOG_FORMAT", "WAL_AGENT_NO_CREATE_SLOT");
        check(&[], &[], Ok((LogFormat::Text, false)));
        check(&[], &[(format, "json"), (slot, "Yes")], Ok((LogFormat::Json, true)));
        check(&["--log-format=text"], &[(format, "json")], Ok((LogFormat::Text, false)));
        check(&["--log-format=text"], &[(format, "yaml")], Ok((LogFormat::Text, false)));
        check(&["--no-create-slot"], &[(slot, "off")], Ok((LogFormat::Text, true)));
        check(&[], &[(slot, "0")], Ok((LogFormat::Text, false)));
        check(
            &[],
            &[(format, "yaml")],
            Err("invalid value \"yaml\" for environment variable WAL_AGENT_LOG_FORMAT: use text or json"),
        );
        check(
            &[],
            &[(slot, "")],
            Err("invalid value \"\" for environment variable WAL_AGENT_NO_CREATE_SLOT: \
                 use 1, true, on or yes, or 0, false, off or no"),
        );
    }

    #[test]
    fn the_first_fault_from_the_left_is_reported() {
        assert_eq!(fault(&["x", "-s", "x", "--bogus"]), fault(&["-s", "x"]));
        assert_eq!(fault(&["x", "--bogus", "-s", "x"]), fault(&["--bogus"]));
    }

    #[test]
    fn a_value_that_is_not_text_is_refused_without_showing_it() {
        use std::os::unix::ffi::OsStringExt;
        let raw = OsString::from_vec(b"password=\xff".to_vec());
        assert_eq!(
            as_typed([OsString::from("-d"), raw], |_| None),
            Err(Fault::value("the value of option -d/--dbname is not valid UTF-8"))
        );
    }
}
