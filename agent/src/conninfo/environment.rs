//! What libpq takes from around it, as a snapshot: a test feeds one, the program takes one of its process.

use super::ConninfoError;
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    path::PathBuf,
};

/// The environment of a connection. It may hold PGPASSWORD, so it cannot be printed.
#[derive(Clone, Default)]
pub struct Environment {
    /// The variables; only those that begin with PG count.
    pub variables: BTreeMap<String, OsString>,
    /// The home directory.
    pub home: Option<PathBuf>,
    /// The name of the operating system's user.
    pub user: Option<String>,
    /// The directory of the sockets of local servers; where there is none, the default host is `localhost`.
    pub socket_directory: Option<PathBuf>,
}

impl Environment {
    /// An environment of these variables and nothing else.
    pub fn new<K: Into<String>, V: Into<OsString>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, ..Self::default() }
    }

    /// This process's own.
    ///
    /// User and home directory are those of the effective user id in `/etc/passwd`; HOME goes before. As socket directory
    /// counts `/var/run/postgresql`, as in Debian's and Red Hat's libpq, where it exists, else `/tmp`, as in libpq itself.
    pub fn from_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with("PG"));
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (user, home) = passwd_entry(&passwd, rustix::process::geteuid().as_raw()).unzip();
        let socket_directories = ["/var/run/postgresql", "/tmp"].map(PathBuf::from);
        Self {
            home: std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from).or(home),
            user,
            socket_directory: socket_directories.into_iter().find(|directory| directory.is_dir()),
            ..Self::new(variables)
        }
    }

    /// The value of variable `name`, which may be empty.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ConninfoError> {
        match self.variables.get(name).map(|value| value.to_str()) {
            None => Ok(None),
            Some(Some(text)) => Ok(Some(text)),
            Some(None) => Err(ConninfoError::Syntax(format!("environment variable {name} is not valid UTF-8"))),
        }
    }

    /// The same where it names a file.
    pub(super) fn path(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str)
    }
}

/// Name and home directory of user id `wanted`.
fn passwd_entry(passwd: &str, wanted: u32) -> Option<(String, PathBuf)> {
    passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        match fields[..] {
            [name, _, id, _, _, home, _] if id.parse() == Ok(wanted) => Some((name.to_owned(), PathBuf::from(home))),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_id() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken:26\npostgres:x:26:26::/var/lib/postgresql:/bin/bash\n";
        let postgres = ("postgres".to_owned(), PathBuf::from("/var/lib/postgresql"));
        assert_eq!(passwd_entry(passwd, 26), Some(postgres));
        assert_eq!(passwd_entry(passwd, 1000), None);
    }
}
