//! [`wal_agent_fuzz::name`]
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wal_agent_fuzz::name(data));
