//! What customers are told, and who of them: what support hands back goes to the contacts who see
//! the ticket and to its watchers, receipts go to who sent the files.
//!
//! Who is told is decided when a notice has settled, again when it is put together, and a last time
//! before it is handed over: somebody who was disabled or taken off meanwhile is told nothing more.
//! A row that tacdrop did not write names nobody.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Content, Notices, compose, due, queue_for, recipients::holds};
use crate::audit::{self, Actor, Kind, Subject};
use crate::mail::notice as mail;
use crate::mail::{News, is_address};
use crate::model::rights::{Right, Visibility};
use crate::model::{Audience, Identifier, Language, NoticeId, Time, VersionId};
use crate::namespace::PublicAddress;
use crate::records::contacts::{self, Contact};
use crate::records::customer_notices::{self, Customer};
use crate::records::notices::{self, About, NoticeRow};
use crate::records::proofs::Prover;
use crate::records::ticket_people::TicketPeople;
use crate::records::tickets::{self, Ticket};
use crate::records::{Conn, RecordsError, customer_settings, deletions, organisations, ticket_people, versions};
use crate::repo::seen::names;
use crate::repo::{Error, Repo};
use crate::vault;

/// The most customers who are told of one notice. Those who are named come first.
const MOST_TOLD: usize = 500;

/// Who reads a notice.
struct Reader {
    name: String,
    address: String,
    language: Option<Language>,
}

/// A contact sent a version, in the transaction that makes it available: if it wants receipts by
/// mail, one is queued.
pub(super) async fn sent(
    conn: &mut Conn,
    repo: &Repo,
    ticket: &Identifier,
    (version, contact): (VersionId, &Identifier),
    now: Time,
) -> Result<(), Error> {
    // What the row says is checked when the receipt is handed over.
    let wants = customer_settings::of_contact(conn, contact).await?.is_some_and(|set| set.receipts);
    if wants {
        queue_for(conn, repo, ticket, (Audience::Sender, Some(contact)), (version, About::Available), now).await?;
    }
    Ok(())
}

/// The same for a version that was held: its row says who sent it.
pub(super) async fn sent_before(
    conn: &mut Conn,
    repo: &Repo,
    ticket: &Identifier,
    version: VersionId,
    now: Time,
) -> Result<(), Error> {
    let sender = versions::by_id(conn, version).await?.and_then(|row| row.uploaded_by.parse::<Identifier>().ok());
    match sender {
        Some(sender) => sent(conn, repo, ticket, (version, &sender), now).await,
        None => Ok(()),
    }
}

/// What was to be told to a ticket's customers has settled, in this transaction: each of them gets a
/// notice.
pub(super) async fn settled(conn: &mut Conn, repo: &Repo, gathered: &NoticeRow) -> Result<(), Error> {
    let prover = &**repo.keys.proofs();
    let told = match proved_ticket(conn, prover, &gathered.ticket).await? {
        Some(ticket) => told_of(conn, prover, &ticket).await?,
        None => Vec::new(),
    };
    for customer in &told {
        let id = NoticeId::from_bytes(vault::random::array()?);
        customer_notices::part(conn, prover, gathered, id, customer).await?;
    }
    Ok(customer_notices::remove(conn, gathered.id).await?)
}

/// Who is told what support handed back in a ticket.
async fn told_of(conn: &mut Conn, prover: &dyn Prover, ticket: &Ticket) -> Result<Vec<Customer>, Error> {
    let now = Time::now();
    let Some(people) = people(conn, prover, &ticket.reference).await? else { return Ok(Vec::new()) };
    let named = ticket_people::contacts(conn, &ticket.reference).await?;
    let mut candidates: Vec<Identifier> = named.into_iter().map(|named| named.contact).collect();
    if people.visibility == Visibility::Organisation {
        for organisation in [Some(&ticket.organisation), people.affected.as_ref()].into_iter().flatten() {
            let ids = contacts::ids_of(conn, organisation).await?;
            candidates.extend(ids.iter().filter_map(|id| id.parse().ok()));
        }
    }
    let (mut seen, mut told) = (BTreeSet::new(), Vec::new());
    let watchers = ticket_people::watchers(conn, &ticket.reference).await?;
    for contact in candidates {
        let is_new = seen.insert(contact.clone());
        if is_new && contact_told(conn, prover, (ticket, &people), (&contact, Audience::Contact), now).await?.is_some()
        {
            told.push(Customer::Contact(contact));
        }
    }
    if is_mailed(conn, prover, &ticket.reference).await? {
        told.extend(
            watchers.into_iter().filter(|row| holds(row, prover)).map(|watcher| Customer::Watcher(watcher.address)),
        );
    }
    if told.len() > MOST_TOLD {
        let left = told.len() - MOST_TOLD;
        tracing::error!(ticket = %ticket.reference, left, "a ticket has more customers than are told of one notice");
        told.truncate(MOST_TOLD);
    }
    Ok(told)
}

async fn proved_ticket(conn: &mut Conn, prover: &dyn Prover, id: &Identifier) -> Result<Option<Ticket>, Error> {
    let ticket = tickets::by_reference(conn, id.as_str()).await?.filter(|ticket| holds(ticket, prover));
    match ticket {
        Some(ticket) if !deletions::is_begun(conn, ticket.share).await? => Ok(Some(ticket)),
        _ => Ok(None),
    }
}

/// What a ticket says of its people: none of one that tacdrop did not write.
async fn people(conn: &mut Conn, prover: &dyn Prover, id: &Identifier) -> Result<Option<TicketPeople>, Error> {
    match ticket_people::of(conn, id).await? {
        None => Ok(Some(TicketPeople::none(id.clone()))),
        Some(people) => Ok(Some(people).filter(|people| holds(people, prover))),
    }
}

/// Whether a ticket's customers are told by mail.
async fn is_mailed(conn: &mut Conn, prover: &dyn Prover, id: &Identifier) -> Result<bool, Error> {
    let set = customer_settings::of_ticket(conn, id).await?;
    Ok(set.is_none_or(|set| set.mail && holds(&set, prover)))
}

/// The contact, if it may be told this of a ticket now: it may log in, sees the ticket, and wants
/// it. In a drop box `from-support/` is not there for customers, and nothing is told of it.
async fn contact_told(
    conn: &mut Conn,
    prover: &dyn Prover,
    (ticket, people): (&Ticket, &TicketPeople),
    (id, audience): (&Identifier, Audience),
    now: Time,
) -> Result<Option<Contact>, Error> {
    let hides_support = audience == Audience::Contact && people.denied.has(Right::Others);
    if hides_support || !is_mailed(conn, prover, &ticket.reference).await? {
        return Ok(None);
    }
    let contact = contacts::by_id(conn, id.as_str()).await?;
    let Some(contact) = contact.filter(|row| row.may_log_in(now) && is_address(&row.email) && holds(row, prover))
    else {
        return Ok(None);
    };
    let organisation = organisations::by_id(conn, &contact.organisation).await?;
    if !organisation.is_some_and(|row| row.admits(now) && holds(&row, prover)) {
        return Ok(None);
    }
    let wants = match customer_settings::of_contact(conn, id).await? {
        Some(set) if !holds(&set, prover) => false,
        Some(set) if audience == Audience::Sender => set.receipts,
        Some(set) => set.mail,
        None => audience == Audience::Contact,
    };
    let sees = wants && names(conn, ticket, Some(people), &contact, |named| holds(named, prover)).await?;
    Ok(sees.then_some(contact))
}

/// Who reads a notice for a customer, if that one may be told now.
async fn reader(
    conn: &mut Conn,
    prover: &dyn Prover,
    ticket: &Ticket,
    notice: &NoticeRow,
) -> Result<Option<Reader>, Error> {
    let Some(people) = people(conn, prover, &ticket.reference).await? else { return Ok(None) };
    match (notice.audience, &notice.contact) {
        (audience @ (Audience::Contact | Audience::Sender), Some(id)) => {
            let told = contact_told(conn, prover, (ticket, &people), (id, audience), Time::now()).await?;
            Ok(told.map(|row| Reader { name: row.name, address: row.email, language: row.language }))
        }
        (Audience::Watcher, None) => {
            let Some(address) = &notice.address else { return Ok(None) };
            if !notice.is_address_proved(prover) {
                return Err(RecordsError::Unproved { table: "notice", row: notice.id.to_string() }.into());
            }
            let watchers = ticket_people::watchers(conn, &ticket.reference).await?;
            let watches = watchers.iter().any(|row| row.address == *address && holds(row, prover));
            let told = watches && is_mailed(conn, prover, &ticket.reference).await?;
            let reader = || Reader { name: String::new(), address: address.clone(), language: None };
            Ok(told.then(reader))
        }
        // One that still gathers is for nobody yet.
        _ => Ok(None),
    }
}

/// What the trail says of who a notice was for; of a watcher not the address, which is a person's.
pub(super) fn said_of(notice: &NoticeRow, detail: &mut Value) {
    if notice.audience != Audience::Engineers {
        detail["audience"] = json!(notice.audience);
    }
    if let Some(contact) = &notice.contact {
        detail["contact"] = json!(contact.as_str());
    }
}

impl Notices {
    /// What a notice says to a customer; nothing, if that one may not be told any more.
    pub(super) async fn content_for_customer(
        &self,
        notice: &NoticeRow,
        address: &PublicAddress,
    ) -> Result<Content, Error> {
        let repo = &self.repo;
        let mut conn = repo.records.read().await?;
        let prover = &**repo.keys.proofs();
        let Some(ticket) = proved_ticket(&mut conn, prover, &notice.ticket).await? else {
            return Ok(Content::Nothing);
        };
        let Some(reader) = reader(&mut conn, prover, &ticket, notice).await? else { return Ok(Content::Nothing) };
        let first = notices::first_of(&mut conn, notice).await?;
        drop(conn);
        let keys = repo.keys.share(ticket.share).await?;
        let mut telling = compose::of(repo, &keys, notice, address).await?;
        // Nobody is told of what cannot be fetched, and a sender only of what has a receipt.
        telling.files.retain(|file| match &file.news {
            News::Arrived(arrival) => {
                let is_there = arrival.standing == mail::Standing::Available;
                is_there && (notice.audience != Audience::Sender || arrival.receipt.is_some())
            }
            _ => false,
        });
        if telling.files.is_empty() {
            return Ok(Content::Nothing);
        }
        let recipient = mail::Recipient {
            name: reader.name,
            address: reader.address,
            language: reader.language.or(ticket.language).unwrap_or(Language::En),
            instead_of: None,
        };
        let organisation = ticket.organisation.to_string();
        // What did not arrive, or cannot be read, is the engineers' business.
        let mut due = due(notice, (ticket, organisation), recipient, telling);
        due.first_of_ticket = first;
        (due.more_unfinished, due.more_deleted) = (0, 0);
        due.unreadable.clear();
        Ok(Content::Due(Box::new(due)))
    }

    /// Whether a notice may still be handed over to its customer, in this transaction. If not, it
    /// ends here.
    pub(super) async fn is_still_for(&self, conn: &mut Conn, notice: &NoticeRow) -> Result<bool, Error> {
        if notice.audience == Audience::Engineers {
            return Ok(true);
        }
        let prover = &**self.repo.keys.proofs();
        if let Some(ticket) = proved_ticket(conn, prover, &notice.ticket).await?
            && reader(conn, prover, &ticket, notice).await?.is_some()
        {
            return Ok(true);
        }
        if notices::void(conn, notice.id, Time::now()).await? {
            let subject =
                Subject { actor: &Actor::Server, ticket: Some(&notice.ticket), id: Some(*notice.id.as_bytes()) };
            let mut detail = json!({});
            said_of(notice, &mut detail);
            audit::write(conn, Kind::NoticeVoid, subject, &detail).await?;
        }
        Ok(false)
    }
}
