//! Each difference is found, and nothing else is taken for one.

use super::*;

const SEGMENT: &str = "000000010000000000000002";
const PARTIAL: &str = "000000010000000000000003.partial";
const MIB: usize = 1 << 20;

fn size() -> SegmentSize {
    SegmentSize::new(MIB as u64).unwrap()
}

/// A segment's content: `received` bytes of WAL, then zeros.
fn wal(received: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..received).map(|i| (i % 251) as u8 + 1).collect();
    bytes.resize(MIB, 0);
    bytes
}

fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    dir
}

fn outcome(result: Result<Equal>) -> std::result::Result<Equal, String> {
    result.map_err(|error| error.to_string().lines().skip(1).collect::<Vec<_>>().join("\n"))
}

#[test]
fn receivers_that_stopped_at_different_places_are_equal() {
    let history = b"1\t0/3000000\tno recovery target specified\n".as_slice();
    let ours =
        directory(&[(SEGMENT, &wal(MIB)), (PARTIAL, &wal(700)), ("00000002.history", history), (".wal-agent", b"")]);
    let theirs = directory(&[(SEGMENT, &wal(MIB)), (PARTIAL, &wal(900)), ("00000002.history", history)]);
    let equal = Equal { segments: 1, partials: 1, histories: 1, bytes: (MIB + 700 + history.len()) as u64 };
    assert_eq!(outcome(receivers(ours.path(), theirs.path(), size())), Ok(equal));
}

#[test]
fn each_difference_between_receivers_is_named() {
    let mut other = wal(MIB);
    other[5] = 0xff;
    let mut hole = wal(900);
    hole[300] = 0;
    let check = |ours: &[(&str, &[u8])], theirs: &[(&str, &[u8])], expected: &str| {
        let (ours, theirs) = (directory(ours), directory(theirs));
        assert_eq!(outcome(receivers(ours.path(), theirs.path(), size())).unwrap_err(), expected);
    };
    let (full, partial) = (wal(MIB), wal(900));
    check(&[(SEGMENT, &other)], &[(SEGMENT, &full)], &format!("  {SEGMENT}: byte 0x5 is ff, expected was 06"));
    check(&[(PARTIAL, &hole)], &[(PARTIAL, &partial)], &format!("  {PARTIAL}: byte 0x12c is 00, expected was 32"));
    check(
        &[(SEGMENT, &full[..9])],
        &[(SEGMENT, &full)],
        &format!(
            "  {SEGMENT}: 9 bytes, in the reference 1048576\n  {SEGMENT}: byte 0x9 is end of file, expected was 0a"
        ),
    );
    let (ours, theirs) = (directory(&[(SEGMENT, &full), ("x", b"")]), directory(&[(SEGMENT, &full), (PARTIAL, &full)]));
    fs::set_permissions(ours.path().join(SEGMENT), fs::Permissions::from_mode(0o640)).unwrap();
    let (only_ours, only_theirs) = (ours.path().display(), theirs.path().display());
    assert_eq!(
        outcome(receivers(ours.path(), theirs.path(), size())).unwrap_err(),
        format!(
            "  {SEGMENT}: mode 640, in the reference 600\n  {PARTIAL}: only in {only_theirs}\n  x: only in {only_ours}"
        )
    );
}

#[test]
fn a_server_may_hold_anything_beyond_what_was_received() {
    let ours = directory(&[(SEGMENT, &wal(MIB)), (PARTIAL, &wal(700)), (".wal-agent", b"")]);
    let next = "000000010000000000000003";
    let pg_wal = directory(&[(SEGMENT, &wal(MIB)), (next, &wal(MIB)), ("000000010000000000000004", b"recycled")]);
    let equal = Equal { segments: 1, partials: 1, histories: 0, bytes: (MIB + 700) as u64 };
    assert_eq!(outcome(with_server(ours.path(), pg_wal.path(), size())), Ok(equal));
}

#[test]
fn each_difference_from_the_server_is_named() {
    let full = wal(MIB);
    let ours = directory(&[
        (SEGMENT, &full),
        ("000000010000000000000004", &full),
        ("000000010000000000000005", &full[..7]),
        ("core", b""),
    ]);
    let pg_wal = directory(&[(SEGMENT, &wal(900)), ("000000010000000000000005", &full[..7])]);
    assert_eq!(
        outcome(with_server(ours.path(), pg_wal.path(), size())).unwrap_err(),
        format!(
            "  {SEGMENT}: byte 0x384 is 94, expected was 00\n  \
             000000010000000000000004: the server does not have it (any more)\n  \
             000000010000000000000005: 7 bytes\n  core: no receiver writes a file of this name\n  \
             a gap: segment number 2 is followed by 4"
        )
    );
}
