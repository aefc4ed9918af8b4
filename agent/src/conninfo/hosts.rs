//! The lists of hosts, addresses and ports, matched with each other, and each host's password.

use super::{
    ConninfoError, Endpoint, Environment, Host, Login, Secret, Typed, Warning,
    password_file::PasswordFile,
    validate::{integer, text},
};
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

const DEFAULT_PORT: u16 = 5432;

/// The candidates, in the order given, with their passwords, and what became of the password file.
pub(super) fn hosts(
    typed: &Typed,
    user: &str,
    environment: &Environment,
) -> Result<(Vec<Host>, Vec<Warning>), ConninfoError> {
    let candidates = candidates(typed, environment)?;
    if let Some(password) = text(typed, "password") {
        let password = Some(Secret::new(password));
        let host = |(endpoint, port, _)| Host { endpoint, port, password: password.clone() };
        return Ok((candidates.into_iter().map(host).collect(), Vec::new()));
    }
    let path = text(typed, "passfile").map(PathBuf::from);
    let path = path.or_else(|| environment.home.as_ref().map(|home| home.join(".pgpass")));
    let (file, warnings) = match path.map(PasswordFile::open).transpose() {
        Ok(file) => (file.flatten(), Vec::new()),
        Err(warning) => (None, vec![warning]),
    };
    let dbname = text(typed, "dbname").unwrap_or("replication");
    let hosts = candidates.into_iter().map(|(endpoint, port, name)| {
        let login = Login { host: &name, port, dbname, user };
        let password = file.as_ref().map(|file| file.lookup(&login)).transpose()?.flatten();
        Ok(Host { endpoint, port, password })
    });
    Ok((hosts.collect::<Result<_, ConninfoError>>()?, warnings))
}

/// Endpoints, ports, and the names under which the password file has them.
fn candidates(typed: &Typed, environment: &Environment) -> Result<Vec<(Endpoint, u16, String)>, ConninfoError> {
    let names = list(typed, "host");
    let addresses = list(typed, "hostaddr");
    let ports = list(typed, "port");
    // Where there are addresses, they say how many hosts there are.
    let count = addresses.as_ref().or(names.as_ref()).map_or(1, Vec::len);
    if let Some(names) = names.as_ref().filter(|names| names.len() != count) {
        let message = format!("could not match {} host names to {count} hostaddr values", names.len());
        return Err(ConninfoError::invalid(typed, "host", message));
    }
    if let Some(ports) = ports.as_ref().filter(|ports| ports.len() != 1 && ports.len() != count) {
        let message = format!("could not match {} port numbers to {count} hosts", ports.len());
        return Err(ConninfoError::invalid(typed, "port", message));
    }
    (0..count)
        .map(|index| {
            let name = element(names.as_deref(), index);
            let address = element(addresses.as_deref(), index);
            let endpoint = match address.map(|text| parse_address(typed, text)).transpose()? {
                None => name.map_or_else(|| default_endpoint(environment), endpoint),
                hostaddr => Endpoint::Tcp { host: name.map(str::to_owned), hostaddr },
            };
            // One port serves all.
            let index = if ports.as_ref().is_some_and(|ports| ports.len() == 1) { 0 } else { index };
            let port = element(ports.as_deref(), index).map(|text| parse_port(typed, text)).transpose()?;
            // The default socket directory goes by the name of localhost, also where it is spelt out.
            let default = environment.socket_directory.as_deref().and_then(Path::to_str);
            let name = name.or(address).filter(|name| Some(*name) != default).unwrap_or("localhost");
            Ok((endpoint, port.unwrap_or(DEFAULT_PORT), name.to_owned()))
        })
        .collect()
}

fn endpoint(name: &str) -> Endpoint {
    match name.starts_with(['/', '@']) {
        true => Endpoint::Unix(name.into()),
        false => Endpoint::Tcp { host: Some(name.to_owned()), hostaddr: None },
    }
}

fn default_endpoint(environment: &Environment) -> Endpoint {
    match &environment.socket_directory {
        Some(directory) => Endpoint::Unix(directory.clone()),
        None => endpoint("localhost"),
    }
}

fn list<'a>(typed: &'a Typed, name: &str) -> Option<Vec<&'a str>> {
    text(typed, name).map(|text| text.split(',').collect())
}

/// An element that is there and not empty.
fn element<'a>(list: Option<&[&'a str]>, index: usize) -> Option<&'a str> {
    list?.get(index).copied().filter(|text| !text.is_empty())
}

fn parse_address(typed: &Typed, text: &str) -> Result<IpAddr, ConninfoError> {
    text.parse().map_err(|_| {
        let message = format!("could not parse network address \"{text}\" of connection option \"hostaddr\"");
        ConninfoError::invalid(typed, "hostaddr", message)
    })
}

fn parse_port(typed: &Typed, text: &str) -> Result<u16, ConninfoError> {
    let port = u16::try_from(integer(typed, "port", text)?).ok().filter(|port| *port > 0);
    port.ok_or_else(|| ConninfoError::invalid(typed, "port", format!("invalid port number: \"{text}\"")))
}
