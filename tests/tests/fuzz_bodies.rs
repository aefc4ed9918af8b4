//! The bodies of the fuzz targets as property tests: what `proptest` draws is fed to what the fuzzer calls. Some of it is
//! pure noise, most is made of the pieces that the parsers look for.

#[expect(unreachable_pub, reason = "in its own package it is the library")]
#[path = "../../fuzz/src/lib.rs"]
mod bodies;

use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes, mixed with what makes sense to a parser.
fn input(pieces: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => proptest::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..12),
    ];
    prop_oneof![1 => vec(any::<u8>(), 0..100), 9 => vec(piece, 0..16).prop_map(|pieces| pieces.concat())]
}

const CONNINFO: &[&[u8]] = &[
    b"postgresql://",
    b"user",
    b":",
    b"@",
    b"[::1]",
    b"/",
    b"?",
    b"&",
    b"=",
    b",",
    b"%2F",
    b"%00",
    b"'",
    b"\\",
    b" ",
    b"host",
    b"hostaddr",
    b"port",
    b"password",
    b"sslmode",
    b"require_auth",
    b"longer-than-8",
    b"5432",
    b"!",
    b"-1",
];
const SERVICE: &[&[u8]] = &[b"[a]", b"[b]", b"\n", b"=", b"host", b"password", b"service", b"ldap", b"#", b" "];
const FRAMES: &[&[u8]] = &[
    b"R\0\0\0\x08\0\0\0\0",
    b"S\0\0\0\x08a\0b\0",
    b"Z\0\0\0\x05I",
    b"T\0\0\0\x06\0\0",
    b"D\0\0\0\x06\0\0",
    b"d\0\0\0\x05w",
    b"c\0\0\0\x04",
    b"C\0\0\0\x06A\0",
    b"E\0\0\0\x08Sx\0\0",
    b"N\0\0\0\x05\0",
    b"W\0\0\0\x07\0\0\0",
    b"K\0\0\0\x0c",
    b"\xff\xff\xff\xff",
    b"\0\0\0\x03",
];
const MESSAGES: &[&[u8]] = &[b"w", b"k", &[0; 8], &[0xff; 8], &[0, 0, 0, 0, 1, 0, 0, 0], b"\x01"];
const HISTORY: &[&[u8]] = &[b"1", b"2", b"3", b"\t", b" ", b"0/1000000", b"0/2000000", b"1/0", b"\n", b"#", b"\r"];
const NAMES: &[&[u8]] =
    &[b"00000001", b"000000FF", b"0000000a", b"FFFFFFFF", b".partial", b".gz", b".lz4", b".history"];

/// A page header of which a few bytes are changed.
fn header() -> impl Strategy<Value = Vec<u8>> {
    let valid = [
        &[0x16, 0xD1, 2, 0, 1, 0, 0, 0][..],
        &0x0300_0000_u64.to_le_bytes(),
        &[0; 8],
        &7_u64.to_le_bytes(),
        &(1_u32 << 24).to_le_bytes(),
        &8192_u32.to_le_bytes(),
    ]
    .concat();
    vec((0..40_usize, any::<u8>()), 0..4).prop_map(move |changes| {
        let mut bytes = valid.clone();
        changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn conninfo(data in input(CONNINFO)) {
        bodies::conninfo(&data);
    }

    #[test]
    fn service_file(data in input(SERVICE)) {
        bodies::service_file(&data);
    }

    #[test]
    fn frame(data in input(FRAMES)) {
        bodies::frame(&data);
    }

    #[test]
    fn message(data in input(MESSAGES)) {
        bodies::message(&data);
    }

    #[test]
    fn page(data in prop_oneof![header(), vec(any::<u8>(), 0..60)]) {
        bodies::page(&data);
    }

    #[test]
    fn history(data in input(HISTORY)) {
        bodies::history(&data);
    }

    #[test]
    fn name(data in input(NAMES)) {
        bodies::name(&data);
    }
}
