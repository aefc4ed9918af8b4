//! The agent as a library inside the test's process, for scenarios that give it a file system of their own.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use wal_agent::conninfo::{Conninfo, Environment, Overrides};
use wal_agent::exit::Exit;
use wal_agent::receiver::{Receiver, Settings, Stop, Stopper};
use wal_agent::store::{FileSystem, FlushMode, Store};

/// An agent at work on a thread of its own, as in its own program. Dropping it asks it to stop.
#[derive(Debug)]
pub struct Embedded {
    stopper: Stopper,
    ended: oneshot::Receiver<Result<(), Exit>>,
}

impl Embedded {
    /// Streams from `conninfo` into `fs`, which stands for `directory`.
    ///
    /// # Errors
    /// The connection string is refused, or the system has no thread left.
    pub fn start(conninfo: &str, fs: Arc<dyn FileSystem>, directory: &Path, flush: FlushMode) -> Result<Self> {
        // No variable of the caller's, and no password file.
        let environment = Environment::new(Vec::<(String, String)>::new());
        let (conninfo, warnings) = Conninfo::resolve(Some(conninfo), &Overrides::default(), &environment)?;
        ensure!(warnings.is_empty(), "{warnings:?}");
        let settings = Settings {
            conninfo,
            slot: None,
            create_missing_slot: false,
            end_position: None,
            no_loop: false,
            status_interval: Some(Duration::from_secs(10)),
            flush,
        };
        let store = Store::spawn(fs, directory.to_owned(), flush)?;
        let (stopper, stop) = Stopper::new();
        let (tell, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("agent".into()).spawn(move || {
            let outcome = runtime.block_on(run(Receiver::new(settings, store), stop));
            runtime.shutdown_background();
            // The test may have ended.
            let _ = tell.send(outcome);
        })?;
        Ok(Self { stopper, ended })
    }

    /// Asks it to stop, as SIGTERM does, and waits until it has: how its program would have ended.
    ///
    /// # Errors
    /// It takes longer than `deadline`.
    pub async fn stop(mut self, deadline: Duration) -> Result<Result<(), Exit>> {
        self.stopper.stop();
        let ended = tokio::time::timeout(deadline, &mut self.ended).await;
        ended.with_context(|| format!("the agent still runs after {deadline:?}"))?.context("the agent panicked")
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

async fn run(receiver: Receiver, stop: Stop) -> Result<(), Exit> {
    receiver.run(stop).await
}
