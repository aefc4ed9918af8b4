//! Everything about TLS, with libpq's default files and its rules about weak combinations.

use super::{
    ConninfoError, Environment, RootCertificates, SslCertMode, SslMode, SslNegotiation, TlsSettings, TlsVersion, Typed,
    validate::{choice, text},
};
use std::path::PathBuf;

/// What `typed` says about TLS.
pub(super) fn settings(typed: &Typed, environment: &Environment) -> Result<TlsSettings, ConninfoError> {
    let default_file = |name| environment.home.as_ref().map(|home| home.join(".postgresql").join(name));
    let file = |parameter| text(typed, parameter).map(PathBuf::from);
    let root = match text(typed, "sslrootcert") {
        None => RootCertificates::DefaultFile(default_file("root.crt")),
        Some("system") => RootCertificates::System,
        Some(path) => RootCertificates::File(path.into()),
    };
    let mode = mode(typed, &root)?;
    if text(typed, "sslkey").is_some_and(|key| key.contains(':')) {
        // To libpq, what precedes the colon is the name of an OpenSSL engine.
        return Err(ConninfoError::refused(typed, "sslkey", "keys in engines are not supported: give a file"));
    }
    let (min_version, max_version) = versions(typed)?;
    Ok(TlsSettings {
        negotiation: negotiation(typed, mode)?,
        mode,
        root,
        certificate: file("sslcert").or_else(|| default_file("postgresql.crt")),
        key: file("sslkey").or_else(|| default_file("postgresql.key")),
        certificate_mode: choice(
            typed,
            "sslcertmode",
            &[("disable", SslCertMode::Disable), ("allow", SslCertMode::Allow), ("require", SslCertMode::Require)],
        )?,
        // Unlike the others this file, once named, must be there: so the default is named only where it is.
        crl: file("sslcrl").or_else(|| default_file("root.crl").filter(|path| path.exists())),
        min_version,
        max_version,
        sni: typed.get("sslsni").is_none_or(|text| text.starts_with('1')),
    })
}

const MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

fn mode(typed: &Typed, root: &RootCertificates) -> Result<SslMode, ConninfoError> {
    if *root != RootCertificates::System {
        return choice(typed, "sslmode", &MODES);
    }
    // Anyone can have a certificate that the system trusts: without its name it says nothing.
    match typed.get("sslmode") {
        None => Ok(SslMode::VerifyFull),
        Some(given) => match choice(typed, "sslmode", &MODES)? {
            SslMode::VerifyFull => Ok(SslMode::VerifyFull),
            _ => {
                let message =
                    format!("weak sslmode \"{given}\" may not be used with sslrootcert=system (use \"verify-full\")");
                Err(ConninfoError::invalid(typed, "sslmode", message))
            }
        },
    }
}

fn negotiation(typed: &Typed, mode: SslMode) -> Result<SslNegotiation, ConninfoError> {
    let choices = [("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)];
    let negotiation = choice(typed, "sslnegotiation", &choices)?;
    let weak = matches!(mode, SslMode::Disable | SslMode::Allow | SslMode::Prefer);
    if negotiation == SslNegotiation::Direct && weak {
        let message = format!(
            "weak sslmode \"{}\" may not be used with sslnegotiation=direct \
             (use \"require\", \"verify-ca\", or \"verify-full\")",
            typed.get("sslmode").unwrap_or("prefer")
        );
        return Err(ConninfoError::invalid(typed, "sslnegotiation", message));
    }
    Ok(negotiation)
}

fn versions(typed: &Typed) -> Result<(TlsVersion, Option<TlsVersion>), ConninfoError> {
    let min = version(typed, "ssl_min_protocol_version")?;
    let max = version(typed, "ssl_max_protocol_version")?;
    // An empty text is libpq's way to lift its default bound: then we still have our own.
    let lower = min.unwrap_or(if typed.get("ssl_min_protocol_version").is_some() { 0 } else { 2 });
    if max.is_some_and(|max| lower > max) {
        let message = "invalid SSL protocol version range (ssl_min_protocol_version, ssl_max_protocol_version)";
        return Err(ConninfoError::invalid(typed, "ssl_max_protocol_version", message.to_owned()));
    }
    if max.is_some_and(|max| max < 2) {
        return Err(ConninfoError::refused(typed, "ssl_max_protocol_version", "TLS before 1.2 is not spoken"));
    }
    let tls = |minor| if minor >= 3 { TlsVersion::Tls13 } else { TlsVersion::Tls12 };
    Ok((tls(lower), max.map(tls)))
}

/// The minor version number of TLS 1.
fn version(typed: &Typed, name: &'static str) -> Result<Option<u8>, ConninfoError> {
    let Some(given) = text(typed, name) else { return Ok(None) };
    let versions = [("TLSv1", 0), ("TLSv1.1", 1), ("TLSv1.2", 2), ("TLSv1.3", 3)];
    let version = versions.iter().find(|(version, _)| version.eq_ignore_ascii_case(given));
    version.map(|(_, minor)| Some(*minor)).ok_or_else(|| {
        // Here libpq has the name in quotes.
        ConninfoError::invalid(typed, name, format!("invalid \"{name}\" value: \"{given}\""))
    })
}
