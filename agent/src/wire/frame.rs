//! From bytes to messages: a pure function that no announced length can make allocate.
//!
//! `postgres-protocol` reads the bodies. It has no cap on lengths and does not know CopyBothResponse, so the header is
//! judged here first: by what may come at all in the present phase, and by how long a message of that type can be.

use super::ProtocolError;
use bytes::{Buf, BytesMut};
use postgres_protocol::message::backend::{self, Header};

/// Which messages a server may send now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between the startup packet and the first ReadyForQuery.
    Startup,
    /// While a simple query is answered.
    Query,
    /// In COPY BOTH mode.
    Copy,
    /// After our CopyDone, until ReadyForQuery.
    CopyEnd,
}

/// A message from the server.
pub enum Frame {
    /// CopyBothResponse: the stream begins.
    CopyBoth,
    /// Any other.
    Message(backend::Message),
}

const KIB: u32 = 1024;

/// Takes the first message off `buf`, or `None` where it is not complete yet.
///
/// # Errors
/// A message that may not come in this `phase`, of an impossible length or with a malformed body. `buf` is of no
/// further use then.
pub fn decode(buf: &mut BytesMut, phase: Phase) -> Result<Option<Frame>, ProtocolError> {
    let Some(&tag) = buf.first() else { return Ok(None) };
    let limit = limit(phase, tag).ok_or(ProtocolError::Unexpected { tag })?;
    let Some(&[_, a, b, c, d]) = buf.first_chunk::<5>() else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]);
    if !(4..=limit).contains(&length) {
        return Err(ProtocolError::Length { tag, length, limit });
    }
    let total = length as usize + 1;
    if buf.len() < total {
        return Ok(None);
    }
    if tag == b'W' {
        // A format for the whole and one for each column: both say nothing about WAL.
        buf.advance(total);
        return Ok(Some(Frame::CopyBoth));
    }
    match backend::Message::parse(buf) {
        Ok(message) => Ok(message.map(Frame::Message)),
        Err(error) => Err(ProtocolError::Malformed { tag, reason: error.to_string() }),
    }
}

/// How many bytes are needed for the message at the start of `buf` to be complete; 0 where that is not known yet.
pub(super) fn missing(buf: &[u8]) -> usize {
    let length = Header::parse(buf).ok().flatten().and_then(|header| usize::try_from(header.len()).ok());
    length.map_or(0, |length| (length + 1).saturating_sub(buf.len()))
}

/// The highest length of a message of this type, or `None` where it has no place in this phase.
fn limit(phase: Phase, tag: u8) -> Option<u32> {
    use Phase::{Copy, CopyEnd, Query, Startup};
    match (tag, phase) {
        // XLogData carries at most 16 blocks, and blocks of 64 KiB are the largest that PostgreSQL can be built with.
        (b'd', Copy | CopyEnd) => Some(1025 * KIB),
        // TIMELINE_HISTORY returns a whole file in one column: some 50 bytes for each failover there ever was.
        (b'D', Query | CopyEnd) => Some(16 * KIB * KIB),
        (b'T', Query | CopyEnd) => Some(64 * KIB),
        (b'E' | b'N', _) => Some(256 * KIB),
        (b'S', _) => Some(64 * KIB),
        (b'R', Startup) => Some(8 * KIB),
        (b'K', Startup) => Some(KIB),
        (b'Z', Startup | Query | CopyEnd) => Some(KIB),
        (b'A', Query | Copy | CopyEnd) => Some(64 * KIB),
        (b'I' | b'W', Query) => Some(8 * KIB),
        (b'c', Copy | CopyEnd) => Some(KIB),
        (b'C', Query | Copy | CopyEnd) => Some(8 * KIB),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
