//! A server that is none: PostgreSQL's part of the replication protocol up to a chosen step, and there whatever bytes a
//! scenario wants. For what no real server does.

mod message;

pub use message::{data, message, one_row, report, wal};

use anyhow::Result;
use message::{AUTHENTICATION_OK, COPY_BOTH, complete, copy_done, parameter, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use wal_agent::wal::Lsn;

/// Far more than a client should ever hold.
const FLOOD: usize = 80 << 20;

/// What a server answers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An SSLRequest.
    Encryption,
    /// The startup packet.
    Startup,
    /// A password: it is asked for in clear text.
    Password,
    /// IDENTIFY_SYSTEM
    Identify,
    /// SHOW
    Show,
    /// TIMELINE_HISTORY
    History,
    /// READ_REPLICATION_SLOT
    Slot,
    /// START_REPLICATION
    Start,
    /// The stream: what follows [`Script::stream`].
    Stream,
    /// The client's CopyDone, after the server's.
    StreamEnd,
}

/// What a server does at a step instead of what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// It sends this…
    pub bytes: Vec<u8>,
    /// …and then does this.
    pub then: Then,
}

/// How a fault goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// The server hangs up.
    Close,
    /// The server does nothing more.
    Hang,
    /// The server sends this again and again, 80 MB of it unless the client leaves. Then it hangs up.
    Repeat(Vec<u8>),
}

/// What a server says about itself, and where it goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// `server_version`
    pub version: String,
    /// `integer_datetimes`
    pub integer_datetimes: String,
    /// The system identifier.
    pub system: String,
    /// The present timeline.
    pub timeline: u32,
    /// The end of its WAL.
    pub flushed: Lsn,
    /// The database that the connection belongs to: none, if it is one for replication.
    pub database: Option<String>,
    /// `wal_segment_size`
    pub segment_size: String,
    /// The name and content of the history file that it gives.
    pub history: (String, Vec<u8>),
    /// What it sends when streaming has begun.
    pub stream: Vec<u8>,
    /// The timeline ends behind `stream`; the next one, and where it begins.
    pub next_timeline: Option<(String, String)>,
    /// Where it goes wrong.
    pub fault: Option<(Step, Fault)>,
}

/// Who serves a connection.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// A script.
    Scripted(Box<Script>),
    /// Another server, to which all bytes are passed on.
    Forward(SocketAddr),
}

/// A listening server. It ends when this is dropped.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Default for Script {
    /// A PostgreSQL 17 on timeline 1 with segments of 16 MB, at the beginning of its third.
    fn default() -> Self {
        Self {
            version: "17.5".into(),
            integer_datetimes: "on".into(),
            system: "7000000000000000001".into(),
            timeline: 1,
            flushed: Lsn::new(0x0300_0000),
            database: None,
            segment_size: "16MB".into(),
            history: ("00000002.history".into(), b"1\t0/2000000\tno reason\n".to_vec()),
            stream: Vec::new(),
            next_timeline: None,
            fault: None,
        }
    }
}

impl Script {
    /// The same, going wrong at `step`.
    #[must_use]
    pub fn fault(self, step: Step, bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        Self { fault: Some((step, Fault { bytes: bytes.into(), then })), ..self }
    }

    /// What it answers to a command, if it goes right.
    pub fn answer(&self, sql: &str) -> Vec<u8> {
        let timeline = self.timeline.to_string();
        let row = match sql {
            "IDENTIFY_SYSTEM" => one_row(&[
                Some(self.system.as_bytes()),
                Some(timeline.as_bytes()),
                Some(self.flushed.to_string().as_bytes()),
                self.database.as_deref().map(str::as_bytes),
            ]),
            "SHOW data_directory_mode" => one_row(&[Some(b"0700")]),
            "SHOW wal_segment_size" => one_row(&[Some(self.segment_size.as_bytes())]),
            "SHOW wal_sender_timeout" => one_row(&[Some(b"1min")]),
            sql if sql.starts_with("TIMELINE_HISTORY") => {
                one_row(&[Some(self.history.0.as_bytes()), Some(&self.history.1)])
            }
            sql if sql.starts_with("READ_REPLICATION_SLOT") => one_row(&[Some(b"physical"), None, None]),
            sql => return [report(b'E', "ERROR", "42601", &format!("no script for {sql}")), ready()].concat(),
        };
        [row, complete("SELECT"), ready()].concat()
    }

    /// What it answers to the startup packet, if it goes right.
    pub fn welcome(&self) -> Vec<u8> {
        [
            message(b'R', &AUTHENTICATION_OK),
            parameter("server_version", &self.version),
            parameter("integer_datetimes", &self.integer_datetimes),
            message(b'K', &[0; 8]),
            ready(),
        ]
        .concat()
    }
}

impl Scripted {
    /// Listens. `behave` says who serves a connection, which are counted from 0.
    ///
    /// # Errors
    /// The system has no port.
    pub async fn start(behave: impl Fn(usize) -> Behaviour + Send + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepted = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let behaviour = behave(count.fetch_add(1, Ordering::Relaxed));
                // How a connection ends is the client's to judge.
                tokio::spawn(async move { drop(serve(stream, behaviour).await) });
            }
        });
        Ok(Self { address, accepted, task })
    }

    /// A server that follows one script for ever.
    ///
    /// # Errors
    /// As [`Scripted::start`].
    pub async fn always(script: Script) -> Result<Self> {
        Self::start(move |_| Behaviour::Scripted(Box::new(script.clone()))).await
    }

    /// A connection string for it.
    pub fn conninfo(&self) -> String {
        format!("host={} port={} user=tester sslmode=disable", self.address.ip(), self.address.port())
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, behaviour: Behaviour) -> Result<()> {
    match behaviour {
        Behaviour::Forward(server) => {
            copy_bidirectional(&mut stream, &mut TcpStream::connect(server).await?).await?;
        }
        Behaviour::Scripted(script) => Peer { stream, script: *script }.serve().await?,
    }
    Ok(())
}

struct Peer {
    stream: TcpStream,
    script: Script,
}

impl Peer {
    async fn serve(mut self) -> Result<()> {
        const SSL_REQUEST: &[u8] = &80_877_103_i32.to_be_bytes();
        if self.read().await? == SSL_REQUEST {
            self.answer(Step::Encryption, b"N".to_vec()).await?;
            self.read().await?;
        }
        if self.script.fault.as_ref().is_some_and(|(step, _)| *step == Step::Password) {
            self.stream.write_all(&message(b'R', &3_i32.to_be_bytes())).await?;
            self.read_message().await?;
            self.answer(Step::Password, Vec::new()).await?;
        }
        self.answer(Step::Startup, self.script.welcome()).await?;
        loop {
            let (tag, body) = self.read_message().await?;
            match tag {
                b'Q' => self.command(String::from_utf8_lossy(&body).trim_end_matches('\0')).await?,
                b'c' => {
                    let end = match &self.script.next_timeline {
                        Some((timeline, start)) => one_row(&[Some(timeline.as_bytes()), Some(start.as_bytes())]),
                        None => copy_done(),
                    };
                    let end = [end, complete("START_REPLICATION"), ready()].concat();
                    self.answer(Step::StreamEnd, end).await?;
                }
                b'X' => return Ok(()),
                _ => {}
            }
        }
    }

    async fn command(&mut self, sql: &str) -> Result<()> {
        let step = match sql.split(' ').next() {
            Some("IDENTIFY_SYSTEM") => Step::Identify,
            Some("SHOW") => Step::Show,
            Some("TIMELINE_HISTORY") => Step::History,
            Some("READ_REPLICATION_SLOT") => Step::Slot,
            _ => Step::Start,
        };
        if !sql.starts_with("START_REPLICATION") {
            return self.answer(step, self.script.answer(sql)).await;
        }
        self.answer(Step::Start, message(b'W', COPY_BOTH)).await?;
        let done = self.script.next_timeline.as_ref().map(|_| copy_done()).unwrap_or_default();
        let stream = [std::mem::take(&mut self.script.stream), done].concat();
        self.stream.write_all(&stream).await?;
        self.answer(Step::Stream, Vec::new()).await
    }

    /// Sends `right`, or goes wrong.
    async fn answer(&mut self, step: Step, right: Vec<u8>) -> Result<()> {
        let Some((_, Fault { bytes, then })) = self.script.fault.take_if(|(at, _)| *at == step) else {
            return Ok(self.stream.write_all(&right).await?);
        };
        self.stream.write_all(&bytes).await?;
        match then {
            Then::Close => self.stream.shutdown().await?,
            Then::Hang => {}
            Then::Repeat(unit) => {
                let many = unit.repeat(65_536 / unit.len().max(1) + 1);
                for _ in 0..=FLOOD / many.len().max(1) {
                    self.stream.write_all(&many).await?;
                }
                self.stream.shutdown().await?;
            }
        }
        // Until the client leaves; a reset would take away what it has not read yet.
        tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await?;
        anyhow::bail!("the script has ended")
    }

    async fn read(&mut self) -> Result<Vec<u8>> {
        let length = self.stream.read_u32().await?;
        let mut body = vec![0; (length as usize).saturating_sub(4)];
        self.stream.read_exact(&mut body).await?;
        Ok(body)
    }

    async fn read_message(&mut self) -> Result<(u8, Vec<u8>)> {
        Ok((self.stream.read_u8().await?, self.read().await?))
    }
}
