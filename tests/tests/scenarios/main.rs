//! All scenarios in one program: real PostgreSQL, real receivers. One module per subject.

#[macro_use]
mod common;

mod attacks;
mod harness_itself;
mod hostile_server;
mod identity;
mod oracle;
mod pg_receivewal_test_plan;
mod resume;
mod slots;
