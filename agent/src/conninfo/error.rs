//! What can be wrong with connection parameters, and where. The sentences are libpq's where libpq has one; the place is
//! ours. No secret, and no text that may be part of one, gets into either.

use super::Typed;
use std::{fmt, io, path::PathBuf};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An option of the command line, as `--port`.
    CommandLine(&'static str),
    /// The connection string, in either form.
    ConnectionString,
    /// A line of a service file.
    ServiceFile {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(&'static str),
}

/// Why there is no [`super::Conninfo`].
#[derive(Debug, thiserror::Error)]
pub enum ConninfoError {
    /// A connection string, service file or variable that cannot be read at all; the sentence names it.
    #[error("{0}")]
    Syntax(String),
    /// A parameter that libpq does not know.
    #[error("invalid connection option {name} ({place})")]
    UnknownOption {
        /// As typed and in quotes, or a word that says that it is not shown.
        name: String,
        /// Where it stands.
        place: Place,
    },
    /// A value that its parameter cannot have.
    #[error("{message} ({place})")]
    Invalid {
        /// The parameter.
        parameter: &'static str,
        /// What is wrong, naming the parameter.
        message: String,
        /// Where the value stands.
        place: Place,
    },
    /// A value that libpq honours and we do not; to ignore it would weaken what was asked.
    #[error("connection option \"{parameter}\" is refused: {reason} ({place})")]
    Refused {
        /// The parameter.
        parameter: &'static str,
        /// Why.
        reason: &'static str,
        /// Where the value stands.
        place: Place,
    },
    /// `service` names what no service file defines.
    #[error("definition of service \"{name}\" not found ({place})")]
    UnknownService {
        /// The service.
        name: String,
        /// Where it is named.
        place: Place,
    },
    /// A file that was asked for cannot be read.
    #[error("could not read {what} \"{}\": {source}", path.display())]
    File {
        /// What the file is.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The password for this login cannot be sent.
    #[error("the password in password file \"{}\", line {line}, is not valid UTF-8 or contains a NUL", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// No user name was given, and this process runs under a user id without a name.
    #[error("could not look up the name of the local user: set \"user\" in the connection string, or PGUSER")]
    NoUser,
}

/// What was passed over, though somebody may have counted on it.
#[derive(Debug, thiserror::Error)]
pub enum Warning {
    /// Others could read the passwords.
    #[error(
        "password file \"{}\" is ignored: it has group or world access; permissions should be u=rw (0600) or less",
        path.display()
    )]
    PasswordFileAccess {
        /// The file.
        path: PathBuf,
    },
    /// A directory, a device, a pipe.
    #[error("password file \"{}\" is ignored: it is not a plain file", path.display())]
    PasswordFileNotPlain {
        /// The file.
        path: PathBuf,
    },
    /// It exists, but.
    #[error("password file \"{}\" is ignored: {source}", path.display())]
    PasswordFileUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ConninfoError {
    /// `parameter` has a value in `typed` that it cannot have.
    pub(super) fn invalid(typed: &Typed, parameter: &'static str, message: String) -> Self {
        Self::Invalid { parameter, message, place: typed.place(parameter) }
    }

    /// `parameter` has a value in `typed` that is refused.
    pub(super) fn refused(typed: &Typed, parameter: &'static str, reason: &'static str) -> Self {
        Self::Refused { parameter, reason, place: typed.place(parameter) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine(option) => write!(f, "command line option {option}"),
            Self::ConnectionString => f.write_str("connection string"),
            Self::ServiceFile { path, line } => write!(f, "service file {}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// `word` in quotes, for an error about a word that stands where a parameter's name should. A password with a blank or an
/// `&` in it ends as such a word, and so does a mistyped URI with a password inside: then it is not shown.
pub(super) fn shown(word: &str, after_a_secret: bool) -> String {
    let plain = word.len() <= 63 && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if plain && !after_a_secret { format!("\"{word}\"") } else { "(not shown, as it may hold a password)".to_owned() }
}
