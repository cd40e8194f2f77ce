//! tacdrop proved from outside: the real binary, real clients, and what is on the disk afterwards.
//!
//! `support/` starts and stops servers and clients; every other module is a theme. `tests/run` installs what they need; a
//! test whose client is missing fails and says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod access;
mod audit;
mod cli;
mod clients;
mod cuts;
mod faults;
mod format;
mod hostile;
mod house;
mod keys;
mod kills;
mod lifecycle;
mod matrix;
mod notices;
mod orders;
mod receipts;
mod resume;
mod secrecy;
mod store;
mod support;
mod told;
mod upload;
