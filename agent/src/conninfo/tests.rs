//! What libpq 18 does with the same texts, as tables; and that no text at all is too strange.

mod files;
mod parsing;
mod primary_conninfo;
mod values;

use super::*;

/// An environment in which nothing is found by accident.
fn bare() -> Environment {
    environment(&[])
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let nowhere = ("PGSYSCONFDIR", "/nonexistent");
    Environment {
        user: Some("me".to_owned()),
        socket_directory: Some("/run/sockets".into()),
        ..Environment::new(variables.iter().copied().chain([nowhere]))
    }
}

fn resolve(text: &str) -> Result<Conninfo, ConninfoError> {
    resolve_in(text, &bare())
}

fn resolve_in(text: &str, environment: &Environment) -> Result<Conninfo, ConninfoError> {
    Conninfo::resolve(Some(text), &Overrides::default(), environment).map(|(conninfo, _)| conninfo)
}

fn error_of(text: &str) -> String {
    resolve(text).map_or_else(|error| error.to_string(), |_| "no error".to_owned())
}

/// Host names or whatever else there is, with their ports.
fn hosts(conninfo: &Conninfo) -> Vec<String> {
    let host = |host: &Host| match &host.endpoint {
        Endpoint::Unix(directory) => format!("unix {} {}", directory.display(), host.port),
        Endpoint::Tcp { host: name, hostaddr } => {
            let hostaddr = hostaddr.map(|address| format!("={address}")).unwrap_or_default();
            format!("{}{hostaddr} {}", name.as_deref().unwrap_or_default(), host.port)
        }
    };
    conninfo.hosts.iter().map(host).collect()
}

fn passwords(conninfo: &Conninfo) -> Vec<Option<&str>> {
    conninfo.hosts.iter().map(|host| host.password.as_ref().map(Secret::expose)).collect()
}
