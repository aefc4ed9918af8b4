//! An error or notice as the server reported it, with all its fields.

use crate::wire::ProtocolError;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;
use std::fmt;

/// An ErrorResponse or a NoticeResponse.
///
/// <https://www.postgresql.org/docs/current/protocol-error-fields.html>
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `PANIC`, `WARNING`, `NOTICE`, …, possibly translated.
    pub severity: String,
    /// The severity in English (9.6 and later).
    pub severity_nonlocalized: Option<String>,
    /// SQLSTATE: five characters.
    pub code: String,
    /// The primary message.
    pub message: String,
    /// More about the problem.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Cursor position in the query, in characters from 1.
    pub position: Option<String>,
    /// The same, in an internally generated command.
    pub internal_position: Option<String>,
    /// The internally generated command.
    pub internal_query: Option<String>,
    /// Where the error occurred: a call stack.
    pub context: Option<String>,
    /// The schema that the error is about.
    pub schema: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// The data type.
    pub data_type: Option<String>,
    /// The constraint.
    pub constraint: Option<String>,
    /// File of PostgreSQL's source that reported it.
    pub file: Option<String>,
    /// Line in it.
    pub line: Option<String>,
    /// Routine in it.
    pub routine: Option<String>,
}

impl ServerError {
    /// Reads the fields of an error or a notice; unknown ones are ignored, as the protocol demands.
    pub(in crate::wire) fn parse(tag: u8, mut fields: ErrorFields<'_>) -> Result<Self, ProtocolError> {
        let mut error = Self::default();
        let malformed = |e: std::io::Error| ProtocolError::Malformed { tag, reason: e.to_string() };
        while let Some(field) = fields.next().map_err(malformed)? {
            let value = printable(field.value_bytes());
            match field.type_() {
                b'S' => error.severity = value,
                b'V' => error.severity_nonlocalized = Some(value),
                b'C' => error.code = value,
                b'M' => error.message = value,
                b'D' => error.detail = Some(value),
                b'H' => error.hint = Some(value),
                b'P' => error.position = Some(value),
                b'p' => error.internal_position = Some(value),
                b'q' => error.internal_query = Some(value),
                b'W' => error.context = Some(value),
                b's' => error.schema = Some(value),
                b't' => error.table = Some(value),
                b'c' => error.column = Some(value),
                b'd' => error.data_type = Some(value),
                b'n' => error.constraint = Some(value),
                b'F' => error.file = Some(value),
                b'L' => error.line = Some(value),
                b'R' => error.routine = Some(value),
                _ => {}
            }
        }
        Ok(error)
    }

    /// Whether the server ends the connection with this error.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity_nonlocalized.as_deref().unwrap_or(&self.severity), "FATAL" | "PANIC")
    }
}

/// As libpq prints it at its default verbosity.
impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:  {}", self.severity, self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, "\nDETAIL:  {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nHINT:  {hint}")?;
        }
        Ok(())
    }
}

/// A server, or who pretends to be one, shall not steer the terminal that shows its messages.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(|c: char| c.is_control() && !matches!(c, '\n' | '\t'), "?")
}
