//! The heart: who may do what to a share. Every byte in and out, every audit event and every notice intent passes here
//! and nowhere else. Doors (`ssh`, `sftp`) know this room and `model`, and nothing below.

mod api;

pub use api::*;
