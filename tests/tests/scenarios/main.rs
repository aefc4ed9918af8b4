//! All scenarios in one program: real PostgreSQL, real receivers. One module per subject.

mod harness_itself;
mod hostile_server;
