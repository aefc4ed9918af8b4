//! The agent's end of a connection: an ordinary pipe that tells the oracle what the agent says and takes, as it does so.

use super::{Shared, oracle::Oracle, trace::Event};
use bytes::{Buf, BytesMut};
use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

/// What a pipe holds: less than a message of WAL.
const PIPE: usize = 64 << 10;

/// What the agent learns by taking the byte before a place in what the server sends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    StreamOpens { timeline: u32, from: u64 },
    Wal { upto: u64 },
    ReplyWanted,
}

/// What is on its way to the agent: marks, each with its place.
pub(super) type Marks = Shared<VecDeque<(u64, Mark)>>;

pub(super) struct Tap {
    pipe: DuplexStream,
    oracle: Shared<Oracle>,
    marks: Marks,
    taken: u64,
    /// What the agent has said and is not yet a whole message.
    said: BytesMut,
    started: bool,
}

/// A connection: the agent's end, the server's end, and what the server notes about the bytes that it sends.
pub(super) fn connection(oracle: &Shared<Oracle>) -> (Tap, DuplexStream, Marks) {
    let (pipe, server) = duplex(PIPE);
    let marks = Marks::new(VecDeque::new());
    let (oracle, said) = (oracle.clone(), BytesMut::new());
    (Tap { pipe, oracle, marks: marks.clone(), taken: 0, said, started: false }, server, marks)
}

impl Tap {
    fn hear(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
        loop {
            // The startup packet alone has no type.
            let tagged = usize::from(self.started);
            let Some(length) = self.said.get(tagged..tagged + 4) else { return };
            let length = tagged + u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            if self.said.len() < length {
                return;
            }
            let message = self.said.split_to(length);
            let mut oracle = self.oracle.lock();
            match (self.started, message[0]) {
                (true, b'd') => {
                    let mut status = &message[5 + 1..];
                    let (write, flush) = (status.get_u64(), status.get_u64());
                    oracle.status(write, flush);
                }
                (true, b'c') => oracle.stream_ends(),
                _ => {}
            }
            self.started = true;
        }
    }

    fn take(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        let (mut marks, mut oracle) = (self.marks.lock(), self.oracle.lock());
        while let Some((place, mark)) = marks.front().copied()
            && place <= self.taken
        {
            marks.pop_front();
            match mark {
                Mark::StreamOpens { timeline, from } => oracle.opened(timeline, from),
                Mark::Wal { upto } => oracle.took(upto),
                Mark::ReplyWanted => oracle.asked(),
            }
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut oracle = self.oracle.lock();
        oracle.trace.note(Event::AgentLeaves);
        oracle.connection_ends();
    }
}

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.pipe).poll_read(cx, buf);
        self.take(buf.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.pipe).poll_write(cx, bytes);
        if let Poll::Ready(Ok(said)) = polled {
            self.hear(&bytes[..said]);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}
