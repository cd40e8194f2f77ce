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
    RecordsError::Unproved { table: T::TABLE, row: row.name() }
}

/// All labels, and the table of each.
pub const LABELS: [(&str, &str); 4] = [
    (<super::tickets::Ticket as Proved>::LABEL, "ticket"),
    (<super::people::Engineer as Proved>::LABEL, "engineer"),
    (<super::people::EngineerKey as Proved>::LABEL, "engineer_key"),
    (super::notices::ADDRESS_LABEL, "notice"),
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
