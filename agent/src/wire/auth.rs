//! Authentication: what we answer to each request of the server, and what we refuse to answer.
//!
//! Pure: requests in, answers out. The rules of `require_auth` and `channel_binding` are libpq's
//! (`check_expected_areq` and `pg_SASL_init` in `src/interfaces/libpq/fe-auth.c`). Stricter than libpq in one point: a
//! server that begins a SCRAM exchange has to finish it, whatever the settings.

mod end_point;

pub(super) use end_point::server_end_point;

use super::{AuthError, ConnectFailure, ProtocolError};
use crate::conninfo::{AuthMethod, ChannelBinding, RequireAuth, Secret};
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256},
    },
    message::{
        backend::{AuthenticationSaslBody, Message},
        frontend,
    },
};

/// Who logs in, and on which terms.
pub(super) struct Credentials<'a> {
    pub(super) user: &'a str,
    pub(super) password: Option<&'a Secret>,
    pub(super) require: &'a RequireAuth,
    pub(super) binding: ChannelBinding,
    /// What identifies the TLS channel (RFC 5929); `None` in plain text. Where there is TLS but no such value, why.
    pub(super) end_point: Option<Result<Vec<u8>, String>>,
}

/// One authentication exchange.
pub(super) struct Authentication<'a> {
    credentials: Credentials<'a>,
    state: State,
}

enum State {
    /// Nothing was asked yet.
    Start,
    /// A password has been sent, in clear or hashed.
    Password,
    /// The client's first SCRAM message has been sent…
    ScramFirst { scram: ScramSha256, bound: bool },
    /// …and the final one.
    ScramFinal { scram: ScramSha256, bound: bool },
    /// The server has proved that it knows the password.
    ScramVerified { bound: bool },
}

impl<'a> Authentication<'a> {
    pub(super) fn new(credentials: Credentials<'a>) -> Self {
        Self { credentials, state: State::Start }
    }

    /// Answers one request into `out`. True when the server has let us in.
    ///
    /// Each request is answered once at most: a server cannot go on asking.
    pub(super) fn answer(&mut self, request: &Message, out: &mut BytesMut) -> Result<bool, ConnectFailure> {
        let state = std::mem::replace(&mut self.state, State::Start);
        self.state = match (request, state) {
            (Message::AuthenticationOk, state) => return self.let_in(&state).map(|()| true),
            (Message::AuthenticationCleartextPassword, State::Start) => {
                self.permit(AuthMethod::Password, "server requested a cleartext password")?;
                self.permit_unbound()?;
                let password = self.password()?;
                frontend::password_message(password.as_bytes(), out).map_err(unsendable)?;
                State::Password
            }
            (Message::AuthenticationMd5Password(body), State::Start) => {
                self.permit(AuthMethod::Md5, "server requested a hashed password")?;
                self.permit_unbound()?;
                let hash = md5_hash(self.credentials.user.as_bytes(), self.password()?.as_bytes(), body.salt());
                frontend::password_message(hash.as_bytes(), out).map_err(unsendable)?;
                State::Password
            }
            (Message::AuthenticationSasl(body), State::Start) => self.begin_scram(body, out)?,
            (Message::AuthenticationSaslContinue(body), State::ScramFirst { mut scram, bound }) => {
                scram.update(body.data()).map_err(|e| AuthError::Scram(e.to_string()))?;
                frontend::sasl_response(scram.message(), out).map_err(unsendable)?;
                State::ScramFinal { scram, bound }
            }
            (Message::AuthenticationSaslFinal(body), State::ScramFinal { mut scram, bound }) => {
                scram
                    .finish(body.data())
                    .map_err(|e| AuthError::Scram(format!("server could not prove that it knows the password: {e}")))?;
                State::ScramVerified { bound }
            }
            (Message::AuthenticationGss, State::Start) => {
                self.permit(AuthMethod::Gss, "server requested GSSAPI authentication")?;
                return Err(AuthError::Unsupported("GSSAPI authentication".into()).into());
            }
            (Message::AuthenticationSspi, State::Start) => {
                self.permit(AuthMethod::Sspi, "server requested SSPI authentication")?;
                return Err(AuthError::Unsupported("SSPI authentication".into()).into());
            }
            (Message::AuthenticationKerberosV5, State::Start) => {
                return Err(AuthError::Unsupported("Kerberos V5 authentication".into()).into());
            }
            (Message::AuthenticationScmCredential, State::Start) => {
                return Err(AuthError::Unsupported("SCM credentials".into()).into());
            }
            _ => return Err(ProtocolError::Unexpected { tag: b'R' }.into()),
        };
        Ok(false)
    }

    fn let_in(&self, state: &State) -> Result<(), ConnectFailure> {
        let bound = match state {
            State::Start => {
                self.permit(AuthMethod::None, "server did not complete authentication")?;
                false
            }
            State::Password => false,
            State::ScramVerified { bound } => *bound,
            State::ScramFirst { .. } | State::ScramFinal { .. } => {
                let reason = "server ended the exchange before it proved that it knows the password";
                return Err(AuthError::Scram(reason.into()).into());
            }
        };
        if self.credentials.binding == ChannelBinding::Require && !bound {
            let reason = "channel binding required, but server authenticated client without channel binding";
            return Err(AuthError::ChannelBinding(reason.into()).into());
        }
        Ok(())
    }

    fn begin_scram(&self, body: &AuthenticationSaslBody, out: &mut BytesMut) -> Result<State, ConnectFailure> {
        let mechanisms: Vec<&str> =
            body.mechanisms().collect().map_err(|e| ProtocolError::Malformed { tag: b'R', reason: e.to_string() })?;
        let requested = "server requested SASL authentication";
        if mechanisms == ["OAUTHBEARER"] {
            self.permit(AuthMethod::OAuth, requested)?;
            return Err(AuthError::Unsupported("OAuth authentication".into()).into());
        }
        self.permit(AuthMethod::ScramSha256, requested)?;
        let (mechanism, binding) = self.choose_binding(&mechanisms)?;
        let bound = mechanism == SCRAM_SHA_256_PLUS;
        let scram = ScramSha256::new(self.password()?.as_bytes(), binding);
        frontend::sasl_initial_response(mechanism, scram.message(), out).map_err(unsendable)?;
        Ok(State::ScramFirst { scram, bound })
    }

    fn choose_binding(&self, offered: &[&str]) -> Result<(&'static str, sasl::ChannelBinding), AuthError> {
        let Credentials { binding, end_point, .. } = &self.credentials;
        let plus_offered = offered.contains(&SCRAM_SHA_256_PLUS);
        if plus_offered && end_point.is_none() {
            // Whoever stripped the TLS forgot this.
            let reason = "server offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection";
            return Err(AuthError::ChannelBinding(reason.into()));
        }
        if let Some(end_point) = end_point
            && *binding != ChannelBinding::Disable
            && plus_offered
        {
            let end_point = end_point.clone().map_err(|reason| {
                AuthError::ChannelBinding(format!("{reason} (channel_binding=disable does without it)"))
            })?;
            return Ok((SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(end_point)));
        }
        if *binding == ChannelBinding::Require {
            let reason = "channel binding is required, but server did not offer an authentication method that supports \
                          channel binding";
            return Err(AuthError::ChannelBinding(reason.into()));
        }
        if !offered.contains(&SCRAM_SHA_256) {
            let offered = offered.join(", ");
            return Err(AuthError::Unsupported(format!("SASL authentication by one of: {offered}")));
        }
        // Saying "I could have bound the channel" lets the server notice that somebody hid its offer.
        let could = end_point.is_some() && *binding != ChannelBinding::Disable;
        let binding = if could { sasl::ChannelBinding::unrequested() } else { sasl::ChannelBinding::unsupported() };
        Ok((SCRAM_SHA_256, binding))
    }

    fn permit(&self, method: AuthMethod, reason: &'static str) -> Result<(), AuthError> {
        let permitted = match self.credentials.require {
            RequireAuth::Any => true,
            RequireAuth::Only(methods) => methods.contains(&method),
            RequireAuth::Not(methods) => !methods.contains(&method),
        };
        let requirement = || requirement(self.credentials.require);
        permitted.then_some(()).ok_or_else(|| AuthError::Requirement { requirement: requirement(), reason })
    }

    /// A password must not be sent where its channel has to be bound to it.
    fn permit_unbound(&self) -> Result<(), AuthError> {
        let reason = "channel binding required but not supported by server's authentication request";
        match self.credentials.binding {
            ChannelBinding::Require => Err(AuthError::ChannelBinding(reason.into())),
            ChannelBinding::Disable | ChannelBinding::Prefer => Ok(()),
        }
    }

    fn password(&self) -> Result<&'a str, AuthError> {
        let password = self.credentials.password.map(Secret::expose).filter(|password| !password.is_empty());
        password.ok_or(AuthError::PasswordNeeded)
    }
}

/// `require_auth` as it is written.
fn requirement(require: &RequireAuth) -> String {
    let (methods, prefix) = match require {
        RequireAuth::Any => return String::new(),
        RequireAuth::Only(methods) => (methods, ""),
        RequireAuth::Not(methods) => (methods, "!"),
    };
    let name = |method: &AuthMethod| match method {
        AuthMethod::Password => "password",
        AuthMethod::Md5 => "md5",
        AuthMethod::Gss => "gss",
        AuthMethod::Sspi => "sspi",
        AuthMethod::ScramSha256 => "scram-sha-256",
        AuthMethod::OAuth => "oauth",
        AuthMethod::None => "none",
    };
    let methods: Vec<_> = methods.iter().map(|method| format!("{prefix}{}", name(method))).collect();
    methods.join(",")
}

/// Only a NUL byte in a password can bring this about; the password itself is not shown.
fn unsendable(error: std::io::Error) -> ConnectFailure {
    ProtocolError::Unsendable(format!("password: {error}")).into()
}

#[cfg(test)]
mod tests;
