//! Asking a person for the password. The only place of the command line that touches a terminal.

use std::io;

use crate::conninfo::Secret;

/// When a person is asked for the password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prompt {
    /// `-w`: never; a server that wants one is refused.
    Never,
    /// When a server wants one and none was found elsewhere.
    #[default]
    Auto,
    /// `-W`: before the first connection.
    Always,
}

/// Asks for the password on the terminal, without showing what is typed. Blocks until it is there.
///
/// # Errors
/// There is no terminal, or it went away.
pub fn prompt_password() -> io::Result<Secret> {
    rpassword::prompt_password("Password: ").map(Secret::new).map_err(|error| {
        let advice = "set PGPASSWORD, or name a file with PGPASSFILE";
        io::Error::new(error.kind(), format!("could not ask for a password on the terminal: {error}; {advice}"))
    })
}
