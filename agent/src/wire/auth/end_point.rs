//! `tls-server-end-point`: the hash of the server's certificate that SCRAM-SHA-256-PLUS binds a login to.
//!
//! RFC 5929, section 4.1, as `pgtls_get_peer_certificate_hash` does it: the hash function is that of the certificate's
//! own signature, but at least SHA-256.

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_cert::{
    Certificate,
    der::{Decode, Reader, TagNumber, asn1::ContextSpecific, oid::ObjectIdentifier},
    spki::AlgorithmIdentifierOwned,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// The value for `certificate` (DER), or one sentence on why there is none.
pub(in crate::wire) fn server_end_point(certificate: &[u8]) -> Result<Vec<u8>, String> {
    let parsed = Certificate::from_der(certificate)
        .map_err(|e| format!("could not read the server's certificate for channel binding: {e}"))?;
    let hash = signature_hash(&parsed.signature_algorithm).ok_or_else(|| {
        let algorithm = parsed.signature_algorithm.oid;
        format!("the server's certificate is signed with an algorithm without a hash for channel binding ({algorithm})")
    })?;
    Ok(match hash {
        Hash::Sha224 => Sha224::digest(certificate).to_vec(),
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

fn signature_hash(algorithm: &AlgorithmIdentifierOwned) -> Option<Hash> {
    let oid = algorithm.oid.to_string();
    match oid.as_str() {
        // With RSA: MD5 and SHA-1 count as SHA-256.
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" => Some(Hash::Sha256),
        "1.2.840.113549.1.1.12" => Some(Hash::Sha384),
        "1.2.840.113549.1.1.13" => Some(Hash::Sha512),
        "1.2.840.113549.1.1.14" => Some(Hash::Sha224),
        // RSA-PSS says it in its parameters.
        "1.2.840.113549.1.1.10" => pss_hash(algorithm),
        // With ECDSA: SHA-1 counts as SHA-256.
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => Some(Hash::Sha256),
        "1.2.840.10045.4.3.1" => Some(Hash::Sha224),
        "1.2.840.10045.4.3.3" => Some(Hash::Sha384),
        "1.2.840.10045.4.3.4" => Some(Hash::Sha512),
        _ => None,
    }
}

/// `RSASSA-PSS-params ::= SEQUENCE { hashAlgorithm [0] HashAlgorithm DEFAULT sha1, … }` (RFC 4055)
fn pss_hash(algorithm: &AlgorithmIdentifierOwned) -> Option<Hash> {
    let parameters = algorithm.parameters.as_ref()?;
    let hash: Option<ObjectIdentifier> = parameters
        .sequence(|reader| {
            let hash = ContextSpecific::<AlgorithmIdentifierOwned>::decode_explicit(reader, TagNumber::N0)?;
            while !reader.is_finished() {
                reader.tlv_bytes()?;
            }
            Ok(hash.map(|hash| hash.value.oid))
        })
        .ok()?;
    match hash.map(|oid| oid.to_string()).as_deref() {
        None | Some("1.3.14.3.2.26" | "2.16.840.1.101.3.4.2.1") => Some(Hash::Sha256),
        Some("2.16.840.1.101.3.4.2.2") => Some(Hash::Sha384),
        Some("2.16.840.1.101.3.4.2.3") => Some(Hash::Sha512),
        Some("2.16.840.1.101.3.4.2.4") => Some(Hash::Sha224),
        Some(_) => None,
    }
}
