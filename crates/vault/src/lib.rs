//! Bytes and keys: what lies on a disk, and under which key. No I/O (but the operating system's
//! randomness), no async.
//!
//! `repo/` and the services call this room; it uses `model/` alone. `docs/format.md` describes
//! every byte that is made here, so that somebody else can read an artifact. Whatever changes a
//! byte needs a new container version there: what an older tacdrop sealed must open for ever
//! (`tests/data/golden-v1`).
//!
//! From the top: a [`Manifest`] says which parts of which extents make up a version ([`SliceMap`]
//! is the same while the upload runs, [`Digest`] its SHA-256); [`ExtentSealer`] and
//! [`ExtentOpener`] turn what was written into encrypted objects and back; [`Kek`], [`ShareKey`],
//! [`FileKey`] and [`ExtentKey`] wrap each other in this order.

mod aead;
mod derive;
pub mod digest;
mod error;
pub mod extent;
mod floe;
#[cfg(test)]
mod golden;
pub mod key;
pub mod manifest;
pub mod password;
pub mod proof;
pub mod random;
mod secret;
mod sha256_blocks;
pub mod sign;
pub mod slices;
pub mod token;

pub use digest::Digest;
pub use error::VaultError;
pub use extent::{ExtentIds, ExtentOpener, ExtentSealer};
pub use key::{ExtentKey, FileKey, Kek, Level, NameKeys, ShareKey, WrappedKey};
pub use manifest::{Arrival, ExtentEntry, HashOrigin, Manifest, Slice, object_hash};
pub use proof::{PROOF, ProofKey};
pub use sign::{PublicKey, SigningKey};
pub use slices::{Piece, SliceMap};
pub use token::{TokenKey, new_token};
