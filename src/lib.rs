//! tacdrop: each ticket has its own encrypted share; what lands in it is hashed while it arrives,
//! is safe on disk when the client's CLOSE succeeds, and the assigned engineer is told what came
//! and exactly where it lies.
//!
//! `ARCHITECTURE.md` shows the rooms of this house and follows one upload through them. A room uses
//! only rooms that stand below it in this list; `tests/it/house.rs` holds everybody to it.

pub mod access;
pub mod admission;
pub mod app;
pub mod audit;
pub mod backup;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
pub mod cli;
pub mod config;
pub mod content;
pub mod digests;
pub mod http;
pub mod integrity;
pub mod login;
pub mod moving;
pub mod namespace;
pub mod notices;
pub mod repo;
pub mod retention;
pub mod rotation;
pub mod scp;
pub mod server;
pub mod sftp;
pub mod ssh;
pub mod tickets;
pub mod upload;

pub use tacdrop_mail as mail;
pub use tacdrop_model as model;
pub use tacdrop_records as records;
pub use tacdrop_store as store;
pub use tacdrop_vault as vault;
