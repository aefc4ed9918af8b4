//! The three messages of a stream, each the payload of one CopyData.
//!
//! ```text
//! 'w' start u64, server's end u64, sent u64, WAL …       from the server
//! 'k' server's end u64, sent u64, reply wanted u8         from the server
//! 'r' write u64, flush u64, apply u64, sent u64, reply u8 to the server
//! ```

use crate::wal::Lsn;
use bytes::{Buf, Bytes};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 2000-01-01, from which PostgreSQL counts, in seconds of the Unix epoch.
const POSTGRES_EPOCH: Duration = Duration::from_secs(946_684_800);

/// What a server sends during a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A piece of the log; it may span segments.
    Wal {
        /// Where `data` begins.
        start: Lsn,
        /// How far the server's WAL went when it sent this.
        server_end: Lsn,
        /// The bytes.
        data: Bytes,
    },
    /// A sign of life.
    KeepAlive {
        /// How far the server's WAL goes.
        server_end: Lsn,
        /// Whether the server waits for a status.
        reply_requested: bool,
    },
}

/// Why a message is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Shorter than its kind's header.
    #[error("streaming header too small: {0}")]
    Short(usize),
    /// Of no known kind.
    #[error("unrecognized streaming header: \"{}\"", .0.escape_ascii())]
    Unknown(u8),
    /// WAL that would run over the end of the 64-bit log.
    #[error("streamed WAL at {0} runs over the end of the log")]
    Overflow(Lsn),
}

/// What the receiver says about itself: "Standby status update".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusUpdate {
    /// Written as far as here.
    pub write: Lsn,
    /// Durable as far as here; `0/0`: not reported.
    pub flush: Lsn,
}

impl Message {
    /// Reads the payload of a CopyData. The WAL in it is not copied.
    ///
    /// # Errors
    /// [`MessageError`]
    pub fn parse(mut payload: Bytes) -> Result<Self, MessageError> {
        let len = payload.len();
        let header = match payload.first() {
            None => return Err(MessageError::Short(0)),
            Some(b'w') => 1 + 8 + 8 + 8,
            Some(b'k') => 1 + 8 + 8 + 1,
            Some(&unknown) => return Err(MessageError::Unknown(unknown)),
        };
        if len < header {
            return Err(MessageError::Short(len));
        }
        let kind = payload.get_u8();
        let position = Lsn::new(payload.get_u64());
        if kind == b'k' {
            payload.advance(8);
            return Ok(Self::KeepAlive { server_end: position, reply_requested: payload.get_u8() != 0 });
        }
        let server_end = Lsn::new(payload.get_u64());
        payload.advance(8);
        if position.checked_add(payload.len() as u64).is_none() {
            return Err(MessageError::Overflow(position));
        }
        Ok(Self::Wal { start: position, server_end, data: payload })
    }
}

impl StatusUpdate {
    /// The payload of a CopyData. Nothing is applied here, so `apply` is never reported.
    pub fn encode(self, now: SystemTime) -> [u8; 34] {
        let since = now.duration_since(UNIX_EPOCH + POSTGRES_EPOCH).unwrap_or_default();
        let sent = u64::try_from(since.as_micros()).unwrap_or(0);
        let mut payload = [0; 34];
        payload[0] = b'r';
        payload[1..9].copy_from_slice(&self.write.get().to_be_bytes());
        payload[9..17].copy_from_slice(&self.flush.get().to_be_bytes());
        payload[25..33].copy_from_slice(&sent.to_be_bytes());
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_server_sends_is_read() {
        let wal = [&b"w"[..], &[0, 0, 0, 0, 1, 0, 0, 0], &[0, 0, 0, 0, 0, 0, 0, 8], &[9; 8], b"abc"].concat();
        let data = Bytes::from_static(b"abc");
        let expected = Message::Wal { start: Lsn::new(1 << 24), server_end: Lsn::new(8), data };
        assert_eq!(Message::parse(wal.into()), Ok(expected));
        let alive = [&b"k"[..], &[0, 0, 0, 0, 0, 0, 0, 7], &[9; 8], &[1]].concat();
        let expected = Message::KeepAlive { server_end: Lsn::new(7), reply_requested: true };
        assert_eq!(Message::parse(alive.into()), Ok(expected));
    }

    #[test]
    fn what_no_server_sends_is_refused() {
        let check = |payload: &[u8], error| assert_eq!(Message::parse(Bytes::copy_from_slice(payload)), Err(error));
        check(b"", MessageError::Short(0));
        check(b"x123", MessageError::Unknown(b'x'));
        check(&[b'w'; 24], MessageError::Short(24));
        check(&[b'k'; 17], MessageError::Short(17));
        let over = [&b"w"[..], &[0xFF; 8], &[0; 16], b"a"].concat();
        check(&over, MessageError::Overflow(Lsn::new(u64::MAX)));
    }

    #[test]
    fn a_status_is_what_the_protocol_says() {
        let at = UNIX_EPOCH + POSTGRES_EPOCH + Duration::from_micros(5);
        let payload = StatusUpdate { write: Lsn::new(2), flush: Lsn::new(1) }.encode(at);
        let expected = [&b"r"[..], &2_u64.to_be_bytes(), &1_u64.to_be_bytes(), &[0; 8], &5_u64.to_be_bytes(), &[0]];
        assert_eq!(payload.as_slice(), expected.concat());
    }

    proptest! {
        #[test]
        fn any_payload_is_read_or_refused(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Message::parse(payload.into());
        }
    }
}
