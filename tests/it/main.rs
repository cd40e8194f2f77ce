//! tacdrop proved from outside: the real binary, real clients, and what is on the disk afterwards.
//!
//! `support/` starts and stops servers and clients; every other module is a theme. `tests/run`
//! installs what they need; a test whose client is missing fails and says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod access;
mod algorithms;
mod arriving;
mod audit;
mod benches;
mod changes;
mod cli;
mod clients;
mod customers_told;
mod cuts;
mod digests;
mod ending;
mod faults;
mod format;
mod golden;
mod hostile;
mod house;
mod http;
mod keys;
mod kills;
mod legacy;
mod lifecycle;
mod load;
mod mail_tls;
mod matrix;
mod moving;
mod names;
mod notices;
mod orders;
mod pages;
mod paths;
mod people;
mod pieces;
mod proofs;
mod receipts;
mod resume;
mod scp;
mod secrecy;
mod service;
mod store;
mod strangers;
mod support;
mod told;
mod undelivered;
mod upload;
mod words;
