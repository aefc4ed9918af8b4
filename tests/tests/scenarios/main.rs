//! All scenarios in one program: real PostgreSQL, real receivers. One module per subject.

mod harness_itself;
