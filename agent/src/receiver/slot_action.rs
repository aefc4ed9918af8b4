//! `--create-slot` and `--drop-slot`: one command, no directory, no retry.

use super::Trouble;
use crate::{
    conninfo::Conninfo,
    replication, verbose,
    wire::{Connection, Purpose},
};

/// What to do with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotJob {
    /// Create it; as `pg_receivewal` does, without reserving WAL.
    Create {
        /// One that is there already is no error.
        if_not_exists: bool,
    },
    /// Drop it.
    Drop,
}

/// Creates or drops the slot `name`.
///
/// # Errors
/// Whatever stands in the way; nothing is tried twice.
pub async fn act_on_slot(conninfo: &Conninfo, name: &str, job: SlotJob) -> Result<(), Trouble> {
    let mut connection = Connection::connect(conninfo, Purpose::Replication).await?;
    let system = replication::identify_system(&mut connection).await?;
    match job {
        SlotJob::Create { if_not_exists } => {
            verbose!("creating replication slot \"{name}\"");
            match replication::create_slot(&mut connection, &system.version, name, false).await {
                Err(error) if if_not_exists && error.is_duplicate_slot() => {}
                created => created?,
            }
        }
        SlotJob::Drop => {
            verbose!("dropping replication slot \"{name}\"");
            replication::drop_slot(&mut connection, name).await?;
        }
    }
    connection.close().await;
    Ok(())
}
