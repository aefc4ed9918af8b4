//! COPY BOTH: the mode in which a walsender streams and we report.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY>

use super::{
    Connection, ProtocolError, ResultSet, ServerError, WireError,
    connection::ANSWER_ALLOWANCE,
    frame::{Frame, Phase},
    query::Answer,
};
use bytes::Bytes;
use postgres_protocol::message::{backend::Message, frontend};
use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

/// How a server begins to answer a command that may stream.
#[derive(Debug)]
pub enum CopyStart {
    /// The stream is open.
    Both,
    /// There is nothing to stream, and this is the whole answer: so where START_REPLICATION asks for a timeline at the
    /// very position where it ends.
    Results(Vec<ResultSet>),
}

/// What comes out of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum CopyEvent {
    /// One CopyData message's payload.
    Data(Bytes),
    /// The server's CopyDone: reply with [`Connection::send_copy_done`], then [`Connection::finish_copy`].
    Done,
    /// CommandComplete without CopyDone: the walsender has ended, as in a shutdown of the server. It says nothing more.
    Finished,
}

impl Connection {
    /// Sends a command that is expected to open a stream.
    ///
    /// Not cancel-safe: drop the connection where this is dropped.
    ///
    /// # Errors
    /// [`WireError::Server`] leaves the connection usable unless it is fatal, any other does not.
    pub async fn start_copy_both(&mut self, sql: &str) -> Result<CopyStart, WireError> {
        self.send_query(sql)?;
        Ok(match self.answer(Phase::Query).await? {
            Answer::CopyBoth => CopyStart::Both,
            Answer::Results(results) => CopyStart::Results(results),
        })
    }

    /// The next event of the stream. What is queued leaves meanwhile.
    ///
    /// Cancel-safe: no byte is lost where this is dropped. Waits without bound: the caller knows how long a silence may
    /// be.
    ///
    /// # Errors
    /// Any ends the connection.
    pub async fn next(&mut self) -> Result<CopyEvent, WireError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Queues one CopyData message. It leaves while [`Connection::next`] or [`Connection::flush`] is awaited.
    pub fn send_copy_data(&mut self, payload: &[u8]) {
        let message = frontend::CopyData::new(payload).expect("a status is some tens of bytes");
        message.write(self.outgoing());
    }

    /// Queues CopyDone: we send nothing more.
    pub fn send_copy_done(&mut self) {
        frontend::copy_done(self.outgoing());
    }

    /// After [`Connection::send_copy_done`]: what the server says about the end, until it is ready for a command again.
    /// Data that is still on its way is discarded.
    ///
    /// Not cancel-safe: drop the connection where this is dropped.
    ///
    /// # Errors
    /// [`WireError::Server`] leaves the connection usable unless it is fatal, any other does not. [`WireError::Closed`] is what a server
    /// that shuts down ends with.
    pub async fn finish_copy(&mut self) -> Result<Vec<ResultSet>, WireError> {
        self.allow(ANSWER_ALLOWANCE);
        match self.answer(Phase::CopyEnd).await? {
            Answer::Results(results) => Ok(results),
            Answer::CopyBoth => Err(ProtocolError::Unexpected { tag: b'W' }.into()),
        }
    }

    /// [`Connection::next`], for whoever polls by hand.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<CopyEvent, WireError>> {
        Poll::Ready(match ready!(self.poll_receive(cx, Phase::Copy))? {
            Frame::Message(Message::CopyData(body)) => Ok(CopyEvent::Data(body.into_bytes())),
            Frame::Message(Message::CopyDone) => Ok(CopyEvent::Done),
            Frame::Message(Message::CommandComplete(_)) => Ok(CopyEvent::Finished),
            Frame::Message(Message::ErrorResponse(body)) => {
                Err(WireError::Server(Box::new(ServerError::parse(b'E', body.fields())?)))
            }
            // The phase lets nothing else through.
            Frame::Message(_) | Frame::CopyBoth => Err(ProtocolError::Unexpected { tag: b'W' }.into()),
        })
    }
}

#[cfg(test)]
mod tests;
