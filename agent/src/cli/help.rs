//! `--help` and `--version`: text for stdout, made from the table of options and the table of exit codes.

use super::options::{INHERITED, Kind, OWN, Opt};
use crate::exit;

/// Where explanations begin.
const COLUMN: usize = 25;

/// The longest line; PostgreSQL's own test plan demands it.
const WIDTH: usize = 95;

/// The text of `--version`, without a newline.
pub fn version() -> String {
    format!("wal-agent (WAL Replica) {}", env!("CARGO_PKG_VERSION"))
}

/// The text of `--help` for a program of this name, newline included.
pub fn help(program: &str) -> String {
    let mut text = format!(
        "{program} streams the write-ahead log of a PostgreSQL server into a directory.\n\n\
         Usage:\n  {program} [OPTION]...\n  {program} verify [--json] DIR    look whether received WAL is whole\n"
    );
    for group in INHERITED.iter().chain([&OWN]) {
        text += &format!("\n{}:\n", group.title);
        for option in group.options {
            let variable = option.env.map(|name| format!(" [{name}]")).unwrap_or_default();
            text += &entry(&names(option), &format!("{}{variable}", option.help));
        }
    }
    text += "\nFlags are set in the environment by 1, true, on or yes. Everything that libpq reads from the\n\
             environment (PGHOST, PGPASSFILE, ...) counts as well.\n\
             \nExit codes:\n";
    for (code, meaning) in exit::ALL {
        text += &entry(&format!("  {code}"), meaning);
    }
    text
}

/// `  -D, --directory=DIR`
fn names(option: &Opt) -> String {
    let short = option.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let value = match option.kind {
        Kind::Value { name, .. } => format!("={name}"),
        Kind::Flag(_) | Kind::First(_) => String::new(),
    };
    format!("  {short}--{}{value}", option.long)
}

/// A name with its explanation beside it; below it where the name is too long.
pub(super) fn entry(name: &str, explanation: &str) -> String {
    let mut lines = wrap(explanation, WIDTH - COLUMN).into_iter();
    let mut text = match name.len() < COLUMN {
        true => format!("{name:COLUMN$}{}\n", lines.next().unwrap_or_default()),
        false => format!("{name}\n"),
    };
    for line in lines {
        text += &format!("{:COLUMN$}{line}\n", "");
    }
    text
}

/// Breaks `text` between words into lines of up to `width` characters; a longer word has a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::options;

    #[test]
    fn every_option_variable_and_exit_code_is_listed() {
        let text = help("wal-agent");
        let has_entry = |name: &str| text.lines().any(|line| line == name || line.starts_with(&format!("{name} ")));
        for option in options::all() {
            assert!(has_entry(&names(option)), "{}", option.long);
            assert!(option.env.is_none_or(|name| text.contains(&format!("[{name}]"))), "{}", option.long);
        }
        assert!(exit::ALL.iter().all(|(code, _)| has_entry(&format!("  {code}"))));
    }

    #[test]
    fn lines_are_no_longer_than_postgresql_allows() {
        for line in help("pg_receivewal").lines() {
            assert!(line.len() <= WIDTH && line.trim_end() == line, "{line:?}");
        }
    }

    #[test]
    fn explanations_stand_beside_or_below_names() {
        let words = "word ".repeat(20);
        let fourteen = ["word"; 14].join(" ");
        let six = ["word"; 6].join(" ");
        assert_eq!(entry("  -n", &words), format!("{:25}{fourteen}\n{:25}{six}\n", "  -n", ""));
        let long = "  -s, --status-interval=SECS";
        assert_eq!(entry(long, "text"), format!("{long}\n{:25}text\n", ""));
    }

    #[test]
    fn the_version_names_the_product() {
        assert_eq!(version(), concat!("wal-agent (WAL Replica) ", env!("CARGO_PKG_VERSION")));
    }
}
