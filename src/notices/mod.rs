//! The outbox: a notice is queued in the transaction that makes a version available, and handed to
//! the [`dispatcher`] when it has settled. It keeps ids only; names are opened when a notice is
//! delivered, and [`compose`] decides then what it says.
//!
//! What becomes available under a temporary name is held: it is queued in the transaction that
//! gives it another name, or when it has kept the temporary one for the set time. While it is
//! withdrawn nobody is told of it; restored, it is queued.

mod clock;
pub(crate) mod compose;
mod customers;
pub mod dispatcher;
pub(crate) mod list;
pub mod outbox;
pub(crate) mod recipient;
mod recipients;
pub(crate) mod resend;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::audit::{self, Actor, Kind, Subject};
use crate::digests::sidecars::Sidecars;
use crate::mail::notice as mail;
use crate::mail::{Channel, DueNotice, Earlier};
use crate::model::{ArtifactId, Audience, FileName, Identifier, Language, NoticeId, NoticeState, Time, VersionId};
use crate::namespace::{PublicAddress, address};
use crate::notices::outbox::{Attempt, Interrupted, Outbox, OutboxError};
use crate::records::notices::{self, About, NoticeRow, Tried};
use crate::records::proofs::Proved;
use crate::records::{Conn, RecordsError, entries, held_notices, people, ticket_people, version_chain};
use crate::repo::checklist;
use crate::repo::keys::ShareKeys;
use crate::repo::set_aside::or_left_out;
use crate::repo::tickets::existing_ticket;
use crate::repo::{Error, Repo};
use crate::vault;

/// Held versions that are queued at once.
const HELD_AT_ONCE: usize = 1000;
/// So long a notice is put off at a time while a file of it is compared with its sender's digest.
const COMPARING: Duration = Duration::from_secs(1);

/// The notices of a data directory, and who is told that there is a new one.
pub struct Notices {
    repo: Arc<Repo>,
    sidecars: Arc<Sidecars>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Notices {
    /// `wake` is called when a notice was queued.
    pub(crate) fn of(repo: &Arc<Repo>, sidecars: &Arc<Sidecars>, wake: Box<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self { repo: Arc::clone(repo), sidecars: Arc::clone(sidecars), wake })
    }

    /// A transaction that queued a notice was committed.
    pub(crate) fn queued(&self) {
        (self.wake)();
    }
}

/// Where a version came from.
pub(crate) enum Came<'a> {
    /// From a customer; the contact, if it was one.
    FromCustomer(Option<&'a Identifier>),
    /// From support, who handed it back.
    FromSupport,
}

/// A version becomes available, in this transaction: its notice is queued, or held while its name
/// is a temporary one.
pub(crate) async fn announce(
    conn: &mut Conn,
    repo: &Repo,
    keys: &ShareKeys,
    ticket: &Identifier,
    (artifact, version): (ArtifactId, VersionId),
    came: Came<'_>,
    now: Time,
) -> Result<(), Error> {
    // The row has the name of this moment; a rename that is under way elsewhere comes before or
    // behind this transaction.
    let entry = entries::by_id(conn, artifact.as_bytes()).await?.filter(|entry| entry.name.is_some());
    let name = match entry {
        Some(entry) => Some(keys.open_name(conn, &entry).await?),
        None => None,
    };
    let audience = match came {
        Came::FromCustomer(_) => Audience::Engineers,
        Came::FromSupport => Audience::Customers,
    };
    if name.is_some_and(|name| repo.settings.temporary_names.matches(&name)) {
        return Ok(held_notices::hold(conn, version, audience, now.plus(repo.settings.temporary_settle)).await?);
    }
    queue_for(conn, repo, ticket, (audience, None), (version, About::Available), now).await?;
    match came {
        Came::FromCustomer(Some(contact)) => customers::sent(conn, repo, ticket, (version, contact), now).await,
        Came::FromCustomer(None) | Came::FromSupport => Ok(()),
    }
}

/// A version that was held is announced.
async fn announce_held(
    conn: &mut Conn,
    repo: &Repo,
    ticket: &Identifier,
    (version, audience): (VersionId, Audience),
    now: Time,
) -> Result<(), Error> {
    queue_for(conn, repo, ticket, (audience, None), (version, About::Available), now).await?;
    if audience == Audience::Engineers {
        customers::sent_before(conn, repo, ticket, version, now).await?;
    }
    Ok(())
}

/// A file gets another name, in this transaction: if that is no temporary one, what was held of it
/// is queued. Whether something was.
pub(crate) async fn renamed(
    conn: &mut Conn,
    repo: &Repo,
    ticket: &Identifier,
    entry: [u8; 16],
    name: &FileName,
    now: Time,
) -> Result<bool, Error> {
    if repo.settings.temporary_names.matches(name) {
        return Ok(false);
    }
    let mut announced = false;
    // Also what was held of the files whose place it took.
    for entry in version_chain::entries(conn, &entry).await? {
        for held in held_notices::take_of_entry(conn, &entry).await? {
            announce_held(conn, repo, ticket, held, now).await?;
            announced = true;
        }
    }
    Ok(announced)
}

/// A customer deletes a file, in this transaction: who was told that it came is told of that, too.
/// Whether somebody is. What is still to be told says it of its own accord.
pub(crate) async fn deleted(
    conn: &mut Conn,
    repo: &Repo,
    ticket: &Identifier,
    current: Option<VersionId>,
    now: Time,
) -> Result<bool, Error> {
    let Some(version) = current else { return Ok(false) };
    if !notices::was_told(conn, version).await? {
        return Ok(false);
    }
    queue(conn, repo, ticket, version, About::Deleted, now).await?;
    Ok(true)
}

/// Queues a notice to the engineers about a version, in the transaction that makes it worth one.
/// Uploads of one settling time share one.
pub(crate) async fn queue(
    conn: &mut Conn,
    repo: &Repo,
    ticket: &Identifier,
    version: VersionId,
    about: About,
    now: Time,
) -> Result<(), Error> {
    queue_for(conn, repo, ticket, (Audience::Engineers, None), (version, about), now).await
}

/// The same for other people, and for a contact if it is for one.
async fn queue_for(
    conn: &mut Conn,
    repo: &Repo,
    ticket: &Identifier,
    people: (Audience, Option<&Identifier>),
    (version, about): (VersionId, About),
    now: Time,
) -> Result<(), Error> {
    let (settle, most) = (repo.settings.settle, repo.settings.settle_max);
    let id = match notices::settling(conn, ticket, people).await? {
        Some(notice) => {
            notices::put_off(conn, notice.id, now.plus(settle).min(notice.created_at.plus(most))).await?;
            notice.id
        }
        None => {
            let id = NoticeId::from_bytes(vault::random::array()?);
            let engineer = existing_ticket(conn, ticket).await?.engineer;
            notices::begin(conn, id, ticket, &engineer, people, (now, now.plus(settle.min(most)))).await?;
            id
        }
    };
    Ok(notices::attach(conn, id, version, about).await?)
}

/// What is to become of a notice that is due.
enum Content {
    /// It is delivered.
    Due(Box<DueNotice>),
    /// There is nothing left to say.
    Nothing,
    /// Its recipient is disabled: it waits until it is for somebody else.
    Disabled,
}

impl Notices {
    /// What a notice says, or why it says nothing.
    async fn content_of(&self, notice: &NoticeRow, address: &PublicAddress) -> Result<Content, Error> {
        if notice.audience != Audience::Engineers {
            return self.content_for_customer(notice, address).await;
        }
        let repo = &self.repo;
        let mut conn = repo.records.read().await?;
        // What is to be told, and where: only what tacdrop wrote.
        let prover = &**repo.keys.proofs();
        let ticket = existing_ticket(&mut conn, &notice.ticket).await?;
        ticket.check(prover)?;
        let engineer = people::engineers(&mut conn, Some(notice.recipient.as_str()))
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Error::operator("the recipient of a notice is not in the records"))?;
        engineer.check(prover)?;
        if engineer.disabled_at.is_some() && notice.address.is_none() {
            return Ok(Content::Disabled);
        }
        let instead_of = recipient::name_of(&mut conn, notice.instead_of.as_ref()).await?;
        if !notice.is_address_proved(prover) {
            return Err(RecordsError::Unproved { table: "notice", row: notice.id.to_string() }.into());
        }
        let organisation = people::organisations(&mut conn, Some(&ticket.organisation)).await?;
        let organisation =
            organisation.into_iter().next().map_or_else(|| ticket.organisation.to_string(), |row| row.name);
        let first = notices::first_of(&mut conn, notice).await?;
        let language = engineer.language.or(ticket.language).unwrap_or(Language::En);
        let missing = checklist::missing(&mut conn, repo, &ticket).await?;
        let missing = missing.into_iter().map(|item| item.text(language).to_owned()).collect();
        let is_watcher = match &notice.address {
            Some(address) => {
                let watchers = ticket_people::watchers(&mut conn, &notice.ticket).await?;
                watchers.iter().any(|watcher| watcher.address == *address)
            }
            None => false,
        };
        drop(conn);
        let keys = repo.keys.share(ticket.share).await?;
        let telling = compose::of(repo, &keys, notice, address).await?;
        if telling.is_empty() {
            return Ok(Content::Nothing);
        }
        let recipient = mail::Recipient {
            // It is the engineer's notice; the mailbox is somebody else's.
            name: if is_watcher { String::new() } else { engineer.name },
            address: notice.address.clone().unwrap_or(engineer.email),
            language,
            instead_of,
        };
        let mut due = due(notice, (ticket, organisation), recipient, telling);
        (due.first_of_ticket, due.missing) = (first, missing);
        Ok(Content::Due(Box::new(due)))
    }

    /// Queues what kept its temporary name for too long.
    async fn queue_held(&self, conn: &mut Conn, now: Time) -> Result<(), Error> {
        for (version, ticket, audience) in held_notices::due(conn, now, HELD_AT_ONCE).await? {
            // In one transaction with the others: what fails here has written nothing before.
            let queued = announce_held(conn, &self.repo, &ticket, (version, audience), now).await;
            if or_left_out(queued, "a version whose notice is held", version.as_bytes())?.is_some() {
                held_notices::forget(conn, version).await?;
            }
        }
        Ok(())
    }

    /// Puts settled notices off while a file of theirs is compared with its sender's digest, at
    /// most to the end of the longest settling time.
    async fn wait_for_comparisons(&self, conn: &mut Conn, now: Time) -> Result<(), Error> {
        for notice in notices::settled(conn, now).await? {
            let latest = notice.created_at.plus(self.repo.settings.settle_max);
            let told = notices::told(conn, notice.id).await?;
            if now < latest && self.sidecars.may_say_more_of(told.rows.iter().map(|row| row.artifact)) {
                notices::put_off(conn, notice.id, now.plus(COMPARING).min(latest)).await?;
            }
        }
        Ok(())
    }

    async fn due_notices(&self, now: Time, most: usize) -> Result<Vec<DueNotice>, Error> {
        let mut tx = self.repo.records.begin().await?;
        self.queue_held(tx.conn(), now).await?;
        self.turn_to_deputies(tx.conn(), now).await?;
        self.wait_for_comparisons(tx.conn(), now).await?;
        let settled = notices::settled(tx.conn(), now).await?;
        notices::close_settled(tx.conn(), now).await?;
        for notice in settled {
            match notice.audience {
                Audience::Engineers => recipients::settled(tx.conn(), &self.repo, &notice).await?,
                Audience::Customers => customers::settled(tx.conn(), &self.repo, &notice).await?,
                Audience::Contact | Audience::Watcher | Audience::Sender => {}
            }
        }
        let rows = notices::due(tx.conn(), now, most).await?;
        self.repo.failpoints.hit("notice.before-settled");
        tx.commit().await?;
        self.repo.failpoints.hit("notice.after-settled");
        let address = address::public(&self.repo).await?.unwrap_or_else(PublicAddress::unknown);
        let mut contents = Vec::with_capacity(rows.len());
        for row in rows {
            match self.content_of(&row, &address).await {
                Ok(Content::Due(content)) => contents.push(*content),
                Ok(Content::Nothing) => self.note_nothing_to_say(&row, now).await?,
                Ok(Content::Disabled) => self.hold_back(&row, now).await?,
                Err(error) if error.is_temporary() => return Err(error),
                // It can never be read; the others must not wait for it.
                Err(error) => {
                    tracing::error!(notice = %row.id, %error, "a notice cannot be put together");
                    let mut tx = self.repo.records.begin().await?;
                    notices::unwritable(tx.conn(), &row, &error.to_string()).await?;
                    if let Error::Records(RecordsError::Unproved { table, row: name }) = &error {
                        let subject =
                            Subject { actor: &Actor::Server, ticket: Some(&row.ticket), id: Some(*row.id.as_bytes()) };
                        let detail = json!({ "row": format!("{table} {name}") });
                        audit::write(tx.conn(), Kind::RowRefused, subject, &detail).await?;
                    }
                    tx.commit().await?;
                }
            }
        }
        Ok(contents)
    }

    /// What the notice was to speak of is gone, or has a notice of its own: nobody is bothered.
    async fn note_nothing_to_say(&self, row: &NoticeRow, now: Time) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        if !notices::void(tx.conn(), row.id, now).await? {
            return Ok(());
        }
        let subject = Subject { actor: &Actor::Server, ticket: None, id: Some(*row.id.as_bytes()) };
        let mut detail = json!({});
        customers::said_of(row, &mut detail);
        audit::write(tx.conn(), Kind::NoticeVoid, subject, &detail).await?;
        Ok(tx.commit().await?)
    }

    async fn note_handing_over(&self, id: NoticeId, address: &str, channel: Channel) -> Result<bool, Error> {
        let mut tx = self.repo.records.begin().await?;
        if let Some(row) = notices::by_id(tx.conn(), id).await?
            && !self.is_still_for(tx.conn(), &row).await?
        {
            tx.commit().await?;
            return Ok(false);
        }
        // In the spool a repeat is the same file.
        let wanted = notices::hand_over(tx.conn(), id, address, channel == Channel::Mail).await?;
        tx.commit().await?;
        self.repo.failpoints.hit("notice.handing-over");
        Ok(wanted)
    }

    async fn note_delivery(&self, id: NoticeId, address: &str, at: Time, channel: Channel) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        let ended = notices::delivered(tx.conn(), id, address, channel.as_str(), at).await?;
        let mut detail = json!({ "channel": channel.as_str() });
        let row = notices::by_id(tx.conn(), id).await?;
        if let Some(row) = &row {
            customers::said_of(row, &mut detail);
        }
        if !ended {
            if row.is_none_or(|row| row.state == NoticeState::Delivered) {
                return Ok(());
            }
            // Somebody has it all the same.
            detail["readdressed"] = json!(true);
        }
        let subject = Subject { actor: &Actor::Server, ticket: None, id: Some(*id.as_bytes()) };
        audit::write(tx.conn(), Kind::NoticeDelivered, subject, &detail).await?;
        self.repo.failpoints.hit("notice.before-delivered");
        tx.commit().await?;
        self.repo.failpoints.hit("notice.after-delivered");
        Ok(())
    }

    async fn note_failure(&self, id: NoticeId, address: &str, attempt: &Attempt) -> Result<(), Error> {
        let mut tx = self.repo.records.begin().await?;
        let Attempt { channel, sentence, retry_at, lost_answer, .. } = attempt;
        let (channel, next, lost) = (channel.as_str(), *retry_at, *lost_answer);
        notices::tried(tx.conn(), id, Tried { address, channel, error: sentence, next, lost }).await?;
        Ok(tx.commit().await?)
    }
}

/// A notice of a ticket, as it is for this recipient; first of all that it is heard of, and with nothing
/// that is missing.
fn due(
    notice: &NoticeRow,
    (ticket, organisation): (crate::records::tickets::Ticket, String),
    recipient: mail::Recipient,
    told: compose::Composed,
) -> DueNotice {
    let Earlier { attempts, lost_answers, created_at } = earlier(notice);
    DueNotice {
        id: notice.id,
        audience: notice.audience,
        attempts,
        lost_answers,
        created_at,
        first_of_ticket: None,
        recipient,
        ticket: mail::TicketLine {
            reference: ticket.shown,
            title: ticket.title,
            priority: ticket.priority,
            organisation,
        },
        files: told.files,
        more_files: told.more_files,
        more_unfinished: told.more_unfinished,
        more_deleted: told.more_deleted,
        unreadable: told.unreadable,
        missing: Vec::new(),
    }
}

/// What was tried for a notice so far.
fn earlier(notice: &NoticeRow) -> Earlier {
    let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let (attempts, lost_answers) = (count(notice.attempts), count(notice.lost_answers));
    Earlier { attempts, lost_answers, created_at: notice.created_at }
}

impl Outbox for Notices {
    async fn due(&self, now: Time, most: usize) -> Result<Vec<DueNotice>, OutboxError> {
        self.due_notices(now, most).await.map_err(OutboxError::new)
    }

    async fn next_due(&self) -> Result<Option<Time>, OutboxError> {
        let due = async {
            let mut conn = self.repo.records.read().await?;
            let all = [notices::next_due(&mut conn).await?, held_notices::next_due(&mut conn).await?];
            Ok::<_, Error>(all.into_iter().flatten().min())
        };
        due.await.map_err(OutboxError::new)
    }

    async fn hands_over(&self, id: NoticeId, address: &str, channel: Channel) -> Result<bool, OutboxError> {
        self.note_handing_over(id, address, channel).await.map_err(OutboxError::new)
    }

    async fn delivered(&self, id: NoticeId, address: &str, at: Time, channel: Channel) -> Result<(), OutboxError> {
        self.note_delivery(id, address, at, channel).await.map_err(OutboxError::new)
    }

    async fn failed(&self, id: NoticeId, address: &str, attempt: Attempt) -> Result<(), OutboxError> {
        self.note_failure(id, address, &attempt).await.map_err(OutboxError::new)
    }

    async fn begins(&self, now: Time, longest: Duration) -> Result<Vec<Interrupted>, OutboxError> {
        let longest = longest.max(self.repo.settings.settle_max);
        let limited = async {
            let mut tx = self.repo.records.begin().await?;
            notices::wait_at_most(tx.conn(), now, longest).await?;
            let rows = notices::interrupted(tx.conn()).await?;
            tx.commit().await?;
            let interrupted = rows
                .into_iter()
                .filter_map(|row| Some(Interrupted { id: row.id, before: earlier(&row), address: row.goes_to? }));
            Ok::<_, Error>(interrupted.collect())
        };
        limited.await.map_err(OutboxError::new)
    }

    async fn clock_went_back(&self, by: Duration) -> Result<(), OutboxError> {
        let moved = async {
            let mut tx = self.repo.records.begin().await?;
            notices::clock_went_back(tx.conn(), by).await?;
            Ok::<_, Error>(tx.commit().await?)
        };
        moved.await.map_err(OutboxError::new)
    }
}
