//! Takes the store's turns and does its work, each when chance says so: the threads of the simulated agent, and its disk.

use super::{Shared, dice::Dice, oracle::Oracle, trace::Event};
use crate::store::{
    Hand, HandTask,
    memory::{Faults, Memory, Moment, Op},
};
use std::{future::poll_fn, io::ErrorKind, task::Poll, time::Duration};
use tokio::time::{Instant, sleep_until};

/// As many as the engine has.
const THREADS: usize = 3;

/// What the agent prepares for the next segment, until that needs it.
const SPARE: &str = ".wal-agent/spare";

/// How often what a disk is weak at fails.
const WEAK: u64 = 6;

/// How a disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Temper {
    /// A few milliseconds for everything.
    Prompt,
    /// Up to seconds for a flush.
    Slow,
    /// Now and then it hangs for seconds.
    Stalls,
    /// It does so often, also where files are written.
    Hangs,
}

pub(super) struct Disk {
    hand: Hand,
    memory: Memory,
    oracle: Shared<Oracle>,
    temper: Shared<Temper>,
    dice: Dice,
    under_way: Vec<UnderWay>,
}

/// What a thread is at.
struct UnderWay {
    task: HandTask,
    began: Moment,
    returns: Instant,
}

impl Disk {
    pub(super) fn new(hand: Hand, oracle: &Shared<Oracle>, temper: &Shared<Temper>, dice: Dice) -> Self {
        let memory = oracle.lock().memory.clone();
        Self { hand, memory, oracle: oracle.clone(), temper: temper.clone(), dice, under_way: Vec::new() }
    }

    /// Runs until power fails.
    pub(super) async fn run(&mut self) {
        loop {
            self.take_up();
            let next = (0..self.under_way.len()).min_by_key(|&index| self.under_way[index].returns);
            let Some(next) = next else {
                // Whatever wakes this task may have brought a job.
                poll_fn(|_| if self.take_up() { Poll::Ready(()) } else { Poll::Pending }).await;
                continue;
            };
            let returns = self.under_way[next].returns;
            if returns > Instant::now() {
                let mut time = std::pin::pin!(sleep_until(returns));
                poll_fn(|cx| if self.take_up() { Poll::Ready(()) } else { time.as_mut().poll(cx) }).await;
                continue;
            }
            self.perform(next);
            if self.memory.is_dead() {
                return self.oracle.lock().trace.note(Event::PowerFails);
            }
            // The agent may hear of it before anything else happens, or not.
            if self.dice.one_in(2) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// The process is killed: what its threads are at happens or not.
    pub(super) fn kill(mut self) {
        while !self.under_way.is_empty() {
            if self.dice.one_in(2) {
                self.perform(0);
            } else {
                self.under_way.remove(0);
            }
        }
    }

    fn take_up(&mut self) -> bool {
        if self.under_way.len() == THREADS {
            return false;
        }
        let Some(task) = self.hand.take() else { return false };
        let delay = self.delay(task.is_turn());
        self.under_way.push(UnderWay { task, began: self.memory.moment(), returns: Instant::now() + delay });
        true
    }

    fn delay(&mut self, is_turn: bool) -> Duration {
        let temper = *self.temper.lock();
        let odds = match temper {
            Temper::Hangs => 25,
            _ if is_turn => 200,
            _ => 8,
        };
        let most = match temper {
            Temper::Prompt => 3,
            Temper::Stalls | Temper::Hangs if self.dice.one_in(odds) => {
                let stall = self.dice.between(200, 12_000);
                self.oracle.lock().trace.note(Event::DiskStalls { milliseconds: stall });
                return Duration::from_millis(stall);
            }
            Temper::Slow if !is_turn => return Duration::from_millis(self.dice.between(1, 1500)),
            _ => 20,
        };
        if self.dice.one_in(3) { Duration::ZERO } else { self.dice.duration(Duration::from_millis(most)) }
    }

    fn perform(&mut self, index: usize) {
        let UnderWay { task, began, .. } = self.under_way.remove(index);
        let event = if task.is_turn() { Event::DiskTurns } else { Event::DiskWorks };
        // A sync need not cover what was written after it began.
        self.memory.syncs_began((!task.is_turn()).then_some(began));
        let spare = self.memory.born(SPARE);
        self.hand.perform(task);
        self.memory.syncs_began(None);
        let became = |name: &&String| spare.is_some() && self.memory.born(name) == spare;
        let names = self.memory.names();
        let segment = names.iter().find(became).filter(|name| *name != SPARE);
        let mut oracle = self.oracle.lock();
        oracle.trace.note(event);
        if let Some(segment) = segment {
            oracle.spare_is_used(segment);
        }
        oracle.listen();
        if self.dice.one_in(16) && !self.memory.is_dead() {
            oracle.look_everywhere();
        }
    }
}

/// One operation in `rate` fails, and one in [`WEAK`] of the `weak` ones.
pub(super) fn faults(rate: u64, weak: &'static [Op], oracle: Shared<Oracle>, mut dice: Dice) -> Faults {
    Box::new(move |op| {
        let rate = if weak.contains(&op) { rate.min(WEAK) } else { rate };
        let kinds: &[ErrorKind] = match op {
            Op::Create | Op::Write => &[ErrorKind::StorageFull, ErrorKind::Other],
            Op::Reserve => &[ErrorKind::StorageFull, ErrorKind::Unsupported],
            _ => &[ErrorKind::Other],
        };
        dice.one_in(rate).then(|| {
            oracle.lock().trace.note(Event::Fails(op));
            dice.pick(kinds)
        })
    })
}
