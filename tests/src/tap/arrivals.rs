//! Follows the server's messages through a stream that is cut anywhere, and finds the WAL in it. Changes nothing.

use wal_agent::wal::Lsn;

/// Type and length of a message; of a CopyData with WAL the letter and the position, too.
const HEAD: usize = 14;

/// The length of what precedes the WAL in a CopyData.
const WAL_HEADER: usize = 25;

/// The place in the stream: the beginning of the message that is passing, and how much of it is to come.
#[derive(Debug, Default)]
pub(super) struct Follower {
    head: Vec<u8>,
    /// Bytes of the message after its head.
    left: usize,
    /// What passes is no sequence of messages.
    lost: bool,
}

impl Follower {
    /// Follows `bytes`, and returns where the last WAL ends that is complete with them.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> Option<Lsn> {
        let mut end = None;
        while !bytes.is_empty() && !self.lost {
            let wanted = match self.length() {
                None => 5,
                Some(length) => length.min(HEAD),
            };
            if self.head.len() < wanted {
                let (head, rest) = bytes.split_at(bytes.len().min(wanted - self.head.len()));
                self.head.extend_from_slice(head);
                bytes = rest;
                let Some(length) = self.length() else { continue };
                self.lost = length < 5;
                self.left = length.saturating_sub(self.head.len());
                if self.head.len() < length.min(HEAD) {
                    continue;
                }
            }
            let skipped = bytes.len().min(self.left);
            self.left -= skipped;
            bytes = &bytes[skipped..];
            if self.left == 0 {
                end = self.wal().or(end);
                self.head.clear();
            }
        }
        end
    }

    /// The whole message's length, once it is known.
    fn length(&self) -> Option<usize> {
        let length = self.head.get(1..)?.first_chunk::<4>()?;
        Some(1 + u32::from_be_bytes(*length) as usize)
    }

    /// The position after the WAL of the message that has passed.
    fn wal(&self) -> Option<Lsn> {
        let [b'd', _, _, _, _, b'w', start @ ..] = &self.head[..] else { return None };
        let start = u64::from_be_bytes(*start.first_chunk()?);
        let length = self.length()?.checked_sub(5 + WAL_HEADER)?;
        Some(Lsn::new(start + length as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CopyData with `length` bytes of WAL from `start` on.
    fn wal(start: u64, length: usize) -> Vec<u8> {
        let announced = (4 + WAL_HEADER + length) as u32;
        let [mut message, start] = [vec![b'd'], start.to_be_bytes().to_vec()];
        message.extend([&announced.to_be_bytes()[..], b"w", &start, &[0; 16], &vec![b'd'; length]].concat());
        message
    }

    #[test]
    fn wal_is_found_wherever_the_stream_is_cut() {
        let stream =
            [&b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"[..], &wal(1000, 100), b"d\0\0\0\x05k", &wal(1100, 7)].concat();
        for size in 1..=stream.len() {
            let mut follower = Follower::default();
            let ends: Vec<u64> = stream.chunks(size).filter_map(|chunk| follower.pass(chunk)).map(Lsn::get).collect();
            let expected: &[u64] = if ends.len() == 1 { &[1107] } else { &[1100, 1107] };
            assert_eq!(ends, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_message_is_not_followed() {
        let mut follower = Follower::default();
        assert_eq!(follower.pass(b"N\0\0\0\x01garbage"), None);
        assert_eq!(follower.pass(&wal(1, 2)), None);
    }
}
