//! Documents say what the code says: lists that exist in the code are compared with what users read.

use std::{fmt::Write, fs, path::PathBuf};
use wal_agent::conninfo::{Class, PARAMETERS};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_connection_parameter_is_documented() {
    const NAME: &str = "docs/connection-parameters.md";
    let mut expected = String::from(
        "# Connection parameters\n\n\
         Every parameter of libpq 18, in a connection string, a URI, a service file or the environment. An unknown one is \
         an error.\n\n\
         This list is made from the program's own table: `WAL_REPLICA_BLESS=1 cargo xtask test --quick documented`.\n",
    );
    for (class, title) in [
        (Class::Implemented, "Implemented\n\nThey do what they do in libpq."),
        (Class::Inert, "Accepted\n\nTheir value changes nothing here."),
        (Class::Refused, "Refused\n\nTo ignore them would weaken what was asked."),
    ] {
        write!(expected, "\n## {title}\n\n| parameter | environment | |\n|---|---|---|\n").unwrap();
        for parameter in PARAMETERS.iter().filter(|parameter| parameter.class == class) {
            let environment = parameter.environment.map(|name| format!("`{name}`")).unwrap_or_default();
            let about = parameter.about.replace('|', "\\|");
            writeln!(expected, "| `{}` | {environment} | {about} |", parameter.name).unwrap();
        }
    }
    if std::env::var_os("WAL_REPLICA_BLESS").is_some() {
        fs::create_dir_all(path("docs")).unwrap();
        fs::write(path(NAME), &expected).unwrap();
    }
    assert_eq!(read(NAME), expected, "WAL_REPLICA_BLESS=1 writes it anew");
}

#[test]
fn the_readme_lists_the_exit_codes_that_the_program_has() {
    let readme = read("README.md");
    for (code, meaning) in wal_agent::exit::ALL {
        let row = format!(
            "| {code} | {} |",
            meaning.replace("pg_receivewal", "`pg_receivewal`").replace("--no-loop", "`--no-loop`")
        );
        assert!(readme.contains(&row), "README.md lacks: {row}");
    }
}

#[test]
fn the_readme_lists_the_options_that_only_we_have() {
    let (help, readme) = (wal_agent::cli::help("wal-agent"), read("README.md"));
    let variables: Vec<&str> = help
        .split(|c: char| !(c.is_ascii_uppercase() || c == '_'))
        .filter(|word| word.starts_with("WAL_AGENT_"))
        .collect();
    assert!(variables.len() >= 2, "help names the environment variables");
    for variable in variables {
        assert!(readme.contains(&format!("`{variable}`")), "README.md lacks {variable}");
    }
}
