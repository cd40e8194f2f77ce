//! SHA-256's compression function (FIPS 180-4, section 6.2.2), by AWS-LC, and the only `unsafe` of
//! this package.
//!
//! The sha2 crate is fast where the processor has SHA instructions, and half as fast as AWS-LC's
//! assembly where it has not (many Xeons: 150 against 308 MiB/s, `docs/benchmarks.md`). AWS-LC is
//! in the tree for SSH anyway; its safe binding has no way to save a running digest, which resuming
//! needs, so this calls the one C function that has no state of its own.
#![allow(unsafe_code)]

use std::sync::Once;

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;
/// The chaining value.
pub(super) type Words = [u32; 8];

/// Hashes whole blocks into `state`.
pub(super) fn compress(state: &mut Words, blocks: &[[u8; BLOCK]]) {
    static READY: Once = Once::new();
    // SAFETY: takes nothing and may be called at any time (openssl/crypto.h). It finds out what the
    // processor can do.
    READY.call_once(|| unsafe { aws_lc_sys::CRYPTO_library_init() });
    // SAFETY: the function (openssl/sha.h) reads and writes the eight words behind its first
    // argument and reads `num_blocks * 64` bytes behind its second; both references are valid for
    // exactly that, do not overlap, and need no alignment beyond their types'. It keeps neither
    // pointer and calls nothing back.
    unsafe { aws_lc_sys::SHA256_TransformBlocks(state.as_mut_ptr(), blocks.as_ptr().cast(), blocks.len()) }
}
