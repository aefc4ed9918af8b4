//! The `wal-agent` under test: built once per process, from this checkout.

use crate::process;
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// How the agent is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As `cargo build` does: for tests.
    Dev,
    /// As it is shipped: for what is measured.
    Release,
}

/// The agent's program: `WAL_AGENT_BIN` if that is set, else what cargo builds from this checkout.
///
/// # Errors
/// It does not compile: then the error holds all that cargo said.
pub fn binary(profile: Profile) -> Result<PathBuf> {
    static BUILT: [OnceLock<std::result::Result<PathBuf, String>>; 2] = [OnceLock::new(), OnceLock::new()];
    if let Some(path) = std::env::var_os("WAL_AGENT_BIN") {
        return Ok(path.into());
    }
    let built = BUILT[profile as usize].get_or_init(|| build(profile).map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn build(profile: Profile) -> Result<PathBuf> {
    // This program lies in <target>/<profile>/ or, if it is a test, in <target>/<profile>/deps/.
    let own = std::env::current_exe().context("where is this program?")?;
    let target = own.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).and_then(|dir| dir.parent());
    let target = target.context("this program lies in no target directory")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--package", "wal-agent"]);
    cargo.arg("--target-dir").arg(target);
    // What cargo tells the program that it runs, this one: build scripts that look at it would run, and everything after
    // them be compiled, again and again.
    for (name, _) in std::env::vars_os() {
        let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"];
        if prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    let place = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            cargo.arg("--release");
            "release"
        }
    };
    process::run(&mut cargo)?;
    let binary = target.join(place).join("wal-agent");
    ensure!(binary.is_file(), "cargo built no {}", binary.display());
    Ok(binary)
}
