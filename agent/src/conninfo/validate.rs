//! From typed to validated: values are read, refused or found harmless, and defaults applied (`pqConnectOptions2` of
//! fe-connect.c).

use super::{
    AuthMethod, ChannelBinding, Class, Conninfo, ConninfoError, Environment, Keepalives, LoadBalanceHosts, PARAMETERS,
    RequireAuth, TargetSessionAttrs, Typed, Warning, hosts, tls, typed::is_space,
};
use std::time::Duration;

/// Validates `typed`, and looks up passwords.
pub(super) fn validate(typed: &Typed, environment: &Environment) -> Result<(Conninfo, Vec<Warning>), ConninfoError> {
    check_inert(typed)?;
    check_refused(typed)?;
    let user = text(typed, "user").or(environment.user.as_deref()).ok_or(ConninfoError::NoUser)?;
    let (hosts, warnings) = hosts::hosts(typed, user, environment)?;
    let conninfo = Conninfo {
        hosts,
        load_balance_hosts: choice(
            typed,
            "load_balance_hosts",
            &[("disable", LoadBalanceHosts::Disable), ("random", LoadBalanceHosts::Random)],
        )?,
        target_session_attrs: choice(
            typed,
            "target_session_attrs",
            &[
                ("any", TargetSessionAttrs::Any),
                ("read-write", TargetSessionAttrs::ReadWrite),
                ("read-only", TargetSessionAttrs::ReadOnly),
                ("primary", TargetSessionAttrs::Primary),
                ("standby", TargetSessionAttrs::Standby),
                ("prefer-standby", TargetSessionAttrs::PreferStandby),
            ],
        )?,
        user: user.to_owned(),
        dbname: text(typed, "dbname").map(str::to_owned),
        application_name: application_name(typed).map(str::to_owned),
        options: text(typed, "options").map(str::to_owned),
        startup_parameters: startup_parameters(typed, environment)?,
        connect_timeout: positive(typed, "connect_timeout")?.map(seconds),
        keepalives: keepalives(typed)?,
        tcp_user_timeout: positive(typed, "tcp_user_timeout")?.map(|n| Duration::from_millis(n.into())),
        require_auth: require_auth(typed)?,
        channel_binding: choice(
            typed,
            "channel_binding",
            &[
                ("disable", ChannelBinding::Disable),
                ("prefer", ChannelBinding::Prefer),
                ("require", ChannelBinding::Require),
            ],
        )?,
        tls: tls::settings(typed, environment)?,
    };
    Ok((conninfo, warnings))
}

/// The text of parameter `name`, unless it is empty.
pub(super) fn text<'a>(typed: &'a Typed, name: &str) -> Option<&'a str> {
    typed.get(name).filter(|text| !text.is_empty())
}

/// The one of `choices` that parameter `name` names, or the default where it is not given at all.
pub(super) fn choice<T: Copy + Default>(
    typed: &Typed,
    name: &'static str,
    choices: &[(&str, T)],
) -> Result<T, ConninfoError> {
    let Some(text) = typed.get(name) else { return Ok(T::default()) };
    let chosen = choices.iter().find(|(choice, _)| *choice == text).map(|(_, value)| *value);
    chosen.ok_or_else(|| invalid_value(typed, name, text))
}

/// libpq's sentence for a value that is none of its choices.
fn invalid_value(typed: &Typed, name: &'static str, text: &str) -> ConninfoError {
    ConninfoError::invalid(typed, name, format!("invalid {name} value: \"{text}\""))
}

/// An integer as `pqParseIntParam` takes it: blanks around it, a sign.
pub(super) fn integer(typed: &Typed, name: &'static str, text: &str) -> Result<i32, ConninfoError> {
    text.trim_matches(is_space).parse().map_err(|_| {
        let message = format!("invalid integer value \"{text}\" for connection option \"{name}\"");
        ConninfoError::invalid(typed, name, message)
    })
}

/// A number for which zero and less mean the default.
fn positive(typed: &Typed, name: &'static str) -> Result<Option<u32>, ConninfoError> {
    let number = typed.get(name).map(|text| integer(typed, name, text)).transpose()?;
    Ok(number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0))
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.into())
}

fn keepalives(typed: &Typed) -> Result<Option<Keepalives>, ConninfoError> {
    let on = typed.get("keepalives").map(|text| integer(typed, "keepalives", text)).transpose()? != Some(0);
    let keepalives = Keepalives {
        idle: positive(typed, "keepalives_idle")?.map(seconds),
        interval: positive(typed, "keepalives_interval")?.map(seconds),
        count: positive(typed, "keepalives_count")?,
    };
    Ok(on.then_some(keepalives))
}

/// An `application_name` that is given and empty (by environment or service) also keeps the fallback away.
fn application_name(typed: &Typed) -> Option<&str> {
    let name = typed.get("application_name").or_else(|| typed.get("fallback_application_name"));
    name.filter(|name| !name.is_empty())
}

/// What libpq sends beside: `client_encoding`, and the variables that stand for no parameter (`EnvironmentOptions`).
fn startup_parameters(typed: &Typed, environment: &Environment) -> Result<Vec<(String, String)>, ConninfoError> {
    // Where libpq would look at the locale, this program's texts are UTF-8.
    let encoding = text(typed, "client_encoding").map(|encoding| if encoding == "auto" { "UTF8" } else { encoding });
    let mut parameters: Vec<_> =
        encoding.map(|encoding| ("client_encoding".to_owned(), encoding.to_owned())).into_iter().collect();
    for (variable, name) in [("PGDATESTYLE", "datestyle"), ("PGTZ", "timezone"), ("PGGEQO", "geqo")] {
        if let Some(value) = environment.text(variable)?.filter(|value| !value.eq_ignore_ascii_case("default")) {
            parameters.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(parameters)
}

fn require_auth(typed: &Typed) -> Result<RequireAuth, ConninfoError> {
    const NAME: &str = "require_auth";
    let Some(list) = text(typed, NAME) else { return Ok(RequireAuth::Any) };
    let invalid = |message| Err(ConninfoError::invalid(typed, NAME, message));
    let negative = list.starts_with('!');
    let mut methods = Vec::new();
    for part in list.split(',') {
        let name = match (part.strip_prefix('!'), negative) {
            (Some(name), true) => name,
            (None, false) => part,
            (Some(_), false) => {
                let message = format!("negative {NAME} method \"{part}\" cannot be mixed with non-negative methods");
                return invalid(message);
            }
            (None, true) => {
                return invalid(format!("{NAME} method \"{part}\" cannot be mixed with negative methods"));
            }
        };
        let method = match name {
            "password" => AuthMethod::Password,
            "md5" => AuthMethod::Md5,
            "gss" => AuthMethod::Gss,
            "sspi" => AuthMethod::Sspi,
            "scram-sha-256" => AuthMethod::ScramSha256,
            "oauth" => AuthMethod::OAuth,
            "none" => AuthMethod::None,
            _ => return Err(invalid_value(typed, NAME, name)),
        };
        if methods.contains(&method) {
            return invalid(format!("{NAME} method \"{part}\" is specified more than once"));
        }
        methods.push(method);
    }
    Ok(if negative { RequireAuth::Not(methods) } else { RequireAuth::Only(methods) })
}

/// The values of [`Class::Inert`] parameters that would not be inert, and those that libpq does not take.
fn check_inert(typed: &Typed) -> Result<(), ConninfoError> {
    if choice(typed, "gssencmode", &[("disable", false), ("prefer", false), ("require", true)])? {
        return Err(ConninfoError::refused(typed, "gssencmode", "encryption by GSSAPI is not supported"));
    }
    if typed.get("gssdelegation").is_some_and(|text| text.starts_with('1')) {
        return Err(ConninfoError::refused(typed, "gssdelegation", "credentials cannot be delegated"));
    }
    const VERSIONS: [(&str, u8); 3] = [("3.0", 0), ("3.2", 2), ("latest", 2)];
    let min = choice(typed, "min_protocol_version", &VERSIONS)?;
    // Without a bound, it is the minimum that decides.
    let max =
        typed.get("max_protocol_version").map(|_| choice(typed, "max_protocol_version", &VERSIONS)).transpose()?;
    if max.is_some_and(|max| min > max) {
        let message = "\"min_protocol_version\" is greater than \"max_protocol_version\"".to_owned();
        return Err(ConninfoError::invalid(typed, "min_protocol_version", message));
    }
    if min > 0 {
        return Err(ConninfoError::refused(typed, "min_protocol_version", "protocol 3.0 is spoken, and no later one"));
    }
    Ok(())
}

fn check_refused(typed: &Typed) -> Result<(), ConninfoError> {
    let mut refused = PARAMETERS.iter().filter(|parameter| parameter.class == Class::Refused);
    match refused.find(|parameter| text(typed, parameter.name).is_some()) {
        Some(parameter) => Err(ConninfoError::refused(typed, parameter.name, parameter.about)),
        None => Ok(()),
    }
}
