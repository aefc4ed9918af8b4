//! [`wal_agent_fuzz::service_file`]
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wal_agent_fuzz::service_file(data));
