//! What is said of a ticket, and changed later: whose it is, who works on it, how urgent it is, and
//! whether the house waits for its customer.

use serde_json::json;

use super::ticket_people::PeopleChanges;
use super::{NewTicket, TicketLine, Tickets, line, note};
use crate::audit::Kind;
use crate::model::rights::Visibility;
use crate::model::{Identifier, Language, LastDay, Priority, Reference, TicketStatus, Time};
use crate::records::tickets::Ticket;
use crate::records::{Conn, notices, tickets};
use crate::repo::Error;
use crate::repo::tickets::{check_admitting, check_enabled, existing_ticket, mark_logins_changed};
use zeroize::Zeroizing;

/// What a ticket can say beside what it must.
#[derive(Debug, Clone, Default)]
pub struct TicketDetails {
    /// How the ticket system writes the reference; none: as the login name.
    pub shown: Option<Reference>,
    /// What kind of problem it is; none: an incident.
    pub kind: Option<Identifier>,
    /// The serial number of the device that it is about.
    pub serial: Option<String>,
    /// The day by which it is to be solved.
    pub deadline: Option<LastDay>,
    /// Who sees it; unless something else is said, all contacts of its organisation, or those that
    /// are named.
    pub people: PeopleChanges,
}

/// What is to be changed of a ticket. None leaves a thing as it is; none inside takes it away.
#[derive(Debug, Clone, Default)]
pub struct TicketEdit {
    /// How the ticket system writes the reference, which makes the same login name.
    pub shown: Option<Reference>,
    /// What it is about.
    pub title: Option<Option<String>>,
    /// How urgent it is.
    pub priority: Option<Priority>,
    /// The customer's language.
    pub language: Option<Option<Language>>,
    /// Who works on it.
    pub engineer: Option<Identifier>,
    /// Whose problem it is.
    pub organisation: Option<Identifier>,
    /// What kind of problem it is.
    pub kind: Option<Identifier>,
    /// The serial number of the device that it is about.
    pub serial: Option<Option<String>>,
    /// The day by which it is to be solved.
    pub deadline: Option<Option<LastDay>>,
    /// Open, or waiting for the customer.
    pub status: Option<TicketStatus>,
    /// Who sees it, what its customers may do, and who is told of it.
    pub people: PeopleChanges,
}

impl TicketEdit {
    fn is_empty(&self) -> bool {
        let Self { shown, title, priority, language, engineer, organisation, kind, serial, deadline, status, people } =
            self;
        let texts = shown.is_none() && title.is_none() && serial.is_none() && deadline.is_none();
        let words = priority.is_none() && language.is_none() && kind.is_none() && status.is_none();
        texts && words && engineer.is_none() && organisation.is_none() && people.is_empty()
    }
}

/// Puts another value in the place of one, and says that it did.
pub(super) fn set<T: PartialEq>(place: &mut T, new: Option<T>, name: &'static str, changed: &mut Vec<&'static str>) {
    if let Some(new) = new.filter(|new| new != place) {
        *place = new;
        changed.push(name);
    }
}

/// That a way to write a reference makes the login name that the ticket has.
fn check_login_name(shown: &Reference, reference: &Identifier) -> Result<(), Error> {
    if shown.name() == reference {
        return Ok(());
    }
    Err(Error::operator(format!(
        "'{shown}' makes the login name {}, and the ticket's is {reference}, which never changes",
        shown.name()
    )))
}

impl Tickets {
    /// Opens a ticket with its share. The token is shown this once; only its keyed hash is kept.
    ///
    /// # Errors
    /// If the reference is taken, organisation or engineer do not exist or are disabled, a text
    /// does not stand on one line, or the records fail.
    pub async fn open_ticket_with(
        &self,
        new: NewTicket,
        details: TicketDetails,
    ) -> Result<(TicketLine, Zeroizing<String>), Error> {
        let mut people = details.people;
        let named = !people.contacts.is_empty();
        people.visibility.get_or_insert(if named { Visibility::Named } else { Visibility::Organisation });
        let shown = details.shown.unwrap_or_else(|| new.reference.clone().into());
        check_login_name(&shown, &new.reference)?;
        self.check_ticket(&new, &shown).await?;
        let mut fresh = self.prepare_ticket(new).await?;
        fresh.row.serial = details.serial.map(|text| line("serial number", text)).transpose()?;
        fresh.row.deadline = details.deadline;
        fresh.row.shown = shown;
        if let Some(kind) = details.kind {
            fresh.row.kind = kind;
        }
        let mut tx = self.repo.records.begin().await?;
        fresh.enter(tx.conn(), self.prover()).await?;
        self.add_rights_of_policy(&fresh.row, &mut people);
        self.put_people(tx.conn(), &fresh.row, people).await?;
        tx.commit().await?;
        Ok((fresh.row.into(), fresh.token))
    }

    /// What nobody said of customers' rights in a new ticket is as the policy says.
    fn add_rights_of_policy(&self, ticket: &Ticket, people: &mut PeopleChanges) {
        let policy = self.repo.settings.policy.as_ref();
        let rule = policy.and_then(|policy| policy.rights_of(ticket.kind.as_str(), &ticket.organisation));
        let Some((said, name)) = rule else { return };
        let is_used = (people.denied.is_none() && said.denied.is_some())
            || (people.drop_box.is_none() && said.drop_box.is_some());
        people.denied = people.denied.or(said.denied);
        people.drop_box = people.drop_box.or(said.drop_box);
        people.rule = is_used.then_some(name);
    }

    /// Changes what is said of a ticket. One that goes to another engineer takes its notices along,
    /// as [`assign`](Self::assign) says. What was changed.
    ///
    /// # Errors
    /// If there is no such ticket, engineer or organisation, one of these is disabled, a text does
    /// not stand on one line, the ticket is closed and a status is given, or the records fail.
    pub async fn edit(&self, reference: &Identifier, edit: TicketEdit) -> Result<Vec<&'static str>, Error> {
        if edit.is_empty() {
            return Err(Error::operator("nothing is to be changed; name an option, as --title or --visibility"));
        }
        let TicketEdit {
            shown,
            title,
            priority,
            language,
            engineer,
            organisation,
            kind,
            serial,
            deadline,
            status,
            people,
        } = edit;
        let title = title.map(|text| text.map(|text| line("title", text)).transpose()).transpose()?;
        let serial = serial.map(|text| text.map(|text| line("serial number", text)).transpose()).transpose()?;
        let mut tx = self.repo.records.begin().await?;
        let before = existing_ticket(tx.conn(), reference).await?;
        if let Some(shown) = &shown {
            check_login_name(shown, reference)?;
        }
        if status.is_some() && before.status == TicketStatus::Closed {
            return Err(Error::operator(format!(
                "ticket {reference} is closed; 'tacdrop ticket reopen {reference}' opens it again"
            )));
        }
        let (mut after, mut changed) = (before.clone(), Vec::new());
        set(&mut after.shown, shown, "shown", &mut changed);
        set(&mut after.title, title, "title", &mut changed);
        set(&mut after.priority, priority, "priority", &mut changed);
        set(&mut after.language, language, "language", &mut changed);
        set(&mut after.organisation, organisation, "organisation", &mut changed);
        set(&mut after.kind, kind, "kind", &mut changed);
        set(&mut after.serial, serial, "serial", &mut changed);
        set(&mut after.deadline, deadline, "deadline", &mut changed);
        set(&mut after.status, status, "status", &mut changed);
        if changed.contains(&"organisation") {
            check_admitting(tx.conn(), &after.organisation).await?;
        }
        if !changed.is_empty() {
            let detail = json!({
                "changed": changed,
                "organisation": after.organisation.as_str(),
                "kind": after.kind.as_str(),
                "status": after.status,
            });
            tickets::change(tx.conn(), self.prover(), reference, |row| *row = after).await?;
            note(tx.conn(), Kind::TicketChanged, Some(reference), detail).await?;
        }
        if let Some(engineer) = engineer.filter(|engineer| *engineer != before.engineer) {
            self.hand_over(tx.conn(), reference, &engineer).await?;
            changed.push("engineer");
        }
        if !people.is_empty() {
            let row = existing_ticket(tx.conn(), reference).await?;
            self.put_people(tx.conn(), &row, people).await?;
            changed.push("people");
        }
        if changed.contains(&"organisation") || changed.contains(&"people") {
            mark_logins_changed(tx.conn()).await?;
        }
        tx.commit().await?;
        Ok(changed)
    }

    /// Gives a ticket to another engineer, who gets the notices that wait, failed, or perhaps never
    /// came.
    pub(super) async fn hand_over(
        &self,
        conn: &mut Conn,
        reference: &Identifier,
        engineer: &Identifier,
    ) -> Result<(), Error> {
        check_enabled(conn, engineer).await?;
        tickets::assign(conn, self.prover(), reference, engineer).await?;
        mark_logins_changed(conn).await?;
        notices::redirect(conn, reference, engineer, Time::now()).await?;
        note(conn, Kind::TicketAssigned, Some(reference), json!({ "engineer": engineer.as_str() })).await
    }
}
