//! A certificate authority for tests, and keys in each form in which libpq takes them.

use anyhow::{Context, Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RevocationReason,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// A key for tests only: nothing here can generate RSA keys.
const RSA_KEY: &str = include_str!("certs/rsa.pem");

/// The algorithm of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA over P-256, a new key each time.
    Ec,
    /// RSA with 2048 bits, always the same key.
    Rsa,
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    next_serial: AtomicU64,
}

/// What a certificate says.
#[derive(Clone, Debug)]
pub struct Subject {
    common_name: Option<String>,
    names: Vec<String>,
    not_before: (i32, u8, u8),
    not_after: (i32, u8, u8),
    key: KeyKind,
}

/// A certificate and its private key.
#[derive(Debug)]
pub struct Pair {
    certificate: String,
    serial: u64,
    key: KeyPair,
    kind: KeyKind,
}

/// What a server needs for TLS.
#[derive(Debug)]
pub struct ServerTls {
    /// Its own certificate and key.
    pub pair: Pair,
    /// PEM of the authority whose client certificates it accepts (`ssl_ca_file`).
    pub client_ca: Option<String>,
    /// PEM of a revocation list for client certificates (`ssl_crl_file`).
    pub crl: Option<String>,
}

impl Authority {
    /// A new authority called `name`.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem, next_serial: AtomicU64::new(1) })
    }

    /// The authority's certificate: a `sslrootcert`.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Signs a certificate for `subject`.
    ///
    /// # Errors
    /// A name in it is none.
    pub fn sign(&self, subject: &Subject) -> Result<Pair> {
        let key = match subject.key {
            KeyKind::Ec => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            KeyKind::Rsa => KeyPair::from_pkcs8_pem_and_sign_algo(RSA_KEY, &PKCS_RSA_SHA256)?,
        };
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::new(subject.names.clone())?;
        params.serial_number = Some(SerialNumber::from(serial));
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = &subject.common_name {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        let day = |(year, month, day)| date_time_ymd(year, month, day);
        (params.not_before, params.not_after) = (day(subject.not_before), day(subject.not_after));
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair { certificate, serial, key, kind: subject.key })
    }

    /// A server's certificate for `localhost`, `127.0.0.1` and `::1`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn server(&self) -> Result<Pair> {
        self.sign(&Subject::named("localhost").also("localhost").also("127.0.0.1").also("::1"))
    }

    /// A client's certificate for `user`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn client(&self, user: &str, key: KeyKind) -> Result<Pair> {
        self.sign(&Subject::named(user).key(key))
    }

    /// PEM of a list that revokes `pairs`, all of them signed here.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn crl(&self, pairs: &[&Pair]) -> Result<String> {
        let revoked = |pair: &&Pair| RevokedCertParams {
            serial_number: SerialNumber::from(pair.serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2120, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: pairs.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

impl Subject {
    /// `CN=name`, no alternative names, an EC key, valid for a long time.
    pub fn named(name: &str) -> Self {
        let key = KeyKind::Ec;
        let (not_before, not_after) = ((2020, 1, 1), (2120, 1, 1));
        Self { common_name: Some(name.into()), names: Vec::new(), not_before, not_after, key }
    }

    /// Without a common name.
    #[must_use]
    pub fn without_common_name(mut self) -> Self {
        self.common_name = None;
        self
    }

    /// A subject alternative name: a DNS name or an IP address.
    #[must_use]
    pub fn also(mut self, name: &str) -> Self {
        self.names.push(name.into());
        self
    }

    /// The key's algorithm.
    #[must_use]
    pub fn key(mut self, key: KeyKind) -> Self {
        self.key = key;
        self
    }

    /// Valid until years ago.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.not_after = (2021, 1, 1);
        self
    }

    /// Valid only in many years.
    #[must_use]
    pub fn not_yet_valid(mut self) -> Self {
        self.not_before = (2119, 1, 1);
        self
    }
}

impl Pair {
    /// PEM of the certificate.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The key as `BEGIN PRIVATE KEY`.
    pub fn key_pkcs8(&self) -> String {
        self.key.serialize_pem()
    }

    /// An RSA key as `BEGIN RSA PRIVATE KEY`.
    ///
    /// # Errors
    /// It is none.
    pub fn key_pkcs1(&self) -> Result<String> {
        if self.kind != KeyKind::Rsa {
            bail!("only RSA keys have a PKCS#1 form");
        }
        // PKCS#8 of an RSA key with 2048 bits: 26 bytes of wrapping, then the key in PKCS#1.
        let der = self.key.serialized_der().get(26..).context("too short")?;
        Ok(pem::encode(&pem::Pem::new("RSA PRIVATE KEY", der)))
    }

    /// An EC key as `BEGIN EC PRIVATE KEY`.
    ///
    /// # Errors
    /// It is none.
    pub fn key_sec1(&self) -> Result<String> {
        if self.kind != KeyKind::Ec {
            bail!("only EC keys have a SEC1 form");
        }
        // RFC 5915: version 1, the private key, the curve (prime256v1), the public point. In PKCS#8 the private key
        // stands behind 36 bytes, and the curve is said elsewhere.
        let secret = self.key.serialized_der().get(36..68).context("too short")?;
        let point = self.key.public_key_raw();
        let curve = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let head = [0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
        let der = [&head[..], secret, &curve, &[0xa1, 0x44, 0x03, 0x42, 0x00], point].concat();
        Ok(pem::encode(&pem::Pem::new("EC PRIVATE KEY", der)))
    }
}

/// Writes PEM text to a new or existing file with mode 0600.
///
/// # Errors
/// It cannot be written.
pub fn write_private(path: &Path, pem: &str) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(pem.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
