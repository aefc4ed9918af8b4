//! To whom a directory belongs, and what becomes of it when the wrong one comes.

use super::*;
use crate::{
    store::{
        Held,
        memory::{Memory, Op},
    },
    wal::{PageMagic, SegmentNo, SystemIdentifier, TimelineId, XLOG_BLOCK_SIZE},
};

fn claim(system: u64, mib: u64) -> Claim {
    let segment_size = SegmentSize::new(mib << 20).expect("a size");
    let identity = Identity { system: SystemIdentifier::new(system), segment_size };
    Claim { identity, mode: 0o600, magic: Some(PageMagic(0xD110)) }
}

fn directory(memory: &Memory) -> Directory {
    Directory::new(Arc::new(memory.clone()), PathBuf::from("dir"))
}

/// The content of a 1 MB segment of `system`: a header, then zeros.
fn segment(system: u64, number: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    bytes[..8].copy_from_slice(&[0x10, 0xD1, 2, 0, 1, 0, 0, 0]);
    bytes[8..16].copy_from_slice(&(number << 20).to_le_bytes());
    bytes[24..32].copy_from_slice(&system.to_le_bytes());
    bytes[32..36].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    bytes[36..40].copy_from_slice(&XLOG_BLOCK_SIZE.to_le_bytes());
    bytes
}

/// What the receiver does with a directory before it writes to it.
fn take(directory: &mut Directory, claim: &Claim) -> Result<Inventory, StoreError> {
    let inventory = directory.inspect(claim)?;
    directory.claim(claim).map(|()| inventory)
}

const THIRD: &str = "000000010000000000000003";

#[test]
fn an_empty_directory_becomes_the_clusters() {
    let memory = Memory::default();
    let inventory = take(&mut directory(&memory), &claim(7, 1)).expect("nobody else's");
    assert_eq!(inventory, Inventory::default());
    memory.crash(|| false);
    assert_eq!(memory.names(), [IDENTITY, LOCK]);
}

#[test]
fn what_pg_receivewal_left_is_adopted_and_the_rest_ignored() {
    let memory = Memory::default();
    memory.put(THIRD, segment(7, 3));
    memory.put("000000010000000000000004.partial", vec![0; 1 << 20]);
    memory.put("000000010000000000000002", vec![1; 10]);
    memory.put("00000002.history", b"1\t0/400000\tx\n".to_vec());
    memory.put("lost+found", vec![]);
    let inventory = take(&mut directory(&memory), &claim(7, 1)).expect("this cluster's");
    let held: Vec<_> = inventory.segments.iter().map(|(name, held)| (name.segment, *held)).collect();
    assert_eq!(held, [(SegmentNo::new(3), Held::Complete), (SegmentNo::new(4), Held::Partial)]);
    assert_eq!(inventory.wrong_size.len(), 1);
    assert!(inventory.histories.contains(&TimelineId::new(2).expect("2")));
}

#[test]
fn another_clusters_directory_is_refused_and_left_as_it_was() {
    let check = |with: Claim, refusal: &str| {
        let memory = Memory::default();
        memory.put(THIRD, segment(7, 3));
        let error = take(&mut directory(&memory), &with).expect_err("another cluster's");
        assert!(error.to_string().contains(refusal), "{error}");
        assert_eq!(memory.names(), [THIRD]);

        let memory = Memory::default();
        take(&mut directory(&memory), &claim(7, 1)).expect("empty");
        let before = memory.content(IDENTITY);
        let error = take(&mut directory(&memory), &with).expect_err("another cluster's");
        assert!(error.to_string().contains(refusal), "{error}");
        assert_eq!(memory.content(IDENTITY), before);
    };
    check(claim(8, 1), "system identifier 7, but the server's is 8");
    check(claim(7, 16), "segments of 1 MB, but the server's are 16 MB");
}

#[test]
fn inspecting_changes_nothing_and_a_record_made_meanwhile_counts() {
    let memory = Memory::default();
    let mut late = directory(&memory);
    late.inspect(&claim(8, 1)).expect("nobody's yet");
    assert!(memory.names().is_empty());
    take(&mut directory(&memory), &claim(7, 1)).expect("nobody's yet");
    let error = late.claim(&claim(8, 1)).expect_err("another cluster's by now");
    assert!(error.to_string().contains("system identifier 7, but the server's is 8"), "{error}");
}

#[test]
fn a_segment_under_another_segments_name_is_not_adopted() {
    let memory = Memory::default();
    memory.put(THIRD, segment(7, 4));
    let error = take(&mut directory(&memory), &claim(7, 1)).expect_err("misplaced");
    assert!(error.to_string().contains("address is 0/400000, not 0/300000"), "{error}");
}

#[test]
fn a_second_agent_is_refused_until_the_first_has_gone() {
    let memory = Memory::default();
    let mut first = directory(&memory);
    first.lock_if_used().expect("nothing to lock");
    assert!(memory.names().is_empty(), "looking changes nothing");
    take(&mut first, &claim(7, 1)).expect("free");
    take(&mut first, &claim(7, 1)).expect("still ours on the next connection");
    let refusal = directory(&memory).lock_if_used().expect_err("in use").to_string();
    assert!(refusal.contains(&format!("(process {})", std::process::id())), "{refusal}");
}

#[test]
fn a_full_disk_is_no_reason_to_do_without_the_lock() {
    let memory = Memory::default();
    memory.put(LOCK, vec![]);
    let mut first = directory(&memory);
    memory.fail(Op::Write, io::ErrorKind::StorageFull);
    first.lock_if_used().expect("its note is for a person's eyes only");
    assert!(!memory.take_fault());
    assert!(matches!(directory(&memory).lock_if_used(), Err(StoreError::InUse { .. })));
}

#[test]
fn a_history_is_kept_once_and_never_replaced() {
    let memory = Memory::default();
    let directory = directory(&memory);
    let two = |text: &str| HistoryFile { timeline: TimelineId::new(2).expect("2"), content: text.into() };
    directory.history(&two("1\t0/5\tx\n"), false, 0o640).expect("nothing to compare with");
    assert!(memory.names().is_empty());
    directory.history(&two("1\t0/5\tx\n"), true, 0o640).expect("written");
    directory.history(&two("1\t0/5\tx\n"), true, 0o640).expect("the same");
    for other in ["1\t0/6\tx\n", "1\t0/5\tx\n#", "1\t0/5"] {
        let error = directory.history(&two(other), true, 0o640).expect_err("another history");
        assert!(matches!(error, StoreError::HistoryConflict { .. }), "{error}");
    }
    memory.crash(|| false);
    assert_eq!(memory.content("00000002.history").as_deref(), Some(&b"1\t0/5\tx\n"[..]));
    assert_eq!(memory.mode("00000002.history"), Some(0o640));
}

#[test]
fn a_history_that_a_crash_has_torn_is_written_again() {
    let whole = b"1\t0/5\tx\n\n2\t0/9\ty\n";
    let three = HistoryFile { timeline: TimelineId::new(3).expect("3"), content: whole.to_vec() };
    let check = |kept: &[u8], heals: bool| {
        let memory = Memory::default();
        memory.put("00000003.history", kept.to_vec());
        let directory = directory(&memory);
        assert_eq!(directory.history(&three, false, 0o600).is_ok(), heals, "{kept:?}");
        assert_eq!(memory.content("00000003.history").as_deref(), Some(kept), "looking changes nothing");
        assert_eq!(directory.history(&three, true, 0o600).is_ok(), heals, "{kept:?}");
        memory.crash(|| false);
        let expected = if heals { &whole[..] } else { kept };
        assert_eq!(memory.content("00000003.history").as_deref(), Some(expected));
    };
    check(b"", true);
    check(&[0; 19], true);
    check(&whole[..3], true);
    check(&whole[..whole.len() - 1], true);
    check(b"1\t0/5\tx\n", false);
    check(b"1\t0/6", false);
    check(whole, true);
}

#[test]
fn whatever_fails_while_claiming_the_next_attempt_succeeds() {
    for op in [Op::List, Op::Stat, Op::Open, Op::Create, Op::Read, Op::Write, Op::Sync, Op::Rename, Op::SyncDirectory] {
        let memory = Memory::default();
        memory.put(THIRD, segment(7, 3));
        let mut first = directory(&memory);
        if op == Op::Write {
            // The lock's note would take the fault away from the record.
            memory.put(LOCK, vec![]);
            first.lock_if_used().expect("free");
        }
        memory.fail(op, io::ErrorKind::StorageFull);
        let first = take(&mut first, &claim(7, 1));
        assert!(first.is_err() || memory.take_fault(), "{op:?} was noticed");
        memory.crash(|| true);
        let inventory = take(&mut directory(&memory), &claim(7, 1)).expect("the fault is over");
        assert_eq!(inventory.segments.len(), 1, "{op:?}");
    }
}

#[test]
fn an_unreadable_record_is_reported_with_the_way_out() {
    let memory = Memory::default();
    memory.put(IDENTITY, b"wal-agent identity 1\nsystem-id".to_vec());
    let error = take(&mut directory(&memory), &claim(7, 1)).expect_err("torn").to_string();
    assert!(error.contains("it has no \"system-identifier\"") && error.contains("move it away"), "{error}");
}
