//! Tests of libpq's name rules. Chains are tested where they are used, in `tls`.

use super::name::ExpectedName;
use crate::wire::testing::pki::{Authority, params};
use x509_cert::{Certificate, der::Decode};

/// Whether a certificate of that common name and those alternative names is for `host`, else what is said.
fn check(host: &str, common_name: &str, names: &[&str]) -> Result<(), String> {
    let leaf = Authority::new().issue(&params(common_name, names));
    let certificate = Certificate::from_der(&leaf.der()).unwrap();
    ExpectedName::new(host).check(&certificate).map_err(|mismatch| mismatch.to_string())
}

#[test]
fn the_certificate_has_to_name_the_host() {
    for (host, common_name, names) in [
        ("db.example.com", "other", &["db.example.com"][..]),
        ("DB.Example.COM", "", &["db.example.com"]),
        ("db.example.com", "", &["a.example.com", "*.example.com"]),
        ("10.0.0.1", "", &["db.example.com", "10.0.0.1"]),
        ("::1", "", &["0:0:0:0:0:0:0:1"]),
        // The common name counts where no alternative name of that kind exists…
        ("db.example.com", "db.example.com", &[]),
        ("db.example.com", "*.example.com", &[]),
        ("db.example.com", "db.example.com", &["10.0.0.1"]),
        ("10.0.0.1", "10.0.0.1", &["db.example.com"]),
    ] {
        assert_eq!(check(host, common_name, names), Ok(()), "{host} in {common_name} {names:?}");
    }
    for (host, common_name, names) in [
        // …and only there.
        ("db.example.com", "db.example.com", &["other.example.com"][..]),
        ("10.0.0.1", "10.0.0.1", &["10.0.0.2"]),
        ("db.example.com", "", &[]),
        ("db.example.com", "", &["10.0.0.1"]),
        ("10.0.0.1", "", &["10.0.0.2", "::1"]),
        ("example.com", "", &["*.example.com"]),
        ("a.db.example.com", "", &["*.example.com"]),
        (".example.com", "", &["*.example.com"]),
        ("db.example.com", "d*.example.com", &[]),
        ("db.example.com", "db.*.com", &[]),
        ("com", "*.", &[]),
        ("db", "*", &[]),
        ("db.example.com", "db.example.com.", &[]),
        ("db.example.com", "db.example.com\0.evil.example", &[]),
    ] {
        check(host, common_name, names).unwrap_err();
    }
}

#[test]
fn a_mismatch_names_both_sides() {
    let text = |common_name, names| check("db.example.com", common_name, names).unwrap_err();
    assert_eq!(text("a", &[]), "server certificate for \"a\" does not match host name \"db.example.com\"");
    let others = "server certificate for \"a\" (and 2 other names) does not match host name \"db.example.com\"";
    assert_eq!(text("", &["a", "b", "10.0.0.1"]), others);
    assert_eq!(text("", &[]), "server certificate names no host, so it does not match \"db.example.com\"");
}
