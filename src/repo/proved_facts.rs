//! Facts that people are told, or follow: where the server is reached, and by which key it is
//! known. Each has a proof beside it (`docs/format.md`, "Proofs"). One that was changed in the
//! database is not told: it counts as unknown, and the operator hears of it.

use crate::records::proofs::{Proof, Prover};
use crate::records::readable::is_news;
use crate::records::{Conn, facts};
use crate::repo::Error;
use crate::repo::data::{HOST_KEY, LEGACY_HOST_KEY};
use crate::repo::keys::KeyManager;
use crate::vault::ProofKey;

/// The host that people reach the server at.
pub(crate) const PUBLIC_HOST: &str = "public_host";
/// The port there.
pub(crate) const PUBLIC_PORT: &str = "public_port";
/// `HOST PORT` of the listener for old devices, or nothing if it is not open.
pub(crate) const LEGACY_ADDRESS: &str = "legacy_address";

/// All facts of this kind.
const PROVED: [&str; 5] = [PUBLIC_HOST, PUBLIC_PORT, LEGACY_ADDRESS, HOST_KEY, LEGACY_HOST_KEY];
/// What proofs of facts are proofs of.
const LABEL: &str = "fact";

fn place_of_proof(name: &str) -> String {
    format!("{name} proof")
}

/// Such a fact; none if it is unknown, or is not what the server wrote down.
///
/// # Errors
/// If the records fail.
pub(crate) async fn proved_fact(conn: &mut Conn, keys: &KeyManager, name: &str) -> Result<Option<String>, Error> {
    let Some(value) = facts::fact(conn, name).await? else { return Ok(None) };
    let written = facts::fact(conn, &place_of_proof(name)).await?;
    let proof = written.as_ref().and_then(|text| Proof::try_from(hex::decode(text).ok()?).ok());
    let holds = |proof: &Proof| keys.proofs().is_proved(LABEL, &[name.as_bytes(), value.as_bytes()], proof);
    if proof.as_ref().is_some_and(holds) || (written.is_none() && !keys.level().proves()) {
        return Ok(Some(value));
    }
    if is_news("fact", name) {
        tracing::error!(
            fact = name,
            "this was changed in the database and is not told; it is written down anew when the server starts"
        );
    }
    Ok(None)
}

/// Writes such a fact down.
///
/// # Errors
/// If the records fail.
pub(crate) async fn set_proved_fact(conn: &mut Conn, keys: &KeyManager, name: &str, value: &str) -> Result<(), Error> {
    let proof = keys.proof().prove(LABEL, &[name.as_bytes(), value.as_bytes()]);
    facts::set_fact(conn, name, value).await?;
    Ok(facts::set_fact(conn, &place_of_proof(name), &hex::encode(proof)).await?)
}

/// Gives the facts that hold under the key in force a proof under another one. The others are
/// written down anew when the server starts.
///
/// # Errors
/// If the records fail.
pub(crate) async fn prove_facts_under(conn: &mut Conn, keys: &KeyManager, new: &ProofKey) -> Result<(), Error> {
    for name in PROVED {
        if let Some(value) = proved_fact(conn, keys, name).await? {
            let proof = new.prove(LABEL, &[name.as_bytes(), value.as_bytes()]);
            facts::set_fact(conn, &place_of_proof(name), &hex::encode(proof)).await?;
        }
    }
    Ok(())
}

/// Gives the facts of a house of before there were proofs theirs.
///
/// # Errors
/// If the records fail.
pub(crate) async fn prove_facts(conn: &mut Conn, keys: &KeyManager) -> Result<(), Error> {
    for name in PROVED {
        if let Some(value) = facts::fact(conn, name).await? {
            set_proved_fact(conn, keys, name, &value).await?;
        }
    }
    Ok(())
}
