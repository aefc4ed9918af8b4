//! What is wrong with an invocation, in `pg_receivewal`'s words and form.

use std::fmt;

/// An invocation that cannot be obeyed. Its `Display` is what goes to stderr, without the last newline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{program}: error: {}{}", fault.message, fault.hint_line(program))]
pub struct UsageError {
    pub(super) program: String,
    pub(super) fault: Fault,
}

/// A [`UsageError`] before it is known who reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    message: String,
    /// Of what the help says more: nothing (`""`) for the program itself.
    hint: Option<&'static str>,
}

impl Fault {
    /// A wrong value: the message says all.
    pub(super) fn value(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// A wrong use of options: `--help` is where to look.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some("") }
    }

    /// A wrong use of a command.
    pub(super) fn usage_of(command: &'static str, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(command) }
    }

    fn hint_line(&self, program: &str) -> impl fmt::Display {
        match self.hint {
            Some("") => format!("\n{program}: hint: Try \"{program} --help\" for more information."),
            Some(command) => format!("\n{program}: hint: Try \"{program} {command} --help\" for more information."),
            None => String::new(),
        }
    }
}
