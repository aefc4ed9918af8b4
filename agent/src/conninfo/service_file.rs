//! `pg_service.conf`: named sets of parameters (`parseServiceInfo` of fe-connect.c).
//!
//! ```text
//! [standby-source]        only this section is read
//! host=db1,db2            no blanks around "="; the first of two counts
//! sslmode=verify-full
//! ```
//!
//! No lookups in LDAP, and no service within a service.

use super::{ConninfoError, Environment, Parameter, Place, Typed, error::shown, typed::is_space};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Where PGSYSCONFDIR does not say otherwise, as Debian's libpq has it.
const SYSTEM_DIRECTORY: &str = "/etc/postgresql-common";

/// More than any service or password file has.
pub(super) const MAX_FILE_SIZE: u64 = 1 << 20;

/// The parameters of `service` in a service file of this `content`, or `None` if it does not define it. `path` is for
/// errors.
///
/// # Errors
/// A line of that section which is not `parameter=value`, or names a service in turn.
pub fn parse_service_file(content: &str, service: &str, path: &Path) -> Result<Option<Typed>, ConninfoError> {
    let mut found = None;
    for (line, number) in content.lines().zip(1_usize..) {
        let line = line.trim_matches(is_space);
        let syntax =
            |what: &str| ConninfoError::Syntax(format!("{what} in service file \"{}\", line {number}", path.display()));
        if let Some(header) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            found = header.strip_prefix(service).filter(|rest| rest.starts_with(']')).map(|_| Typed::default());
        } else if let Some(section) = found.as_mut().filter(|_| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with("ldap") {
                return Err(syntax("LDAP lookups are not supported"));
            }
            let (name, value) = line.split_once('=').ok_or_else(|| syntax("syntax error"))?;
            if matches!(name, "service" | "servicefile") {
                return Err(syntax("nested service specifications not supported"));
            }
            if Parameter::find(name).is_none() {
                let name = shown(name, section.holds_a_secret());
                return Err(syntax(&format!("syntax error (unknown parameter {name}; no blanks around \"=\")")));
            }
            if section.get(name).is_none() {
                section.set(name, value, Place::ServiceFile { path: path.to_owned(), line: number })?;
            }
        }
    }
    Ok(found)
}

/// Adds what the service named in `typed` or by PGSERVICE says, if one is.
pub(super) fn apply(typed: &mut Typed, environment: &Environment) -> Result<(), ConninfoError> {
    let (service, place) = match (typed.get("service"), environment.text("PGSERVICE")?) {
        (Some(service), _) => (service.to_owned(), typed.place("service")),
        (None, Some(service)) => (service.to_owned(), Place::Environment("PGSERVICE")),
        (None, None) => return Ok(()),
    };
    for (path, required) in candidates(typed, environment) {
        let content = match read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ConninfoError::Syntax(format!("service file \"{}\" not found", path.display())));
            }
            Err(source) => return Err(ConninfoError::File { what: "service file", path, source }),
        };
        let content = String::from_utf8(content)
            .map_err(|_| ConninfoError::Syntax(format!("service file \"{}\" is not valid UTF-8", path.display())))?;
        if let Some(section) = parse_service_file(&content, &service, &path)? {
            typed.fill_from(section);
            return Ok(());
        }
    }
    Err(ConninfoError::UnknownService { name: service, place })
}

/// The files to look into, one after the other, and whether they must be there.
fn candidates(typed: &Typed, environment: &Environment) -> Vec<(PathBuf, bool)> {
    let named = typed.get("servicefile").map(PathBuf::from);
    let named = named.or_else(|| environment.path("PGSERVICEFILE").map(PathBuf::from));
    let own = match (named, &environment.home) {
        (Some(path), _) => Some((path, true)),
        (None, Some(home)) => Some((home.join(".pg_service.conf"), false)),
        (None, None) => None,
    };
    let system = environment.path("PGSYSCONFDIR").map_or_else(|| PathBuf::from(SYSTEM_DIRECTORY), PathBuf::from);
    own.into_iter().chain([(system.join("pg_service.conf"), false)]).collect()
}

/// The whole of a small file.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(MAX_FILE_SIZE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE_SIZE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(content)
}
