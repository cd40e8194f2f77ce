//! Who gets what is for an engineer: somebody who is away has a deputy, and nobody who was disabled
//! is told anything.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::Notices;
use crate::audit::{self, Actor, Kind, Subject};
use crate::mail::is_address;
use crate::model::{Identifier, Time};
use crate::records::Conn;
use crate::records::notices::{self, NoticeRow};
use crate::records::people::{self, Engineer};
use crate::records::proofs::Proved;
use crate::repo::Error;

/// Deputies of deputies that are followed at most.
const LONGEST_WAY: usize = 8;
/// So long a notice whose recipient is disabled waits until it is looked at again.
const HELD: Duration = Duration::from_secs(15 * 60);

/// The engineers by id.
pub(crate) type Engineers = BTreeMap<Identifier, Engineer>;

/// All engineers that can be read.
pub(crate) async fn engineers(conn: &mut Conn) -> Result<Engineers, Error> {
    let rows = people::engineers(conn, None).await?;
    Ok(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
}

/// Who gets at this moment what is for an engineer.
///
/// # Errors
/// Why nobody would, as the end of a sentence.
pub(crate) fn who_gets<'a>(all: &'a Engineers, id: &Identifier, now: Time) -> Result<&'a Engineer, String> {
    let mut at = id;
    for _ in 0..LONGEST_WAY {
        let Some(row) = all.get(at) else { return Err(format!("{at} cannot be read")) };
        if row.disabled_at.is_some() {
            return Err(format!("{at} is disabled"));
        }
        match row.away.as_ref().filter(|away| away.lasts(now)) {
            Some(away) => at = &away.deputy,
            None if is_address(&row.email) => return Ok(row),
            None => return Err(format!("{at} has no mail address")),
        }
    }
    Err(format!("the deputies of {id} are away themselves"))
}

/// The name of an engineer, for people.
pub(super) async fn name_of(conn: &mut Conn, id: Option<&Identifier>) -> Result<Option<String>, Error> {
    let Some(id) = id else { return Ok(None) };
    let row = people::engineers(conn, Some(id.as_str())).await?.into_iter().next();
    Ok(Some(row.map_or_else(|| id.to_string(), |row| row.name)))
}

impl Notices {
    /// What waits for somebody who is away is for the deputy from now on. Where no deputy can take
    /// it, it stays: who is away reads it later, and `tacdrop doctor` says so.
    pub(super) async fn turn_to_deputies(&self, conn: &mut Conn, now: Time) -> Result<(), Error> {
        let all = engineers(conn).await?;
        let prover = &**self.repo.keys.proofs();
        for row in all.values().filter(|row| row.away.as_ref().is_some_and(|away| away.lasts(now))) {
            let deputy = who_gets(&all, &row.id, now).ok().filter(|deputy| deputy.is_proved(prover));
            // What somebody else wrote into the row turns nothing.
            let Some(deputy) = deputy.filter(|_| row.is_proved(prover)) else { continue };
            for (id, ticket) in notices::stand_in(conn, &row.id, &deputy.id).await? {
                let subject = Subject { actor: &Actor::Server, ticket: Some(&ticket), id: Some(*id.as_bytes()) };
                let detail = json!({ "engineer": deputy.id.as_str(), "instead_of": row.id.as_str() });
                audit::write(conn, Kind::NoticeReaddressed, subject, &detail).await?;
            }
        }
        Ok(())
    }

    /// A notice whose recipient is disabled reaches nobody, and is not lost: it waits for another
    /// recipient, and `tacdrop doctor` names it.
    pub(super) async fn hold_back(&self, row: &NoticeRow, now: Time) -> Result<(), Error> {
        let why = format!(
            "The recipient {} is disabled; give it to somebody with 'tacdrop notice readdress {} --engineer ID'.",
            row.recipient, row.id
        );
        let is_news = row.last_error.as_deref() != Some(why.as_str());
        let mut tx = self.repo.records.begin().await?;
        notices::hold(tx.conn(), row, &why, now.plus(HELD)).await?;
        if is_news {
            tracing::error!(notice = %row.id, recipient = %row.recipient, "a notice is held back: its recipient is disabled");
            let subject = Subject { actor: &Actor::Server, ticket: Some(&row.ticket), id: Some(*row.id.as_bytes()) };
            audit::write(tx.conn(), Kind::NoticeHeld, subject, &json!({ "engineer": row.recipient.as_str() })).await?;
        }
        Ok(tx.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Role;
    use crate::records::people::Absence;

    fn word(text: &str) -> Identifier {
        text.parse().unwrap()
    }

    fn engineer(id: &str, disabled: bool, deputy: Option<&str>) -> (Identifier, Engineer) {
        let day = |text: &str| text.parse().unwrap();
        let away =
            deputy.map(|deputy| Absence { from: day("2026-12-24"), to: day("2026-12-26"), deputy: word(deputy) });
        let email = if id == "mute" { "nowhere".to_owned() } else { format!("{id}@example.org") };
        let row = Engineer {
            id: word(id),
            name: id.to_owned(),
            email,
            language: None,
            disabled_at: disabled.then(Time::now),
            role: Role::Engineer,
            away,
            proof: Default::default(),
        };
        (word(id), row)
    }

    #[test]
    fn deputies_are_followed_to_somebody_who_is_there() {
        let all = Engineers::from([
            engineer("anna", false, Some("bert")),
            engineer("bert", false, None),
            engineer("carl", false, Some("anna")),
            engineer("dora", false, Some("gone")),
            engineer("gone", true, None),
            engineer("eve", false, Some("fred")),
            engineer("fred", false, Some("eve")),
            engineer("mute", false, None),
        ]);
        let at = |text: &str| Time::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        let gets = |id: &str, when: &str| who_gets(&all, &word(id), at(when)).map(|row| row.id.to_string());
        for (id, when, who) in [
            ("anna", "2026-12-23T23:59:59Z", Ok("anna")),
            ("anna", "2026-12-24T00:00:00Z", Ok("bert")),
            ("anna", "2026-12-26T23:59:59Z", Ok("bert")),
            ("anna", "2026-12-27T00:00:00Z", Ok("anna")),
            ("bert", "2026-12-25T00:00:00Z", Ok("bert")),
            ("carl", "2026-12-25T00:00:00Z", Ok("bert")),
            ("dora", "2026-12-25T00:00:00Z", Err("gone is disabled")),
            ("gone", "2026-12-01T00:00:00Z", Err("gone is disabled")),
            ("eve", "2026-12-25T00:00:00Z", Err("the deputies of eve are away themselves")),
            ("mute", "2026-12-01T00:00:00Z", Err("mute has no mail address")),
            ("nobody", "2026-12-01T00:00:00Z", Err("nobody cannot be read")),
        ] {
            assert_eq!(gets(id, when), who.map(str::to_owned).map_err(str::to_owned), "{id} at {when}");
        }
    }
}
