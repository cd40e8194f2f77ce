//! Engineers, as operators keep them: changed, away, disabled, removed. What is theirs goes to
//! somebody else before they go.

use serde::Serialize;
use serde_json::json;

use super::organisations::named_tickets;
use super::{Tickets, line, note};
use crate::audit::{Kind, told};
use crate::model::{Identifier, Language, LastDay, Role, TicketStatus, Time};
use crate::notices::recipient::{engineers, who_gets};
use crate::records::people::{self, Absence, Engineer};
use crate::records::{Conn, RecordsError, notices, teams, tickets};
use crate::repo::Error;
use crate::repo::tickets::{check_address, check_enabled, existing_engineer, mark_logins_changed};

/// An engineer, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct EngineerLine {
    /// The login name.
    pub id: String,
    /// The person's name.
    pub name: String,
    /// Where notices go.
    pub email: String,
    /// The language of notices; null: the ticket's.
    pub language: Option<Language>,
    /// What the person is to the house.
    pub role: Role,
    /// Whether the person may not log in.
    pub disabled: bool,
    /// When the person is away, if a time is set that is not over.
    pub away: Option<AbsenceLine>,
    /// The fingerprints of the person's keys.
    pub keys: Vec<String>,
}

/// An absence, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AbsenceLine {
    /// The first day, in UTC.
    pub from: LastDay,
    /// The last day, in UTC.
    pub to: LastDay,
    /// Who gets the notices meanwhile.
    pub deputy: String,
    /// Whether it lasts now.
    pub now: bool,
}

/// What is to be changed of an engineer. None leaves a thing as it is.
#[derive(Debug, Clone, Default)]
pub struct EngineerEdit {
    /// Another name.
    pub name: Option<String>,
    /// Another mail address.
    pub email: Option<String>,
    /// Another language of notices; none inside: the ticket's.
    pub language: Option<Option<Language>>,
    /// Another role.
    pub role: Option<Role>,
}

/// What went to somebody else, for people and programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct HandedOver {
    /// Tickets that are not closed.
    pub tickets: u64,
    /// Notices of other tickets that were not delivered.
    pub notices: u64,
}

/// A ticket that is not closed and whose notices reach nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreached {
    /// Its reference.
    pub ticket: String,
    /// Why, as the end of a sentence.
    pub why: String,
}

/// What hangs on an engineer who is to go.
struct Hanging {
    open: Vec<Identifier>,
    untold: Vec<notices::NoticeRow>,
    stands_in_for: Vec<Engineer>,
}

impl Hanging {
    async fn on(conn: &mut Conn, id: &Identifier) -> Result<Self, Error> {
        let all = people::engineers(conn, None).await?;
        let is_deputy = |row: &Engineer| row.away.as_ref().is_some_and(|away| away.deputy == *id && is_ahead(away));
        Ok(Self {
            open: tickets::unclosed_of_engineer(conn, id).await?,
            untold: notices::untold(conn, id).await?,
            stands_in_for: all.into_iter().filter(is_deputy).collect(),
        })
    }

    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.untold.is_empty() && self.stands_in_for.is_empty()
    }

    /// `2 tickets that are not closed: XT-1, XT-2; 1 notice that was not delivered`.
    fn said(&self) -> String {
        let mut parts = Vec::new();
        if !self.open.is_empty() {
            let references: Vec<_> = self.open.iter().map(ToString::to_string).collect();
            parts.push(format!("{} (not closed)", named_tickets(&references)));
        }
        match self.untold.len() {
            0 => {}
            1 => parts.push("1 notice that was not delivered".to_owned()),
            more => parts.push(format!("{more} notices that were not delivered")),
        }
        if !self.stands_in_for.is_empty() {
            let names: Vec<_> = self.stands_in_for.iter().map(|row| row.id.to_string()).collect();
            parts.push(format!("the place of {} to take", names.join(", ")));
        }
        parts.join("; ")
    }
}

fn is_ahead(away: &Absence) -> bool {
    !away.to.is_over(Time::now())
}

impl Tickets {
    /// All engineers with their keys.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn engineers(&self) -> Result<Vec<EngineerLine>, Error> {
        let mut conn = self.repo.records.read().await?;
        let mut lines = Vec::new();
        for row in people::engineers(&mut conn, None).await? {
            lines.push(engineer_line(&mut conn, row).await?);
        }
        Ok(lines)
    }

    /// One engineer with the keys.
    ///
    /// # Errors
    /// If there is none, or the records fail.
    pub async fn engineer(&self, id: &Identifier) -> Result<EngineerLine, Error> {
        let mut conn = self.repo.records.read().await?;
        let row = existing_engineer(&mut conn, id).await?;
        engineer_line(&mut conn, row).await
    }

    /// Gives an engineer another mail address. What the engineer was not told at the one before
    /// goes to the new one, at once. How many notices these are.
    ///
    /// # Errors
    /// If there is no such engineer, the address is none, or is the engineer's already, or the
    /// records fail.
    pub async fn set_email(&self, engineer: &Identifier, email: &str) -> Result<u64, Error> {
        check_address(email)?;
        let edit = EngineerEdit { email: Some(email.to_owned()), ..EngineerEdit::default() };
        match self.edit_engineer(engineer, edit).await? {
            (changed, moved) if changed.contains(&"email") => Ok(moved),
            _ => Err(Error::operator(format!("notices for engineer {engineer} go to this address already"))),
        }
    }

    /// Changes what is said of an engineer. What was changed, and how many notices go to a new
    /// address by that.
    ///
    /// # Errors
    /// If there is none, the address is none, a name does not stand on one line, or the records fail.
    pub async fn edit_engineer(&self, id: &Identifier, edit: EngineerEdit) -> Result<(Vec<&'static str>, u64), Error> {
        let EngineerEdit { name, email, language, role } = edit;
        let name = name.map(|text| line("name", text)).transpose()?;
        if let Some(email) = &email {
            check_address(email)?;
        }
        let mut tx = self.repo.records.begin().await?;
        let mut row = existing_engineer(tx.conn(), id).await?;
        let mut changed = Vec::new();
        super::edit::set(&mut row.name, name, "name", &mut changed);
        super::edit::set(&mut row.email, email, "email", &mut changed);
        super::edit::set(&mut row.language, language, "language", &mut changed);
        super::edit::set(&mut row.role, role, "role", &mut changed);
        if changed.is_empty() {
            return Ok((changed, 0));
        }
        let after = row.clone();
        people::change(tx.conn(), self.prover(), id, |row| *row = after).await?;
        let moved = if changed.contains(&"email") { notices::moved(tx.conn(), id, Time::now()).await? } else { 0 };
        if changed.contains(&"role") {
            mark_logins_changed(tx.conn()).await?;
        }
        // Not the address, which is a person's: only what it can be compared with.
        let address = told::address(self.repo.keys.trail(), id.as_str(), &row.email);
        let detail = json!({
            "engineer": id.as_str(), "changed": changed, "notices": moved, "address": address, "role": row.role,
        });
        note(tx.conn(), Kind::EngineerChanged, None, detail).await?;
        tx.commit().await?;
        Ok((changed, moved))
    }

    /// Ends an engineer's logins. Refused while tickets or notices are theirs.
    ///
    /// # Errors
    /// As [`disable_engineer_for`](Self::disable_engineer_for).
    pub async fn disable_engineer(&self, engineer: &Identifier) -> Result<(), Error> {
        self.disable_engineer_for(engineer, None).await?;
        Ok(())
    }

    /// Ends an engineer's logins, and gives to another one what is theirs, in one transaction: the
    /// tickets that are not closed, the notices that were not delivered, and the place of whom they
    /// stand in for.
    ///
    /// # Errors
    /// If there is no such engineer, the other one is the same, missing or disabled; without another
    /// one, if something is theirs: a sentence that says what, and the command; if the records fail.
    pub async fn disable_engineer_for(
        &self,
        engineer: &Identifier,
        other: Option<&Identifier>,
    ) -> Result<HandedOver, Error> {
        let mut tx = self.repo.records.begin().await?;
        existing_engineer(tx.conn(), engineer).await?;
        // The row first: it must say what tacdrop wrote before anything follows from it.
        let disable = |row: &mut Engineer| row.disabled_at = Some(row.disabled_at.unwrap_or_else(Time::now));
        people::change(tx.conn(), self.prover(), engineer, disable).await?;
        let hanging = Hanging::on(tx.conn(), engineer).await?;
        let mut done = HandedOver::default();
        match other {
            Some(other) => {
                if other == engineer {
                    return Err(Error::operator(format!("engineer {engineer} cannot be handed over to the same one")));
                }
                check_enabled(tx.conn(), other).await?;
                // Who is away would be told of everything, and nobody in their place.
                if let Some(away) =
                    hanging.stands_in_for.iter().find(|row| row.id == *other).and_then(|row| row.away.as_ref())
                {
                    return Err(Error::operator(format!(
                        "engineer {engineer} stands in for {other}, who is away from {} to {}; give {other} another \
                         deputy first (tacdrop engineer away {other}), or hand over to somebody else",
                        away.from, away.to
                    )));
                }
                done = self.hand_all_over(tx.conn(), hanging, other).await?;
            }
            None if hanging.is_empty() => {}
            None => {
                return Err(Error::operator(format!(
                    "engineer {engineer} has {}; hand that over: tacdrop engineer disable {engineer} --hand-over-to \
                     ENGINEER",
                    hanging.said()
                )));
            }
        }
        mark_logins_changed(tx.conn()).await?;
        let to = other.map(Identifier::as_str);
        let HandedOver { tickets, notices } = done;
        let detail = json!({ "engineer": engineer.as_str(), "to": to, "tickets": tickets, "notices": notices });
        note(tx.conn(), Kind::EngineerDisabled, None, detail).await?;
        tx.commit().await?;
        Ok(done)
    }

    async fn hand_all_over(&self, conn: &mut Conn, hanging: Hanging, to: &Identifier) -> Result<HandedOver, Error> {
        let mut done = HandedOver::default();
        for reference in &hanging.open {
            match self.hand_over(conn, reference, to).await {
                Ok(()) => done.tickets += 1,
                // Nobody reaches it before an operator has looked at its row, and `tacdrop doctor` names it.
                Err(Error::Records(RecordsError::Unproved { .. })) => {
                    tracing::error!(ticket = %reference, "a ticket that was changed from outside cannot be handed over");
                }
                Err(error) => return Err(error),
            }
        }
        // What is left are those of closed tickets, and those that were sent to somebody on purpose.
        for row in hanging.untold {
            let Some(row) = notices::by_id(conn, row.id).await?.filter(|now| now.recipient == row.recipient) else {
                continue;
            };
            let address = row.address.as_deref().filter(|_| row.is_address_proved(self.prover()));
            notices::readdress(conn, self.prover(), (row.id, &row.ticket), to, address).await?;
            if address.is_none() {
                notices::retry(conn, row.id, Time::now()).await?;
            }
            done.notices += 1;
        }
        for row in hanging.stands_in_for {
            let away = row.away.map(|away| Absence { deputy: to.clone(), ..away });
            let new = away.clone();
            match people::change(conn, self.prover(), &row.id, |row| row.away = new).await {
                Ok(_) => note_absence(conn, &row.id, away.as_ref()).await?,
                Err(RecordsError::Unproved { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    /// Lets an engineer log in again.
    ///
    /// # Errors
    /// If there is none, the engineer is not disabled, or the records fail.
    pub async fn enable_engineer(&self, engineer: &Identifier) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        if existing_engineer(tx.conn(), engineer).await?.disabled_at.is_none() {
            return Err(Error::operator(format!("engineer {engineer} is not disabled")));
        }
        people::change(tx.conn(), self.prover(), engineer, |row| row.disabled_at = None).await?;
        note(tx.conn(), Kind::EngineerEnabled, None, json!({ "engineer": engineer.as_str() })).await?;
        Ok(tx.commit().await?)
    }

    /// Removes an engineer whom nothing names. The id stays taken: what the audit trail and versions
    /// tell of it must not become another one's.
    ///
    /// # Errors
    /// If there is none, something still hangs on the engineer (a sentence that names it), or the
    /// records fail.
    pub async fn remove_engineer(&self, engineer: &Identifier) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        existing_engineer(tx.conn(), engineer).await?;
        let mut hanging = Vec::new();
        let references = tickets::references_of_engineer(tx.conn(), engineer).await?;
        if !references.is_empty() {
            hanging.push(named_tickets(&references));
        }
        match notices::count_of(tx.conn(), engineer).await? {
            0 => {}
            1 => hanging.push("1 notice that was for them".to_owned()),
            more => hanging.push(format!("{more} notices that were for them")),
        }
        let all = people::engineers(tx.conn(), None).await?;
        let deputy_of = |row: &&Engineer| row.away.as_ref().is_some_and(|away| away.deputy == *engineer);
        hanging.extend(all.iter().filter(deputy_of).map(|row| format!("the place of {} to take", row.id)));
        let teams = teams::of_engineer(tx.conn(), engineer).await?;
        hanging.extend(teams.iter().map(|team| format!("a place in team {team}")));
        if !hanging.is_empty() {
            return Err(Error::operator(format!(
                "engineer {engineer} cannot be removed, as they have {}; 'tacdrop engineer disable {engineer}' ends \
                 their logins",
                hanging.join("; ")
            )));
        }
        people::remove_engineer(tx.conn(), engineer).await?;
        mark_logins_changed(tx.conn()).await?;
        note(tx.conn(), Kind::EngineerRemoved, None, json!({ "engineer": engineer.as_str() })).await?;
        Ok(tx.commit().await?)
    }

    /// Says when an engineer is away, and who gets the notices meanwhile.
    ///
    /// # Errors
    /// If there is no such engineer or deputy, they are the same or disabled, the days are over or in
    /// the wrong order, the deputy is away at the same time, or the records fail.
    pub async fn set_absence(&self, engineer: &Identifier, away: Absence) -> Result<(), Error> {
        let Absence { from, to, deputy } = &away;
        if to < from {
            return Err(Error::operator(format!("an absence cannot end on {to} before it begins on {from}")));
        }
        if to.is_over(Time::now()) {
            return Err(Error::operator(format!("it is too late: {to} is over")));
        }
        if deputy == engineer {
            return Err(Error::operator(format!("engineer {engineer} cannot stand in for the same one")));
        }
        let mut tx = self.repo.records.begin().await?;
        check_enabled(tx.conn(), engineer).await?;
        check_enabled(tx.conn(), deputy).await?;
        let other = existing_engineer(tx.conn(), deputy).await?;
        if let Some(theirs) = other.away.filter(|theirs| theirs.from <= *to && theirs.to >= *from) {
            return Err(Error::operator(format!(
                "engineer {deputy} is away as well, from {} to {}; name another deputy",
                theirs.from, theirs.to
            )));
        }
        let new = Some(away.clone());
        people::change(tx.conn(), self.prover(), engineer, |row| row.away = new).await?;
        mark_logins_changed(tx.conn()).await?;
        note_absence(tx.conn(), engineer, Some(&away)).await?;
        Ok(tx.commit().await?)
    }

    /// Ends an absence, or takes back one that is to come.
    ///
    /// # Errors
    /// If there is no such engineer, no absence is set, or the records fail.
    pub async fn end_absence(&self, engineer: &Identifier) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        if existing_engineer(tx.conn(), engineer).await?.away.is_none() {
            return Err(Error::operator(format!("no absence of engineer {engineer} is set")));
        }
        people::change(tx.conn(), self.prover(), engineer, |row| row.away = None).await?;
        mark_logins_changed(tx.conn()).await?;
        note_absence(tx.conn(), engineer, None).await?;
        Ok(tx.commit().await?)
    }

    /// The tickets that are not closed and whose notices reach nobody: the engineer is disabled, away
    /// without a deputy who is there, or has no mail address.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn unreached(&self) -> Result<Vec<Unreached>, Error> {
        let mut conn = self.repo.records.read().await?;
        let (all, now) = (engineers(&mut conn).await?, Time::now());
        let rows = tickets::list(&mut conn).await?.into_iter().filter(|row| row.status != TicketStatus::Closed);
        Ok(rows
            .filter_map(|row| {
                let why = who_gets(&all, &row.engineer, now).err()?;
                Some(Unreached { ticket: row.reference.to_string(), why })
            })
            .collect())
    }
}

/// Tells of an absence that was set, or that none is any more.
async fn note_absence(conn: &mut Conn, engineer: &Identifier, away: Option<&Absence>) -> Result<(), Error> {
    let Some(Absence { from, to, deputy }) = away else {
        return note(conn, Kind::EngineerBack, None, json!({ "engineer": engineer.as_str() })).await;
    };
    let detail = json!({ "engineer": engineer.as_str(), "from": from, "to": to, "deputy": deputy.as_str() });
    note(conn, Kind::EngineerAway, None, detail).await
}

async fn engineer_line(conn: &mut Conn, row: Engineer) -> Result<EngineerLine, Error> {
    let keys = people::keys(conn, &row.id).await?;
    let absence = |away: Absence| AbsenceLine {
        now: away.lasts(Time::now()),
        from: away.from,
        to: away.to,
        deputy: away.deputy.to_string(),
    };
    Ok(EngineerLine {
        id: row.id.to_string(),
        name: row.name,
        email: row.email,
        language: row.language,
        role: row.role,
        disabled: row.disabled_at.is_some(),
        away: row.away.filter(is_ahead).map(absence),
        keys: keys.into_iter().map(|key| key.fingerprint).collect(),
    })
}
