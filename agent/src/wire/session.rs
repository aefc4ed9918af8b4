//! `target_session_attrs`: whether a server is of the kind that is wanted.

use super::{ConnectFailure, Connection, Purpose};
use crate::conninfo::TargetSessionAttrs;

/// What a session can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    read_only: bool,
    in_recovery: bool,
}

/// # Errors
/// [`ConnectFailure::SessionAttrs`] where it is another kind, any other where it cannot be found out.
pub(super) async fn check(
    connection: &mut Connection,
    wanted: TargetSessionAttrs,
    purpose: Purpose<'_>,
) -> Result<(), ConnectFailure> {
    if wanted == TargetSessionAttrs::Any {
        return Ok(());
    }
    let session = match reported(connection) {
        Some(session) => session,
        None => ask(connection, wanted, purpose).await?,
    };
    objection(wanted, session).map_or(Ok(()), |objection| Err(ConnectFailure::SessionAttrs(objection)))
}

fn objection(wanted: TargetSessionAttrs, session: Session) -> Option<&'static str> {
    match wanted {
        TargetSessionAttrs::ReadWrite if session.read_only => Some("session is read-only"),
        TargetSessionAttrs::ReadOnly if !session.read_only => Some("session is not read-only"),
        TargetSessionAttrs::Primary if session.in_recovery => Some("server is in hot standby mode"),
        TargetSessionAttrs::Standby if !session.in_recovery => Some("server is not in hot standby mode"),
        _ => None,
    }
}

/// Servers from 14 on report it by themselves.
fn reported(connection: &Connection) -> Option<Session> {
    let in_recovery = connection.parameter("in_hot_standby")? == "on";
    let read_only = connection.parameter("default_transaction_read_only")? == "on";
    Some(Session { read_only: read_only || in_recovery, in_recovery })
}

/// Older ones have to be asked. A physical walsender runs no SELECT, but it has SHOW; that a standby's transactions are
/// read-only is the best answer that it gives.
async fn ask(
    connection: &mut Connection,
    wanted: TargetSessionAttrs,
    purpose: Purpose<'_>,
) -> Result<Session, ConnectFailure> {
    let about_recovery = matches!(wanted, TargetSessionAttrs::Primary | TargetSessionAttrs::Standby);
    let sql = match purpose {
        Purpose::Sql { .. } if about_recovery => "SELECT pg_catalog.pg_is_in_recovery()",
        _ => "SHOW transaction_read_only",
    };
    let results = connection.query(sql).await?;
    let answer = results.first().and_then(|result| result.text(0, 0));
    let yes = matches!(answer, Some("on" | "t"));
    Ok(Session { read_only: yes, in_recovery: yes })
}

#[cfg(test)]
mod tests;
