//! Whether rows say what tacdrop wrote: the house's key for proofs at hand, and rows of before
//! there were proofs.

use std::fmt;

use crate::records::proofs::{Proof, Proved, Prover};
use crate::records::{
    Conn, Records, contacts, deletions, entries, holds, notices, people, teams, ticket_people, tickets,
};
use crate::repo::Error;
use crate::vault::ProofKey;

/// Makes and checks the proofs of rows. It lasts as long as the process: a key is replaced while
/// nobody serves.
pub(crate) struct Proofs(ProofKey);

impl Proofs {
    pub(crate) fn of(key: ProofKey) -> Self {
        Self(key)
    }

    pub(crate) fn key(&self) -> &ProofKey {
        &self.0
    }
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proofs")
    }
}

impl Prover for Proofs {
    fn prove(&self, label: &'static str, fields: &[&[u8]]) -> Proof {
        self.0.prove(label, fields)
    }

    fn is_proved(&self, label: &'static str, fields: &[&[u8]], proof: &Proof) -> bool {
        self.0.is_proved(label, fields, proof)
    }
}

/// Gives every row that should have one the proof of what it says now, in the caller's transaction.
/// Whoever calls answers for what the rows say.
pub(crate) async fn prove_all(conn: &mut Conn, prover: &dyn Prover) -> Result<u64, Error> {
    let mut proved = 0;
    for row in tickets::list(conn).await? {
        tickets::prove_again(conn, prover, &row).await?;
        proved += 1;
    }
    for row in people::engineers(conn, None).await? {
        people::prove_engineer_again(conn, prover, &row).await?;
        proved += 1;
    }
    for row in people::all_keys(conn).await? {
        people::prove_key_again(conn, prover, &row).await?;
        proved += 1;
    }
    for row in contacts::list(conn).await? {
        contacts::prove_again(conn, prover, &row).await?;
        proved += 1;
    }
    for row in contacts::all_keys(conn).await? {
        contacts::prove_key_again(conn, prover, &row).await?;
        proved += 1;
    }
    for row in ticket_people::all(conn).await? {
        ticket_people::put(conn, prover, &row).await?;
        proved += 1;
    }
    for row in ticket_people::all_contacts(conn).await? {
        ticket_people::put_contact(conn, prover, &row).await?;
        proved += 1;
    }
    for row in ticket_people::all_watchers(conn).await? {
        ticket_people::put_watcher(conn, prover, &row).await?;
        proved += 1;
    }
    for row in teams::list(conn).await? {
        teams::put(conn, prover, &row).await?;
        proved += 1;
    }
    for row in teams::all_members(conn).await? {
        teams::put_member(conn, prover, &row).await?;
        proved += 1;
    }
    for link in entries::all_links(conn).await? {
        entries::prove_link(conn, prover, &link).await?;
        proved += 1;
    }
    for row in deletions::list(conn).await? {
        deletions::prove_again(conn, prover, &row).await?;
        proved += 1;
    }
    for row in holds::list(conn).await? {
        holds::prove_again(conn, prover, &row).await?;
        proved += 1;
    }
    notices::prove_addresses_again(conn, prover).await?;
    Ok(proved)
}

/// The rows whose proofs do not hold, each as its table and its name.
pub(crate) async fn unproved(records: &Records, prover: &dyn Prover) -> Result<Vec<String>, Error> {
    fn add<T: Proved>(found: &mut Vec<String>, rows: &[T], prover: &dyn Prover) {
        let bad = rows.iter().filter(|row| !row.is_proved(prover));
        found.extend(bad.map(|row| format!("{} {}", T::TABLE, row.name())));
    }
    let (mut conn, mut found) = (records.read().await?, Vec::new());
    add(&mut found, &tickets::list(&mut conn).await?, prover);
    add(&mut found, &people::engineers(&mut conn, None).await?, prover);
    add(&mut found, &people::all_keys(&mut conn).await?, prover);
    add(&mut found, &contacts::list(&mut conn).await?, prover);
    add(&mut found, &contacts::all_keys(&mut conn).await?, prover);
    add(&mut found, &deletions::list(&mut conn).await?, prover);
    add(&mut found, &holds::list(&mut conn).await?, prover);
    add(&mut found, &ticket_people::all(&mut conn).await?, prover);
    add(&mut found, &ticket_people::all_contacts(&mut conn).await?, prover);
    add(&mut found, &ticket_people::all_watchers(&mut conn).await?, prover);
    add(&mut found, &teams::list(&mut conn).await?, prover);
    add(&mut found, &teams::all_members(&mut conn).await?, prover);
    let links = entries::all_links(&mut conn).await?;
    let bad = links.iter().filter(|link| !link.is_proved(prover));
    found.extend(bad.map(|link| format!("entry {}", hex::encode(link.entry))));
    for row in notices::with_address(&mut conn).await? {
        if !row.is_address_proved(prover) {
            found.push(format!("notice {}", row.id));
        }
    }
    Ok(found)
}
