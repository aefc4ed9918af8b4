//! A scripted PostgreSQL: what it says is true of the log, when it says it and how long it lives is chance.
//!
//! This file is the cluster and its commands; [`super::walsender`] streams.

use super::{
    Shared,
    dice::Dice,
    log::{self, Log, SEGMENT, SERVER_VERSION, behind_header},
    oracle::Oracle,
    pipe::{Pipe, Said},
    tap::{self, Marks},
    trace::Event,
};
use crate::wire::testing::{
    complete, message,
    network::{AnySocket, Network},
    one_row, parameter, ready, report,
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::DuplexStream,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::Instant,
};

/// What a receiver sees of a cluster, whichever of its servers it reaches.
pub(super) struct Cluster {
    pub(super) dice: Dice,
    /// The end of the latest timeline.
    pub(super) end: u64,
    /// It grows no further.
    pub(super) most: u64,
    /// As much as one transaction writes.
    pub(super) largest_commit: u64,
    /// From where the slot holds WAL, once there is one.
    pub(super) slot: Option<u64>,
    /// Nothing goes wrong any more.
    pub(super) calm: bool,
    /// Nobody listens until then.
    pub(super) up_at: Instant,
    /// `wal_sender_timeout`
    pub(super) sender_timeout: Duration,
}

impl Cluster {
    pub(super) fn promote(&mut self, oracle: &mut Oracle, switch: u64) {
        let divergent = oracle.acknowledged() > switch;
        oracle.log.promote(switch);
        oracle.trace.note(Event::Promotes { timeline: oracle.log.timeline(), switch, divergent });
        self.slot = self.slot.map(|restart| restart.min(switch));
        self.end = behind_header(switch + self.dice.below(SEGMENT / 4));
    }

    /// Another server becomes the primary: perhaps one that lacks what the agent has already.
    fn fail_over(&mut self, oracle: &mut Oracle) {
        let latest = oracle.log.begin(oracle.log.timeline()).max(behind_header(oracle.base + 1));
        let switch = match self.dice.below(3) {
            0 => self.end,
            1 => self.end - self.end % SEGMENT,
            _ => behind_header(self.end.saturating_sub(self.dice.below(SEGMENT))),
        };
        self.promote(oracle, switch.max(latest));
    }
}

/// The server's end of the network.
pub(super) struct Server {
    pub(super) oracle: Shared<Oracle>,
    pub(super) cluster: Shared<Cluster>,
    arrivals: UnboundedReceiver<(DuplexStream, Marks)>,
}

impl Server {
    /// A server, and the network in which it is reached.
    pub(super) fn new(oracle: &Shared<Oracle>, cluster: &Shared<Cluster>) -> (Self, Network) {
        let (sender, arrivals) = mpsc::unbounded_channel();
        let network = network(oracle.clone(), cluster.clone(), sender);
        (Self { oracle: oracle.clone(), cluster: cluster.clone(), arrivals }, network)
    }

    /// Serves one connection after the other, for ever.
    pub(super) async fn run(&mut self) {
        while let Some((stream, marks)) = self.arrivals.recv().await {
            {
                let (mut cluster, mut oracle) = (self.cluster.lock(), self.oracle.lock());
                if !cluster.calm && oracle.log.timeline() < 5 && cluster.dice.one_in(10) {
                    cluster.fail_over(&mut oracle);
                }
            }
            let breaks_after = {
                let mut cluster = self.cluster.lock();
                let breaks = !cluster.calm && cluster.dice.one_in(3);
                breaks.then(|| cluster.dice.duration(Duration::from_micros(3 * SEGMENT)).as_micros() as u64)
            };
            let mut session = Session {
                pipe: Pipe::new(stream, marks, breaks_after),
                oracle: self.oracle.clone(),
                cluster: self.cluster.clone(),
            };
            // An error is a connection that broke, and that is all that there is to it.
            let _ = session.run().await;
            self.oracle.lock().server_leaves();
        }
    }
}

fn network(
    oracle: Shared<Oracle>,
    cluster: Shared<Cluster>,
    sender: UnboundedSender<(DuplexStream, Marks)>,
) -> Network {
    Arc::new(move || {
        let accepted = cluster.lock().up_at <= Instant::now();
        oracle.lock().trace.note(Event::Dials { accepted });
        let (tap, server, marks) = tap::connection(&oracle);
        if !accepted || sender.send((server, marks)).is_err() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(Box::new(tap) as Box<dyn AnySocket>)
    })
}

/// One walsender.
pub(super) struct Session {
    pub(super) pipe: Pipe,
    pub(super) oracle: Shared<Oracle>,
    pub(super) cluster: Shared<Cluster>,
}

impl Session {
    async fn run(&mut self) -> io::Result<()> {
        self.pipe.hear_startup().await?;
        if self.chance(30) {
            return self.pipe.send(&report(b'E', "FATAL", "57P03", "the database system is starting up")).await;
        }
        let parameters = [parameter("server_version", SERVER_VERSION), parameter("integer_datetimes", "on")].concat();
        let welcome = [message(b'R', &[0; 4]), parameters, message(b'K', &[0; 8]), ready()].concat();
        self.pipe.send(&welcome).await?;
        loop {
            match self.pipe.hear().await? {
                Said::Query(sql) => self.answer(&sql).await?,
                Said::Goodbye => return Ok(()),
                Said::Status { .. } | Said::CopyDone => {}
            }
        }
    }

    /// Whether something goes wrong that does so once in `times`.
    pub(super) fn chance(&self, times: u64) -> bool {
        let mut cluster = self.cluster.lock();
        !cluster.calm && cluster.dice.one_in(times)
    }

    async fn answer(&mut self, sql: &str) -> io::Result<()> {
        self.oracle.lock().trace.note(Event::Asks(sql.to_owned()));
        let words: Vec<&str> = sql.split_whitespace().collect();
        let rows = match words[..] {
            ["START_REPLICATION", "SLOT", _, from, "TIMELINE", timeline] => {
                let from = from.parse::<crate::wal::Lsn>().expect("the agent writes positions").get();
                return self.stream(timeline.parse().expect("the agent writes timelines"), from).await;
            }
            ["SHOW", name] => one_row(&[(name, Some(&self.setting(name)))]),
            ["IDENTIFY_SYSTEM"] => self.identify(),
            ["TIMELINE_HISTORY", timeline] => {
                let timeline = timeline.parse().expect("the agent writes timelines");
                let content = self.oracle.lock().log.history(timeline);
                one_row(&[("filename", Some(&format!("{timeline:08X}.history"))), ("content", Some(&content))])
            }
            ["READ_REPLICATION_SLOT", _] => self.slot(),
            ["CREATE_REPLICATION_SLOT", ..] => {
                let base = self.oracle.lock().base;
                self.cluster.lock().slot = Some(base);
                one_row(&[("slot_name", Some("sim"))])
            }
            _ => panic!("a command that no receiver sends: {sql}"),
        };
        self.pipe.send(&[rows, complete("SELECT 1"), ready()].concat()).await
    }

    fn setting(&self, name: &str) -> String {
        match name {
            "data_directory_mode" => "0700".to_owned(),
            "wal_segment_size" => "1MB".to_owned(),
            "wal_sender_timeout" => {
                format!("{}ms", self.cluster.lock().sender_timeout.as_millis())
            }
            _ => panic!("a setting that no receiver needs: {name}"),
        }
    }

    fn identify(&self) -> Vec<u8> {
        let timeline = self.oracle.lock().log.timeline().to_string();
        let end = position(self.cluster.lock().end);
        let system = log::SYSTEM.to_string();
        one_row(&[
            ("systemid", Some(system.as_str())),
            ("timeline", Some(timeline.as_str())),
            ("xlogpos", Some(end.as_str())),
            ("dbname", None),
        ])
    }

    fn slot(&self) -> Vec<u8> {
        let restart = self.cluster.lock().slot;
        let Some(restart) = restart else {
            return one_row(&[("slot_type", None), ("restart_lsn", None), ("restart_tli", None)]);
        };
        let timeline = timeline_at(&self.oracle.lock().log, restart).to_string();
        let restart = position(restart);
        one_row(&[
            ("slot_type", Some("physical")),
            ("restart_lsn", Some(restart.as_str())),
            ("restart_tli", Some(timeline.as_str())),
        ])
    }
}

pub(super) fn position(lsn: u64) -> String {
    crate::wal::Lsn::new(lsn).to_string()
}

fn timeline_at(log: &Log, lsn: u64) -> u32 {
    (1..=log.timeline()).find(|&timeline| log.end(timeline).is_none_or(|end| lsn < end)).unwrap_or(1)
}
