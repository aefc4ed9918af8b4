//! The connection itself: the socket, what has been read and not yet understood, what is queued and not yet sent.
//!
//! Everything that waits is built on two polls without state of their own, so that whatever is dropped half-way leaves
//! the connection whole: [`Connection::poll_send`] and [`Connection::poll_receive`].

use super::{
    ProtocolError, ServerError, WireError,
    frame::{self, Frame, Phase},
};
use bytes::{Buf, BytesMut};
use postgres_protocol::message::{backend::Message, frontend};
use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// How long saying goodbye may take.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);
/// What a server may send in answer to one command, with [`MESSAGE_OVERHEAD`] added to each message.
pub(super) const ANSWER_ALLOWANCE: usize = 32 << 20;
/// The same for everything before the first ReadyForQuery.
pub(super) const STARTUP_ALLOWANCE: usize = 1 << 20;
/// Makes empty messages count, too.
const MESSAGE_OVERHEAD: usize = 64;
/// More than this is never queued: statuses are tens of bytes, so the peer has stopped to read.
const MAX_OUTGOING: usize = 1 << 20;
/// A server reports some 15 parameters. More than this are not kept, nor are longer values.
const MAX_PARAMETERS: usize = 128;
const MAX_PARAMETER_LENGTH: usize = 8 << 10;
/// Room for one read while commands are answered…
const COMMAND_READ: usize = 16 << 10;
/// …and while WAL streams: a message is 128 KiB at most, so few straddle two buffers and have to be copied.
const STREAM_READ: usize = 1 << 20;

/// What a connection runs over: TCP, TLS, a unix socket.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for T {}

/// One connection to a server. Dropping it closes the socket.
pub struct Connection {
    socket: Box<dyn Socket>,
    peer: String,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// Bytes were written to `socket` that it may still hold back (TLS).
    unflushed: bool,
    /// Why nothing can be sent any more. Reading goes on: the server's last words explain more than a broken pipe.
    send_error: Option<io::Error>,
    parameters: BTreeMap<String, String>,
    /// What the server may still send in this phase. Does not count while WAL streams.
    allowance: usize,
}

impl Connection {
    pub(super) fn new(socket: Box<dyn Socket>, peer: String) -> Self {
        Self {
            socket,
            peer,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            unflushed: false,
            send_error: None,
            parameters: BTreeMap::new(),
            allowance: STARTUP_ALLOWANCE,
        }
    }

    /// The value that the server last reported for a parameter (`server_version`, `integer_datetimes`, …).
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// Who is at the other end, for messages: `host:port`, or the socket's path.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Sends what is queued, without reading: for a caller that has paused reading. Cancel-safe.
    ///
    /// # Errors
    /// When nothing can be sent any more. What the server may have said about it is read by [`Connection::next`].
    pub async fn flush(&mut self) -> Result<(), WireError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Tells the server that we leave, and closes the socket: at best, and within a second.
    pub async fn close(mut self) {
        frontend::terminate(&mut self.outgoing);
        let farewell = async {
            // Nothing can be done about a goodbye that nobody hears.
            if self.flush().await.is_ok() {
                let _ = self.socket.shutdown().await;
            }
        };
        let _ = timeout(FAREWELL_PATIENCE, farewell).await;
    }

    /// Where messages to the server are queued: they leave while anything is awaited.
    pub(super) fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }

    /// Begins a phase in which the server may send at most `allowance`.
    pub(super) fn allow(&mut self, allowance: usize) {
        self.allowance = allowance;
    }

    /// The next message that is not merely informative, sending what is queued meanwhile. Cancel-safe.
    pub(super) async fn receive(&mut self, phase: Phase) -> Result<Frame, WireError> {
        poll_fn(|cx| self.poll_receive(cx, phase)).await
    }

    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>, phase: Phase) -> Poll<Result<Frame, WireError>> {
        // A status leaves now, however much there is to be read.
        self.poll_send(cx)?;
        loop {
            let before = self.incoming.len();
            match frame::decode(&mut self.incoming, phase)? {
                None => ready!(self.poll_fill(cx, phase))?,
                Some(frame) => {
                    self.charge(phase, &frame, before - self.incoming.len())?;
                    if let Some(frame) = self.take_note(frame)? {
                        return Poll::Ready(Ok(frame));
                    }
                }
            }
        }
    }

    /// [`Connection::flush`], for whoever polls by hand.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        self.poll_send(cx)?;
        match self.send_error.take() {
            Some(error) => Poll::Ready(Err(WireError::Lost(error))),
            None if self.outgoing.is_empty() && !self.unflushed => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }

    /// Sends as much as the socket takes; where that is not all, `cx` is woken when it takes more. A failure is kept.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), WireError> {
        if self.outgoing.len() > MAX_OUTGOING {
            return Err(WireError::NotReading);
        }
        if self.send_error.is_none()
            && let Poll::Ready(Err(error)) = self.poll_write(cx)
        {
            self.send_error = Some(error);
        }
        Ok(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.outgoing))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.advance(written);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, phase: Phase) -> Poll<Result<(), WireError>> {
        let chunk = if phase == Phase::Copy { STREAM_READ } else { COMMAND_READ };
        let missing = frame::missing(&self.incoming);
        // Long before it is full, so that reads stay long; `missing` was capped when the header was judged.
        if self.incoming.capacity() - self.incoming.len() < missing.max(chunk / 8) {
            self.incoming.reserve(missing.max(chunk));
        }
        // This future has no state: all there is, is in `incoming`.
        match pin!(self.socket.read_buf(&mut self.incoming)).poll(cx) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(WireError::Closed)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Err(WireError::Closed))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(WireError::Lost(error))),
            Poll::Pending => match self.send_error.take() {
                Some(error) => Poll::Ready(Err(WireError::Lost(error))),
                None => Poll::Pending,
            },
        }
    }

    /// Bounds the total of an answer. CopyData is not an answer: who reads it bounds it, by time.
    fn charge(&mut self, phase: Phase, frame: &Frame, length: usize) -> Result<(), ProtocolError> {
        if phase == Phase::Copy || matches!(frame, Frame::Message(Message::CopyData(_))) {
            return Ok(());
        }
        self.allowance = self.allowance.checked_sub(length + MESSAGE_OVERHEAD).ok_or(ProtocolError::Endless)?;
        Ok(())
    }

    /// Deals with what may come at any time, and gives back the rest.
    fn take_note(&mut self, frame: Frame) -> Result<Option<Frame>, ProtocolError> {
        match frame {
            Frame::Message(Message::NoticeResponse(body)) => {
                let notice = ServerError::parse(b'N', body.fields())?;
                tracing::debug!(peer = self.peer, code = notice.code, "server notice: {notice}");
            }
            Frame::Message(Message::ParameterStatus(body)) => {
                let text = |e: io::Error| ProtocolError::Malformed { tag: b'S', reason: e.to_string() };
                self.set_parameter(body.name().map_err(text)?, body.value().map_err(text)?);
            }
            Frame::Message(Message::NotificationResponse(_)) => {}
            frame => return Ok(Some(frame)),
        }
        Ok(None)
    }

    fn set_parameter(&mut self, name: &str, value: &str) {
        let known = self.parameters.contains_key(name);
        if name.len() + value.len() > MAX_PARAMETER_LENGTH {
            // An older value would no longer be true.
            self.parameters.remove(name);
        } else if known || self.parameters.len() < MAX_PARAMETERS {
            self.parameters.insert(name.to_owned(), value.to_owned());
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
