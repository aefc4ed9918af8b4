//! The grammar of a command line, as glibc's `getopt_long` has it: `--name=value`, `--name value`, prefixes of long
//! names, `-xvalue`, `-x value`, bundles like `-nv`, operands anywhere, `--` before operands only.
//!
//! It knows which options exist and which take a value, not what they mean. Messages are glibc's, in the common form.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use super::{
    error::Fault,
    options::{self, Kind, Opt},
};

/// One thing that was typed.
#[derive(Debug)]
pub(super) enum Item {
    /// An option with its value, which is there exactly if it takes one.
    Option(&'static Opt, Option<OsString>),
    /// Anything that is no option.
    Operand(OsString),
}

/// Cuts arguments into [`Item`]s.
pub(super) struct Scanner<I> {
    args: I,
    /// What is left of an argument with several short options.
    bundle: Vec<u8>,
    /// `--` was seen.
    operands_only: bool,
}

impl<I: Iterator<Item = OsString>> Scanner<I> {
    pub(super) fn new(args: I) -> Self {
        Self { args, bundle: Vec::new(), operands_only: false }
    }

    fn long(&mut self, typed: &[u8]) -> Result<Item, Fault> {
        let mut halves = typed.splitn(2, |byte| *byte == b'=');
        let name = String::from_utf8_lossy(halves.next().unwrap_or_default());
        let attached = halves.next().map(|value| OsString::from_vec(value.to_vec()));
        let option = find_long(&name)?;
        let long = option.long;
        match (&option.kind, attached) {
            (Kind::Value { .. }, attached) => match attached.or_else(|| self.args.next()) {
                Some(value) => Ok(Item::Option(option, Some(value))),
                None => Err(Fault::usage(format!("option '--{long}' requires an argument"))),
            },
            (_, Some(_)) => Err(Fault::usage(format!("option '--{long}' doesn't allow an argument"))),
            (_, None) => Ok(Item::Option(option, None)),
        }
    }

    /// Takes the first option of a bundle, which has at least one letter.
    fn short(&mut self, bundle: &[u8]) -> Result<Item, Fault> {
        let letter = String::from_utf8_lossy(bundle).chars().next().unwrap_or_default();
        let Some(option) = options::all().find(|option| option.short == Some(letter)) else {
            return Err(Fault::usage(format!("invalid option -- '{letter}'")));
        };
        let rest = bundle.get(letter.len_utf8()..).unwrap_or_default().to_vec();
        if !matches!(option.kind, Kind::Value { .. }) {
            self.bundle = rest;
            return Ok(Item::Option(option, None));
        }
        let attached = (!rest.is_empty()).then(|| OsString::from_vec(rest));
        match attached.or_else(|| self.args.next()) {
            Some(value) => Ok(Item::Option(option, Some(value))),
            None => Err(Fault::usage(format!("option requires an argument -- '{letter}'"))),
        }
    }
}

impl<I: Iterator<Item = OsString>> Iterator for Scanner<I> {
    type Item = Result<Item, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.bundle.is_empty() {
            let bundle = std::mem::take(&mut self.bundle);
            return Some(self.short(&bundle));
        }
        let arg = self.args.next()?;
        match arg.as_bytes() {
            _ if self.operands_only => Some(Ok(Item::Operand(arg))),
            b"--" => {
                self.operands_only = true;
                self.next()
            }
            [b'-', b'-', long @ ..] => Some(self.long(long)),
            [b'-', bundle @ ..] if !bundle.is_empty() => Some(self.short(bundle)),
            _ => Some(Ok(Item::Operand(arg))),
        }
    }
}

/// The option with this long name, or the only one whose name begins so.
///
/// Our own options never make a prefix ambiguous that `pg_receivewal` understands: they count where none of its does.
/// What follows a `=` is left out of messages: it may be a connection string with a password.
fn find_long(name: &str) -> Result<&'static Opt, Fault> {
    if let Some(exact) = options::all().find(|option| option.long == name) {
        return Ok(exact);
    }
    let begins_so = |option: &&Opt| option.long.starts_with(name);
    let mut candidates: Vec<&Opt> = options::inherited().filter(begins_so).collect();
    if candidates.is_empty() {
        candidates = options::own().filter(begins_so).collect();
    }
    match candidates.as_slice() {
        [] => Err(Fault::usage(format!("unrecognized option '--{name}'"))),
        [only] => Ok(only),
        several => {
            let names: String = several.iter().map(|option| format!(" '--{}'", option.long)).collect();
            Err(Fault::usage(format!("option '--{name}' is ambiguous; possibilities:{names}")))
        }
    }
}

#[cfg(test)]
mod tests;
