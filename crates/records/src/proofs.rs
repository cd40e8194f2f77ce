//! Rows that decide who may do what, and where content goes, carry a proof: a MAC over what they
//! say. This room holds no key. It says what a row's proof is made of, and writes such a row only
//! together with its proof.
//!
//! [`LABELS`] and the order of fields stand in `docs/format.md`. A kind of row whose fields change
//! gets a new label: a proof of before never fits other fields.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Column, RecordsError};
use tacdrop_model::{Language, Time};

/// Bytes of a proof.
pub const PROOF: usize = 32;
/// The proof of a row. One that has none has zeros here, which no key ever makes.
pub type Proof = [u8; PROOF];

/// Makes and checks proofs: whoever holds the house's key for them.
pub trait Prover: Send + Sync {
    /// The proof of these fields under this label.
    fn prove(&self, label: &'static str, fields: &[&[u8]]) -> Proof;

    /// Whether `proof` is that of the fields, in a time that does not depend on it.
    fn is_proved(&self, label: &'static str, fields: &[&[u8]], proof: &Proof) -> bool;
}

/// A row that carries a proof.
pub trait Proved {
    /// Its table.
    const TABLE: &'static str;
    /// What its proofs are made under.
    const LABEL: &'static str;

    /// What its proof is made of, in order.
    fn with_fields<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> T;

    /// The proof that it carries.
    fn proof(&self) -> &Proof;

    /// The row as an operator knows it.
    fn name(&self) -> String;

    /// The proof that it should carry.
    fn prove(&self, prover: &dyn Prover) -> Proof {
        self.with_fields(|fields| prover.prove(Self::LABEL, fields))
    }

    /// Whether tacdrop wrote what this row says.
    fn is_proved(&self, prover: &dyn Prover) -> bool {
        self.with_fields(|fields| prover.is_proved(Self::LABEL, fields, self.proof()))
    }

    /// The same for whoever is about to change the row: what was written from outside must not get
    /// a proof by that.
    ///
    /// # Errors
    /// [`RecordsError::Unproved`].
    fn check(&self, prover: &dyn Prover) -> Result<(), RecordsError> {
        if self.is_proved(prover) { Ok(()) } else { Err(unproved(self)) }
    }
}

/// That a row's proof does not hold.
pub fn unproved<T: Proved + ?Sized>(row: &T) -> RecordsError {
    RecordsError::Unproved { table: T::TABLE, row: row.name().escape_debug().to_string() }
}

/// All labels, and the table of each.
pub const LABELS: &[(&str, &str)] = &[
    (<super::organisations::Organisation as Proved>::LABEL, "organisation"),
    (<super::tickets::Ticket as Proved>::LABEL, "ticket"),
    (<super::tokens::Token as Proved>::LABEL, "ticket_token"),
    (<super::people::Engineer as Proved>::LABEL, "engineer"),
    (<super::people::EngineerKey as Proved>::LABEL, "engineer_key"),
    (<super::contacts::Contact as Proved>::LABEL, "contact"),
    (<super::contacts::ContactKey as Proved>::LABEL, "contact_key"),
    (<super::customer_settings::ContactSettings as Proved>::LABEL, "contact_setting"),
    (<super::customer_settings::TicketSettings as Proved>::LABEL, "ticket_setting"),
    (<super::ticket_people::TicketPeople as Proved>::LABEL, "ticket_people"),
    (<super::ticket_people::TicketContact as Proved>::LABEL, "ticket_contact"),
    (<super::ticket_people::TicketWatcher as Proved>::LABEL, "ticket_watcher"),
    (<super::teams::Team as Proved>::LABEL, "team"),
    (<super::teams::Member as Proved>::LABEL, "team_member"),
    (super::notices::ADDRESS_LABEL, "notice"),
    (<super::deletions::Deletion as Proved>::LABEL, "deletion"),
    (<super::closings::ClosingRow as Proved>::LABEL, "closing"),
    (<super::holds::Hold as Proved>::LABEL, "hold"),
];

/// A proof out of a row. What can be none is as good as none.
pub(super) fn proof(row: &SqliteRow, column: impl Column) -> Proof {
    let bytes = row.try_get::<Option<&[u8]>, _>(column).ok().flatten();
    bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}

/// A moment that may be missing as a field: nothing, or milliseconds since 1970 as an i64.
pub(super) fn time_field(time: Option<Time>) -> Vec<u8> {
    time.map(|time| time.millis().to_be_bytes().to_vec()).unwrap_or_default()
}

/// A language that may be missing as a field: nothing, or its code.
pub(super) fn language_field(language: Option<Language>) -> &'static [u8] {
    language.map_or("", Language::code).as_bytes()
}

#[cfg(test)]
mod tests {

    /// The columns that each statement of this room changes of a table whose rows carry proofs.
    fn changed(text: &str, table: &str) -> Vec<Vec<String>> {
        let update = format!("UPDATE {table} SET ");
        let statements = text.match_indices(&update).map(|(at, it)| &text[at + it.len()..]);
        statements
            .map(|rest| {
                let rest = rest.split('"').next().unwrap_or_default();
                let rest = rest.split(" WHERE ").next().unwrap_or_default();
                let parts =
                    rest.split(", ").filter_map(|part| part.trim_start_matches(['\\', '\n', ' ']).split_once(" = "));
                parts.map(|(column, _)| column.trim().to_owned()).collect()
            })
            .collect()
    }

    /// A statement that changes what a proof covers writes the proof as well. What it may change
    /// without are sums, which decide no right.
    #[test]
    fn no_statement_changes_a_proved_row_without_its_proof() {
        let mut found = 0;
        for (file, text) in crate::tests::sources() {
            // Tests make rows of their own.
            let text = text.split("#[cfg(test)]").next().unwrap();
            for table in super::LABELS.iter().map(|(_, table)| *table).filter(|table| *table != "notice") {
                for columns in changed(text, table) {
                    let free =
                        columns.iter().all(|column| ["stored_bytes", "names", "newest_at"].contains(&column.as_str()));
                    let proves = columns.iter().any(|column| column == "proof");
                    assert!(!columns.is_empty() && (free || proves), "{}: {table}: {columns:?}", file.display());
                    found += 1;
                }
                for (at, it) in text.match_indices(&format!("INSERT INTO {table} (")) {
                    let columns = text[at + it.len()..].split(')').next().unwrap();
                    assert!(columns.ends_with("proof"), "{}: {table}: {columns}", file.display());
                    found += 1;
                }
            }
        }
        assert!(found >= 20, "{found}");
    }
}
