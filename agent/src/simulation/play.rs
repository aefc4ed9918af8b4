//! Plays one run: agent after agent on the same directory, and in the end one for which nothing fails.

use super::{
    Shared,
    dice::Dice,
    disk::{Disk, Temper, faults},
    log::{SEGMENT, behind_header},
    oracle::Oracle,
    plan::{End, Plan},
    server::{Cluster, Server},
    trace::{Event, WANTED},
};
use crate::{
    exit::Exit,
    receiver::{Receiver, Stopper},
    store::{Store, memory::Memory},
    wire::testing::network,
};
use std::{
    future::{pending, poll_fn},
    path::PathBuf,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// A stop takes no longer than this.
const STOP: Duration = Duration::from_secs(5);
/// Once nothing fails any more, everything arrives within this: the longest backoff, the longest stall, and some more.
const RECOVERY: Duration = Duration::from_secs(180);

/// A run that held every invariant.
pub(super) struct Played {
    pub(super) digest: u64,
    pub(super) duration: Duration,
    pub(super) saw: [bool; WANTED.len()],
    pub(super) trace: String,
}

struct World {
    plan: Plan,
    dice: Dice,
    oracle: Shared<Oracle>,
    cluster: Shared<Cluster>,
    temper: Shared<Temper>,
    memory: Memory,
}

/// What became of an agent.
enum Outcome {
    Ended(Result<(), Exit>),
    PowerFailed,
    Killed,
}

/// # Errors
/// The first thing that must never happen and did, with what led to it.
pub(super) fn play(seed: u64) -> Result<Played, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut world = World::new(seed);
        world.run(seed).await;
        let oracle = world.oracle.lock();
        match oracle.violation() {
            None => Ok(Played {
                digest: oracle.trace.digest(),
                duration: oracle.trace.duration(),
                saw: oracle.trace.saw(),
                trace: oracle.trace.to_string(),
            }),
            Some(violation) => Err(format!("{violation}\n{:?}\n{}", world.plan, oracle.trace)),
        }
    })
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let plan = Plan::draw(&mut dice);
        let memory = Memory::default();
        let mut oracle = Oracle::new(memory.clone(), plan.base);
        (oracle.heartbeat, oracle.prompt) = (plan.heartbeat(), plan.is_prompt());
        let cluster = Cluster {
            dice: Dice::new(seed, "cluster"),
            end: plan.begin,
            most: plan.most,
            largest_commit: plan.largest_commit,
            slot: None,
            calm: false,
            up_at: Instant::now(),
            sender_timeout: plan.sender_timeout,
        };
        let (oracle, cluster, temper) = (Shared::new(oracle), Shared::new(cluster), Shared::new(plan.temper));
        if plan.fault_rate > 0 {
            memory.set_faults(Some(faults(plan.fault_rate, plan.weak, oracle.clone(), Dice::new(seed, "faults"))));
        }
        Self { plan, dice, oracle, cluster, temper, memory }
    }

    async fn run(&mut self, seed: u64) {
        let mut ends: Vec<Option<End>> = self.plan.ends.iter().copied().map(Some).collect();
        ends.push(None);
        for (number, end) in ends.into_iter().enumerate() {
            let dice = |whom| Dice::new(seed, &format!("{whom} {number}"));
            let outcome = self.live(end, dice("agent"), dice("disk")).await;
            if self.oracle.lock().violation().is_some() {
                return;
            }
            let crashes = match outcome {
                Outcome::PowerFailed => true,
                Outcome::Killed => false,
                Outcome::Ended(result) => {
                    let mut oracle = self.oracle.lock();
                    oracle.trace.note(Event::Ends(format!("{result:?}")));
                    if result.is_ok() {
                        oracle.stopped();
                    }
                    self.dice.one_in(2)
                }
            };
            if crashes {
                self.lose_power();
            }
        }
        // What arrived last, too, is safe.
        self.memory.crash(|| false);
        let mut oracle = self.oracle.lock();
        oracle.stopped();
    }

    fn lose_power(&mut self) {
        let odds = self.dice.pick(&[1, 2, 2, 8]);
        let reversed = self.dice.one_in(2);
        let dice = &mut self.dice;
        self.memory.crash(|| dice.one_in(odds) != reversed);
    }

    /// One agent from its start to its end; without an `end`, until everything has arrived with nothing failing any more.
    async fn live(&mut self, end: Option<End>, mut dice: Dice, disk: Dice) -> Outcome {
        self.oracle.lock().starts();
        let (store, hand) = Store::by_hand(Arc::new(self.memory.clone()), PathBuf::from("directory"), self.plan.flush);
        let mut disk = Disk::new(hand, &self.oracle, &self.temper, disk);
        let (mut server, network) = Server::new(&self.oracle, &self.cluster);
        let (stopper, stop) = Stopper::new();
        let receiver = Receiver::new(self.plan.settings(), store).seeded(dice.below(u64::MAX));
        let alarm = self.oracle.lock().alarm();

        let outcome = {
            let mut agent = pin!(network::with(network, receiver.run(stop)));
            let mut served = pin!(server.run());
            let mut worked = pin!(disk.run());
            let mut directed = pin!(self.direct(end, &stopper, &mut dice));
            tokio::select! {
                biased;
                () = alarm.notified() => Outcome::Killed,
                result = &mut agent => Outcome::Ended(result),
                () = &mut served => Outcome::Killed,
                () = &mut worked => Outcome::PowerFailed,
                outcome = &mut directed => outcome,
            }
        };
        match outcome {
            Outcome::Killed => disk.kill(),
            Outcome::PowerFailed => drop(disk),
            Outcome::Ended(result) => {
                let mut oracle = self.oracle.lock();
                if !oracle.stopping {
                    oracle.accuse(format!("the agent ended by itself: {result:?}"));
                } else if result.is_err() && oracle.prompt && !oracle.doubted {
                    oracle.accuse(format!("on a disk that works, a stop ended with {result:?}"));
                }
            }
        }
        outcome
    }

    /// Decides when this agent's life is over.
    async fn direct(&self, end: Option<End>, stopper: &Stopper, dice: &mut Dice) -> Outcome {
        let after = |time| sleep_until(Instant::now() + time);
        match end {
            Some(End::PowerAtOperation(operations)) => {
                self.memory.cut_power_after(operations as usize);
                pending().await
            }
            Some(End::PowerAfter(time)) => {
                after(time).await;
                self.oracle.lock().trace.note(Event::PowerFails);
                Outcome::PowerFailed
            }
            Some(End::KilledAfter(time)) => {
                after(time).await;
                self.oracle.lock().trace.note(Event::IsKilled);
                Outcome::Killed
            }
            Some(End::StoppedAfter(time)) => {
                after(time).await;
                self.stop(stopper).await
            }
            None => {
                after(Duration::from_millis(dice.below(20_000))).await;
                self.heal();
                self.recover().await;
                self.stop(stopper).await
            }
        }
    }

    async fn stop(&self, stopper: &Stopper) -> Outcome {
        {
            let mut oracle = self.oracle.lock();
            oracle.trace.note(Event::IsStopped);
            oracle.stopping = true;
        }
        stopper.stop();
        sleep_until(Instant::now() + STOP).await;
        self.oracle.lock().accuse(format!("the agent has not stopped within {STOP:?}"));
        Outcome::Killed
    }

    /// From now on nothing fails.
    fn heal(&self) {
        self.memory.set_faults(None);
        *self.temper.lock() = Temper::Prompt;
        let mut cluster = self.cluster.lock();
        (cluster.calm, cluster.up_at) = (true, Instant::now());
        // Something is still to come.
        cluster.end = behind_header(cluster.end + cluster.dice.between(1, SEGMENT));
    }

    /// Returns once the server has been told that everything is durable.
    async fn recover(&self) {
        // Whatever happens wakes this task, so this is looked at after each step.
        let arrived = poll_fn(|_| {
            let (end, acknowledged) = (self.cluster.lock().end, self.oracle.lock().acknowledged());
            if acknowledged >= end { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::select! {
            biased;
            () = arrived => {}
            () = sleep_until(Instant::now() + RECOVERY) => {
                let what = format!("after {RECOVERY:?} without a fault, not everything has arrived");
                self.oracle.lock().accuse(what);
            }
        }
    }
}
