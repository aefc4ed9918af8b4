//! All scenarios in one program: real PostgreSQL, real receivers. One module per subject.

#[macro_use]
mod common;

mod acknowledgements;
mod attacks;
mod bad_input;
mod bench;
mod demo;
mod harness_itself;
mod hostile_server;
mod identity;
mod oracle;
mod pg_receivewal_test_plan;
mod primary_conninfo;
mod resume;
mod slots;
mod stopping;
mod synchronous;
