//! The client matrix: every program that customers have does everything that customers do, and the
//! table of what came of it is `docs/clients.md`.
//!
//! - `client` is what a program has to bring: one command for each thing that is tried.
//! - `ground` is the server that a program is tried on, and the files. `trials` are what is tried,
//!   and how it is verified.
//! - `table` writes the outcomes down and compares them with `docs/clients.md`.
//! - The other modules are the programs, one for each family.
//!
//! Each program is one test: it computes its row and compares it with the table. `tests/run
//! clients` runs them all and prints the table; `tests/run clients --write` writes it.

mod client;
mod curl;
mod dropbear;
mod ground;
mod gvfs;
mod lftp;
mod openssh;
mod paramiko;
mod putty;
mod rclone;
mod scp;
mod scripted;
mod sshfs;
mod table;
mod trials;

use crate::support::cannot;

/// Every program of the table, in its order. One that is listed and not tried makes `tests/run
/// clients` fail.
pub(crate) const CLIENTS: &[&str] = &[
    "OpenSSH sftp",
    "OpenSSH scp",
    "OpenSSH scp -O",
    "PuTTY psftp",
    "PuTTY pscp",
    "PuTTY pscp -scp",
    "lftp",
    "curl",
    "dropbear dbclient",
    "rclone",
    "sshfs",
    "FileZilla",
    "paramiko",
    "asyncssh",
    "ssh2-sftp-client",
    "gvfs",
];

#[test]
fn openssh_sftp() {
    table::compare(&openssh::SFTP);
}

#[test]
fn openssh_scp() {
    table::compare(&scp::SCP);
}

#[test]
fn openssh_scp_legacy() {
    table::compare(&scp::SCP_O);
}

#[test]
fn putty_psftp() {
    table::compare(&putty::Psftp);
}

#[test]
fn putty_pscp() {
    table::compare(&putty::PSCP);
}

#[test]
fn putty_pscp_legacy() {
    table::compare(&putty::PSCP_SCP);
}

#[test]
fn lftp_and_ssh() {
    table::compare(&lftp::Lftp);
}

#[test]
fn curl_with_libssh2() {
    table::compare(&curl::Curl);
}

#[test]
fn dropbear_dbclient() {
    table::compare(&dropbear::DBCLIENT);
}

#[test]
fn rclone() {
    table::compare(&rclone::Rclone);
}

#[test]
fn sshfs() {
    if cannot("fuse") {
        return table::leave("sshfs");
    }
    table::compare(&sshfs::Sshfs);
}

#[test]
fn filezilla() {
    table::compare(&scripted::FILEZILLA);
}

#[test]
fn paramiko_client() {
    table::compare(&scripted::PARAMIKO);
}

#[test]
fn asyncssh() {
    table::compare(&scripted::ASYNCSSH);
}

#[test]
fn ssh2_sftp_client() {
    table::compare(&scripted::SSH2);
}

#[test]
fn gvfs() {
    table::compare(&gvfs::Gvfs);
}

#[test]
#[ignore = "on demand: tests/run clients"]
fn on_demand_table() {
    table::assemble();
}
