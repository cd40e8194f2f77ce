//! What the trail tells of things so that the rows can be compared with it, without telling more
//! than it must: nobody can take an entry away again, so it holds no plain digest of content and no
//! address of a person. A keyed digest says whether it is the same, to who has the house's key.

use serde_json::{Value, json};

use crate::model::{Time, VersionId};
use crate::vault::ProofKey;

/// What the keyed digest of a version's content is made for.
const DIGEST: &str = "digest";
/// What the keyed digest of a mail address is made for.
const ADDRESS: &str = "address";

/// What became available, as `artifact.available` tells it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published<'a> {
    pub(crate) version: VersionId,
    /// Its number within its entry.
    pub(crate) number: u64,
    /// In bytes.
    pub(crate) length: u64,
    pub(crate) sha256: &'a [u8; 32],
    /// SHA-256 of the manifest object.
    pub(crate) manifest: &'a [u8; 32],
    pub(crate) at: Time,
}

impl Published<'_> {
    /// The part of the event's detail that a version's row must agree with.
    pub(crate) fn detail(&self, proof: &ProofKey) -> Value {
        json!({
            "bytes": self.length,
            "digest": hex::encode(digest(proof, self.version, self.sha256)),
            "manifest": hex::encode(self.manifest),
            "number": self.number,
            "received": self.at.millis(),
        })
    }
}

/// The keyed digest of a version's content. Two versions of the same bytes have two: what was sent
/// twice is nobody's business.
pub(crate) fn digest(proof: &ProofKey, version: VersionId, sha256: &[u8; 32]) -> [u8; 32] {
    proof.prove(DIGEST, &[version.as_bytes(), sha256])
}

/// The keyed digest of the address that an engineer's notices go to.
pub(crate) fn address(proof: &ProofKey, engineer: &str, address: &str) -> String {
    hex::encode(proof.prove(ADDRESS, &[engineer.as_bytes(), address.as_bytes()]))
}
