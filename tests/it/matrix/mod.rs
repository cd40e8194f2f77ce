//! The client matrix: every program that customers have does everything that customers do, and the table of what came of it
//! is `docs/clients.md`.
//!
//! - `client` is what a program has to bring: one command for each thing that is tried.
//! - `ground` is the server that a program is tried on, and the files. `trials` are what is tried, and how it is verified.
//! - `table` writes the outcomes down and compares them with `docs/clients.md`.
//! - The other modules are the programs, one for each family.
//!
//! Each program is one test: it computes its row and compares it with the table. `tests/run clients` runs them all and
//! prints the table; `tests/run clients --write` writes it.

mod client;
mod ground;
mod openssh;
mod table;
mod trials;

/// Every program of the table, in its order. One that is listed and not tried makes `tests/run clients` fail.
pub(crate) const CLIENTS: &[&str] = &["OpenSSH sftp"];

#[test]
fn openssh_sftp() {
    table::compare(&openssh::Sftp);
}

#[test]
#[ignore = "on demand: tests/run clients"]
fn on_demand_table() {
    table::assemble();
}
