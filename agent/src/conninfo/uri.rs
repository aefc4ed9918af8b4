//! URIs (`conninfo_uri_parse_options` of fe-connect.c):
//!
//! ```text
//! postgresql://[user[:password]@][host][:port][,…][/database][?name=value[&…]]
//! ```
//!
//! A host may be an IPv6 address in brackets. Every part may be percent-encoded: a `/` in a socket's directory has to be.
//! Blanks around a part are dropped and blanks within one refused, as since libpq 17.

use super::{ConninfoError, Typed, error::shown};

/// Reads what follows the `scheme_length` bytes of `postgresql://` into `typed`.
pub(super) fn parse(rest: &str, scheme_length: usize, typed: &mut Typed) -> Result<(), ConninfoError> {
    let (before, after) = split_before(rest, &['@', '/']);
    let (userinfo, rest) = after.strip_prefix('@').map_or((None, rest), |hosts| (Some(before), hosts));
    if let Some(userinfo) = userinfo {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        set(typed, "user", user)?;
        set(typed, "password", password)?;
    }
    let scheme_and_userinfo = scheme_length + userinfo.map_or(0, |text| text.len() + 1);
    let netlocs = Netlocs::parse(rest, scheme_and_userinfo)?;
    let (path, query) = netlocs.rest.split_once('?').unwrap_or((netlocs.rest, ""));
    if userinfo.is_none() && path.contains('@') && !netlocs.ports.split(',').all(is_port) {
        // What looks like host and port is user and half a password: name the fault, and do not show them.
        let message = "a \"/\" in the user name or password of a URI must be percent-encoded as %2F";
        return Err(ConninfoError::Syntax(message.to_owned()));
    }
    set(typed, "host", &netlocs.hosts)?;
    set(typed, "port", &netlocs.ports)?;
    set(typed, "dbname", path.strip_prefix('/').unwrap_or(path))?;
    parse_query(query, typed)
}

/// The hosts and ports of a URI as the comma-separated lists that `host` and `port` have.
struct Netlocs<'a> {
    hosts: String,
    ports: String,
    rest: &'a str,
}

impl<'a> Netlocs<'a> {
    fn parse(text: &'a str, offset: usize) -> Result<Self, ConninfoError> {
        let mut netlocs = Self { hosts: String::new(), ports: String::new(), rest: text };
        loop {
            let (host, after) = match netlocs.rest.strip_prefix('[') {
                Some(bracketed) => ipv6_host(bracketed, offset + text.len() - bracketed.len())?,
                None => split_before(netlocs.rest, &[':', '/', '?', ',']),
            };
            netlocs.hosts.push_str(host);
            netlocs.rest = after;
            if let Some(after) = after.strip_prefix(':') {
                let (port, after) = split_before(after, &['/', '?', ',']);
                netlocs.ports.push_str(port);
                netlocs.rest = after;
            }
            let Some(next) = netlocs.rest.strip_prefix(',') else { return Ok(netlocs) };
            netlocs.hosts.push(',');
            netlocs.ports.push(',');
            netlocs.rest = next;
        }
    }
}

/// `offset` is where `text` begins in the URI, for the position in the error.
fn ipv6_host(text: &str, offset: usize) -> Result<(&str, &str), ConninfoError> {
    let syntax = |message: String| Err(ConninfoError::Syntax(message));
    let Some((host, after)) = text.split_once(']') else {
        return syntax("end of string reached when looking for matching \"]\" in IPv6 host address in URI".to_owned());
    };
    if host.is_empty() {
        return syntax("IPv6 host address may not be empty in URI".to_owned());
    }
    match after.chars().next() {
        None | Some(':' | '/' | '?' | ',') => Ok((host, after)),
        Some(c) => {
            let position = offset + host.len() + 2;
            syntax(format!("unexpected character \"{c}\" at position {position} in URI (expected \":\" or \"/\")"))
        }
    }
}

fn parse_query(query: &str, typed: &mut Typed) -> Result<(), ConninfoError> {
    // A `&` may also end the last pair.
    for pair in query.strip_suffix('&').unwrap_or(query).split('&').filter(|_| !query.is_empty()) {
        let after_a_secret = typed.holds_a_secret();
        let fault = |what: &str, word: &str| {
            ConninfoError::Syntax(format!("{what} URI query parameter: {}", shown(word, after_a_secret)))
        };
        let (name, value) = pair.split_once('=').ok_or_else(|| fault("missing key/value separator \"=\" in", pair))?;
        if value.contains('=') {
            return Err(fault("extra key/value separator \"=\" in", name));
        }
        let name = decode(name).map_err(|problem| fault(&format!("{problem} in the name of a"), name))?;
        let value = decode(value).map_err(|problem| fault(&format!("{problem} in the value of"), &name))?;
        match (name.as_str(), value.as_str()) {
            // For those who come from JDBC.
            ("ssl", "true") => typed.set_from_connection_string("sslmode", "require"),
            _ => typed.set_from_connection_string(&name, &value),
        }
        .map_err(|error| match error {
            ConninfoError::UnknownOption { .. } => fault("invalid", &name),
            other => other,
        })?;
    }
    Ok(())
}

/// An empty part is a part that was not given.
fn set(typed: &mut Typed, name: &'static str, encoded: &str) -> Result<(), ConninfoError> {
    if encoded.is_empty() {
        return Ok(());
    }
    let text =
        decode(encoded).map_err(|problem| ConninfoError::Syntax(format!("{problem} in the {name} of the URI")))?;
    typed.set_from_connection_string(name, &text)
}

/// `conninfo_uri_decode`. Errors say what is wrong and leave it to the caller to say where: the text may be a password.
fn decode(encoded: &str) -> Result<String, &'static str> {
    let mut bytes = encoded.trim_matches(' ').bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit =
                    || bytes.next().and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
                match (digit(), digit()) {
                    (Some(0), Some(0)) => return Err("forbidden value %00"),
                    (Some(high), Some(low)) => high << 4 | low,
                    _ => return Err("invalid percent-encoded token"),
                }
            }
            b' ' => return Err("unexpected spaces found (use percent-encoded spaces (%20) instead)"),
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| "a percent-encoded value that is not valid UTF-8")
}

fn split_before<'a>(text: &'a str, ends: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

fn is_port(text: &str) -> bool {
    let text = text.trim_matches(' ');
    text.is_empty() || text.parse::<u16>().is_ok()
}
