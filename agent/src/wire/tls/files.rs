//! The files behind TLS: root certificates, revocation lists, our certificate and its key.
//!
//! Which file has to be there, and who may read a key, is libpq's rule (`initialize_SSL` in
//! `src/interfaces/libpq/fe-secure-openssl.c`). Stricter than libpq: a root file or a revocation list that is there
//! but cannot be read is an error, and so is a revocation list that is not there.

use super::Trust;
use crate::{
    conninfo::{RootCertificates, SslMode, TlsSettings},
    wire::{TlsError, verify::Roots},
};
use rustls::{
    Error, InconsistentKeys,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use std::{fs, io, os::unix::fs::MetadataExt, path::Path, sync::Arc};

/// Whom to trust, and where that is written, for messages.
pub(super) fn trust(settings: &TlsSettings, provider: &Arc<CryptoProvider>) -> Result<(Trust, String), TlsError> {
    let must_verify = matches!(settings.mode, SslMode::VerifyCa | SslMode::VerifyFull);
    let advice = "provide the file, use the system's trusted roots with sslrootcert=system, or change sslmode to \
                  disable server certificate verification";
    let (certificates, place) = match &settings.root {
        RootCertificates::System => (system_roots()?, "the system's store".to_owned()),
        RootCertificates::DefaultFile(None) if must_verify => {
            let reason = format!("could not get home directory to locate the root certificate file: {advice}");
            return Err(TlsError::Settings(reason));
        }
        RootCertificates::DefaultFile(None) => return Ok((Trust::Anybody, String::new())),
        RootCertificates::File(path) | RootCertificates::DefaultFile(Some(path)) => match read(path) {
            Ok(pem) => {
                let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
                (certificates.map_err(|e| unusable("root certificate file", path, e))?, in_quotes(path))
            }
            Err(error) if is_absent(&error) && must_verify => {
                let path = path.display();
                return Err(TlsError::Settings(format!("root certificate file \"{path}\" does not exist: {advice}")));
            }
            Err(error) if is_absent(&error) => return Ok((Trust::Anybody, String::new())),
            Err(error) => return Err(unreadable("root certificate file", path, error)),
        },
    };
    let crls = settings.crl.as_deref().map_or(Ok(Vec::new()), revocation_lists)?;
    match Roots::new(certificates, crls, provider) {
        Ok(Some(roots)) => Ok((Trust::Roots(roots), place)),
        Ok(None) => Err(TlsError::Settings(format!("no usable root certificate in {place}"))),
        Err(error) => {
            let crl = settings.crl.as_deref().map(in_quotes).unwrap_or_default();
            Err(TlsError::Settings(format!("could not use certificate revocation list file {crl}: {error}")))
        }
    }
}

/// Our certificate with its key; `None` where there is no certificate file, as in libpq.
pub(super) fn our_certificate(
    settings: &TlsSettings,
    provider: &CryptoProvider,
) -> Result<Option<Arc<CertifiedKey>>, TlsError> {
    let Some(path) = &settings.certificate else { return Ok(None) };
    let pem = match read(path) {
        Ok(pem) => pem,
        Err(error) if is_absent(&error) => {
            tracing::debug!(file = %path.display(), "no client certificate is sent, as its file does not exist");
            return Ok(None);
        }
        Err(error) => return Err(unreadable("certificate file", path, error)),
    };
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|e| unusable("certificate file", path, e))?;
    if chain.is_empty() {
        return Err(unusable("certificate file", path, "it holds no certificate in PEM form"));
    }
    let Some(key_path) = &settings.key else {
        let path = path.display();
        return Err(TlsError::Settings(format!("certificate file \"{path}\" is present, but no private key is named")));
    };
    let key = private_key(key_path, path)?;
    let key = provider.key_provider.load_private_key(key).map_err(|e| {
        let reason = format!("{e} (RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, and Ed25519 can be used)");
        unusable("private key file", key_path, reason)
    })?;
    let certified = CertifiedKey::new(chain, key);
    // A certificate of X.509 version 1 cannot be compared here. That is for the server to judge.
    if let Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) = certified.keys_match() {
        let (path, key_path) = (path.display(), key_path.display());
        return Err(TlsError::Settings(format!(
            "certificate \"{path}\" does not match private key file \"{key_path}\": renew them together"
        )));
    }
    Ok(Some(Arc::new(certified)))
}

fn private_key(path: &Path, certificate: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let what = "private key file";
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if is_absent(&error) => {
            let (path, certificate) = (path.display(), certificate.display());
            let reason = format!("certificate \"{certificate}\" present, but not private key file \"{path}\"");
            return Err(TlsError::Settings(reason));
        }
        Err(error) => return Err(unreadable(what, path, error)),
    };
    if !metadata.is_file() {
        return Err(unusable(what, path, "it is not a regular file"));
    }
    if !is_private(metadata.uid(), metadata.mode()) {
        let reason = "it has group or world access; file must have permissions u=rw (0600) or less if owned by the \
                      current user, or permissions u=rw,g=r (0640) or less if owned by root";
        return Err(unusable(what, path, reason));
    }
    let pem = read(path).map_err(|e| unreadable(what, path, e))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match pem.windows(9).any(|window| window == b"ENCRYPTED") {
        true => unusable(what, path, "it is encrypted, which is not supported here: store the key without passphrase"),
        false => unusable(what, path, format!("no PKCS#1, PKCS#8 or SEC1 key in PEM form ({error})")),
    })
}

/// Whether a key of this owner and mode is kept well enough.
pub(super) fn is_private(owner: u32, mode: u32) -> bool {
    // Kubernetes mounts a secret with an fsGroup as root's, and readable for that group.
    let forbidden = if owner == 0 { 0o037 } else { 0o077 };
    mode & forbidden == 0
}

fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let what = "certificate revocation list file";
    let pem = read(path).map_err(|e| unreadable(what, path, e))?;
    let lists = CertificateRevocationListDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let lists = lists.map_err(|e| unusable(what, path, e))?;
    if lists.is_empty() {
        // Without a list nothing would be checked.
        return Err(unusable(what, path, "it holds no list in PEM form"));
    }
    Ok(lists)
}

fn system_roots() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let reason = found.errors.first().map_or_else(|| "there is none".to_owned(), ToString::to_string);
        return Err(TlsError::Settings(format!("could not load system root certificates: {reason}")));
    }
    Ok(found.certs)
}

/// The largest bundles of roots have some 300 KiB.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    const LIMIT: u64 = 16 << 20;
    let metadata = fs::metadata(path)?;
    if metadata.is_file() && metadata.len() > LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "file is too large to hold certificates"));
    }
    fs::read(path)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn unreadable(what: &str, path: &Path, error: io::Error) -> TlsError {
    TlsError::Settings(format!("could not read {what} \"{}\": {error}", path.display()))
}

fn unusable(what: &str, path: &Path, reason: impl std::fmt::Display) -> TlsError {
    TlsError::Settings(format!("could not use {what} \"{}\": {reason}", path.display()))
}

fn in_quotes(path: impl AsRef<Path>) -> String {
    format!("\"{}\"", path.as_ref().display())
}
