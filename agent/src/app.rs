//! Puts the rooms together: what was typed becomes a receiver, and its end an exit code.

use crate::{
    cli::{self, Command, ConnectionOptions, FALLBACK_APPLICATION_NAME, Prompt, Receive, SlotAction, Verify},
    conninfo::{Conninfo, ConninfoError, Environment, Overrides, Warning},
    exit::Exit,
    logging,
    receiver::{Receiver, Settings, SlotJob, Stop, Stopper, act_on_slot},
    store::{Disk, Store},
    verify::{self, Verdict},
    wire::{Connection, Purpose},
};
use std::{
    ffi::OsString,
    io::{self, Write},
    sync::Arc,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs the program: `args` as the system gives them, the program's name first.
///
/// # Errors
/// Any outcome but success; the reason has been shown.
pub async fn run(args: impl IntoIterator<Item = OsString>) -> Result<(), Exit> {
    let invocation = cli::parse(args, |name| std::env::var_os(name)).map_err(|error| {
        let _ = writeln!(io::stderr(), "{error}");
        Exit::Failed
    })?;
    logging::init(&invocation.program, &invocation.logging);
    let signals = Signals::catch().map_err(failed("could not catch signals"))?;
    match invocation.command {
        Command::Help => show(&cli::help(&invocation.program)),
        Command::Version => show(&format!("{}\n", cli::version())),
        Command::Receive(receive) => signals.during(|stop| self::receive(receive, stop)).await,
        Command::CreateSlot(action) => {
            let job = SlotJob::Create { if_not_exists: action.if_not_exists };
            signals.during(|stop| slot(action, job, stop)).await
        }
        Command::VerifyHelp => show(&cli::verify_help(&invocation.program)),
        Command::Verify(verify) => signals.during(|stop| self::verify(verify, stop)).await,
        Command::DropSlot(action) => signals.during(|stop| slot(action, SlotJob::Drop, stop)).await,
    }
}

async fn receive(receive: Receive, stop: Stop) -> Result<(), Exit> {
    let Receive { connection, directory, slot, create_missing_slot, end_position, no_loop, status_interval, flush } =
        receive;
    // A directory that is not there is a mistake to report before anybody is bothered for a password.
    let disk = Disk::open(&directory).map_err(|error| {
        tracing::error!("{error}");
        Exit::Failed
    })?;
    let (source, conninfo) = Source::of(connection, &stop).await?;
    let settings = Settings { conninfo, slot, create_missing_slot, end_position, no_loop, status_interval, flush };
    let store = Store::spawn(Arc::new(disk), directory, flush).map_err(failed("could not start a thread"))?;
    Receiver::new(settings, store).renewing(move || Ok(source.read()?.0)).run(stop).await
}

async fn slot(action: SlotAction, job: SlotJob, mut stop: Stop) -> Result<(), Exit> {
    let (_, conninfo) = Source::of(action.connection, &stop).await?;
    tokio::select! {
        done = act_on_slot(&conninfo, &action.slot, job) => done.map_err(|trouble| {
            tracing::error!("{trouble}");
            Exit::Failed
        }),
        () = stop.requested() => Err(Exit::Failed),
    }
}

/// Offline, and read-only: a signal may end it at any time.
async fn verify(verify: Verify, mut stop: Stop) -> Result<(), Exit> {
    let Verify { directory, json } = verify;
    let looked = tokio::task::spawn_blocking(move || verify::verify(&directory).map_err(|error| (directory, error)));
    let report = tokio::select! {
        looked = looked => looked.map_err(|error| failed("could not verify")(error.into()))?,
        () = stop.requested() => return Err(Exit::Failed),
    };
    let report = report.map_err(|(directory, error)| {
        tracing::error!("could not read directory \"{}\": {error}", directory.display());
        Exit::Failed
    })?;
    show(&if json { format!("{}\n", report.json()) } else { report.text() })?;
    match report.verdict() {
        Verdict::Sound => Ok(()),
        Verdict::Unverified => Err(Exit::Unverified),
        Verdict::Hole => Err(Exit::Hole),
        Verdict::Damaged => Err(Exit::Damaged),
    }
}

/// The command line's part of the connection settings, and the password that a person typed if one had to.
#[derive(Clone)]
struct Source {
    dbname: Option<String>,
    overrides: Overrides,
}

impl Source {
    /// Puts the settings together; asks for a password where that is wanted.
    async fn of(options: ConnectionOptions, stop: &Stop) -> Result<(Self, Conninfo), Exit> {
        let ConnectionOptions { dbname, host, port, username: user, password_prompt } = options;
        let fallback_application_name = Some(FALLBACK_APPLICATION_NAME.to_owned());
        let overrides = Overrides { host, port, user, password: None, fallback_application_name };
        let mut source = Self { dbname, overrides };
        let malformed = |error| {
            tracing::error!("{error}");
            Exit::Failed
        };
        let (conninfo, warnings) = source.read().map_err(malformed)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let ask = match password_prompt {
            Prompt::Never => false,
            Prompt::Always => true,
            Prompt::Auto => has_terminal() && password_is_wanted(&conninfo, stop.clone()).await,
        };
        if !ask {
            return Ok((source, conninfo));
        }
        let typed = tokio::task::spawn_blocking(cli::prompt_password).await;
        source.overrides.password = Some(typed.map_err(io::Error::other).flatten().map_err(failed("no password"))?);
        let (conninfo, _) = source.read().map_err(malformed)?;
        Ok((source, conninfo))
    }

    /// Reads environment, service file and password file.
    fn read(&self) -> Result<(Conninfo, Vec<Warning>), ConninfoError> {
        Conninfo::resolve(self.dbname.as_deref(), &self.overrides, &Environment::from_process())
    }
}

/// Whether there is a terminal to ask at: in a pod there is none, and nothing is tried in vain.
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Whether the server asks for a password and none of the usual places has one.
async fn password_is_wanted(conninfo: &Conninfo, mut stop: Stop) -> bool {
    if conninfo.hosts.iter().all(|host| host.password.is_some()) {
        return false;
    }
    tokio::select! {
        tried = Connection::connect(conninfo, Purpose::Replication) => match tried {
            Ok(connection) => {
                connection.close().await;
                false
            }
            Err(error) => error.password_needed(),
        },
        () = stop.requested() => false,
    }
}

/// SIGINT and SIGTERM: the first asks for a clean end, the second ends at once.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn during<F: Future<Output = Result<(), Exit>>>(mut self, job: impl FnOnce(Stop) -> F) -> Result<(), Exit> {
        let (stopper, stop) = Stopper::new();
        let job = job(stop);
        tokio::pin!(job);
        tokio::select! {
            done = &mut job => return done,
            _ = self.next() => stopper.stop(),
        }
        tokio::select! {
            done = job => done,
            number = self.next() => Err(Exit::SecondSignal(number)),
        }
    }

    /// The number of the next signal. Cancel-safe.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

fn show(text: &str) -> Result<(), Exit> {
    io::stdout().write_all(text.as_bytes()).map_err(failed("could not write to stdout"))
}

/// Logs what went wrong, for `map_err`.
fn failed(what: &'static str) -> impl Fn(io::Error) -> Exit {
    move |error| {
        tracing::error!("{what}: {error}");
        Exit::Failed
    }
}
