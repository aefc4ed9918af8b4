//! From what was typed to what is to be done: what does not fit together is refused, in `pg_receivewal`'s order.

use std::{path::PathBuf, time::Duration};

use super::{Command, Receive, SlotAction, compression::Compression, error::Fault, options::AsTyped};
use crate::{logging::Logging, store::FlushMode};

/// `pg_receivewal`'s default for `-s`.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// PostgreSQL's `NAMEDATALEN - 1`.
const MAX_SLOT_NAME: usize = 63;

/// Which slot action: the variant of [`Command`].
type SlotCommand = fn(SlotAction) -> Command;

/// What the options are about.
enum Target {
    Slot(SlotCommand, String),
    Directory(PathBuf),
}

/// Judges the options together. The order of the checks is the one of `pg_receivewal.c`; what only we check comes last.
pub(super) fn validate(program: &str, typed: AsTyped) -> Result<(Logging, Command), Fault> {
    if let Some(operand) = &typed.operand {
        let first = operand.display();
        return Err(Fault::usage(format!("too many command-line arguments (first is \"{first}\")")));
    }
    let action = slot_action(&typed)?;
    let flush = match (typed.synchronous, typed.no_sync) {
        (true, true) => return Err(Fault::usage("cannot use --synchronous together with --no-sync")),
        (true, false) => FlushMode::Synchronous,
        (false, true) => FlushMode::NoSync,
        (false, false) => FlushMode::Asynchronous,
    };
    let target = match (action, typed.directory) {
        (Some((command, slot)), _) => Target::Slot(command, slot),
        (None, Some(directory)) => Target::Directory(directory),
        (None, None) => return Err(Fault::usage("no target directory specified")),
    };
    let compression = compression(typed.compress.as_deref().unwrap_or("none"))?;
    if let Some(slot) = &typed.slot {
        check_slot_name(slot)?;
    }

    let connection = typed.connection;
    let command = match target {
        Target::Slot(command, slot) => command(SlotAction { connection, slot, if_not_exists: typed.if_not_exists }),
        Target::Directory(directory) => {
            refuse_compression(compression)?;
            let creates_slots = program != "pg_receivewal" && !typed.no_create_slot;
            Command::Receive(Receive {
                connection,
                directory,
                create_missing_slot: creates_slots && typed.slot.is_some(),
                slot: typed.slot,
                end_position: typed.end_position.filter(|position| position.is_valid()),
                no_loop: typed.no_loop,
                status_interval: Some(typed.status_interval.unwrap_or(STATUS_INTERVAL)).filter(|time| !time.is_zero()),
                flush,
            })
        }
    };
    Ok((Logging { verbosity: typed.verbosity, format: typed.log_format }, command))
}

/// The slot action that was asked for, if any, and its slot.
fn slot_action(typed: &AsTyped) -> Result<Option<(SlotCommand, String)>, Fault> {
    let (option, command): (_, SlotCommand) = match (typed.create_slot, typed.drop_slot) {
        (true, true) => return Err(Fault::usage("cannot use --create-slot together with --drop-slot")),
        (true, false) => ("--create-slot", Command::CreateSlot),
        (false, true) => ("--drop-slot", Command::DropSlot),
        (false, false) => return Ok(None),
    };
    match &typed.slot {
        Some(slot) => Ok(Some((command, slot.clone()))),
        None => Err(Fault::usage(format!("{option} needs a slot to be specified using --slot"))),
    }
}

/// What `pg_receivewal` would accept.
fn compression(option: &str) -> Result<Compression, Fault> {
    match Compression::parse(option) {
        Ok(Compression::Zstd { .. }) => Err(Fault::value("compression with ZSTD is not yet supported")),
        Ok(compression) => Ok(compression),
        Err(error) => Err(Fault::value(error.to_string())),
    }
}

/// What we cannot do.
fn refuse_compression(compression: Compression) -> Result<(), Fault> {
    let method = match compression {
        Compression::None => return Ok(()),
        Compression::Gzip { .. } => "gzip",
        Compression::Lz4 { .. } => "lz4",
        Compression::Zstd { .. } => "zstd",
    };
    Err(Fault::value(format!(
        "compression with {method} is not available in this version of wal-agent; use --compress=none, or keep \
         pg_receivewal for this directory"
    )))
}

/// PostgreSQL's `ReplicationSlotValidateName`: no server has a slot of another name, so waiting for it would never end.
fn check_slot_name(slot: &str) -> Result<(), Fault> {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=MAX_SLOT_NAME).contains(&slot.len()) && slot.bytes().all(is_fine) {
        return Ok(());
    }
    Err(Fault::value(format!(
        "invalid replication slot name \"{slot}\": use 1 to {MAX_SLOT_NAME} lower-case letters, digits and underscores"
    )))
}
