//! [`wal_agent_fuzz::conninfo`]
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wal_agent_fuzz::conninfo(data));
