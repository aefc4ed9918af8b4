//! The `wal-agent` program: a runtime with one thread for the protocol, and the exit code.

use std::process::ExitCode;
use wal_agent::{app, exit::Exit};

fn main() -> ExitCode {
    // One task owns the stream; files have threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(app::run(std::env::args_os()));
            // A disk or a resolver that hangs must not keep the process.
            runtime.shutdown_background();
            outcome
        }
        Err(_) => Err(Exit::Failed),
    };
    match outcome {
        Ok(()) => Exit::Done.into(),
        Err(code) => code.into(),
    }
}
