//! The command line: `pg_receivewal`'s, and what only we have. First what was typed, then validated into one
//! [`Command`].
//!
//! One table (`options`) is the source of parsing and of `--help`. This room reads neither environment nor disk nor
//! network: the environment is passed in, and whether a directory or a server is there is for others to find out.

mod compression;
mod error;
mod help;
mod options;
mod prompt;
mod scan;
mod validate;
mod verify;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use crate::{logging::Logging, store::FlushMode, wal::Lsn};

pub use error::UsageError;
pub use help::{help, version};
pub use prompt::{Prompt, prompt_password};
pub use verify::{Verify, help as verify_help};

/// What we call ourselves to a server unless told otherwise (`fallback_application_name`): existing configurations name
/// it in `synchronous_standby_names`. Unlike there, it does not follow the program's file name.
pub const FALLBACK_APPLICATION_NAME: &str = "pg_receivewal";

/// One start of the program, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The last component of `argv[0]`: what every message begins with.
    pub program: String,
    /// What is logged, and how.
    pub logging: Logging,
    /// What is to be done.
    pub command: Command,
}

/// The job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Print [`help()`].
    Help,
    /// Print [`version()`].
    Version,
    /// Stream WAL into a directory.
    Receive(Receive),
    /// Create a replication slot, then exit.
    CreateSlot(SlotAction),
    /// Drop a replication slot, then exit.
    DropSlot(SlotAction),
    /// Print [`verify_help()`].
    VerifyHelp,
    /// Verify a directory.
    Verify(Verify),
}

/// How to reach the server, as typed: `conninfo` joins it with the environment and validates it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// `-d`: a connection string or URI.
    pub dbname: Option<String>,
    /// `-h`
    pub host: Option<String>,
    /// `-p`
    pub port: Option<String>,
    /// `-U`
    pub username: Option<String>,
    /// `-w`, `-W`
    pub password_prompt: Prompt,
}

/// Streaming.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receive {
    /// The server.
    pub connection: ConnectionOptions,
    /// Where segments are written. Not yet looked at.
    pub directory: PathBuf,
    /// The replication slot; never empty, and a name that a server can have.
    pub slot: Option<String>,
    /// Whether a slot that is missing when streaming starts is created. Only ever true with a `slot`.
    pub create_missing_slot: bool,
    /// Where to stop; never `0/0`.
    pub end_position: Option<Lsn>,
    /// Give up instead of connecting again.
    pub no_loop: bool,
    /// Time between status packets; `None` (`-s 0`): only as often as the server needs them. Never zero.
    pub status_interval: Option<Duration>,
    /// When written data is made durable.
    pub flush: FlushMode,
}

/// Creating or dropping a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotAction {
    /// The server.
    pub connection: ConnectionOptions,
    /// Which slot.
    pub slot: String,
    /// A slot that is there already is no error. Means nothing when dropping, as in `pg_receivewal`.
    pub if_not_exists: bool,
}

/// Understands `args` (the program's name first, as the system gives it) with the environment that `env` looks up.
///
/// As in `pg_receivewal`, help and version are honoured only as the first argument; then the first wrong option is
/// reported; then what does not fit together.
///
/// # Errors
/// What is wrong with the invocation, ready to be printed; the exit code is [`crate::exit::Exit::Failed`].
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation, UsageError> {
    let mut args = args.into_iter();
    let program = program_name(args.next());
    let args: Vec<OsString> = args.collect();
    let alone = match args.split_first() {
        Some((first, rest)) if first == verify::NAME => Some(verify::parse(rest)),
        Some((first, _)) => options::first_argument(first).map(Ok),
        None => None,
    };
    let invocation = match alone {
        Some(command) => command.map(|command| (Logging::default(), command)),
        None => options::as_typed(args, env).and_then(|typed| validate::validate(&program, typed)),
    };
    match invocation {
        Ok((logging, command)) => Ok(Invocation { program, logging, command }),
        Err(fault) => Err(UsageError { program, fault }),
    }
}

/// The last component of `argv[0]`.
fn program_name(argv0: Option<OsString>) -> String {
    let path = argv0.map(PathBuf::from).unwrap_or_default();
    path.file_name().map_or_else(|| "wal-agent".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
