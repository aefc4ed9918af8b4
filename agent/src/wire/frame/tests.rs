//! Tests of the framing: what may come, how long it may be, wherever the bytes are split.

use super::*;
use crate::wire::testing::{complete, message, ready, report};
use proptest::prelude::*;

/// What `bytes` are, when they come in pieces of `step`.
fn decode_all(bytes: &[u8], step: usize, phase: Phase) -> Vec<(char, Vec<u8>)> {
    let (mut buf, mut frames) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(step) {
        buf.extend_from_slice(piece);
        while let Some(frame) = decode(&mut buf, phase).unwrap() {
            frames.push(match frame {
                Frame::CopyBoth => ('W', Vec::new()),
                Frame::Message(backend::Message::CopyData(body)) => ('d', body.data().to_vec()),
                Frame::Message(backend::Message::CommandComplete(body)) => ('C', body.tag().unwrap().into()),
                Frame::Message(backend::Message::ReadyForQuery(_)) => ('Z', Vec::new()),
                Frame::Message(_) => ('?', Vec::new()),
            });
        }
    }
    assert!(buf.is_empty());
    frames
}

#[test]
fn messages_are_the_same_wherever_they_are_split() {
    let bytes = [message(b'd', b"w and some WAL"), message(b'd', b""), complete("COPY 0"), ready()].concat();
    let expected = vec![('d', b"w and some WAL".to_vec()), ('d', vec![]), ('C', b"COPY 0".to_vec()), ('Z', vec![])];
    for step in 1..=bytes.len() {
        assert_eq!(decode_all(&bytes, step, Phase::CopyEnd), expected, "in pieces of {step}");
    }
    let both = [message(b'W', &[0, 0, 0]), report(b'N', "NOTICE", "00000", "x")].concat();
    for step in 1..=both.len() {
        assert_eq!(decode_all(&both, step, Phase::Query), [('W', vec![]), ('?', vec![])], "in pieces of {step}");
    }
}

#[test]
fn impossible_lengths_are_refused_by_the_header_alone() {
    let check = |tag: u8, length: u32, phase: Phase| {
        let mut buf = BytesMut::from(&[&[tag], &length.to_be_bytes()[..]].concat()[..]);
        let capacity = buf.capacity();
        match decode(&mut buf, phase) {
            Err(ProtocolError::Length { length: reported, .. }) => assert_eq!(reported, length),
            other => panic!("{} of {length}: {:?}", tag as char, other.map(|frame| frame.is_some())),
        }
        assert_eq!(buf.capacity(), capacity, "allocated for {length}");
    };
    for length in [0, 3, 16 << 21, i32::MAX as u32, u32::MAX] {
        for (tag, phase) in [
            (b'R', Phase::Startup),
            (b'S', Phase::Startup),
            (b'E', Phase::Startup),
            (b'T', Phase::Query),
            (b'D', Phase::Query),
            (b'W', Phase::Query),
            (b'd', Phase::Copy),
            (b'C', Phase::Copy),
            (b'c', Phase::CopyEnd),
        ] {
            check(tag, length, phase);
        }
    }
}

#[test]
fn the_largest_wal_message_of_any_build_fits() {
    // 16 blocks of 64 KiB behind a header of 25 bytes.
    let bytes = message(b'd', &vec![7; (1 << 20) + 25]);
    assert_eq!(decode_all(&bytes, 1 << 16, Phase::Copy).len(), 1);
}

#[test]
fn a_message_out_of_place_is_refused_by_its_first_byte() {
    for (tag, phase) in [
        (b'H', Phase::Startup),
        (b'D', Phase::Startup),
        (b'd', Phase::Query),
        (b'D', Phase::Copy),
        (b'G', Phase::Query),
        (b'v', Phase::Startup),
        (0, Phase::Copy),
    ] {
        let mut buf = BytesMut::from(&[tag][..]);
        assert_eq!(decode(&mut buf, phase).err(), Some(ProtocolError::Unexpected { tag }));
    }
}

#[test]
fn a_body_that_contradicts_its_type_is_an_error() {
    for (bytes, phase) in [
        (message(b'C', b"no end"), Phase::Query),
        (message(b'c', b"x"), Phase::Copy),
        (message(b'Z', b""), Phase::Query),
        (message(b'S', b"name only\0"), Phase::Startup),
        (message(b'R', &[0, 0]), Phase::Startup),
        (message(b'R', &[0, 0, 0, 99]), Phase::Startup),
    ] {
        let error = decode(&mut BytesMut::from(&bytes[..]), phase).err();
        assert!(matches!(error, Some(ProtocolError::Malformed { .. })), "{error:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), phase in 0..4) {
        let phase = [Phase::Startup, Phase::Query, Phase::Copy, Phase::CopyEnd][phase as usize];
        let mut buf = BytesMut::from(&bytes[..]);
        let mut before = buf.len();
        while let Ok(Some(_)) = decode(&mut buf, phase) {
            prop_assert!(buf.len() < before, "no progress");
            before = buf.len();
        }
    }

    #[test]
    fn a_stream_is_the_same_in_any_pieces(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..20), step in 1..700_usize,
    ) {
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| message(b'd', payload)).collect();
        let expected: Vec<_> = payloads.into_iter().map(|payload| ('d', payload)).collect();
        prop_assert_eq!(decode_all(&bytes, step, Phase::Copy), expected);
    }
}
