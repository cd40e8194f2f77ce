//! The rows as they stand, to be compared with what the audit trail tells of them. Nothing is
//! trusted: a row that cannot be read is given as its name and why.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::ask::ask;
use super::audit::{Stored, stored};
use super::readable::name;
use super::{Conn, RecordsError, bytes_as, bytes_as_option, text_as, unsigned};
use tacdrop_model::{Identifier, ShareId, VersionState};

/// A row, or its first column and why it cannot be read.
pub type Found<T> = Result<T, (String, RecordsError)>;

fn found<T>(rows: &[SqliteRow], read: impl Fn(&SqliteRow) -> Result<T, RecordsError>) -> Vec<Found<T>> {
    let label = |row: &SqliteRow| row.try_get::<&str, _>(0).map_or_else(|_| name(row, 0), str::to_owned);
    rows.iter().map(|row| read(row).map_err(|error| (label(row), error))).collect()
}

/// An engineer.
#[derive(Debug)]
pub struct EngineerSide {
    /// The id.
    pub id: String,
    /// Where notices go.
    pub email: String,
    /// Whether the person may not log in any more.
    pub disabled: bool,
    /// What the person is to the house.
    pub role: String,
    /// First and last day of an absence, and the deputy.
    pub away: Option<[String; 3]>,
}

/// All engineers.
pub async fn engineers(conn: &mut Conn) -> Result<Vec<Found<EngineerSide>>, RecordsError> {
    let rows = ask!("SELECT id, email, disabled_at, role, away_from, away_to, deputy FROM engineer ORDER BY id")
        .rows(conn)
        .await?;
    Ok(found(&rows, |row| {
        Ok(EngineerSide {
            id: row.try_get("id")?,
            email: row.try_get("email")?,
            disabled: row.try_get::<Option<i64>, _>("disabled_at")?.is_some(),
            role: row.try_get("role")?,
            away: match (row.try_get("away_from")?, row.try_get("away_to")?, row.try_get("deputy")?) {
                (Some(from), Some(to), Some(deputy)) => Some([from, to, deputy]),
                _ => None,
            },
        })
    }))
}

/// All keys of engineers: whose, and the fingerprint.
pub async fn engineer_keys(conn: &mut Conn) -> Result<Vec<Found<(String, String)>>, RecordsError> {
    let rows = ask!("SELECT engineer, fingerprint FROM engineer_key ORDER BY engineer, fingerprint").rows(conn).await?;
    Ok(found(&rows, |row| Ok((row.try_get("engineer")?, row.try_get("fingerprint")?))))
}

/// A contact.
#[derive(Debug)]
pub struct ContactSide {
    /// The id.
    pub id: String,
    /// Whose contact it is.
    pub organisation: String,
    /// Where mails go.
    pub email: String,
    /// The last day on which it may log in.
    pub valid_until: Option<String>,
    /// Whether it may not log in any more.
    pub disabled: bool,
    /// Whether it has a password.
    pub has_password: bool,
}

/// All contacts.
pub async fn contacts(conn: &mut Conn) -> Result<Vec<Found<ContactSide>>, RecordsError> {
    let text = "SELECT id, organisation, email, valid_until, disabled_at, password FROM contact ORDER BY id";
    let rows = ask!(text).rows(conn).await?;
    Ok(found(&rows, |row| {
        Ok(ContactSide {
            id: row.try_get("id")?,
            organisation: row.try_get("organisation")?,
            email: row.try_get("email")?,
            valid_until: row.try_get("valid_until")?,
            disabled: row.try_get::<Option<i64>, _>("disabled_at")?.is_some(),
            has_password: row.try_get::<Option<Vec<u8>>, _>("password")?.is_some(),
        })
    }))
}

/// All keys of contacts: whose, and the fingerprint.
pub async fn contact_keys(conn: &mut Conn) -> Result<Vec<Found<(String, String)>>, RecordsError> {
    let rows = ask!("SELECT contact, fingerprint FROM contact_key ORDER BY contact, fingerprint").rows(conn).await?;
    Ok(found(&rows, |row| Ok((row.try_get("contact")?, row.try_get("fingerprint")?))))
}

/// An organisation.
#[derive(Debug)]
pub struct OrganisationSide {
    /// The id.
    pub id: String,
    /// The last day of its contract, as it stands there.
    pub until: Option<String>,
    /// Whether its customers may not log in.
    pub disabled: bool,
}

/// All organisations.
pub async fn organisations(conn: &mut Conn) -> Result<Vec<Found<OrganisationSide>>, RecordsError> {
    let rows = ask!("SELECT id, valid_until, disabled_at FROM organisation ORDER BY id").rows(conn).await?;
    Ok(found(&rows, |row| {
        Ok(OrganisationSide {
            id: row.try_get("id")?,
            until: row.try_get("valid_until")?,
            disabled: row.try_get::<Option<i64>, _>("disabled_at")?.is_some(),
        })
    }))
}

/// A ticket.
#[derive(Debug)]
pub struct TicketSide {
    /// Its reference.
    pub reference: Identifier,
    /// Its share.
    pub share: ShareId,
    /// Whose problem it is.
    pub organisation: String,
    /// Who works on it.
    pub engineer: String,
    /// Whether it is closed.
    pub closed: bool,
    /// Whether it is for devices.
    pub device: bool,
    /// Whether nothing of it may be removed.
    pub held: bool,
    /// What kind of problem it is.
    pub kind: String,
}

/// All tickets.
pub async fn tickets(conn: &mut Conn) -> Result<Vec<Found<TicketSide>>, RecordsError> {
    let text = "SELECT reference, share_id, organisation, engineer, status, device, kind, \
         EXISTS (SELECT 1 FROM hold h WHERE h.share_id = ticket.share_id) AS held FROM ticket ORDER BY reference";
    let rows = ask!(text).rows(conn).await?;
    Ok(found(&rows, |row| {
        Ok(TicketSide {
            reference: text_as(row, "ticket", "reference")?,
            share: bytes_as(row, "ticket", "share_id")?,
            organisation: row.try_get("organisation")?,
            engineer: row.try_get("engineer")?,
            closed: row.try_get::<&str, _>("status")? == "closed",
            device: row.try_get::<i64, _>("device")? != 0,
            held: row.try_get::<i64, _>("held")? != 0,
            kind: row.try_get("kind")?,
        })
    }))
}

/// A token of a ticket.
#[derive(Debug)]
pub struct TokenSide {
    /// Its id, in hexadecimal.
    pub id: String,
    /// Its ticket.
    pub ticket: String,
    /// What it allows.
    pub kind: String,
    /// Whether it has ended.
    pub ended: bool,
    /// Until when it is valid, if logins do not make that later: milliseconds since 1970.
    pub until: Option<i64>,
    /// Whether it bears the id of its ticket's share, as one that was moved out of the ticket's row
    /// does.
    pub moved: bool,
}

/// All tokens.
pub async fn tokens(conn: &mut Conn) -> Result<Vec<Found<TokenSide>>, RecordsError> {
    let text = "SELECT k.id, k.ticket, k.kind, k.ended_at, k.renews, k.valid_until, \
         CASE WHEN EXISTS (SELECT 1 FROM ticket t WHERE t.reference = k.ticket AND t.share_id = k.id) THEN 1 ELSE 0 END \
         AS moved FROM ticket_token k ORDER BY k.ticket, k.id";
    let rows = ask!(text).rows(conn).await?;
    Ok(found(&rows, |row| {
        let renews = row.try_get::<i64, _>("renews")? != 0;
        let until: i64 = row.try_get("valid_until")?;
        Ok(TokenSide {
            id: hex::encode(row.try_get::<&[u8], _>("id")?),
            ticket: row.try_get("ticket")?,
            kind: row.try_get("kind")?,
            ended: row.try_get::<Option<i64>, _>("ended_at")?.is_some(),
            until: (!renews).then_some(until),
            moved: row.try_get::<i64, _>("moved")? != 0,
        })
    }))
}

/// A version.
#[derive(Debug)]
pub struct VersionSide {
    /// Its id.
    pub id: [u8; 16],
    /// The entry that it belongs to.
    pub artifact: [u8; 16],
    /// Its number within its entry.
    pub number: u64,
    /// Where it stands.
    pub state: VersionState,
    /// Plaintext bytes.
    pub length: u64,
    /// The plaintext's SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// The SHA-256 of its manifest object.
    pub manifest: Option<[u8; 32]>,
    /// Who sent it.
    pub uploaded_by: String,
    /// The weakest transport that anything of it came by.
    pub transport: String,
    /// When it became available, in milliseconds since 1970.
    pub received_at: Option<i64>,
    /// The entry of the trail that tells of its manifest.
    pub trail_seq: Option<i64>,
}

/// All versions of a share.
pub async fn versions(conn: &mut Conn, share: ShareId) -> Result<Vec<Found<VersionSide>>, RecordsError> {
    let text = "SELECT v.id, v.entry_id, v.number, v.state, v.length, v.sha256, v.manifest_hash, v.uploaded_by, \
         v.transport, v.received_at, v.trail_seq FROM entry e JOIN version v ON v.entry_id = e.id WHERE e.share_id = $1";
    let rows = ask!(text, share).rows(conn).await?;
    Ok(found(&rows, |row| {
        Ok(VersionSide {
            id: bytes_as(row, "version", "id")?,
            artifact: bytes_as(row, "version", "entry_id")?,
            number: unsigned(row, "version", "number")?,
            state: text_as(row, "version", "state")?,
            length: unsigned(row, "version", "length")?,
            sha256: bytes_as_option(row, "version", "sha256")?,
            manifest: bytes_as_option(row, "version", "manifest_hash")?,
            uploaded_by: row.try_get("uploaded_by")?,
            transport: row.try_get("transport")?,
            received_at: row.try_get("received_at")?,
            trail_seq: row.try_get("trail_seq")?,
        })
    }))
}

/// A file of a share.
#[derive(Debug)]
pub struct FileSide {
    /// Its id.
    pub id: [u8; 16],
    /// The entry whose place it took.
    pub predecessor: Option<[u8; 16]>,
    /// The version that readers get.
    pub current: Option<[u8; 16]>,
}

/// All files of a share, in sight or not.
pub async fn files(conn: &mut Conn, share: ShareId) -> Result<Vec<Found<FileSide>>, RecordsError> {
    let text = "SELECT id, predecessor, current_version FROM entry WHERE share_id = $1 AND kind = 'file'";
    let rows = ask!(text, share).rows(conn).await?;
    Ok(found(&rows, |row| {
        Ok(FileSide {
            id: bytes_as(row, "entry", "id")?,
            predecessor: bytes_as_option(row, "entry", "predecessor")?,
            current: bytes_as_option(row, "entry", "current_version")?,
        })
    }))
}

/// How many versions belong to no ticket.
pub async fn homeless_versions(conn: &mut Conn) -> Result<u64, RecordsError> {
    let text = "SELECT COUNT(*) AS n FROM version v WHERE NOT EXISTS (SELECT 1 FROM entry e \
         JOIN ticket t ON t.share_id = e.share_id WHERE e.id = v.entry_id)";
    ask!(text).one(conn, |row| unsigned(row, "version", "n")).await
}

/// How many versions have ever been available: as the rows and the deletion log say, and as the
/// trail tells.
pub async fn published(conn: &mut Conn) -> Result<(u64, u64), RecordsError> {
    let text = "SELECT (SELECT COUNT(*) FROM version WHERE received_at IS NOT NULL) \
         + (SELECT COALESCE(SUM(published), 0) FROM deletion) AS of_rows, \
         (SELECT COUNT(*) FROM audit_event WHERE kind = 'artifact.available' OR kind = 'version.moved') AS of_trail";
    ask!(text).one(conn, |row| Ok((unsigned(row, "version", "of_rows")?, unsigned(row, "version", "of_trail")?))).await
}

/// Entries of the trail from number `from` on, at most `most`, that tell of people and tickets; or
/// with a ticket, those that tell of its versions.
pub async fn told(
    conn: &mut Conn,
    ticket: Option<&Identifier>,
    from: i64,
    most: u32,
) -> Result<Vec<Stored>, RecordsError> {
    let of_house = "SELECT seq, at, kind, actor, ticket, subject, detail, chain, seal FROM audit_event WHERE seq >= $1 \
         AND kind IN ('organisation.added', 'organisation.changed', 'organisation.disabled', 'organisation.enabled', \
         'organisation.removed', 'engineer.added', 'engineer.key-added', 'engineer.key-removed', \
         'engineer.changed', 'engineer.disabled', 'engineer.enabled', 'engineer.removed', 'engineer.away', 'engineer.back', \
         'ticket.opened', 'ticket.assigned', 'ticket.changed', 'ticket.closed', 'ticket.reopened', 'ticket.held', \
         'ticket.released', 'ticket.shred-begun', 'ticket.shredded', 'ticket.token-added', 'ticket.token-ended', 'ticket.token-replaced', \
         'store.recovered', 'secret.replaced', 'contact.added', 'contact.changed', \
         'contact.disabled', 'contact.enabled', 'contact.removed', 'contact.key-added', 'contact.key-removed', \
         'contact.password-set', 'team.added', 'team.changed', 'team.removed', 'ticket.people-changed') \
         ORDER BY seq LIMIT $2 + 0";
    let of_ticket = "SELECT seq, at, kind, actor, ticket, subject, detail, chain, seal FROM audit_event WHERE seq >= $1 \
         AND ticket = $3 AND kind IN ('artifact.available', 'artifact.withdrawn', 'artifact.restored', \
         'artifact.corrected', 'artifact.resealed', 'version.discarded', 'version.moved', 'version.damaged', 'version.shredded', 'upload.opened') \
         ORDER BY seq LIMIT $2 + 0";
    let asked = match ticket {
        None => ask!(of_house, from, most),
        Some(ticket) => ask!(of_ticket, from, most, ticket),
    };
    asked.all(conn, stored).await
}
