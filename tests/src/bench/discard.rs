//! The ceiling of any receiver: one that reads the stream, drops the WAL, and sends the statuses that a receiver sends.

use anyhow::{Result, bail, ensure};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use wal_agent::conninfo::{Conninfo, Environment, Overrides};
use wal_agent::replication::{Message, Started, StatusUpdate, identify_system, start_replication};
use wal_agent::wal::{Lsn, SegmentSize};
use wal_agent::wire::{Connection, CopyEvent, Purpose};

/// The status interval of receivers, unless they are told another.
const STATUS: Duration = Duration::from_secs(10);

/// Streams from `conninfo` through `slot`, from `start` until it is beyond `end`. Everything received is reported as
/// written and flushed: at each segment's end, every 10 s, and when the server asks.
///
/// # Errors
/// The server's; or the stream ends before.
pub async fn run(conninfo: &str, slot: &str, start: Lsn, end: Lsn) -> Result<()> {
    let environment = Environment::new(Vec::<(String, String)>::new());
    let (conninfo, _) = Conninfo::resolve(Some(conninfo), &Overrides::default(), &environment)?;
    let mut connection = Connection::connect(&conninfo, Purpose::Replication).await?;
    let system = identify_system(&mut connection).await?;
    let started = start_replication(&mut connection, Some(slot), start, system.timeline).await?;
    ensure!(started == Started::Streaming, "there is nothing to stream from {start}");
    let (size, mut received, mut next_status) = (SegmentSize::DEFAULT, start, Instant::now() + STATUS);
    while received <= end {
        let CopyEvent::Data(payload) = connection.next().await? else { bail!("the stream ended at {received}") };
        let before = received;
        let asked = match Message::parse(payload)? {
            Message::Wal { start, data, .. } => {
                received = Lsn::new(start.get() + data.len() as u64);
                false
            }
            Message::KeepAlive { reply_requested, .. } => reply_requested,
        };
        let segment_ended = size.segment_of(received) != size.segment_of(before);
        if asked || segment_ended || Instant::now() >= next_status {
            let status = StatusUpdate { write: received, flush: received };
            connection.send_copy_data(&status.encode(SystemTime::now()));
            next_status = Instant::now() + STATUS;
        }
    }
    connection.close().await;
    Ok(())
}
