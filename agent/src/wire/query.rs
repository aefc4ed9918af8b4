//! The simple query protocol: one string, any number of result sets, until the server is ready again.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SIMPLE-QUERY>

use super::{
    Connection, ProtocolError, ServerError, WireError,
    connection::ANSWER_ALLOWANCE,
    frame::{Frame, Phase},
};
use bytes::Bytes;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::{
    backend::{DataRowBody, Message, RowDescriptionBody},
    frontend,
};
use std::{io, time::Duration};
use tokio::time::timeout;

/// How long the answer to one command may take.
pub(super) const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// The most values, rows and result sets that one answer may hold: each costs memory, even where it is empty on the wire.
const MAX_ITEMS: usize = 100_000;

/// What one statement returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultSet {
    /// The columns' names; empty where the statement returns no rows.
    pub columns: Vec<String>,
    /// The rows' values in text form; `None` is NULL. Each row has one for each column.
    pub rows: Vec<Vec<Option<Bytes>>>,
    /// The command tag, as in `SELECT 1` or `START_STREAMING`.
    pub tag: String,
}

impl ResultSet {
    /// The text of a cell; `None` where there is no such cell, where it is NULL, or where it is not UTF-8.
    pub fn text(&self, row: usize, column: usize) -> Option<&str> {
        str::from_utf8(self.rows.get(row)?.get(column)?.as_ref()?).ok()
    }
}

impl Connection {
    /// Runs `sql`, which may hold several statements, and returns what each of them returned.
    ///
    /// Not cancel-safe: drop the connection where this is dropped.
    ///
    /// # Errors
    /// [`WireError::Server`] leaves the connection usable unless it is fatal, any other does not.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<ResultSet>, WireError> {
        self.send_query(sql)?;
        match self.answer(Phase::Query).await? {
            Answer::Results(results) => Ok(results),
            Answer::CopyBoth => Err(ProtocolError::Unexpected { tag: b'W' }.into()),
        }
    }

    /// What the server answers, up to ReadyForQuery or to the opening of a stream. Data of a stream that ends is
    /// discarded.
    pub(super) async fn answer(&mut self, phase: Phase) -> Result<Answer, WireError> {
        let answer = async {
            let mut results = Results::default();
            loop {
                match self.receive(phase).await {
                    Ok(Frame::CopyBoth) if results.items == 0 => return Ok(Answer::CopyBoth),
                    Ok(Frame::CopyBoth) => return Err(ProtocolError::Unexpected { tag: b'W' }.into()),
                    Ok(Frame::Message(Message::CopyData(_) | Message::CopyDone)) => {}
                    Ok(Frame::Message(message)) => {
                        if let Some(results) = results.add(message)? {
                            return results.map(Answer::Results);
                        }
                    }
                    // A fatal error is the last thing that a server says, and the reason that it hangs up.
                    Err(lost @ (WireError::Closed | WireError::Lost(_))) => {
                        return Err(results.error.take().map_or(lost, WireError::Server));
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        timeout(ANSWER_PATIENCE, answer).await.unwrap_or(Err(WireError::Timeout(ANSWER_PATIENCE)))
    }

    pub(super) fn send_query(&mut self, sql: &str) -> Result<(), ProtocolError> {
        self.allow(ANSWER_ALLOWANCE);
        let queued = self.outgoing().len();
        frontend::query(sql, self.outgoing()).map_err(|e| {
            self.outgoing().truncate(queued);
            ProtocolError::Unsendable(e.to_string())
        })
    }
}

/// How a server answers a command.
pub(super) enum Answer {
    CopyBoth,
    Results(Vec<ResultSet>),
}

/// An answer as it comes in.
#[derive(Default)]
struct Results {
    finished: Vec<ResultSet>,
    /// The one whose rows are coming.
    open: Option<ResultSet>,
    /// The first error; what follows it is drained.
    error: Option<Box<ServerError>>,
    /// Counts towards [`MAX_ITEMS`].
    items: usize,
}

impl Results {
    /// Adds a message to the answer, and returns the answer when it is complete.
    fn add(&mut self, message: Message) -> Result<Option<Result<Vec<ResultSet>, WireError>>, ProtocolError> {
        self.items += 1;
        if self.items > MAX_ITEMS {
            return Err(ProtocolError::Endless);
        }
        match message {
            Message::RowDescription(body) if self.open.is_none() => {
                self.open = Some(ResultSet { columns: columns(&body)?, ..ResultSet::default() });
            }
            Message::DataRow(body) => {
                let open = self.open.as_mut().ok_or(ProtocolError::Unexpected { tag: b'D' })?;
                let row = row(&body, open.columns.len())?;
                self.items += row.len();
                open.rows.push(row);
            }
            Message::CommandComplete(body) => {
                let tag = body.tag().map_err(|e| malformed(b'C', e))?.to_owned();
                self.finished.push(ResultSet { tag, ..self.open.take().unwrap_or_default() });
            }
            Message::EmptyQueryResponse => self.finished.push(ResultSet::default()),
            Message::ErrorResponse(body) => {
                let error = ServerError::parse(b'E', body.fields())?;
                self.error.get_or_insert(Box::new(error));
            }
            Message::ReadyForQuery(_) => {
                let results = std::mem::take(&mut self.finished);
                return Ok(Some(self.error.take().map_or(Ok(results), |error| Err(WireError::Server(error)))));
            }
            _ => return Err(ProtocolError::Unexpected { tag: b'T' }),
        }
        Ok(None)
    }
}

fn columns(body: &RowDescriptionBody) -> Result<Vec<String>, ProtocolError> {
    body.fields().map(|field| Ok(field.name().to_owned())).collect().map_err(|e| malformed(b'T', e))
}

fn row(body: &DataRowBody, columns: usize) -> Result<Vec<Option<Bytes>>, ProtocolError> {
    let cell = |range: Option<std::ops::Range<usize>>| Ok(range.map(|range| body.buffer_bytes().slice(range)));
    let cells: Vec<_> = body.ranges().map(cell).collect().map_err(|e| malformed(b'D', e))?;
    if cells.len() != columns {
        let reason = format!("{} values for {columns} columns", cells.len());
        return Err(ProtocolError::Malformed { tag: b'D', reason });
    }
    Ok(cells)
}

fn malformed(tag: u8, error: io::Error) -> ProtocolError {
    ProtocolError::Malformed { tag, reason: error.to_string() }
}

#[cfg(test)]
mod tests;
