//! Whether rows say what tacdrop wrote: the house's key for proofs at hand, and rows of before
//! there were proofs.

use std::collections::HashMap;
use std::fmt;

use crate::model::{Locked, Time};
use crate::records::proofs::{Proof, Proved, Prover};
use crate::records::{
    Conn, Records, closings, contacts, customer_settings, deletions, entries, holds, notices, organisations, people,
    teams, ticket_people, tickets, tokens,
};
use crate::repo::Error;
use crate::vault::ProofKey;

/// Makes and checks the proofs of rows. It lasts as long as the process: a key is replaced while
/// nobody serves.
pub(crate) struct Proofs {
    key: ProofKey,
    known: Known,
}

/// The most rows that are remembered to be proved: some two megabytes.
const MOST_KNOWN: usize = 4096;

/// Rows that were found to be proved, each by its proof with its label and its fields. A proof is
/// made of nothing else, so a row that says the same holds without being computed again: a login and
/// each request of it ask for the same few rows. It saves 15,000 instructions of each STAT.
#[derive(Default)]
struct Known(Locked<HashMap<Proof, Row>>);

/// A label, and the fields under it, each behind its length.
type Row = (&'static str, Box<[u8]>);

impl Known {
    fn has(&self, label: &'static str, fields: &[&[u8]], proof: &Proof) -> bool {
        let known = self.0.lock();
        known.get(proof).is_some_and(|(of, row)| *of == label && says(row, fields))
    }

    fn add(&self, label: &'static str, fields: &[&[u8]], proof: &Proof) {
        let mut row = Vec::with_capacity(fields.iter().map(|field| 8 + field.len()).sum());
        for field in fields {
            row.extend((field.len() as u64).to_be_bytes());
            row.extend(*field);
        }
        let mut known = self.0.lock();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(*proof, (label, row.into()));
    }
}

/// Whether these are the fields, each behind its length.
fn says(mut row: &[u8], fields: &[&[u8]]) -> bool {
    for field in fields {
        let after_length = row.strip_prefix(&(field.len() as u64).to_be_bytes());
        let Some(rest) = after_length.and_then(|rest| rest.strip_prefix(*field)) else { return false };
        row = rest;
    }
    row.is_empty()
}

impl Proofs {
    pub(crate) fn of(key: ProofKey) -> Self {
        Self { key, known: Known::default() }
    }

    pub(crate) fn key(&self) -> &ProofKey {
        &self.key
    }
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proofs")
    }
}

impl Prover for Proofs {
    fn prove(&self, label: &'static str, fields: &[&[u8]]) -> Proof {
        self.key.prove(label, fields)
    }

    fn is_proved(&self, label: &'static str, fields: &[&[u8]], proof: &Proof) -> bool {
        if self.known.has(label, fields, proof) {
            return true;
        }
        let holds = self.key.is_proved(label, fields, proof);
        if holds {
            self.known.add(label, fields, proof);
        }
        holds
    }
}

/// Gives every row that should have one the proof of what it says now, in the caller's transaction.
/// Whoever calls answers for what the rows say.
pub(crate) async fn prove_all(conn: &mut Conn, prover: &dyn Prover) -> Result<u64, Error> {
    let mut proved = prove_what_is_new(conn, prover).await?;
    for row in tickets::list(conn).await? {
        tickets::prove_again(conn, prover, &row).await?;
        proved += 1;
    }
    for row in tokens::list(conn).await? {
        tokens::prove_again(conn, prover, &row).await?;
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
    for row in customer_settings::contacts(conn).await? {
        customer_settings::put_contact(conn, prover, &row).await?;
        proved += 1;
    }
    for row in customer_settings::tickets(conn).await? {
        customer_settings::put_ticket(conn, prover, &row).await?;
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
    for row in closings::list(conn).await? {
        closings::prove_again(conn, prover, &row).await?;
        proved += 1;
    }
    for row in holds::list(conn).await? {
        holds::prove_again(conn, prover, &row).await?;
        proved += 1;
    }
    notices::prove_addresses_again(conn, prover).await?;
    Ok(proved)
}

/// The same for the kinds of rows that carried no proof when rows got theirs for the first time, and
/// for those whose proofs cover more since then. One of these whose former proof does not hold gets
/// no other.
pub(crate) async fn prove_what_is_new(conn: &mut Conn, prover: &dyn Prover) -> Result<u64, Error> {
    let mut proved = 0;
    for row in organisations::organisations(conn, None).await? {
        organisations::prove_again(conn, prover, &row).await?;
        proved += 1;
    }
    for row in people::engineers(conn, None).await?.iter().filter(|row| row.is_formerly_proved(prover)) {
        people::prove_engineer_again(conn, prover, row).await?;
        proved += 1;
    }
    for row in tickets::list(conn).await?.iter().filter(|row| row.is_formerly_proved(prover)) {
        tickets::prove_again(conn, prover, row).await?;
        proved += 1;
    }
    Ok(proved)
}

/// Moves the tokens that tickets of before have in their own rows into rows of their own, where the
/// ticket's row says what tacdrop wrote.
pub(crate) async fn move_tokens(conn: &mut Conn, prover: &dyn Prover, valid_until: Time) -> Result<(), Error> {
    for row in tickets::list(conn).await?.iter().filter(|row| row.is_proved(prover)) {
        tokens::move_out(conn, prover, row, valid_until).await?;
    }
    Ok(())
}

/// The rows whose proofs do not hold, each as its table and its name.
pub(crate) async fn unproved(records: &Records, prover: &dyn Prover) -> Result<Vec<String>, Error> {
    fn add<T: Proved>(found: &mut Vec<String>, rows: &[T], prover: &dyn Prover) {
        let bad = rows.iter().filter(|row| !row.is_proved(prover));
        found.extend(bad.map(|row| format!("{} {}", T::TABLE, row.name())));
    }
    let (mut conn, mut found) = (records.read().await?, Vec::new());
    add(&mut found, &organisations::organisations(&mut conn, None).await?, prover);
    add(&mut found, &tickets::list(&mut conn).await?, prover);
    add(&mut found, &tokens::list(&mut conn).await?, prover);
    add(&mut found, &people::engineers(&mut conn, None).await?, prover);
    add(&mut found, &people::all_keys(&mut conn).await?, prover);
    add(&mut found, &contacts::list(&mut conn).await?, prover);
    add(&mut found, &contacts::all_keys(&mut conn).await?, prover);
    add(&mut found, &customer_settings::contacts(&mut conn).await?, prover);
    add(&mut found, &customer_settings::tickets(&mut conn).await?, prover);
    add(&mut found, &deletions::list(&mut conn).await?, prover);
    add(&mut found, &closings::list(&mut conn).await?, prover);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_to_be_proved_is_the_same_row_and_no_other() {
        let proofs = Proofs::of(ProofKey::from_bytes(&[7; 32]));
        let fields: [&[u8]; 3] = [b"XT-1", b"", b"open"];
        let proof = proofs.prove("ticket", &fields);
        for _ in 0..2 {
            assert!(proofs.is_proved("ticket", &fields, &proof));
            assert!(!proofs.is_proved("engineer", &fields, &proof));
            let others: [&[&[u8]]; 5] =
                [&[b"XT-2", b"", b"open"], &[b"XT-1", b"open"], &[b"XT-1", b"", b"open", b""], &[b"XT-1", b""], &[]];
            for other in others {
                assert!(!proofs.is_proved("ticket", other, &proof), "{other:?}");
            }
            assert!(!proofs.is_proved("ticket", &fields, &[0; 32]));
        }
        assert_eq!(proofs.known.0.lock().len(), 1, "only what holds is remembered");
        for number in 0..2 * MOST_KNOWN {
            let fields: [&[u8]; 1] = [&number.to_be_bytes()];
            assert!(proofs.is_proved("ticket", &fields, &proofs.prove("ticket", &fields)));
            assert!(proofs.known.0.lock().len() <= MOST_KNOWN);
        }
    }
}
