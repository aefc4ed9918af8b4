//! The server's end of a connection: sends until it breaks, hears what the agent says.

use super::tap::{Mark, Marks};
use bytes::{Buf, BytesMut};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split},
    time::{Instant, sleep_until},
};

pub(super) struct Pipe {
    reader: ReadHalf<DuplexStream>,
    writer: WriteHalf<DuplexStream>,
    incoming: BytesMut,
    marks: Marks,
    sent: u64,
    /// The connection breaks behind this byte.
    breaks_after: Option<u64>,
}

/// What an agent says.
pub(super) enum Said {
    Query(String),
    Status { flush: u64 },
    CopyDone,
    Goodbye,
}

impl Pipe {
    pub(super) fn new(stream: DuplexStream, marks: Marks, breaks_after: Option<u64>) -> Self {
        let (reader, writer) = split(stream);
        Self { reader, writer, incoming: BytesMut::new(), marks, sent: 0, breaks_after }
    }

    /// Hears the startup packet, which has no type.
    pub(super) async fn hear_startup(&mut self) -> io::Result<()> {
        let length = self.reader.read_u32().await? as usize;
        self.reader.read_exact(&mut vec![0; length - 4]).await.map(drop)
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = self.breaks_after.map_or(u64::MAX, |end| end.saturating_sub(self.sent));
        let part = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        self.sent += part.len() as u64;
        self.writer.write_all(part).await?;
        if part.len() < bytes.len() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// Sends a message whose last byte tells the agent something.
    pub(super) async fn send_marked(&mut self, bytes: &[u8], mark: Mark) -> io::Result<()> {
        let place = self.sent + bytes.len() as u64;
        self.marks.lock().push_back((place, mark));
        self.send(bytes).await
    }

    /// The next message. Cancel-safe.
    pub(super) async fn hear(&mut self) -> io::Result<Said> {
        loop {
            if let Some(said) = self.take()? {
                return Ok(said);
            }
            if self.reader.read_buf(&mut self.incoming).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next message, if there is one within that time.
    pub(super) async fn hear_for(&mut self, time: Duration) -> io::Result<Option<Said>> {
        let until = Instant::now() + time;
        let late = async { if time.is_zero() { tokio::task::yield_now().await } else { sleep_until(until).await } };
        tokio::select! {
            biased;
            said = self.hear() => said.map(Some),
            () = late => Ok(None),
        }
    }

    fn take(&mut self) -> io::Result<Option<Said>> {
        let Some(&[tag, a, b, c, d]) = self.incoming.first_chunk::<5>() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize + 1;
        if self.incoming.len() < length {
            return Ok(None);
        }
        let message = self.incoming.split_to(length);
        let body = &message[5..];
        Ok(Some(match tag {
            b'Q' => Said::Query(String::from_utf8_lossy(&body[..body.len() - 1]).into_owned()),
            b'd' => Said::Status { flush: (&body[9..]).get_u64() },
            b'c' => Said::CopyDone,
            b'X' => Said::Goodbye,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }))
    }
}
