//! A directory in memory that can fail and crash: the file system's double for tests.
//!
//! What was written is lost in a crash unless it was synced, sector by sector; so is a name unless its directory was
//! synced. A failed `sync` behaves as Linux does: the pages count as clean although they never reached the disk, and the
//! next `sync` says OK. Power can fail before any operation: nothing that is tried afterwards has an effect.

mod files;

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
};

const SECTOR: usize = 512;

/// The operations that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Op {
    List,
    Stat,
    Open,
    Create,
    Read,
    Write,
    Reserve,
    SetLen,
    WriteBack,
    Sync,
    Rename,
    Remove,
    MakeDirectory,
    SyncDirectory,
}

/// Which state of the disk is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// What a process sees.
    Visible,
    /// What a crash leaves at least.
    Durable,
}

/// Says of each operation whether it fails, and how.
pub(crate) type Faults = Box<dyn FnMut(Op) -> Option<io::ErrorKind> + Send>;

/// A moment in the life of a directory.
#[derive(Clone)]
pub(crate) struct Moment {
    clock: u64,
    entries: BTreeMap<String, Node>,
}

#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    entries: BTreeMap<String, Node>,
    durable_entries: BTreeMap<String, Node>,
    /// What fails next, and how.
    fault: Option<(Op, io::ErrorKind)>,
    faults: Option<Faults>,
    /// Operations until power fails, that one included.
    power: Option<usize>,
    /// Operations so far.
    clock: u64,
    /// The last one that made a directory durable.
    directory_synced: u64,
    /// A sync that began then covers no more than what there was.
    began: Option<Moment>,
    /// Successful calls, for counting.
    calls: BTreeMap<Op, usize>,
}

type Node = Arc<Mutex<Content>>;

#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// The operation that made the file: no other has it.
    born: u64,
    /// The operation that changed either last.
    version: u64,
    /// Sectors that differ from what is durable, and since which operation.
    dirty: BTreeMap<usize, u64>,
    locked: bool,
    mode: u32,
}

impl Memory {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics while it holds this")
    }

    /// The next call of this operation fails.
    pub(super) fn fail(&self, op: Op, kind: io::ErrorKind) {
        self.inner().fault = Some((op, kind));
    }

    /// Whether the fault that was asked for has not struck yet; it is taken back.
    pub(super) fn take_fault(&self) -> bool {
        self.inner().fault.take().is_some()
    }

    pub(super) fn calls(&self, op: Op) -> usize {
        self.inner().calls.get(&op).copied().unwrap_or(0)
    }

    /// From now on, `faults` decides about each operation.
    pub(crate) fn set_faults(&self, faults: Option<Faults>) {
        self.inner().faults = faults;
    }

    /// After so many more operations, power fails.
    pub(crate) fn cut_power_after(&self, operations: usize) {
        self.inner().power = Some(operations + 1);
    }

    /// Whether power has failed; [`Self::crash`] brings it back.
    pub(crate) fn is_dead(&self) -> bool {
        self.inner().power == Some(0)
    }

    pub(crate) fn moment(&self) -> Moment {
        let inner = self.inner();
        Moment { clock: inner.clock, entries: inner.entries.clone() }
    }

    /// Each sync from now on is one that began at that moment, although it returns only now.
    pub(crate) fn syncs_began(&self, at: Option<Moment>) {
        self.inner().began = at;
    }

    fn clock(&self) -> u64 {
        self.inner().clock
    }

    fn call(&self, op: Op) -> io::Result<()> {
        let mut inner = self.inner();
        inner.clock += 1;
        if let Some(left) = &mut inner.power {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Err(io::ErrorKind::NotConnected.into());
            }
        }
        if let Some(kind) = inner.faults.as_mut().and_then(|faults| faults(op)) {
            return Err(kind.into());
        }
        if let Some((_, kind)) = inner.fault.take_if(|(at, _)| *at == op) {
            return Err(kind.into());
        }
        *inner.calls.entry(op).or_default() += 1;
        Ok(())
    }

    /// Power is lost. `survives` decides, call by call, whether a sector or name that was not synced made it all the same.
    pub(crate) fn crash(&self, mut survives: impl FnMut() -> bool) {
        let mut inner = self.inner();
        inner.clock += 1;
        let version = inner.clock;
        let before = inner.durable_entries.clone();
        let pending = std::mem::take(&mut inner.entries);
        let mut after = before.clone();
        // A rename is one step of the file system: afterwards the file has the old name or the new one, never none.
        for (name, node) in &pending {
            let renamed_from = before.iter().find(|(old, known)| Arc::ptr_eq(known, node) && *old != name);
            if !before.get(name).is_some_and(|known| Arc::ptr_eq(known, node)) && survives() {
                if let Some((old, _)) = renamed_from {
                    after.remove(old);
                }
                after.insert(name.clone(), node.clone());
            }
        }
        for (name, node) in &before {
            let removed = !pending.values().any(|known| Arc::ptr_eq(known, node));
            if removed && !pending.contains_key(name) && survives() {
                after.remove(name);
            }
        }
        for node in after.values() {
            let mut content = lock(node);
            let bytes = std::mem::take(&mut content.bytes);
            let mut durable = std::mem::take(&mut content.durable);
            let len = if bytes.len() != durable.len() && survives() { bytes.len() } else { durable.len() };
            resize(&mut durable, len.max(bytes.len()));
            for sector in std::mem::take(&mut content.dirty).into_keys() {
                let range = sector * SECTOR..bytes.len().min((sector + 1) * SECTOR);
                if survives() && !range.is_empty() {
                    durable[range.clone()].copy_from_slice(&bytes[range]);
                }
            }
            durable.truncate(len);
            let (mode, born) = (content.mode, content.born);
            *content = Content { bytes: durable.clone(), durable, mode, born, version, ..Content::default() };
        }
        inner.durable_entries = after.clone();
        inner.entries = after;
        inner.fault = None;
        (inner.power, inner.began) = (None, None);
    }

    pub(super) fn put(&self, name: &str, bytes: Vec<u8>) {
        let content = Content { durable: bytes.clone(), bytes, ..Content::default() };
        let node = Arc::new(Mutex::new(content));
        let mut inner = self.inner();
        inner.entries.insert(name.to_owned(), node.clone());
        inner.durable_entries.insert(name.to_owned(), node);
    }

    pub(super) fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.inner().entries.get(name).map(|node| lock(node).bytes.clone())
    }

    /// Looks at the file that has this name in `view`: its bytes as a process sees them, the durable ones, and a number
    /// that changes with either.
    pub(crate) fn look<T>(&self, view: View, name: &str, look: impl FnOnce(&[u8], &[u8], u64) -> T) -> Option<T> {
        let inner = self.inner();
        let entries = if view == View::Visible { &inner.entries } else { &inner.durable_entries };
        let content = lock(entries.get(name)?);
        Some(look(&content.bytes, &content.durable, content.version))
    }

    /// What stays the same when a file is renamed.
    pub(crate) fn born(&self, name: &str) -> Option<u64> {
        self.inner().entries.get(name).map(|node| lock(node).born)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.inner().entries.keys().cloned().collect()
    }

    pub(super) fn mode(&self, name: &str) -> Option<u32> {
        self.inner().entries.get(name).map(|node| lock(node).mode)
    }
}

impl Content {
    fn touch(&mut self, range: Range<usize>, at: u64) {
        self.version = at;
        for sector in range.start / SECTOR..range.end.div_ceil(SECTOR) {
            self.dirty.entry(sector).or_insert(at);
        }
    }
}

/// `Vec::resize` takes one byte at a time in a debug build.
fn resize(bytes: &mut Vec<u8>, len: usize) {
    match len.checked_sub(bytes.len()) {
        Some(more) => bytes.extend_from_slice(&vec![0; more]),
        None => bytes.truncate(len),
    }
}

fn lock(node: &Node) -> MutexGuard<'_, Content> {
    node.lock().expect("no test panics while it holds this")
}
