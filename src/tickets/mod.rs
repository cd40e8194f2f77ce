//! What operators do at their desk: organisations, engineers, tickets and tokens. The command line
//! calls it while the server runs; the records are what both share.

pub(crate) mod artifacts;
pub(crate) mod checklist;
mod closing;
pub(crate) mod contacts;
mod edit;
mod engineers;
pub(crate) mod lists;
mod organisations;
mod references;
pub(crate) mod teams;
pub(crate) mod ticket_list;
pub(crate) mod ticket_people;
mod tokens;
pub(crate) mod usage;

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

pub use self::edit::{TicketDetails, TicketEdit};
pub use self::engineers::{AbsenceLine, EngineerEdit, EngineerLine, HandedOver, Unreached};
pub use self::organisations::{NewOrganisation, OrganisationEdit, OrganisationLine};
pub use self::tokens::{NewToken, TokenLine};

use crate::audit::{self, Actor, Kind, Subject, told};
use crate::model::{
    DirectoryId, FileName, Identifier, Language, LastDay, Priority, Reference, Role, ShareId, TicketStatus, Time,
};
use crate::namespace::tree::{DIRECTORY_MODE, FROM_SUPPORT};
use crate::records::entries::NewEntry;
use crate::records::people::Engineer;
use crate::records::proofs::Prover;
use crate::records::tickets::Ticket;
use crate::records::tokens::{NO_TOKEN, Token};
use crate::records::{Conn, RecordsError, closings, entries, people, tickets};
use crate::repo::keys::ShareKeys;
use crate::repo::tickets::mark_logins_changed;
use crate::repo::tickets::{check_address, check_admitting, check_enabled, existing_engineer, existing_ticket};
use crate::repo::{Error, Repo, proofs};
use crate::vault;

/// What opening a ticket needs.
#[derive(Debug, Clone)]
pub struct NewTicket {
    /// Its reference.
    pub reference: Identifier,
    /// Whose problem it is.
    pub organisation: Identifier,
    /// Who works on it.
    pub engineer: Identifier,
    /// What it is about.
    pub title: Option<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// The customer's language.
    pub language: Option<Language>,
    /// Whether its token is typed on devices: then it can only send.
    pub device: bool,
}

/// A ticket, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct TicketLine {
    /// Its reference, which is the user name as well.
    pub reference: String,
    /// Its reference as the ticket system writes it.
    pub shown: String,
    /// Whose problem it is.
    pub organisation: String,
    /// Who works on it.
    pub engineer: String,
    /// What it is about.
    pub title: Option<String>,
    /// 1 (critical) to 4 (low).
    pub priority: Priority,
    /// Whether it takes uploads.
    pub status: TicketStatus,
    /// The customer's language.
    pub language: Language,
    /// When it was opened.
    pub opened_at: Time,
    /// Whether it is for devices, which only send.
    pub device: bool,
    /// What kind of problem it is.
    pub kind: String,
    /// The serial number of the device that it is about.
    pub serial: Option<String>,
    /// The day by which it is to be solved, in UTC.
    pub deadline: Option<LastDay>,
}

impl From<Ticket> for TicketLine {
    fn from(ticket: Ticket) -> Self {
        Self {
            reference: ticket.reference.to_string(),
            shown: ticket.shown.to_string(),
            organisation: ticket.organisation.to_string(),
            engineer: ticket.engineer.to_string(),
            title: ticket.title,
            priority: ticket.priority,
            status: ticket.status,
            language: ticket.language.unwrap_or_default(),
            opened_at: ticket.opened_at,
            device: ticket.device,
            kind: ticket.kind.to_string(),
            serial: ticket.serial,
            deadline: ticket.deadline,
        }
    }
}

/// People, organisations and their tickets, as operators keep them.
pub struct Tickets {
    repo: Arc<Repo>,
}

impl Tickets {
    pub(crate) fn of(repo: &Arc<Repo>) -> Self {
        Self { repo: Arc::clone(repo) }
    }

    fn prover(&self) -> &dyn Prover {
        &**self.repo.keys.proofs()
    }

    /// The rows of people, tickets and addresses that do not say what tacdrop wrote, each as its
    /// table and its name.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn unproved(&self) -> Result<Vec<String>, Error> {
        proofs::unproved(&self.repo.records, self.prover()).await
    }

    /// Adds an engineer with the keys `(fingerprint, algorithm)`.
    ///
    /// # Errors
    /// If the id is taken, the address is none, or the records fail.
    pub async fn add_engineer(
        &self,
        id: Identifier,
        name: Option<String>,
        email: String,
        language: Option<Language>,
        keys: Vec<(String, String)>,
    ) -> Result<(), Error> {
        check_address(&email)?;
        let mut tx = self.repo.records.begin().await?;
        claim(tx.conn(), &id, "engineer").await?;
        let name = line("name", name.unwrap_or_else(|| id.to_string()))?;
        let new = Engineer {
            id,
            name,
            email,
            language,
            disabled_at: None,
            role: Role::Engineer,
            away: None,
            proof: Default::default(),
        };
        people::add_engineer(tx.conn(), self.prover(), &new, Time::now()).await?;
        let fingerprints: Vec<String> = keys.iter().map(|(fingerprint, _)| fingerprint.clone()).collect();
        for key in keys {
            people::add_key(tx.conn(), self.prover(), &new.id, key, Time::now()).await?;
        }
        let address = told::address(self.repo.keys.trail(), new.id.as_str(), &new.email);
        let detail = json!({ "engineer": new.id.as_str(), "keys": fingerprints, "address": address });
        note(tx.conn(), Kind::EngineerAdded, None, detail).await?;
        Ok(tx.commit().await?)
    }

    /// Lets an engineer log in with one more key.
    ///
    /// # Errors
    /// If there is no such engineer, the key is there already, or the records fail.
    pub async fn add_key(&self, engineer: &Identifier, fingerprint: String, algorithm: String) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        existing_engineer(tx.conn(), engineer).await?;
        let detail = json!({ "engineer": engineer.as_str(), "key": fingerprint });
        match people::add_key(tx.conn(), self.prover(), engineer, (fingerprint, algorithm), Time::now()).await {
            Err(RecordsError::Exists) => {
                return Err(Error::operator(format!("engineer {engineer} has this key already")));
            }
            other => other?,
        }
        note(tx.conn(), Kind::EngineerKeyAdded, None, detail).await?;
        Ok(tx.commit().await?)
    }

    /// Takes a key away; sessions that logged in with it end within a second.
    ///
    /// # Errors
    /// If the engineer has no such key, or the records fail.
    pub async fn remove_key(&self, engineer: &Identifier, fingerprint: &str) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        existing_engineer(tx.conn(), engineer).await?;
        if !people::remove_key(tx.conn(), engineer, fingerprint).await? {
            return Err(Error::operator(format!(
                "engineer {engineer} has no key {fingerprint}; 'tacdrop engineer show {engineer}' shows them"
            )));
        }
        let detail = json!({ "engineer": engineer.as_str(), "key": fingerprint });
        mark_logins_changed(tx.conn()).await?;
        note(tx.conn(), Kind::EngineerKeyRemoved, None, detail).await?;
        Ok(tx.commit().await?)
    }

    /// Opens a ticket with its share. The token is shown this once; only its keyed hash is kept.
    ///
    /// # Errors
    /// If the reference is taken, organisation or engineer do not exist, or the records fail.
    pub async fn open_ticket(&self, new: NewTicket) -> Result<(TicketLine, Zeroizing<String>), Error> {
        self.open_ticket_with(new, TicketDetails::default()).await
    }

    /// A ticket before its rows are written. Its share's key is durable in the keyring before the
    /// ticket exists: there is never a share without its key.
    pub(crate) async fn prepare_ticket(&self, new: NewTicket) -> Result<FreshTicket, Error> {
        let share = ShareId::from_bytes(vault::random::array()?);
        let keys = self.repo.keys.new_share(share).await?;
        let row = Ticket {
            token_hash: NO_TOKEN,
            shown: new.reference.clone().into(),
            reference: new.reference,
            share,
            organisation: new.organisation,
            engineer: new.engineer,
            title: new.title.map(|title| line("title", title)).transpose()?,
            priority: new.priority,
            language: new.language,
            status: TicketStatus::Open,
            token_generation: 1,
            opened_at: Time::now(),
            closed_at: None,
            stored_bytes: 0,
            names: 0,
            key_generation: keys.generation,
            device: new.device,
            kind: tickets::INCIDENT.parse().map_err(|_| Error::operator("the kind of a ticket is no word"))?,
            serial: None,
            deadline: None,
            newest_at: None,
            proof: Default::default(),
        };
        let (main_token, token) = self.make_token(&row.reference, tokens::main_kind(&row), true)?;
        Ok(FreshTicket { row, keys, main_token, token })
    }

    async fn check_ticket(&self, new: &NewTicket, shown: &Reference) -> Result<(), Error> {
        let mut conn = self.repo.records.read().await?;
        references::check_free(&mut conn, shown).await?;
        check_admitting(&mut conn, &new.organisation).await?;
        check_enabled(&mut conn, &new.engineer).await
    }

    /// All tickets.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn list(&self) -> Result<Vec<TicketLine>, Error> {
        let rows = tickets::list(&mut *self.repo.records.read().await?).await?;
        Ok(rows.into_iter().map(TicketLine::from).collect())
    }

    /// One ticket.
    ///
    /// # Errors
    /// If there is no such ticket, or the records fail.
    pub async fn ticket(&self, reference: &Identifier) -> Result<TicketLine, Error> {
        Ok(existing_ticket(&mut *self.repo.records.read().await?, reference).await?.into())
    }

    /// Gives a ticket to another engineer, who gets the notices that wait, failed, or perhaps never
    /// came. What the former one has open there ends within a second, and nothing of it is
    /// published.
    ///
    /// # Errors
    /// If there is no such ticket or engineer, or the records fail.
    pub async fn assign(&self, reference: &Identifier, engineer: &Identifier) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        existing_ticket(tx.conn(), reference).await?;
        self.hand_over(tx.conn(), reference, engineer).await?;
        Ok(tx.commit().await?)
    }

    /// Closes a ticket (its share can then only be read), whatever the policy wants, or reopens it.
    ///
    /// # Errors
    /// If there is no such ticket, or the records fail.
    pub async fn set_status(&self, reference: &Identifier, status: TicketStatus) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        let ticket = existing_ticket(tx.conn(), reference).await?;
        if status == TicketStatus::Open && ticket.status == TicketStatus::Waiting {
            return Err(Error::operator(format!(
                "ticket {reference} is not closed, but waits for its customer; 'tacdrop ticket edit {reference} --status \
                 open' ends that"
            )));
        }
        if status == TicketStatus::Open {
            // Who works on it from now on must hear of what comes.
            check_enabled(tx.conn(), &ticket.engineer).await.map_err(|error| {
                let advice = "give it to another one with 'tacdrop ticket edit --engineer' first";
                Error::operator(format!("ticket {reference} cannot be opened again: {error}; {advice}"))
            })?;
        }
        if ticket.status == status {
            return Err(Error::operator(format!("ticket {reference} is {status} already")));
        }
        tickets::set_status(tx.conn(), self.prover(), reference, status, Time::now()).await?;
        closings::remove(tx.conn(), ticket.share).await?;
        // What is open there may go on, or may not, from the next operation on.
        mark_logins_changed(tx.conn()).await?;
        let kind = if status == TicketStatus::Closed { Kind::TicketClosed } else { Kind::TicketReopened };
        note(tx.conn(), kind, Some(reference), json!({})).await?;
        Ok(tx.commit().await?)
    }
}

/// A ticket that has no rows yet.
pub(crate) struct FreshTicket {
    pub(crate) row: Ticket,
    keys: Arc<ShareKeys>,
    main_token: Token,
    pub(crate) token: Zeroizing<String>,
}

impl FreshTicket {
    /// Writes its rows: the login name, the ticket, and the root of its share with what support
    /// hands back.
    pub(crate) async fn enter(&self, conn: &mut Conn, prover: &dyn Prover) -> Result<(), Error> {
        let ticket = &self.row;
        claim(conn, &ticket.reference, "ticket").await?;
        tickets::add(conn, prover, ticket).await?;
        crate::records::tokens::add(conn, prover, &self.main_token).await?;
        let root = DirectoryId::root_of(ticket.share);
        let mut directory = NewEntry {
            id: *root.as_bytes(),
            share: ticket.share,
            place: None,
            is_directory: true,
            mode: DIRECTORY_MODE,
            modified_at: ticket.opened_at,
            predecessor: None,
        };
        entries::add(conn, &directory).await?;
        let name = FileName::new(FROM_SUPPORT).map_err(|why| Error::operator(why.to_string()))?;
        directory.id = vault::random::array()?;
        let place = self.keys.place(directory.id, root, &name)?;
        directory.place = Some(&place);
        entries::add(conn, &directory).await?;
        let mut detail = json!({
            "organisation": ticket.organisation.as_str(),
            "engineer": ticket.engineer.as_str(),
            "device": ticket.device,
            "kind": ticket.kind.as_str(),
            "token": self.main_token.id.to_string(),
            "share": ticket.share.to_string(),
        });
        if let Some(shown) = ticket.shown.written_otherwise() {
            detail["shown"] = json!(shown);
        }
        note(conn, Kind::TicketOpened, Some(&ticket.reference), detail).await
    }
}

async fn claim(conn: &mut Conn, name: &Identifier, kind: &'static str) -> Result<(), Error> {
    if Actor::is_reserved(name) {
        return Err(Error::operator(format!(
            "{name} is what the audit trail calls tacdrop itself; choose another name"
        )));
    }
    match people::claim_login_name(conn, name, kind).await {
        Err(RecordsError::Exists) => Err(Error::operator(format!(
            "the name {name} is in use already, or was: organisations, contacts, engineers, teams and tickets share one set \
             of names, in which upper and lower case are the same, and no name is given twice"
        ))),
        other => Ok(other?),
    }
}

async fn note(
    conn: &mut Conn,
    kind: Kind,
    ticket: Option<&Identifier>,
    detail: serde_json::Value,
) -> Result<(), Error> {
    Ok(audit::write(conn, kind, Subject { actor: &Actor::Operator, ticket, id: None }, &detail).await?)
}

/// A text that stands on one line in mails and lists.
fn line(what: &str, text: String) -> Result<String, Error> {
    let fits = !text.trim().is_empty() && text.chars().count() <= 200 && !text.chars().any(char::is_control);
    if fits { Ok(text) } else { Err(Error::operator(format!("a {what} is 1 to 200 characters on one line"))) }
}
