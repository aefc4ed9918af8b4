//! Tests of what is answered to which request, with a SCRAM server small enough to be read.

use super::*;
use crate::wire::testing::{base64, message};
use postgres_protocol::message::backend::Message;
use sha2::{Digest, Sha256};

const OK: &[u8] = &[0, 0, 0, 0];
const CLEARTEXT: &[u8] = &[0, 0, 0, 3];
const MD5: &[u8] = b"\0\0\0\x05salt";
const GSS: &[u8] = &[0, 0, 0, 7];
const SSPI: &[u8] = &[0, 0, 0, 9];
const SCRAM: &[u8] = b"\0\0\0\x0aSCRAM-SHA-256\0\0";
const SCRAM_PLUS: &[u8] = b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
const OAUTH: &[u8] = b"\0\0\0\x0aOAUTHBEARER\0\0";

struct Case {
    password: Option<Secret>,
    require: RequireAuth,
    binding: ChannelBinding,
    end_point: Option<Result<Vec<u8>, String>>,
}

impl Default for Case {
    fn default() -> Self {
        let password = Some(Secret::new("secret"));
        Self { password, require: RequireAuth::Any, binding: ChannelBinding::Prefer, end_point: None }
    }
}

impl Case {
    fn begin(&self) -> Authentication<'_> {
        Authentication::new(Credentials {
            user: "md5_user",
            password: self.password.as_ref(),
            require: &self.require,
            binding: self.binding,
            end_point: self.end_point.clone(),
        })
    }
}

/// Answers one request: whether it was the last one, and what was sent.
fn answer(authentication: &mut Authentication<'_>, request: &[u8]) -> Result<(bool, Vec<u8>), ConnectFailure> {
    let request = Message::parse(&mut BytesMut::from(&message(b'R', request)[..])).unwrap().unwrap();
    let mut out = BytesMut::new();
    let done = authentication.answer(&request, &mut out)?;
    Ok((done, out.to_vec()))
}

fn error(case: &Case, requests: &[&[u8]]) -> String {
    let mut authentication = case.begin();
    let (last, before) = requests.split_last().unwrap();
    for request in before {
        answer(&mut authentication, request).unwrap();
    }
    answer(&mut authentication, last).unwrap_err().to_string()
}

#[test]
fn passwords_are_sent_as_asked_and_once() {
    let case = Case::default();
    assert_eq!(answer(&mut case.begin(), OK).unwrap(), (true, vec![]));
    let mut authentication = case.begin();
    assert_eq!(answer(&mut authentication, CLEARTEXT).unwrap(), (false, message(b'p', b"secret\0")));
    assert!(matches!(answer(&mut authentication, CLEARTEXT), Err(ConnectFailure::Protocol(_))));
    let case = Case { password: Some(Secret::new("password")), ..Case::default() };
    let mut authentication = case.begin();
    let salted = b"\0\0\0\x05\x2a\x3d\x8f\xe0";
    let expected = message(b'p', b"md562af4dd09bbb41884907a838a3233294\0");
    assert_eq!(answer(&mut authentication, salted).unwrap(), (false, expected));
    assert_eq!(answer(&mut authentication, OK).unwrap(), (true, vec![]));
}

#[test]
fn a_missing_password_is_told_apart() {
    for password in [None, Some(Secret::new(""))] {
        let case = Case { password, ..Case::default() };
        for request in [CLEARTEXT, MD5, SCRAM] {
            let failure = answer(&mut case.begin(), request).unwrap_err();
            assert!(matches!(failure, ConnectFailure::Auth(AuthError::PasswordNeeded)), "{failure:?}");
        }
    }
}

#[test]
fn require_auth_is_held_to() {
    use AuthMethod::{Gss, Md5, None, Password, ScramSha256};
    let refused = |require: RequireAuth, request: &[u8]| {
        let case = Case { require, ..Case::default() };
        match answer(&mut case.begin(), request) {
            Err(ConnectFailure::Auth(AuthError::Requirement { requirement, reason })) => {
                Some(format!("{requirement}: {reason}"))
            }
            _ => Option::None,
        }
    };
    let only = |methods: &[AuthMethod]| RequireAuth::Only(methods.to_vec());
    let not = |methods: &[AuthMethod]| RequireAuth::Not(methods.to_vec());
    for (require, request, expected) in [
        (only(&[ScramSha256]), CLEARTEXT, Some("scram-sha-256: server requested a cleartext password")),
        (only(&[ScramSha256]), MD5, Some("scram-sha-256: server requested a hashed password")),
        (only(&[ScramSha256]), OK, Some("scram-sha-256: server did not complete authentication")),
        (only(&[ScramSha256]), SCRAM, Option::None),
        (only(&[ScramSha256, None]), OK, Option::None),
        (only(&[Md5]), SCRAM, Some("md5: server requested SASL authentication")),
        (only(&[Md5]), GSS, Some("md5: server requested GSSAPI authentication")),
        (only(&[Gss]), GSS, Option::None),
        (not(&[Password, Md5]), MD5, Some("!password,!md5: server requested a hashed password")),
        (not(&[Password]), MD5, Option::None),
        (not(&[None]), OK, Some("!none: server did not complete authentication")),
        (not(&[Password]), OK, Option::None),
        (only(&[AuthMethod::OAuth]), OAUTH, Option::None),
    ] {
        assert_eq!(refused(require.clone(), request).as_deref(), expected, "{require:?}");
    }
}

#[test]
fn what_is_not_supported_is_named() {
    for (request, name) in [
        (GSS, "GSSAPI"),
        (SSPI, "SSPI"),
        (OAUTH, "OAuth"),
        (&[0, 0, 0, 2], "Kerberos"),
        (&[0, 0, 0, 6], "SCM"),
        (b"\0\0\0\x0aSCRAM-SHA-1\0OTHER\0\0", "SCRAM-SHA-1, OTHER"),
    ] {
        let text = error(&Case::default(), &[request]);
        assert!(text.contains(name) && text.contains("not supported"), "{text}");
    }
}

#[test]
fn channel_binding_is_held_to() {
    let hash = || Some(Ok(vec![7; 32]));
    let first = |binding, end_point, request: &[u8]| {
        let case = Case { binding, end_point, ..Case::default() };
        answer(&mut case.begin(), request).map_or_else(
            |failure| failure.to_string(),
            |(_, sent)| {
                let text = String::from_utf8_lossy(&sent[5..]).into_owned();
                let mechanism = text.split('\0').next().unwrap().to_owned();
                let header = ["p=tls-server-end-point,,", "y,,", "n,,"].into_iter().find(|h| text.contains(h));
                format!("{mechanism} {}", header.unwrap())
            },
        )
    };
    use ChannelBinding::{Disable, Prefer, Require};
    for (binding, end_point, request, expected) in [
        (Prefer, hash(), SCRAM_PLUS, "SCRAM-SHA-256-PLUS p=tls-server-end-point,,"),
        (Require, hash(), SCRAM_PLUS, "SCRAM-SHA-256-PLUS p=tls-server-end-point,,"),
        (Disable, hash(), SCRAM_PLUS, "SCRAM-SHA-256 n,,"),
        // "I could have": the server notices, if it did offer.
        (Prefer, hash(), SCRAM, "SCRAM-SHA-256 y,,"),
        (Prefer, None, SCRAM, "SCRAM-SHA-256 n,,"),
    ] {
        assert_eq!(first(binding, end_point, request), expected);
    }
    for (binding, end_point, request, expected) in [
        (Require, hash(), SCRAM, "did not offer"),
        (Require, None, SCRAM, "did not offer"),
        (Require, hash(), CLEARTEXT, "not supported by server's authentication request"),
        (Require, hash(), MD5, "not supported by server's authentication request"),
        (Require, hash(), OK, "without channel binding"),
        (Prefer, None, SCRAM_PLUS, "over a non-SSL connection"),
        (Prefer, Some(Err("no hash".into())), SCRAM_PLUS, "no hash (channel_binding=disable"),
    ] {
        let text = first(binding, end_point, request);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn scram_is_carried_through_and_the_server_has_to_prove_itself() {
    let run = |lie: bool, binding: ChannelBinding| {
        let case = Case { binding, end_point: Some(Ok(b"hash".to_vec())), ..Case::default() };
        let mut authentication = case.begin();
        let (_, first) = answer(&mut authentication, SCRAM_PLUS).unwrap();
        let first = String::from_utf8(first).unwrap();
        let bare = &first[first.find("n=,").unwrap()..];
        let nonce = bare.strip_prefix("n=,r=").unwrap();
        let server_first = format!("r={nonce}server,s={},i=1", base64(b"salt"));
        let (_, last) = answer(&mut authentication, &[b"\0\0\0\x0b", server_first.as_bytes()].concat()).unwrap();
        let last = String::from_utf8(last[5..].to_vec()).unwrap();
        let (without_proof, _proof) = last.split_once(",p=").unwrap();
        let salted = hmac(b"secret", b"salt\0\0\0\x01");
        let message = format!("{bare},{server_first},{without_proof}");
        let mut signature = hmac(&hmac(&salted, b"Server Key"), message.as_bytes());
        signature[0] ^= u8::from(lie);
        let server_final = format!("v={}", base64(&signature));
        answer(&mut authentication, &[b"\0\0\0\x0c", server_final.as_bytes()].concat())?;
        answer(&mut authentication, OK)
    };
    assert!(run(false, ChannelBinding::Require).unwrap().0);
    assert!(run(false, ChannelBinding::Disable).unwrap().0);
    let failure = run(true, ChannelBinding::Prefer).unwrap_err().to_string();
    assert!(failure.contains("could not prove"), "{failure}");
}

#[test]
fn a_broken_scram_exchange_is_refused() {
    let case = Case::default();
    assert!(error(&case, &[SCRAM, OK]).contains("before it proved"));
    assert!(error(&case, &[SCRAM, b"\0\0\0\x0br=other,s=AAAA,i=4096"]).contains("SCRAM authentication failed"));
    assert!(error(&case, &[SCRAM, b"\0\0\0\x0c v=AAAA"]).contains("unexpected message"));
    assert!(error(&case, &[b"\0\0\0\x0bx"]).contains("unexpected message"));
    assert!(error(&case, &[b"\0\0\0\x0anot terminated"]).contains("malformed"));
    // Trusting whoever answers "ok" is no authentication of the server, even where none is required.
    let lenient = Case { require: RequireAuth::Only(vec![AuthMethod::ScramSha256, AuthMethod::None]), ..case };
    assert!(error(&lenient, &[SCRAM, OK]).contains("before it proved"));
}

#[test]
fn a_nul_byte_in_a_password_is_not_sent_and_the_password_not_shown() {
    let case = Case { password: Some(Secret::new("hush\0hush")), ..Case::default() };
    let text = error(&case, &[CLEARTEXT]);
    assert!(text.contains("password") && !text.contains("hush"), "{text}");
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = key.to_vec();
    block.resize(64, 0);
    let pad = |byte: u8| block.iter().map(|b| b ^ byte).collect::<Vec<_>>();
    let inner = Sha256::digest([pad(0x36), message.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}
