//! Who has the first word: puts the sources together in `pg_receivewal`'s order (`GetConnection` of streamutil.c and
//! `conninfo_add_defaults` of fe-connect.c).

use super::{
    Conninfo, ConninfoError, Environment, PARAMETERS, Place, Secret, Typed, Warning, parse_connection_string,
    service_file, validate,
};

/// What the command line says about the connection, beside the connection string. An empty value is none.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `-h`
    pub host: Option<String>,
    /// `-p`
    pub port: Option<String>,
    /// `-U`
    pub user: Option<String>,
    /// What was typed at the password prompt.
    pub password: Option<Secret>,
    /// The program's name: the `application_name` where none is given.
    pub fallback_application_name: Option<String>,
}

impl Conninfo {
    /// Everything that says how to reach the server, put together and validated. Reads the service file and the password
    /// file, if they are wanted.
    ///
    /// # Errors
    /// Whatever is wrong with what was given: the first fault found, with the parameter and the place.
    pub fn resolve(
        connection_string: Option<&str>,
        overrides: &Overrides,
        environment: &Environment,
    ) -> Result<(Self, Vec<Warning>), ConninfoError> {
        validate::validate(&gather(connection_string, overrides, environment)?, environment)
    }
}

fn gather(
    connection_string: Option<&str>,
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Typed, ConninfoError> {
    let mut typed = parse_connection_string(connection_string.unwrap_or_default())?;
    // To libpq's callers an empty value is no value: the environment fills in.
    typed.remove_empty();
    let password = overrides.password.as_ref().map(Secret::expose);
    for (name, option, value) in [
        ("host", "--host", overrides.host.as_deref()),
        ("port", "--port", overrides.port.as_deref()),
        ("user", "--username", overrides.user.as_deref()),
        ("password", "--password", password),
        ("fallback_application_name", "argv[0]", overrides.fallback_application_name.as_deref()),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            typed.set(name, value, Place::CommandLine(option))?;
        }
    }
    // pg_receivewal gives a database name itself where the connection string has none, so that no other place counts.
    let named_database = typed.get("dbname").is_some();
    service_file::apply(&mut typed, environment)?;
    for parameter in PARAMETERS {
        let Some(variable) = parameter.environment.filter(|_| typed.get(parameter.name).is_none()) else { continue };
        if let Some(text) = environment.text(variable)? {
            typed.set(parameter.name, text, Place::Environment(variable))?;
        }
    }
    if !named_database {
        typed.remove("dbname");
    }
    // The old form of PGSSLMODE=require.
    if typed.get("sslmode").is_none() && environment.text("PGREQUIRESSL")?.is_some_and(|text| text.starts_with('1')) {
        typed.set("sslmode", "require", Place::Environment("PGREQUIRESSL"))?;
    }
    Ok(typed)
}
