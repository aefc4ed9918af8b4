//! Whether a certificate is for the host that we wanted to reach, by libpq's rules rather than webpki's.
//!
//! `pgtls_verify_peer_name_matches_certificate_guts` (`src/interfaces/libpq/fe-secure-openssl.c`): each dNSName is
//! compared with the host's name and each iPAddress with its address. The first common name counts where the
//! certificate has no alternative name of the kind that the host is.

use std::{fmt, net::IpAddr};
use x509_cert::{
    Certificate,
    der::{Tag, Tagged, oid::ObjectIdentifier},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The host as the connection string names it.
#[derive(Clone, Debug)]
pub(in crate::wire) struct ExpectedName {
    host: String,
    /// `host` read as an address.
    address: Option<IpAddr>,
}

/// The certificate is for somebody else.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::wire) struct NameMismatch {
    host: String,
    /// What the certificate is for.
    names: Vec<String>,
}

impl ExpectedName {
    pub(in crate::wire) fn new(host: &str) -> Self {
        Self { host: host.to_owned(), address: host.parse().ok() }
    }

    pub(super) fn check(&self, certificate: &Certificate) -> Result<(), NameMismatch> {
        let alternatives = alternative_names(certificate);
        let mut common_name_counts = true;
        let mut names = Vec::new();
        for alternative in &alternatives {
            match alternative {
                GeneralName::DnsName(name) => {
                    common_name_counts &= self.address.is_some();
                    if self.matches(name.as_str()) {
                        return Ok(());
                    }
                    names.push(name.to_string());
                }
                GeneralName::IpAddress(bytes) => {
                    common_name_counts &= self.address.is_none();
                    let address = address(bytes.as_bytes());
                    if address.is_some() && address == self.address {
                        return Ok(());
                    }
                    names.extend(address.map(|address| address.to_string()));
                }
                _ => {}
            }
        }
        if common_name_counts && let Some(name) = common_name(certificate) {
            if self.matches(&name) {
                return Ok(());
            }
            names.push(name);
        }
        Err(NameMismatch { host: self.host.clone(), names })
    }

    fn matches(&self, name: &str) -> bool {
        // "good.example\0.evil.example" is an old trick.
        !name.contains('\0') && (name.eq_ignore_ascii_case(&self.host) || wildcard_matches(name, &self.host))
    }
}

/// `*.` stands for exactly one label, and only at the beginning.
fn wildcard_matches(pattern: &str, host: &str) -> bool {
    let Some(parent) = pattern.strip_prefix("*.").filter(|parent| !parent.is_empty()) else { return false };
    host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
}

/// None where there is no such extension or where it cannot be read: it then names nobody.
fn alternative_names(certificate: &Certificate) -> Vec<GeneralName> {
    match certificate.tbs_certificate.get::<SubjectAltName>() {
        Ok(Some((_critical, names))) => names.0,
        Ok(None) | Err(_) => Vec::new(),
    }
}

fn common_name(certificate: &Certificate) -> Option<String> {
    let subject = certificate.tbs_certificate.subject.0.iter();
    let first = subject.flat_map(|part| part.0.iter()).find(|attribute| attribute.oid == COMMON_NAME)?;
    match first.value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString => {
            String::from_utf8(first.value.value().to_vec()).ok()
        }
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

impl fmt::Display for NameMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        match self.names.as_slice() {
            [] => write!(f, "server certificate names no host, so it does not match \"{host}\""),
            [name] => {
                write!(f, "server certificate for \"{}\" does not match host name \"{host}\"", name.escape_debug())
            }
            [name, others @ ..] => {
                let (name, plural) = (name.escape_debug(), if others.len() == 1 { "" } else { "s" });
                let others = others.len();
                write!(f, "server certificate for \"{name}\" (and {others} other name{plural}) ")?;
                write!(f, "does not match host name \"{host}\"")
            }
        }
    }
}

impl std::error::Error for NameMismatch {}
