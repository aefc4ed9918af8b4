//! From an open socket to the first ReadyForQuery: the startup packet, then whatever authentication asks for.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use super::{
    ConnectFailure, Connection, ProtocolError, Purpose, ServerError, WireError,
    auth::{Authentication, Credentials},
    connection::STARTUP_ALLOWANCE,
    frame::{Frame, Phase},
};
use crate::conninfo::Conninfo;
use postgres_protocol::message::{backend::Message, frontend};

/// Logs in.
///
/// # Errors
/// Any. The connection is of no use then.
pub(super) async fn login(
    connection: &mut Connection,
    conninfo: &Conninfo,
    purpose: Purpose<'_>,
    credentials: Credentials<'_>,
) -> Result<(), ConnectFailure> {
    connection.allow(STARTUP_ALLOWANCE);
    frontend::startup_message(parameters(conninfo, purpose), connection.outgoing())
        .map_err(|e| ProtocolError::Unsendable(format!("startup parameters: {e}")))?;
    let mut authentication = Authentication::new(credentials);
    let (mut first, mut authenticated) = (true, false);
    loop {
        let frame = match connection.receive(Phase::Startup).await {
            Err(WireError::Protocol(error)) if first => return Err(ConnectFailure::NotPostgres(error.to_string())),
            frame => frame?,
        };
        first = false;
        match frame {
            Frame::Message(Message::ErrorResponse(body)) => {
                return Err(ConnectFailure::Server(Box::new(ServerError::parse(b'E', body.fields())?)));
            }
            Frame::Message(Message::BackendKeyData(_)) if authenticated => {}
            Frame::Message(Message::ReadyForQuery(_)) if authenticated => return Ok(()),
            Frame::Message(Message::BackendKeyData(_)) => return Err(ProtocolError::Unexpected { tag: b'K' }.into()),
            Frame::Message(Message::ReadyForQuery(_)) => return Err(ProtocolError::Unexpected { tag: b'Z' }.into()),
            Frame::Message(request) if !authenticated => {
                authenticated = authentication.answer(&request, connection.outgoing())?;
            }
            Frame::Message(_) | Frame::CopyBoth => return Err(ProtocolError::Unexpected { tag: b'R' }.into()),
        }
    }
}

/// What the startup packet says (`build_startup_packet` in `src/interfaces/libpq/fe-protocol3.c`).
fn parameters<'a>(conninfo: &'a Conninfo, purpose: Purpose<'a>) -> Vec<(&'a str, &'a str)> {
    let database = match purpose {
        // The server ignores it, but poolers and password files go by it.
        Purpose::Replication => conninfo.dbname.as_deref().unwrap_or("replication"),
        Purpose::Sql { database } => database,
    };
    let mut parameters = vec![("user", conninfo.user.as_str()), ("database", database)];
    if purpose == Purpose::Replication {
        parameters.push(("replication", "true"));
    }
    parameters.extend(conninfo.options.as_deref().map(|options| ("options", options)));
    parameters.extend(conninfo.application_name.as_deref().map(|name| ("application_name", name)));
    parameters.extend(conninfo.startup_parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    // An empty value means the server's default, and an empty name would end the packet.
    parameters.retain(|(name, value)| !name.is_empty() && !value.is_empty());
    parameters
}

#[cfg(test)]
mod tests;
