//! What a seed decides before anything happens.

use super::{
    dice::Dice,
    disk::Temper,
    log::{HEADER, SEGMENT},
};
use crate::{
    conninfo::{Endpoint, Host},
    receiver::Settings,
    store::{FlushMode, memory::Op},
    wire::testing::conninfo,
};
use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Where the first stream begins: a segment's first byte.
    pub(super) base: u64,
    /// How much WAL there is in the beginning.
    pub(super) begin: u64,
    /// How much there will be.
    pub(super) most: u64,
    /// As much as one transaction writes.
    pub(super) largest_commit: u64,
    pub(super) flush: FlushMode,
    pub(super) status_interval: Option<Duration>,
    pub(super) sender_timeout: Duration,
    pub(super) temper: Temper,
    /// One operation of the disk in so many fails; 0: none.
    pub(super) fault_rate: u64,
    /// If any does, these do more often than others.
    pub(super) weak: &'static [Op],
    /// How agents end, before the last one; that lives to see that nothing fails any more.
    pub(super) ends: Vec<End>,
}

/// How an agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Power fails in the middle of whatever the disk does.
    PowerAtOperation(u64),
    PowerAfter(Duration),
    /// The process dies, the machine lives on.
    KilledAfter(Duration),
    StoppedAfter(Duration),
}

impl Plan {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let seconds = Duration::from_secs;
        let life = |dice: &mut Dice| {
            let most = 1 << dice.between(3, 15);
            Duration::from_millis(dice.below(most))
        };
        let end = |dice: &mut Dice| match dice.below(5) {
            0 | 1 => {
                let most = 1 << dice.between(3, 9);
                End::PowerAtOperation(dice.below(most))
            }
            2 => End::PowerAfter(life(dice)),
            3 => End::KilledAfter(life(dice)),
            _ => End::StoppedAfter(life(dice)),
        };
        // Now and then more than the agent keeps in memory.
        let flood = dice.one_in(8);
        let most = if flood { 12 * SEGMENT } else { dice.below(4 * SEGMENT) };
        // A quiet server, with whom the agent has caught up before the segment ends.
        let quiet = !flood && dice.one_in(3);
        // Some segments' numbers need the middle part of their name.
        let base = SEGMENT * dice.pick(&[1, 3, 4094]);
        Self {
            base,
            begin: base
                + if flood {
                    most
                } else if quiet {
                    SEGMENT * 3 / 4
                } else {
                    HEADER
                },
            most: base + most.max(2 * SEGMENT),
            largest_commit: if quiet { 100_000 } else { SEGMENT },
            flush: dice.pick(&[FlushMode::Synchronous, FlushMode::Asynchronous]),
            status_interval: dice.pick(&[None, Some(seconds(1)), Some(seconds(10))]),
            sender_timeout: dice.pick(&[Duration::ZERO, Duration::from_millis(1500), seconds(5), seconds(60)]),
            temper: if flood { Temper::Hangs } else { dice.pick(&[Temper::Prompt, Temper::Slow, Temper::Stalls]) },
            fault_rate: dice.pick(&[0, 0, 300, 40]),
            weak: dice.pick(&[
                &[],
                &[Op::Write, Op::Sync],
                &[Op::Write, Op::Sync],
                &[Op::Rename, Op::SyncDirectory],
                &[Op::Create, Op::Reserve],
            ]),
            ends: (0..dice.between(0, 4)).map(|_| end(dice)).collect(),
        }
    }

    /// The longest silence that the server is promised.
    pub(super) fn heartbeat(&self) -> Option<Duration> {
        let third = Some(self.sender_timeout / 3).filter(|third| !third.is_zero());
        [self.status_interval, third].into_iter().flatten().min()
    }

    /// Whether the disk always answers soon.
    pub(super) fn is_prompt(&self) -> bool {
        self.temper == Temper::Prompt && self.fault_rate == 0
    }

    pub(super) fn settings(&self) -> Settings {
        let mut conninfo = conninfo(&[]);
        conninfo.hosts = vec![Host { endpoint: Endpoint::Unix("/simulated".into()), port: 5432, password: None }];
        Settings {
            conninfo,
            slot: Some("sim".to_owned()),
            create_missing_slot: true,
            end_position: None,
            no_loop: false,
            status_interval: self.status_interval,
            flush: self.flush,
        }
    }
}
