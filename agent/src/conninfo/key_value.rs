//! `key=value` connection strings (`conninfo_parse` of fe-connect.c):
//!
//! ```text
//! host = db1 password='it\'s' options=a\ b
//! ```
//!
//! Pairs are separated by blanks, and blanks may surround `=`. A value in single quotes may hold blanks and be empty. A
//! backslash, in quotes or not, takes the next character as it is.

use super::{ConninfoError, Typed, error::shown, typed::is_space};

/// Reads all pairs of `text` into `typed`.
pub(super) fn parse(text: &str, typed: &mut Typed) -> Result<(), ConninfoError> {
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let (name, after) = rest.split_at(rest.find(|c| c == '=' || is_space(c)).unwrap_or(rest.len()));
        let Some(after) = after.trim_start_matches(is_space).strip_prefix('=') else {
            let word = shown(name, typed.holds_a_secret());
            return Err(ConninfoError::Syntax(format!("missing \"=\" after {word} in connection info string")));
        };
        let after = after.trim_start_matches(is_space);
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => quoted_value(quoted)?,
            None => plain_value(after),
        };
        typed.set_from_connection_string(name, &value)?;
        rest = after.trim_start_matches(is_space);
    }
    Ok(())
}

fn plain_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            // A last backslash stands for nothing.
            '\\' => value.extend(chars.next()),
            c if is_space(c) => break,
            c => value.push(c),
        }
    }
    (value, chars.as_str())
}

fn quoted_value(text: &str) -> Result<(String, &str), ConninfoError> {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => value.extend(chars.next()),
            '\'' => return Ok((value, chars.as_str())),
            c => value.push(c),
        }
    }
    Err(ConninfoError::Syntax("unterminated quoted string in connection info string".to_owned()))
}
