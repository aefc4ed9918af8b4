//! [`wal_agent_fuzz::message`]
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wal_agent_fuzz::message(data));
