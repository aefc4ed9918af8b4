//! A relay between a receiver and its server that notes each status the receiver sends, and how far the server's WAL is:
//! plain TCP only.

mod arrivals;

use anyhow::{Context, Result, bail};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use wal_agent::wal::Lsn;

use crate::wait::{self, DEADLINE, Poll};
use arrivals::Follower;

/// Room for what the server has sent: two of its largest messages.
const BUFFER: usize = 256 << 10;

/// "Standby status update", as it went over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The connection: the first one is 1.
    pub connection: u32,
    /// When it passed.
    pub at: Instant,
    /// Received and written up to here.
    pub write: Lsn,
    /// Durable up to here.
    pub flush: Lsn,
    /// Applied up to here.
    pub apply: Lsn,
}

/// WAL of the server, as it reached the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When its last byte had come.
    pub at: Instant,
    /// The position after it.
    pub end: Lsn,
}

/// The relay. Dropping it cuts its connections.
#[derive(Debug)]
pub struct Tap {
    port: u16,
    statuses: Arc<Mutex<Vec<Status>>>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    _relay: JoinSet<()>,
}

impl Tap {
    /// Listens on a port of its own and passes everything on to `port`, both on 127.0.0.1.
    ///
    /// # Errors
    /// There is no port left.
    pub async fn on(port: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen")?;
        let own = listener.local_addr()?.port();
        let statuses = Arc::<Mutex<Vec<Status>>>::default();
        let arrivals = Arc::<Mutex<Vec<Arrival>>>::default();
        let (noted, seen) = (Arc::clone(&statuses), Arc::clone(&arrivals));
        let mut relay = JoinSet::new();
        relay.spawn(async move {
            let mut connections = JoinSet::new();
            let mut number = 0;
            while let Ok((client, _)) = listener.accept().await {
                number += 1;
                let notes = Notes { connection: number, statuses: Arc::clone(&noted) };
                let seen = Arc::clone(&seen);
                connections.spawn(async move {
                    // Whoever hangs up ends the connection for both.
                    let _ = pass(client, port, notes, &seen).await;
                });
            }
        });
        Ok(Self { port: own, statuses, arrivals, _relay: relay })
    }

    /// A connection string for the superuser through this relay.
    pub fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres sslmode=disable", self.port)
    }

    /// All statuses so far.
    pub fn statuses(&self) -> Vec<Status> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All WAL that has come so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `condition` holds for the statuses so far.
    ///
    /// # Errors
    /// It does not within [`DEADLINE`].
    pub async fn wait_for(&self, what: &str, condition: impl Fn(&[Status]) -> bool) -> Result<Vec<Status>> {
        wait::until(what, DEADLINE, async || {
            let statuses = self.statuses();
            Ok(if condition(&statuses) {
                Poll::Ready(statuses)
            } else {
                Poll::Pending(format!("{} statuses, at last {:?}", statuses.len(), statuses.last()))
            })
        })
        .await
    }
}

/// What must hold for the statuses of any receiver: within a connection `write` and `flush` never go back, and `flush` is
/// never beyond `write`.
///
/// # Errors
/// The first status that is wrong, and the one before it.
pub fn check(statuses: &[Status]) -> Result<()> {
    if let Some(ahead) = statuses.iter().find(|status| status.flush > status.write) {
        bail!("flush is beyond write: {ahead:?}");
    }
    for pair in statuses.windows(2) {
        if let [a, b] = pair
            && a.connection == b.connection
            && (b.write < a.write || b.flush < a.flush)
        {
            bail!("positions went back: {a:?}, then {b:?}");
        }
    }
    Ok(())
}

async fn pass(client: TcpStream, port: u16, notes: Notes, seen: &Mutex<Vec<Arrival>>) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, mut to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let answers = async {
        let copied = answer(from_server, &mut to_client, seen).await;
        to_client.shutdown().await?;
        copied
    };
    let (asked, answered) = tokio::join!(listen(from_client, to_server, notes), answers);
    asked.and(answered)
}

async fn answer(
    mut from: impl AsyncRead + Unpin,
    to: &mut OwnedWriteHalf,
    seen: &Mutex<Vec<Arrival>>,
) -> io::Result<()> {
    let mut follower = Follower::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        // Noted before it is passed on: a receiver that does not read does not make the WAL come later.
        if let Some(end) = follower.pass(&buffer[..read]) {
            let arrival = Arrival { at: Instant::now(), end };
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
        }
        to.write_all(&buffer[..read]).await?;
    }
}

async fn listen(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWriteExt + Unpin, notes: Notes) -> io::Result<()> {
    // The startup packet alone has no type.
    let mut message = vec![0; 4];
    let mut header = 0;
    while from.read_exact(&mut message).await.is_ok() {
        let length = message[header..].iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        if length < 4 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let body = message.len();
        message.resize(header + length, 0);
        from.read_exact(&mut message[body..]).await?;
        notes.take(&message);
        to.write_all(&message).await?;
        header = 1;
        message = vec![0; 5];
    }
    to.shutdown().await
}

struct Notes {
    connection: u32,
    statuses: Arc<Mutex<Vec<Status>>>,
}

impl Notes {
    /// CopyData that begins with `r`.
    fn take(&self, message: &[u8]) {
        let [b'd', _, _, _, _, b'r', positions @ ..] = message else { return };
        let lsn = |index: usize| {
            let bytes = positions.get(index * 8..)?.first_chunk::<8>()?;
            Some(Lsn::new(u64::from_be_bytes(*bytes)))
        };
        let (Some(write), Some(flush), Some(apply)) = (lsn(0), lsn(1), lsn(2)) else { return };
        let status = Status { connection: self.connection, at: Instant::now(), write, flush, apply };
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).push(status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(connection: u32, write: u64, flush: u64) -> Status {
        let [write, flush, apply] = [write, flush, 0].map(Lsn::new);
        Status { connection, at: Instant::now(), write, flush, apply }
    }

    #[tokio::test]
    async fn statuses_are_noted_and_everything_is_passed_on() {
        let notes = Notes { connection: 1, statuses: Arc::default() };
        let statuses = Arc::clone(&notes.statuses);
        let update = [&b"d\0\0\0\x26r"[..], &7_u64.to_be_bytes(), &5_u64.to_be_bytes(), &[0; 17]].concat();
        let sent = [&b"\0\0\0\x08\0\x03\0\0"[..], b"Q\0\0\0\x05\0", &update, b"d\0\0\0\x05x", b"c\0\0\0\x04"].concat();
        let (to, mut arrived) = tokio::io::duplex(1024);
        listen(&sent[..], to, notes).await.unwrap();
        let mut received = Vec::new();
        arrived.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, sent);
        let noted: Vec<_> = statuses.lock().unwrap().iter().map(|s| (s.write.get(), s.flush.get())).collect();
        assert_eq!(noted, [(7, 5)]);
    }

    #[test]
    fn what_no_receiver_may_say_is_found() {
        assert!(check(&[status(1, 5, 3), status(1, 5, 5), status(2, 4, 0)]).is_ok());
        assert!(check(&[status(1, 5, 6)]).is_err());
        assert!(check(&[status(1, 5, 3), status(1, 4, 3)]).is_err());
        assert!(check(&[status(1, 5, 3), status(1, 5, 2)]).is_err());
    }
}
