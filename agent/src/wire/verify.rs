//! Which server certificate is acceptable: the one place where rustls' own verification is taken apart.
//!
//! `sslmode` asks for three things that rustls has no switch for, so this module implements its `danger` trait:
//!
//! | what is wanted | when | what is checked here |
//! |---|---|---|
//! | no verification | `prefer`, `allow`, `require` without a root file, as in libpq | nothing |
//! | a trusted chain, whatever name | `verify-ca`, and those three with a root file | chain, validity, purpose, revocation |
//! | and libpq's idea of a name | `verify-full` | also the name, by [`ExpectedName`] |
//!
//! In each case the handshake's signature is verified by rustls, so the peer holds the key of the certificate that was
//! judged. The chain is never built here: webpki does it. Two things are read differently from webpki, both as OpenSSL
//! reads them: the name, and a self-signed certificate that is itself in the root file, which is trusted although it may
//! call itself an authority (as `openssl req -x509` makes them).

mod name;

pub(super) use name::ExpectedName;

use name::NameMismatch;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use std::sync::Arc;
use thiserror::Error as ThisError;
use x509_cert::{Certificate, Version, der::Decode};

/// Judges the server's certificate.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    name: Option<ExpectedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Whom to trust.
#[derive(Debug)]
pub(super) enum Trust {
    /// Anybody: the connection is encrypted, and nothing more.
    Anybody,
    /// Who has a certificate from one of these.
    Roots(Roots),
}

/// What only this module objects to. It travels through rustls as a [`CertificateError::Other`].
#[derive(Debug, ThisError)]
pub(super) enum Objection {
    /// webpki reads no such certificate.
    #[error("it is of X.509 version 1, which is not supported here: issue one of version 3 (openssl -extfile)")]
    Version1,
    /// It is for somebody else.
    #[error(transparent)]
    Name(NameMismatch),
}

/// Trusted certificates, and the revoked ones among those they issued.
#[derive(Debug)]
pub(super) struct Roots {
    anchors: Arc<RootCertStore>,
    certificates: Vec<CertificateDer<'static>>,
    /// Knows the revocation lists; `None` where there are none.
    revocation: Option<Arc<WebPkiServerVerifier>>,
}

impl Roots {
    /// `None` where none of the certificates can be used.
    ///
    /// # Errors
    /// A revocation list that cannot be read.
    pub(super) fn new(
        certificates: Vec<CertificateDer<'static>>,
        crls: Vec<CertificateRevocationListDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Self>, rustls::client::VerifierBuilderError> {
        let mut anchors = RootCertStore::empty();
        let (usable, _) = anchors.add_parsable_certificates(certificates.iter().cloned());
        if usable == 0 {
            return Ok(None);
        }
        let anchors = Arc::new(anchors);
        let revocation = match crls.is_empty() {
            true => None,
            // As with OpenSSL's CRL_CHECK_ALL: each certificate of the chain needs a list, and one in force.
            false => Some(
                WebPkiServerVerifier::builder_with_provider(anchors.clone(), provider.clone())
                    .with_crls(crls)
                    .enforce_revocation_expiration()
                    .build()?,
            ),
        };
        Ok(Some(Self { anchors, certificates, revocation }))
    }
}

impl Verifier {
    pub(super) fn new(trust: Trust, name: Option<ExpectedName>, provider: &CryptoProvider) -> Self {
        Self { trust, name, algorithms: provider.signature_verification_algorithms }
    }

    fn verify_chain(
        &self,
        roots: &Roots,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if roots.revocation.is_none() && roots.certificates.contains(certificate) && is_self_signed(certificate, now)? {
            return Ok(());
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        let anchors = &roots.anchors;
        verify_server_cert_signed_by_trust_anchor(&parsed, anchors, intermediates, now, self.algorithms.all)?;
        let Some(revocation) = &roots.revocation else { return Ok(()) };
        // rustls looks at revocation only in one go with the name, and at the name last (a test holds it to that).
        match revocation.verify_server_cert(certificate, intermediates, server_name, &[], now) {
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = parse(end_entity);
        if parsed.as_ref().is_ok_and(|certificate| certificate.tbs_certificate.version == Version::V1) {
            return Err(Objection::Version1.into());
        }
        if let Trust::Roots(roots) = &self.trust {
            self.verify_chain(roots, end_entity, intermediates, server_name, now)?;
        }
        if let Some(name) = &self.name {
            name.check(&parsed?).map_err(Objection::Name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl From<Objection> for Error {
    fn from(objection: Objection) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(objection))))
    }
}

/// Whether a certificate, which is known to be in the root file, names itself as its issuer.
///
/// # Errors
/// It does, and it is not valid now: being trusted does not make it last longer.
fn is_self_signed(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
    let certificate = parse(certificate)?.tbs_certificate;
    if certificate.issuer != certificate.subject {
        return Ok(false);
    }
    let at = |time: x509_cert::time::Time| UnixTime::since_unix_epoch(time.to_unix_duration());
    let (not_before, not_after) = (at(certificate.validity.not_before), at(certificate.validity.not_after));
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if not_after < now {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    Ok(true)
}

fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

#[cfg(test)]
mod tests;
