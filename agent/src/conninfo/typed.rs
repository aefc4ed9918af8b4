//! The as-typed side: which parameters were given, their text, and where it stands. Nothing here looks into a value.

use super::{ConninfoError, Parameter, Place, error::shown, key_value, uri};
use std::{collections::BTreeMap, fmt};

/// Parameters as they were written, by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Typed(BTreeMap<&'static str, Value>);

#[derive(Clone, PartialEq, Eq)]
struct Value {
    text: String,
    place: Place,
}

/// Reads a connection string: a URI if it begins as one, else `key=value` pairs. Where a parameter is repeated, the
/// last one counts (`parse_connection_string` of fe-connect.c).
///
/// # Errors
/// Where libpq's `PQconninfoParse` fails, and where a percent-encoded value is not UTF-8.
pub fn parse_connection_string(text: &str) -> Result<Typed, ConninfoError> {
    let mut typed = Typed::default();
    match ["postgresql://", "postgres://"].iter().find_map(|scheme| text.strip_prefix(scheme)) {
        Some(rest) => uri::parse(rest, text.len() - rest.len(), &mut typed)?,
        None => key_value::parse(text, &mut typed)?,
    }
    Ok(typed)
}

impl Typed {
    /// The text of parameter `name`, which may be empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.text.as_str())
    }

    /// What was given: name and text.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.text.as_str()))
    }

    /// Where `name` stands. What was not given can only be at fault together with the connection string.
    pub(super) fn place(&self, name: &str) -> Place {
        self.0.get(name).map_or(Place::ConnectionString, |value| value.place.clone())
    }

    /// Whether a password or the like has been seen.
    pub(super) fn holds_a_secret(&self) -> bool {
        self.0.keys().any(|name| Parameter::find(name).is_some_and(|parameter| parameter.secret))
    }

    /// Notes `name`, in place of what was noted before.
    pub(super) fn set(&mut self, name: &str, text: &str, place: Place) -> Result<(), ConninfoError> {
        let Some(parameter) = Parameter::find(name) else {
            return Err(ConninfoError::UnknownOption { name: shown(name, self.holds_a_secret()), place });
        };
        if text.contains('\0') {
            let message = format!("value of connection option \"{name}\" contains a NUL");
            return Err(ConninfoError::Invalid { parameter: parameter.name, message, place });
        }
        self.0.insert(parameter.name, Value { text: text.to_owned(), place });
        Ok(())
    }

    /// As [`Self::set`], for names that a connection string may have: `requiressl` is an old name of two `sslmode`s.
    pub(super) fn set_from_connection_string(&mut self, name: &str, text: &str) -> Result<(), ConninfoError> {
        let (name, text) = match name {
            "requiressl" if text.starts_with('1') => ("sslmode", "require"),
            "requiressl" => ("sslmode", "prefer"),
            _ => (name, text),
        };
        self.set(name, text, Place::ConnectionString)
    }

    /// Takes over what is given there and not here.
    pub(super) fn fill_from(&mut self, other: Self) {
        for (name, value) in other.0 {
            self.0.entry(name).or_insert(value);
        }
    }

    /// Forgets `name`.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Forgets what was given as nothing.
    pub(super) fn remove_empty(&mut self) {
        self.0.retain(|_, value| !value.text.is_empty());
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = |name| Parameter::find(name).is_none_or(|parameter| parameter.secret);
        let entries = self
            .0
            .iter()
            .map(|(name, value)| (name, if secret(name) { "***" } else { value.text.as_str() }, &value.place));
        f.debug_list().entries(entries).finish()
    }
}

/// `isspace` in the C locale.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}
