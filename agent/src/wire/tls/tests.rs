//! Tests of TLS against a server in the same process, with certificates made for each case.

use super::*;
use crate::{
    conninfo::RootCertificates,
    wire::testing::{
        base64,
        pki::{Authority, Leaf, params, server, server_of},
        tls_settings,
    },
};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair, SerialNumber, date_time_ymd};
use rustls::ServerConfig;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tokio::io::{DuplexStream, duplex};

const HOST: &str = "db.example.com";

/// A directory for certificate files.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Settings that trust `authority`.
    fn trusting(&self, authority: &Authority, mode: SslMode) -> TlsSettings {
        let root = RootCertificates::File(self.put("root.crt", &authority.pem()));
        TlsSettings { root, ..tls_settings(mode) }
    }
}

/// Shakes hands with a server of this configuration.
async fn shake(
    server: ServerConfig,
    settings: &TlsSettings,
    host: Option<&str>,
) -> Result<Encrypted<DuplexStream>, TlsError> {
    let (ours, theirs) = duplex(1 << 16);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let serving = tokio::spawn(async move {
        // A failure shows on our side.
        if let Ok(mut stream) = acceptor.accept(theirs).await {
            let _ = stream.read(&mut [0]).await;
        }
    });
    let result = handshake(ours, settings, host, [10, 0, 0, 1].into()).await;
    serving.abort();
    result.map_err(|failure| match failure {
        ConnectFailure::Tls(error) => error,
        other => panic!("{other:?}"),
    })
}

async fn error(leaf: &Leaf, settings: &TlsSettings) -> String {
    shake(server(leaf, None), settings, Some(HOST)).await.err().map_or_else(String::new, |error| error.to_string())
}

#[tokio::test]
async fn each_mode_verifies_what_it_says() {
    use SslMode::{Allow, Prefer, Require, VerifyCa, VerifyFull};
    let (files, authority, other) = (Files::new(), Authority::new(), Authority::new());
    let right = authority.issue(&params("", &[HOST]));
    let misnamed = authority.issue(&params("", &["other.example.com"]));
    let foreign = other.issue(&params("", &[HOST]));
    let named_by_cn = authority.issue(&params(HOST, &[]));
    let untrusting = tls_settings;
    for (mode, leaf, expected) in [
        (VerifyFull, &right, ""),
        (VerifyFull, &named_by_cn, ""),
        (VerifyFull, &misnamed, "does not match host name"),
        (VerifyFull, &foreign, "is not signed by a certificate in"),
        (VerifyCa, &right, ""),
        (VerifyCa, &misnamed, ""),
        (VerifyCa, &foreign, "is not signed by a certificate in"),
        // With a root file, they all verify the chain.
        (Require, &misnamed, ""),
        (Require, &foreign, "is not signed by a certificate in"),
        (Prefer, &foreign, "is not signed by a certificate in"),
        (Allow, &foreign, "is not signed by a certificate in"),
    ] {
        let error = error(leaf, &files.trusting(&authority, mode)).await;
        assert!(error.contains(expected) && error.is_empty() == expected.is_empty(), "{mode:?}: {error:?}");
    }
    for mode in [Allow, Prefer, Require] {
        assert_eq!(error(&foreign, &untrusting(mode)).await, "", "{mode:?} without a root file");
        let root = RootCertificates::File(files.0.path().join("absent.crt"));
        assert_eq!(error(&foreign, &TlsSettings { root, ..untrusting(mode) }).await, "");
    }
    for mode in [VerifyCa, VerifyFull] {
        assert!(error(&right, &untrusting(mode)).await.contains("sslrootcert=system"));
        let root = RootCertificates::File(files.0.path().join("absent.crt"));
        let error = error(&right, &TlsSettings { root, ..untrusting(mode) }).await;
        assert!(error.contains("absent.crt\" does not exist"), "{error}");
    }
}

#[tokio::test]
async fn without_a_name_the_address_is_verified() {
    let (files, authority) = (Files::new(), Authority::new());
    let settings = files.trusting(&authority, SslMode::VerifyFull);
    let (right, wrong) = (authority.issue(&params("", &["10.0.0.1"])), authority.issue(&params("", &["10.0.0.2"])));
    assert!(shake(server(&right, None), &settings, None).await.is_ok());
    assert!(shake(server(&wrong, None), &settings, None).await.is_err());
}

#[tokio::test]
async fn a_bad_certificate_is_named_whatever_else_is_wrong_with_it() {
    let (files, authority) = (Files::new(), Authority::new());
    let mut settings = files.trusting(&authority, SslMode::VerifyCa);
    let with = |change: fn(&mut rcgen::CertificateParams)| {
        let mut params = params("", &["other.example.com"]);
        change(&mut params);
        authority.issue(&params)
    };
    let expired = with(|p| p.not_after = date_time_ymd(2021, 2, 3));
    let early = with(|p| p.not_before = date_time_ymd(4000, 1, 1));
    let client = with(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let revoked = with(|p| p.serial_number = Some(SerialNumber::from(7)));
    let good = with(|p| p.serial_number = Some(SerialNumber::from(8)));
    let date = "certificate of server \"db.example.com\" expired on 2021-02-03T00:00:00Z: have it renewed";
    assert_eq!(error(&expired, &settings).await, date);
    assert!(error(&early, &settings).await.contains("not valid before 4000-01-01"));
    assert!(error(&client, &settings).await.contains("not made for servers"));

    // The name is wrong in all of them, which verify-ca does not mind, but their revocation it does.
    settings.crl = Some(files.put("root.crl", &authority.revoke(&[7], 4000)));
    assert!(error(&revoked, &settings).await.contains("is revoked, says"));
    assert_eq!(error(&good, &settings).await, "");
    assert!(error(&expired, &settings).await.contains("expired on"));
    settings.crl = Some(files.put("old.crl", &authority.revoke(&[7], 2021)));
    assert!(error(&good, &settings).await.contains("old.crl\" expired on 2021"));
    settings.crl = Some(files.put("foreign.crl", &Authority::new().revoke(&[7], 4000)));
    assert!(!error(&good, &settings).await.is_empty());
    settings.crl = Some(files.put("empty.crl", ""));
    assert!(error(&good, &settings).await.contains("holds no list"));
    settings.crl = Some(files.0.path().join("absent.crl"));
    assert!(error(&good, &settings).await.contains("absent.crl"));
}

#[tokio::test]
async fn a_self_signed_certificate_in_the_root_file_is_trusted() {
    let files = Files::new();
    let self_signed = |is_ca: IsCa, year: i32| {
        let key = KeyPair::generate().unwrap();
        let mut params = params(HOST, &[]);
        params.is_ca = is_ca;
        params.not_after = date_time_ymd(year, 1, 1);
        Leaf { certificate: params.self_signed(&key).unwrap(), key }
    };
    // As `openssl req -x509` makes it.
    let leaf = self_signed(IsCa::Ca(BasicConstraints::Unconstrained), 4000);
    let root = RootCertificates::File(files.put("root.crt", &leaf.certificate.pem()));
    let settings = TlsSettings { root, ..tls_settings(SslMode::VerifyFull) };
    assert_eq!(error(&leaf, &settings).await, "");
    assert!(!error(&self_signed(IsCa::NoCa, 4000), &settings).await.is_empty());
    let expired = self_signed(IsCa::Ca(BasicConstraints::Unconstrained), 2021);
    let root = RootCertificates::File(files.put("root.crt", &expired.certificate.pem()));
    let settings = TlsSettings { root, ..settings };
    assert!(error(&expired, &settings).await.contains("expired on 2021"));
}

#[tokio::test]
async fn root_files_that_cannot_be_used_are_errors() {
    let (files, authority) = (Files::new(), Authority::new());
    let leaf = authority.issue(&params("", &[HOST]));
    for (content, expected) in [
        ("", "no usable root certificate in"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no usable root certificate in"),
        ("-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n", "could not use root certificate file"),
    ] {
        let root = RootCertificates::File(files.put("bad.crt", content));
        let settings = TlsSettings { root, ..tls_settings(SslMode::Require) };
        let error = error(&leaf, &settings).await;
        assert!(error.contains(expected) && error.contains("bad.crt"), "{error}");
    }
    let root = RootCertificates::File(files.0.path().to_owned());
    let settings = TlsSettings { root, ..tls_settings(SslMode::Require) };
    assert!(error(&leaf, &settings).await.contains("could not read root certificate file"));
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", base64(der))
}

#[tokio::test]
async fn our_certificate_is_shown_and_judged() {
    let (files, authority) = (Files::new(), Authority::new());
    let (leaf, ours) = (authority.issue(&params("", &[HOST])), authority.issue(&params("postgres", &[])));
    let certificate = Some(files.put("client.crt", &ours.certificate.pem()));
    let key = ours.key.serialize_der();
    // The inner ECPrivateKey: SEQUENCE, version 1, a private key of 32 bytes.
    let at = key.windows(6).position(|bytes| bytes[1..] == [0x02, 0x01, 0x01, 0x04, 0x20][..]).unwrap();
    let sec1 = &key[at - 1..];
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    for key in
        [ours.key.serialize_pem(), pem("EC PRIVATE KEY", sec1), parameters.to_owned() + &pem("EC PRIVATE KEY", sec1)]
    {
        let key = Some(files.put("client.key", &key));
        let certificate = certificate.clone();
        let settings = TlsSettings {
            certificate,
            key,
            certificate_mode: SslCertMode::Require,
            ..files.trusting(&authority, SslMode::VerifyFull)
        };
        let shaken = shake(server(&leaf, Some(&authority)), &settings, Some(HOST)).await;
        shaken.unwrap();
    }
}

#[tokio::test]
async fn sslcertmode_is_held_to() {
    let (files, authority) = (Files::new(), Authority::new());
    let (leaf, ours) = (authority.issue(&params("", &[HOST])), authority.issue(&params("postgres", &[])));
    let with_certificate = TlsSettings {
        certificate: Some(files.put("client.crt", &ours.certificate.pem())),
        key: Some(files.put("client.key", &ours.key.serialize_pem())),
        certificate_mode: SslCertMode::Require,
        ..files.trusting(&authority, SslMode::VerifyFull)
    };
    let unasked = shake(server(&leaf, None), &with_certificate, Some(HOST)).await.err();
    assert_eq!(unasked, Some(TlsError::CertificateNotRequested));
    let none = TlsSettings { certificate: Some(files.0.path().join("absent.crt")), ..with_certificate.clone() };
    let unsent = shake(server_of(&leaf, Some(&authority), &[&TLS13]), &none, Some(HOST)).await.err();
    assert_eq!(unsent, Some(TlsError::CertificateNotSent));
    // In TLS 1.2 the server says so in the handshake.
    let disabled = TlsSettings { certificate_mode: SslCertMode::Disable, ..with_certificate };
    let rejected = shake(server_of(&leaf, Some(&authority), &[&TLS12]), &disabled, Some(HOST)).await.err();
    assert!(matches!(&rejected, Some(TlsError::Rejected(text)) if text.contains("client certificate")), "{rejected:?}");
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_errors() {
    let (files, authority) = (Files::new(), Authority::new());
    let (leaf, ours) = (authority.issue(&params("", &[HOST])), authority.issue(&params("postgres", &[])));
    let certificate = files.put("client.crt", &ours.certificate.pem());
    let check = async |key: &Path, expected: &str| {
        let settings = TlsSettings {
            certificate: Some(certificate.clone()),
            key: Some(key.to_owned()),
            ..files.trusting(&authority, SslMode::VerifyFull)
        };
        let error = error(&leaf, &settings).await;
        assert!(error.contains(expected), "{error:?} for {expected:?}");
    };
    check(&files.0.path().join("absent.key"), "present, but not private key file").await;
    check(files.0.path(), "not a regular file").await;
    check(&files.put("other.key", &leaf.key.serialize_pem()), "does not match private key file").await;
    check(&files.put("crt.key", &ours.certificate.pem()), "no PKCS#1, PKCS#8 or SEC1 key").await;
    let encrypted = pem("ENCRYPTED PRIVATE KEY", b"anything");
    check(&files.put("encrypted.key", &encrypted), "it is encrypted").await;
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    check(&files.put("old.key", old), "it is encrypted").await;
    check(&files.put("odd.key", &pem("RSA PRIVATE KEY", b"odd")), "RSA of 2048").await;
    let open = files.put("open.key", &ours.key.serialize_pem());
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    check(&open, "group or world access").await;
    fs::set_permissions(&open, fs::Permissions::from_mode(0o600)).unwrap();
    check(&open, "").await;
}

#[test]
fn who_may_read_a_key_depends_on_its_owner() {
    for (owner, mode, expected) in [
        (0, 0o640, true),
        (0, 0o600, true),
        (0, 0o644, false),
        (0, 0o660, false),
        (1000, 0o600, true),
        (1000, 0o400, true),
        (1000, 0o640, false),
    ] {
        assert_eq!(files::is_private(owner, 0o100_000 | mode), expected, "{owner} {mode:o}");
    }
}

#[tokio::test]
async fn versions_are_held_to() {
    let (files, authority) = (Files::new(), Authority::new());
    let leaf = authority.issue(&params("", &[HOST]));
    let settings = files.trusting(&authority, SslMode::VerifyFull);
    let check = async |min, max, server_version| {
        let settings = TlsSettings { min_version: min, max_version: max, ..settings.clone() };
        let server = server_of(&leaf, None, &[server_version]);
        shake(server, &settings, Some(HOST)).await.err().map(|error| error.to_string())
    };
    use TlsVersion::{Tls12, Tls13};
    assert_eq!(check(Tls12, None, &TLS12).await, None);
    assert_eq!(check(Tls12, None, &TLS13).await, None);
    assert_eq!(check(Tls12, Some(Tls12), &TLS12).await, None);
    assert!(check(Tls13, None, &TLS12).await.unwrap().contains("no acceptable TLS version"));
    assert!(check(Tls12, Some(Tls12), &TLS13).await.unwrap().contains("no acceptable TLS version"));
    assert!(check(Tls13, Some(Tls12), &TLS12).await.unwrap().contains("ssl_min_protocol_version is higher"));
}

#[tokio::test]
async fn alpn_and_server_name_are_announced_as_set() {
    let (files, authority) = (Files::new(), Authority::new());
    let leaf = authority.issue(&params("", &[HOST, "10.0.0.1"]));
    let direct = TlsSettings { negotiation: SslNegotiation::Direct, ..files.trusting(&authority, SslMode::VerifyFull) };
    let mut with_alpn = server(&leaf, None);
    with_alpn.alpn_protocols = vec![b"postgresql".to_vec()];
    shake(with_alpn, &direct, Some(HOST)).await.unwrap();
    let without = shake(server(&leaf, None), &direct, Some(HOST)).await.err().unwrap();
    assert!(without.to_string().contains("ALPN"), "{without}");
    let mut other = server(&leaf, None);
    other.alpn_protocols = vec![b"h2".to_vec()];
    let other = shake(other, &direct, Some(HOST)).await.err().unwrap();
    assert!(other.to_string().contains("does not speak PostgreSQL"), "{other}");

    let announced = async |sni: bool, host: Option<&str>| {
        let settings = TlsSettings { sni, ..direct.clone() };
        let (ours, theirs) = duplex(1 << 16);
        let server = tokio::spawn(async move {
            let acceptor = tokio_rustls::LazyConfigAcceptor::new(rustls::server::Acceptor::default(), theirs);
            acceptor.await.unwrap().client_hello().server_name().map(str::to_owned)
        });
        handshake(ours, &settings, host, [10, 0, 0, 1].into()).await.err().unwrap();
        server.await.unwrap()
    };
    assert_eq!(announced(true, Some(HOST)).await.as_deref(), Some(HOST));
    assert_eq!(announced(false, Some(HOST)).await, None);
    assert_eq!(announced(true, Some("10.0.0.1")).await, None);
    assert_eq!(announced(true, Some("fe80::1%eth0")).await, None);
    assert_eq!(announced(true, None).await, None);
}

#[tokio::test]
async fn the_channel_is_bound_to_the_certificate() {
    let (files, authority) = (Files::new(), Authority::new());
    let leaf = authority.issue(&params("", &[HOST]));
    let shaken = shake(server(&leaf, None), &files.trusting(&authority, SslMode::VerifyFull), Some(HOST)).await;
    use sha2::{Digest, Sha256};
    assert_eq!(shaken.unwrap().end_point, Ok(Sha256::digest(leaf.der()).to_vec()));
    // Ed25519 has no hash of its own: RFC 5929 knows no value then.
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let certificate = params(HOST, &[]).self_signed(&ed25519).unwrap();
    assert!(server_end_point(certificate.der()).unwrap_err().contains("1.3.101.112"));
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let certificate = params(HOST, &[]).self_signed(&p384).unwrap();
    assert_eq!(server_end_point(certificate.der()).unwrap().len(), 48);
    server_end_point(b"not a certificate").unwrap_err();
}

#[tokio::test]
async fn the_answer_to_the_request_is_one_byte() {
    let ask = async |answer: &[u8]| {
        let (mut ours, mut theirs) = duplex(64);
        theirs.write_all(answer).await.unwrap();
        let (result, request) = tokio::join!(offered(&mut ours, SslNegotiation::Postgres), async {
            let mut request = [0; 8];
            theirs.read_exact(&mut request).await.unwrap();
            drop(theirs);
            request
        });
        assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47]);
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).await.unwrap();
        (result, rest)
    };
    assert!(matches!(ask(b"S").await.0, Ok(true)));
    assert!(matches!(ask(b"N").await.0, Ok(false)));
    assert!(matches!(ask(b"E\0\0\0\x10oops").await.0, Err(ConnectFailure::Tls(TlsError::ErrorResponse))));
    assert!(matches!(ask(b"H").await.0, Err(ConnectFailure::NotPostgres(_))));
    assert!(matches!(ask(b"").await.0, Err(ConnectFailure::Closed)));
    // Whatever is smuggled in behind the answer stays in the stream, for the TLS layer to choke on.
    assert_eq!(ask(b"Sinjected").await.1, b"injected");
}

#[tokio::test]
async fn plain_text_behind_the_answer_is_refused() {
    let (ours, mut theirs) = duplex(1 << 16);
    theirs.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await.unwrap();
    let result = handshake(ours, &tls_settings(SslMode::Require), Some(HOST), [10, 0, 0, 1].into()).await;
    let error = result.err().unwrap();
    assert!(matches!(&error, ConnectFailure::Tls(TlsError::Handshake(text)) if text.contains("TLS")), "{error}");
}
