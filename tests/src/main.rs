//! `cargo xtask`: the commands of this workspace.

mod xtask;

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::main(std::env::args().skip(1).collect())
}
