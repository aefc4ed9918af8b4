//! Encryption: how TLS begins on a connection, with which settings, and what its failures mean.
//!
//! Whom to trust and what we show is read anew from the files for every connection, since certificates are renewed in
//! place. The ring provider is passed explicitly: nothing depends on what a process has installed.

mod explain;
mod files;

pub(super) use explain::Context;

use super::{
    ConnectFailure, TlsError,
    auth::server_end_point,
    verify::{ExpectedName, Trust, Verifier},
};
use crate::conninfo::{SslCertMode, SslMode, SslNegotiation, TlsSettings, TlsVersion};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::{
    ClientConfig, SignatureScheme, SupportedProtocolVersion,
    client::{ResolvesClientCert, Resumption},
    crypto::ring,
    pki_types::ServerName,
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    task::spawn_blocking,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const ALPN: &[u8] = b"postgresql";

/// An encrypted stream, and what else is known once it stands.
pub(super) struct Encrypted<S> {
    pub(super) stream: TlsStream<S>,
    /// For channel binding.
    pub(super) end_point: Result<Vec<u8>, String>,
    /// What later failures are explained with: in TLS 1.3 a server judges our certificate after the handshake.
    pub(super) context: Context,
}

/// Asks for TLS with PostgreSQL's SSLRequest. Not asked for where TLS begins at once.
///
/// Exactly one byte is read, without a buffer: whatever somebody put behind it in plain text goes to the TLS layer,
/// which refuses it (CVE-2021-23222).
///
/// # Errors
/// No answer, or one that is neither yes nor no.
pub(super) async fn offered<S>(stream: &mut S, negotiation: SslNegotiation) -> Result<bool, ConnectFailure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if negotiation == SslNegotiation::Direct {
        return Ok(true);
    }
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(ConnectFailure::Lost)?;
    let mut answer = [0];
    match stream.read(&mut answer).await.map_err(ConnectFailure::Lost)? {
        0 => Err(ConnectFailure::Closed),
        _ => match answer {
            [b'S'] => Ok(true),
            [b'N'] => Ok(false),
            [b'E'] => Err(TlsError::ErrorResponse.into()),
            [other] => {
                let other = other.escape_ascii();
                Err(ConnectFailure::NotPostgres(format!("it answers \"{other}\" when asked for SSL")))
            }
        },
    }
}

/// Shakes hands on `stream`, with a server that was called `host`.
///
/// # Errors
/// Files of ours, the server's certificate, or the handshake.
pub(super) async fn handshake<S>(
    stream: S,
    settings: &TlsSettings,
    host: Option<&str>,
    address: IpAddr,
) -> Result<Encrypted<S>, ConnectFailure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = host.map_or_else(|| address.to_string(), str::to_owned);
    // Certificates may lie on a slow disk, and there may be hundreds of them.
    let configured = {
        let (settings, name) = (settings.clone(), name.clone());
        spawn_blocking(move || configure(&settings, &name)).await
    };
    let failed = |_| TlsError::Settings("could not read the certificate files".into());
    let Configured { config, ours, context } = configured.map_err(failed)??;
    // It only decides on SNI: the name that counts is in the verifier.
    let server_name = ServerName::try_from(name).unwrap_or(ServerName::IpAddress(address.into()));
    let connecting = TlsConnector::from(Arc::new(config)).connect(server_name, stream);
    let stream = connecting.await.map_err(|error| context.explain_handshake(error))?;
    let (_, session) = stream.get_ref();
    if settings.negotiation == SslNegotiation::Direct && session.alpn_protocol() != Some(ALPN) {
        let reason = "direct SSL connection was established without ALPN protocol negotiation extension";
        return Err(TlsError::Handshake(reason.into()).into());
    }
    if settings.certificate_mode == SslCertMode::Require {
        ours.was_used()?;
    }
    let end_point = match session.peer_certificates() {
        Some([certificate, ..]) => server_end_point(certificate),
        _ => Err("the server has no certificate to bind the channel to".into()),
    };
    Ok(Encrypted { stream, end_point, context })
}

struct Configured {
    config: ClientConfig,
    ours: Arc<OurCertificate>,
    context: Context,
}

fn configure(settings: &TlsSettings, host: &str) -> Result<Configured, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let versions = versions(settings.min_version, settings.max_version)?;
    let (trust, roots) = files::trust(settings, &provider)?;
    let key = match settings.certificate_mode {
        SslCertMode::Disable => None,
        SslCertMode::Allow | SslCertMode::Require => files::our_certificate(settings, &provider)?,
    };
    let context = Context {
        host: host.to_owned(),
        roots,
        crl: settings.crl.clone(),
        certificate: settings.certificate.clone().filter(|_| key.is_some()),
    };
    let name = (settings.mode == SslMode::VerifyFull).then(|| ExpectedName::new(host));
    let ours = Arc::new(OurCertificate { key, requested: AtomicBool::new(false) });
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(|e| TlsError::Settings(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(trust, name, &provider)))
        .with_client_cert_resolver(ours.clone());
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = settings.sni;
    // Each connection reads its files anew and verifies in full.
    config.resumption = Resumption::disabled();
    Ok(Configured { config, ours, context })
}

fn versions(min: TlsVersion, max: Option<TlsVersion>) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let allowed = |version| min <= version && max.is_none_or(|max| version <= max);
    let all = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)];
    let versions: Vec<_> = all.into_iter().filter(|(version, _)| allowed(*version)).map(|(_, v)| v).collect();
    if versions.is_empty() {
        let reason = "ssl_min_protocol_version is higher than ssl_max_protocol_version";
        return Err(TlsError::Settings(reason.into()));
    }
    Ok(versions)
}

/// What we show when a server asks who we are, and whether it asked.
#[derive(Debug)]
struct OurCertificate {
    key: Option<Arc<CertifiedKey>>,
    requested: AtomicBool,
}

impl OurCertificate {
    fn was_used(&self) -> Result<(), TlsError> {
        match (self.requested.load(Ordering::Relaxed), &self.key) {
            (false, _) => Err(TlsError::CertificateNotRequested),
            (true, None) => Err(TlsError::CertificateNotSent),
            (true, Some(_)) => Ok(()),
        }
    }
}

impl ResolvesClientCert for OurCertificate {
    fn resolve(&self, _roots: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.requested.store(true, Ordering::Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

#[cfg(test)]
mod tests;
