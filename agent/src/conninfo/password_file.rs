//! The password file (`passwordFromFile` of fe-connect.c):
//!
//! ```text
//! # host:port:database:user:password
//! db1.example.com:5432:replication:streaming_replica:secret
//! *:*:*:wal:it\:s a secret
//! ```
//!
//! The first line that fits counts. `*` fits anything; a backslash takes the next character as it is. A file that
//! others could read is ignored.

use super::{ConninfoError, Secret, Warning, service_file};
use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt, path::PathBuf};

/// What a password is looked up for.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// Host name, else address, else socket directory; `localhost` for the default socket directory.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// The database; `replication` where none is named.
    pub dbname: &'a str,
    /// The role.
    pub user: &'a str,
}

/// The password of the first line of `content` that fits `login`, and that line's number, counted from 1.
pub fn find_password(content: &[u8], login: &Login<'_>) -> Option<(usize, Vec<u8>)> {
    let port = login.port.to_string();
    content.split(|byte| *byte == b'\n').zip(1..).find_map(|(line, number)| {
        if line.starts_with(b"#") {
            return None;
        }
        let wanted = [login.host, &port, login.dbname, login.user];
        let line = strip_carriage_returns(line);
        let password = wanted.iter().try_fold(line, |rest, wanted| strip_field(rest, wanted.as_bytes()))?;
        Some((number, unescape(password)))
    })
}

/// A password file that may be used, as it was when it was opened.
pub(super) struct PasswordFile {
    path: PathBuf,
    content: Vec<u8>,
}

impl PasswordFile {
    /// Reads the file, if it is there.
    pub(super) fn open(path: PathBuf) -> Result<Option<Self>, Warning> {
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(source) => return Err(Warning::PasswordFileUnreadable { path, source }),
        };
        if !metadata.is_file() {
            return Err(Warning::PasswordFileNotPlain { path });
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(Warning::PasswordFileAccess { path });
        }
        match service_file::read(&path) {
            Ok(content) => Ok(Some(Self { path, content })),
            // Here libpq is silent; somebody may have counted on the file.
            Err(source) => Err(Warning::PasswordFileUnreadable { path, source }),
        }
    }

    /// The password for `login`, if there is one. An empty one is none.
    pub(super) fn lookup(&self, login: &Login<'_>) -> Result<Option<Secret>, ConninfoError> {
        let Some((line, password)) = find_password(&self.content, login) else { return Ok(None) };
        match String::from_utf8(password) {
            Ok(password) if !password.contains('\0') => Ok(Some(password).filter(|p| !p.is_empty()).map(Secret::new)),
            _ => Err(ConninfoError::Password { path: self.path.clone(), line }),
        }
    }
}

/// What follows the field that `line` begins with, if that is `wanted` or fits anything.
fn strip_field<'a>(line: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    if let Some(rest) = line.strip_prefix(b"*:") {
        return Some(rest);
    }
    let mut line = line.iter();
    for wanted in wanted {
        match line.next()? {
            b':' => return None,
            b'\\' if line.next()? == wanted => {}
            byte if byte == wanted && *byte != b'\\' => {}
            _ => return None,
        }
    }
    (line.next()? == &b':').then_some(line.as_slice())
}

/// The password ends at a colon that is not escaped; a last backslash stands for itself.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut password = Vec::with_capacity(field.len());
    let mut bytes = field.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b':' => break,
            b'\\' => password.push(*bytes.next().unwrap_or(byte)),
            byte => password.push(*byte),
        }
    }
    password
}

fn strip_carriage_returns(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
    line.get(..end).unwrap_or_default()
}
