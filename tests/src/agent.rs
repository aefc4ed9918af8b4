//! The `wal-agent` under test, and `xtask` itself where it has to run as it is measured: each built once per process,
//! from this checkout.

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
    /// Optimised: for what is shown.
    Release,
    /// As it is shipped, optimised and static: for what is measured. The C library is this machine's.
    Shipped,
}

/// A program of this workspace: its name, its package, and what was built of it in each profile.
struct Program {
    name: &'static str,
    package: &'static str,
    built: [OnceLock<std::result::Result<PathBuf, String>>; 3],
}

/// The agent's program: `WAL_AGENT_BIN` if that is set, else what cargo builds from this checkout.
///
/// # Errors
/// It does not compile: then the error holds all that cargo said.
pub fn binary(profile: Profile) -> Result<PathBuf> {
    static AGENT: Program = Program::new("wal-agent", "wal-agent");
    match std::env::var_os("WAL_AGENT_BIN") {
        Some(path) => Ok(path.into()),
        None => AGENT.path(profile),
    }
}

/// `xtask` in that profile, for what has to be as fast as the agent while the command that runs is a debug build.
///
/// # Errors
/// As for [`binary`].
pub fn xtask(profile: Profile) -> Result<PathBuf> {
    static XTASK: Program = Program::new("xtask", "wal-replica-tests");
    XTASK.path(profile)
}

/// Where cargo builds: this program lies in `<target>/<profile>/` or, if it is a test, in `<target>/<profile>/deps/`.
///
/// # Errors
/// It lies elsewhere.
pub fn target_dir() -> Result<PathBuf> {
    let own = std::env::current_exe().context("where is this program?")?;
    let target = own.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).and_then(|dir| dir.parent());
    Ok(target.context("this program lies in no target directory")?.to_owned())
}

impl Program {
    const fn new(name: &'static str, package: &'static str) -> Self {
        Self { name, package, built: [OnceLock::new(), OnceLock::new(), OnceLock::new()] }
    }

    fn path(&self, profile: Profile) -> Result<PathBuf> {
        let build = || self.build(profile).map_err(|error| format!("{error:#}"));
        self.built[profile as usize].get_or_init(build).clone().map_err(anyhow::Error::msg)
    }

    fn build(&self, profile: Profile) -> Result<PathBuf> {
        let target = target_dir()?;
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet"]);
        cargo.args(["--package", self.package, "--bin", self.name]).arg("--target-dir").arg(&target);
        // What cargo tells the program that it runs, this one: build scripts that look at it would run, and everything
        // after them be compiled, again and again.
        for (name, _) in std::env::vars_os() {
            let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"];
            if prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                cargo.env_remove(name);
            }
        }
        let place = match profile {
            Profile::Dev => "debug".into(),
            Profile::Release => {
                cargo.arg("--release");
                "release".into()
            }
            Profile::Shipped => {
                let triple = host_triple()?;
                // With a target named, the flag is for the program and not for what runs at build time.
                cargo.args(["--release", "--target", &triple]).env("RUSTFLAGS", "-C target-feature=+crt-static");
                format!("{triple}/release")
            }
        };
        process::run(&mut cargo)?;
        let binary = target.join(place).join(self.name);
        ensure!(binary.is_file(), "cargo built no {}", binary.display());
        Ok(binary)
    }
}

fn host_triple() -> Result<String> {
    let text = process::run(Command::new("rustc").arg("-vV"))?;
    let triple = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(triple.context("rustc does not say its host")?.to_owned())
}
