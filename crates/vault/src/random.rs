//! Randomness, always from the operating system: no generator of our own whose state could repeat
//! after a fork, a crash or a restored snapshot of a machine (R07).

use super::VaultError;

/// Fills `bytes`.
///
/// # Errors
/// [`VaultError::Randomness`]; `bytes` must then not be used.
pub fn fill(bytes: &mut [u8]) -> Result<(), VaultError> {
    getrandom::fill(bytes).map_err(|_| VaultError::Randomness)
}

/// `N` random bytes, e.g. for an id.
///
/// # Errors
/// [`VaultError::Randomness`].
pub fn array<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}
