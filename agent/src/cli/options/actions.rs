//! `pg_receivewal`'s options that act on a replication slot instead of streaming.

#[cfg(test)]
use super::testing::typed;
use super::{Kind, Opt};

pub(super) const OPTIONS: &[Opt] = &[CREATE_SLOT, DROP_SLOT];

const CREATE_SLOT: Opt = Opt {
    long: "create-slot",
    short: None,
    env: None,
    kind: Kind::Flag(|typed| typed.create_slot = true),
    help: "create the slot that --slot names, then exit",
};

#[test]
fn create_slot_is_a_flag() {
    assert!(typed(&["--create-slot"]).create_slot);
}

const DROP_SLOT: Opt = Opt {
    long: "drop-slot",
    short: None,
    env: None,
    kind: Kind::Flag(|typed| typed.drop_slot = true),
    help: "drop the slot that --slot names, then exit",
};

#[test]
fn drop_slot_is_a_flag() {
    assert!(typed(&["--drop-slot"]).drop_slot);
}
