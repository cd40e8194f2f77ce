//! The outbox: a notice is queued in the transaction that makes a version available, and handed to `notify` when it has
//! settled. It keeps ids only; names are opened when a notice is delivered.

use serde_json::json;

use crate::model::{Language, NoticeId, Time, VersionId, Word};
use crate::notify::outbox as mail;
use crate::notify::{Attempt, Channel, DueNotice, FILES_SHOWN, Outbox, OutboxError};
use crate::records::notices::{self, About, NoticeRow};
use crate::records::{Conn, entries, people, versions};
use crate::share::audit::{self, Subject};
use crate::share::desk::existing_ticket;
use crate::share::tree::path_of;
use crate::share::{Error, House, PublicAddress, Shares};
use crate::vault;

/// Queues a notice about a version, in the transaction that makes it worth one. Uploads of one settling time share one.
pub(crate) async fn queue(
    conn: &mut Conn,
    house: &House,
    ticket: &Word,
    version: VersionId,
    about: About,
    now: Time,
) -> Result<(), Error> {
    let (settle, most) = (house.settings.settle, house.settings.settle_max);
    let id = match notices::settling(conn, ticket).await? {
        Some(notice) => {
            notices::put_off(conn, notice.id, now.plus(settle).min(notice.created_at.plus(most))).await?;
            notice.id
        }
        None => {
            let id = NoticeId::from_bytes(vault::random::array()?);
            let engineer = existing_ticket(conn, ticket).await?.engineer;
            notices::begin(conn, id, ticket, &engineer, now, now.plus(settle.min(most))).await?;
            id
        }
    };
    Ok(notices::attach(conn, id, version, about).await?)
}

impl PublicAddress {
    /// The address that the server last wrote down.
    pub(crate) async fn recorded(conn: &mut Conn) -> Result<Option<Self>, Error> {
        let (host, port) = (people::fact(conn, PUBLIC_HOST).await?, people::fact(conn, PUBLIC_PORT).await?);
        Ok(host.zip(port.and_then(|port| port.parse().ok())).map(|(host, port)| Self { host, port }))
    }
}

impl Shares {
    /// The address that people reach the server at, as the server last wrote it down.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn public_address(&self) -> Result<Option<PublicAddress>, Error> {
        PublicAddress::recorded(&mut *self.0.records.read().await?).await
    }

    /// Writes the address down that people reach the server at.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn set_public_address(&self, address: &PublicAddress) -> Result<(), Error> {
        self.set_fact(PUBLIC_HOST, &address.host).await?;
        self.set_fact(PUBLIC_PORT, &address.port.to_string()).await
    }

    async fn content_of(&self, notice: &NoticeRow, address: &PublicAddress) -> Result<DueNotice, Error> {
        let house = &self.0;
        let mut conn = house.records.read().await?;
        let ticket = existing_ticket(&mut conn, &notice.ticket).await?;
        let engineer = people::engineers(&mut conn, Some(notice.recipient.as_str()))
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Error::operator("the recipient of a notice is not in the records"))?;
        let organisation = people::organisations(&mut conn, Some(&ticket.organisation)).await?;
        let organisation =
            organisation.into_iter().next().map_or_else(|| ticket.organisation.to_string(), |row| row.name);
        let first = notices::first_of(&mut conn, &notice.ticket).await?;
        let ids = notices::versions(&mut conn, notice.id).await?;
        let keys = house.keys.share(ticket.share).await?;
        let mut files = Vec::new();
        for id in ids.iter().take(FILES_SHOWN) {
            let Some(version) = versions::by_id(&mut conn, *id).await? else { continue };
            let Some(sha256) = version.sha256 else { continue };
            let entry = entries::by_id(&mut conn, version.artifact.as_bytes()).await?;
            let number = entry.map_or(0, |entry| entry.number_base) + version.number;
            let path = path_of(&mut conn, &keys, version.artifact.as_bytes()).await?;
            files.push(mail::FileLine {
                location: address.location(&notice.ticket, &path),
                fetch: address.fetch_command(&notice.recipient, &notice.ticket, &path),
                path,
                version: u32::try_from(number).unwrap_or(u32::MAX),
                size: version.length,
                sha256,
                uploaded_by: version.uploaded_by,
                received_at: version.received_at.unwrap_or(notice.created_at),
            });
        }
        Ok(DueNotice {
            id: notice.id,
            attempts: u32::try_from(notice.attempts).unwrap_or(u32::MAX),
            created_at: notice.created_at,
            first_of_ticket: first,
            recipient: mail::Recipient {
                name: engineer.name,
                address: engineer.email,
                language: engineer.language.or(ticket.language).unwrap_or(Language::En),
            },
            ticket: mail::TicketLine {
                reference: ticket.reference,
                title: ticket.title,
                priority: ticket.priority,
                organisation,
            },
            more_files: (ids.len() as u64).saturating_sub(FILES_SHOWN as u64),
            files,
        })
    }

    async fn due_notices(&self, now: Time, most: usize) -> Result<Vec<DueNotice>, Error> {
        let mut tx = self.0.records.begin().await?;
        notices::close_settled(tx.conn(), now).await?;
        let rows = notices::due(tx.conn(), now, most).await?;
        tx.commit().await?;
        let address = self.public_address().await?.unwrap_or_else(PublicAddress::unknown);
        let mut contents = Vec::with_capacity(rows.len());
        for row in rows {
            match self.content_of(&row, &address).await {
                Ok(content) => contents.push(content),
                Err(error) if error.is_temporary() => return Err(error),
                // It can never be read; the others must not wait for it.
                Err(error) => {
                    tracing::error!(notice = %row.id, %error, "a notice cannot be put together");
                    let mut tx = self.0.records.begin().await?;
                    notices::tried(tx.conn(), row.id, "none", &error.to_string(), None).await?;
                    tx.commit().await?;
                }
            }
        }
        Ok(contents)
    }

    async fn note_delivery(&self, id: NoticeId, at: Time, channel: Channel) -> Result<(), Error> {
        let mut tx = self.0.records.begin().await?;
        notices::delivered(tx.conn(), id, channel.as_str(), at).await?;
        let subject = Subject { actor: "server", ticket: None, id: Some(*id.as_bytes()) };
        audit::write(tx.conn(), "notice.delivered", subject, &json!({ "channel": channel.as_str() })).await?;
        Ok(tx.commit().await?)
    }

    async fn note_failure(&self, id: NoticeId, attempt: &Attempt) -> Result<(), Error> {
        let mut tx = self.0.records.begin().await?;
        notices::tried(tx.conn(), id, attempt.channel.as_str(), &attempt.sentence, attempt.retry_at).await?;
        Ok(tx.commit().await?)
    }
}

const PUBLIC_HOST: &str = "public_host";
const PUBLIC_PORT: &str = "public_port";

/// The records as `notify` sees them.
#[derive(Clone)]
pub struct NoticeQueue(pub Shares);

impl Outbox for NoticeQueue {
    async fn due(&self, now: Time, most: usize) -> Result<Vec<DueNotice>, OutboxError> {
        self.0.due_notices(now, most).await.map_err(OutboxError::new)
    }

    async fn next_due(&self) -> Result<Option<Time>, OutboxError> {
        let due = async { Ok::<_, Error>(notices::next_due(&mut *self.0.0.records.read().await?).await?) };
        due.await.map_err(OutboxError::new)
    }

    async fn delivered(&self, id: NoticeId, at: Time, channel: Channel) -> Result<(), OutboxError> {
        self.0.note_delivery(id, at, channel).await.map_err(OutboxError::new)
    }

    async fn failed(&self, id: NoticeId, attempt: Attempt) -> Result<(), OutboxError> {
        self.0.note_failure(id, &attempt).await.map_err(OutboxError::new)
    }
}
