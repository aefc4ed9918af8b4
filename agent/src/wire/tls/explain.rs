//! What a failure of the TLS layer means: one sentence that says whose file it is about and what to do.

use crate::wire::{ConnectFailure, TlsError, verify::Objection};
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible, pki_types::UnixTime};
use std::{io, path::PathBuf, time::Duration};
use x509_cert::der::DateTime;

/// What a sentence can be made of.
#[derive(Clone, Debug)]
pub(in crate::wire) struct Context {
    /// The server, as the connection string calls it.
    pub(super) host: String,
    /// Where the trusted certificates are from.
    pub(super) roots: String,
    /// Where the revocation lists are from.
    pub(super) crl: Option<PathBuf>,
    /// Our certificate, where one is sent.
    pub(super) certificate: Option<PathBuf>,
}

impl Context {
    /// A failure in the handshake.
    pub(super) fn explain_handshake(&self, error: io::Error) -> ConnectFailure {
        match (rustls_error(&error), error.kind()) {
            (Some(error), _) => self.explain(error).into(),
            (None, io::ErrorKind::UnexpectedEof) => {
                TlsError::Handshake("server closed the connection during the SSL handshake".into()).into()
            }
            (None, _) => ConnectFailure::Lost(error),
        }
    }

    /// A failure after the handshake; one that TLS has no part in remains what it is.
    pub(in crate::wire) fn explain_later(&self, failure: ConnectFailure) -> ConnectFailure {
        match failure {
            ConnectFailure::Lost(error) => match rustls_error(&error) {
                Some(error) => self.explain(error).into(),
                None => ConnectFailure::Lost(error),
            },
            failure => failure,
        }
    }

    fn explain(&self, error: &Error) -> TlsError {
        match error {
            Error::InvalidCertificate(error) => TlsError::Verification(self.explain_certificate(error)),
            Error::InvalidCertRevocationList(error) => {
                TlsError::Verification(format!("certificate revocation list {} cannot be used: {error:?}", self.crl()))
            }
            Error::AlertReceived(alert) => self.explain_alert(*alert),
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            ) => TlsError::Handshake(self.no_common_version()),
            Error::InvalidMessage(error) => {
                // Also what becomes of plain text that somebody smuggled in before the handshake.
                TlsError::Handshake(format!("server \"{}\" does not answer with TLS: {error:?}", self.host))
            }
            error => TlsError::Handshake(format!("SSL handshake with server \"{}\" failed: {error}", self.host)),
        }
    }

    fn explain_certificate(&self, error: &CertificateError) -> String {
        let (host, roots) = (&self.host, &self.roots);
        match error {
            CertificateError::ExpiredContext { not_after, .. } => {
                format!("certificate of server \"{host}\" expired on {}: have it renewed", date(*not_after))
            }
            CertificateError::Expired => format!("certificate of server \"{host}\" has expired: have it renewed"),
            CertificateError::NotValidYetContext { not_before, .. } => {
                let date = date(*not_before);
                format!("certificate of server \"{host}\" is not valid before {date}: check the clocks")
            }
            CertificateError::UnknownIssuer => format!(
                "certificate of server \"{host}\" is not signed by a certificate in {roots}: \
                 put the server's certificate authority there"
            ),
            CertificateError::BadSignature => format!(
                "certificate of server \"{host}\" is not signed by a certificate in {roots}, although one there has \
                 its issuer's name: put the present certificate authority there"
            ),
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => format!(
                "certificate of server \"{host}\" is signed with an unsupported algorithm: use SHA-256 or better, \
                 with RSA of 2048 to 8192 bits, ECDSA on P-256 or P-384, or Ed25519"
            ),
            CertificateError::Revoked => format!("certificate of server \"{host}\" is revoked, says {}", self.crl()),
            CertificateError::UnknownRevocationStatus => {
                let crl = self.crl();
                format!("no revocation list in {crl} covers the certificate of server \"{host}\" and its issuers")
            }
            CertificateError::ExpiredRevocationListContext { next_update, .. } => {
                format!("certificate revocation list {} expired on {}: renew it", self.crl(), date(*next_update))
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                format!("certificate of server \"{host}\" is not made for servers (extended key usage serverAuth)")
            }
            CertificateError::BadEncoding => format!("certificate of server \"{host}\" cannot be read"),
            CertificateError::Other(error) => match error.0.downcast_ref() {
                // It speaks for itself.
                Some(objection @ Objection::Name(_)) => objection.to_string(),
                Some(objection @ Objection::Version1) => {
                    format!("certificate of server \"{host}\" cannot be verified: {objection}")
                }
                None => format!("certificate of server \"{host}\" is not acceptable with {roots}: {error}"),
            },
            error => format!("certificate of server \"{host}\" is not acceptable: {error:?}"),
        }
    }

    fn explain_alert(&self, alert: AlertDescription) -> TlsError {
        let host = &self.host;
        let about_ours = match alert {
            AlertDescription::CertificateRequired => "the server requires one",
            AlertDescription::CertificateExpired => "it has expired, renew it",
            AlertDescription::CertificateRevoked => "it is revoked",
            AlertDescription::UnknownCA => "the server does not know its issuer",
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError => "the server does not accept it",
            AlertDescription::ProtocolVersion => return TlsError::Handshake(self.no_common_version()),
            AlertDescription::NoApplicationProtocol => {
                let reason = format!("server \"{host}\" does not speak PostgreSQL over TLS (ALPN)");
                return TlsError::Handshake(reason);
            }
            alert => return TlsError::Handshake(format!("server \"{host}\" refused the SSL handshake: {alert:?}")),
        };
        TlsError::Rejected(match &self.certificate {
            Some(path) => {
                format!("server \"{host}\" rejected our certificate \"{}\": {about_ours}", path.display())
            }
            None => format!("server \"{host}\" rejected us without a client certificate: {about_ours} (sslcert)"),
        })
    }

    fn no_common_version(&self) -> String {
        let host = &self.host;
        format!(
            "server \"{host}\" offers no acceptable TLS version: it must be 1.2 or 1.3, and within \
             ssl_min_protocol_version and ssl_max_protocol_version"
        )
    }

    fn crl(&self) -> String {
        self.crl.as_ref().map_or_else(String::new, |path| format!("\"{}\"", path.display()))
    }
}

fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn date(time: UnixTime) -> String {
    match DateTime::from_unix_duration(Duration::from_secs(time.as_secs())) {
        Ok(date) => date.to_string(),
        Err(_) => "a date beyond the year 9999".to_owned(),
    }
}

#[cfg(test)]
mod tests;
