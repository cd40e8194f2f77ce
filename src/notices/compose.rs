//! What a notice says of each version that it speaks of. It is decided when the notice is
//! delivered, from where the version stands by then:
//!
//! | queued because | stands | said |
//! |---|---|---|
//! | it came | available | that it came, what it replaces, what its sender's digest says |
//! | it came | withdrawn, damaged | the same, and that it was deleted or is damaged; not where it lies |
//! | it came | shredded | nothing |
//! | deleted, after it was told that it came | withdrawn | that its sender deleted it |
//! | deleted | anything else | nothing |
//! | closed with a hole, or expiring | unfinished still | that it is incomplete, and how much is missing |
//! | closed with a hole, or expiring | anything else | nothing: if it came, that has its own notice |
//!
//! Customers are told of what is available only: what support handed back, unless something newer
//! took its place, and the receipts of what they sent.

use std::collections::HashSet;
use std::sync::Arc;

use crate::content::Content;
use crate::content::damage::report_damage;
use crate::content::receipt::{Receipt, vouch};
use crate::content::sealed::{check_belongs, sealed_facts};
use crate::mail::FILES_SHOWN;
use crate::mail::notice::{Arrival, Before, Check, FileLine, News, Standing, Unfinished};
use crate::model::{ArtifactId, Audience, FileName, Identifier, SharePath, Time, VersionId, VersionState};
use crate::namespace::PublicAddress;
use crate::namespace::location::{openable, typeable};
use crate::namespace::tree::{Way, is_from_support, path_of, way_of};
use crate::records::moves::Move;
use crate::records::notices::{self, About, NoticeItem, NoticeRow, Told};
use crate::records::versions::{self, VersionRow};
use crate::records::{Conn, checks, entries, moves, version_chain};
use crate::repo::keys::ShareKeys;
use crate::repo::{Error, Repo};

/// The place of older versions in a share.
const VERSIONS: &[u8] = b".versions";

/// What a notice says of files.
pub(crate) struct Composed {
    pub(crate) files: Vec<FileLine>,
    pub(crate) more_files: u64,
    pub(crate) more_unfinished: u64,
    pub(crate) more_deleted: u64,
    /// The artifacts whose names or places cannot be read, by id.
    pub(crate) unreadable: Vec<String>,
}

impl Composed {
    pub(crate) fn is_empty(&self) -> bool {
        let more = self.more_files + self.more_unfinished + self.more_deleted;
        self.files.is_empty() && more == 0 && self.unreadable.is_empty()
    }
}

/// Puts together what a notice says.
pub(crate) async fn of(
    repo: &Arc<Repo>,
    keys: &ShareKeys,
    notice: &NoticeRow,
    address: &PublicAddress,
) -> Result<Composed, Error> {
    let mut conn = repo.records.read().await?;
    let Told { rows: told, unreadable } = notices::told(&mut conn, notice.id).await?;
    let all: HashSet<VersionId> = told.iter().map(|row| row.version).collect();
    let told: Vec<NoticeItem> = told.into_iter().filter(|row| has_news(notice.audience, row)).collect();
    let (shown, rest) = told.split_at(told.len().min(FILES_SHOWN));
    let more = |wanted: &[About]| rest.iter().filter(|row| wanted.contains(&row.about)).count() as u64;
    let more_unfinished = more(&[About::Incomplete, About::Expiring]);
    let (more_files, more_deleted) = (more(&[About::Available]), more(&[About::Deleted]));
    let mut telling = Composed { files: Vec::new(), more_files, more_unfinished, more_deleted, unreadable };
    let (mut longer, mut damaged) = (Vec::new(), Vec::new());
    for row in shown {
        let composer = Composer { repo, keys, notice, address, in_this: &all };
        let told = async {
            let version =
                versions::by_id(&mut conn, row.version).await?.ok_or_else(|| Error::operator("it is gone"))?;
            Ok::<_, Error>((composer.line(&mut conn, row, &version).await?, version))
        };
        let (Line { line, shorter, damage }, version) = match told.await {
            Ok(told) => told,
            Err(error) if error.is_temporary() => return Err(error),
            // One file without a path takes no other one along.
            Err(error) => {
                tracing::error!(artifact = %row.artifact, notice = %notice.id, %error, "a notice cannot name a file");
                telling.unreadable.push(row.artifact.to_string());
                continue;
            }
        };
        damaged.extend(damage.map(|error| (version.id, error)));
        if let Some(before) = shorter {
            longer.push((telling.files.len(), before, version));
        }
        telling.files.push(line);
    }
    // Reading manifests needs connections of its own.
    drop(conn);
    for (version, error) in damaged {
        report_damage(repo, &error, version, &notice.ticket).await;
    }
    for (at, before, version) in longer {
        let continued = continues(repo, keys, before, &version).await;
        if let Some(FileLine { news: News::Arrived(arrival), .. }) = telling.files.get_mut(at)
            && let Some(before) = &mut arrival.before
        {
            before.continued = continued;
        }
    }
    Ok(telling)
}

fn has_news(audience: Audience, row: &NoticeItem) -> bool {
    use VersionState::{Available, Damaged, Incomplete, Receiving, Withdrawn};
    if audience != Audience::Engineers {
        return row.about == About::Available && row.state == Available;
    }
    match row.about {
        About::Available => matches!(row.state, Available | Withdrawn | Damaged),
        About::Incomplete | About::Expiring => matches!(row.state, Receiving | Incomplete),
        About::Deleted => row.state == Withdrawn,
    }
}

/// What a notice says of one version.
struct Line {
    line: FileLine,
    /// A shorter version before it: it may continue that.
    shorter: Option<VersionId>,
    /// Why it is not what was sealed.
    damage: Option<Error>,
}

struct Composer<'a> {
    repo: &'a Repo,
    keys: &'a ShareKeys,
    notice: &'a NoticeRow,
    address: &'a PublicAddress,
    /// All versions that the notice speaks of.
    in_this: &'a HashSet<VersionId>,
}

impl Composer<'_> {
    async fn line(&self, conn: &mut Conn, row: &NoticeItem, version: &VersionRow) -> Result<Line, Error> {
        let entry = *version.artifact.as_bytes();
        let base = entries::by_id(conn, &entry).await?.map_or(0, |entry| entry.number_base);
        let number = base + version.number;
        let newest = version_chain::head(conn, &entry).await?;
        check_belongs(self.repo, conn, &newest, &entry).await?;
        let way = way_of(conn, self.keys, &newest).await?;
        let path = way.path();
        self.check_audience(&way, version)?;
        let (mut shorter, mut damage) = (None, None);
        let news = match (row.about, version.sha256) {
            (About::Available, Some(sha256)) => {
                // What a mail says of a file was sealed with it; of one that is damaged it says what
                // its row has, and that it is damaged.
                match sealed_facts(self.repo, conn, self.keys, version).await {
                    Ok(_) => {}
                    Err(error) if error.is_temporary() => return Err(error),
                    Err(error) => damage = Some(error),
                }
                let before = version_chain::before(conn, &newest, number).await?;
                shorter = before
                    .as_ref()
                    .filter(|before| (1..version.length).contains(&before.length))
                    .map(|before| before.id);
                let behind = version_chain::behind(conn, &newest, number).await?;
                let is_outdated = behind.is_some() && self.tells_of_support();
                let place = |path| if behind.is_some() { version_path(&path, number) } else { path };
                News::Arrived(Box::new(Arrival {
                    size: version.length,
                    zeros: version.zeros,
                    sha256,
                    received_at: version.received_at.unwrap_or(self.notice.created_at),
                    location: self.address.location(&self.notice.ticket, &place(openable(&way))),
                    fetch: self
                        .fetches()
                        .map(|login| self.address.fetch_command(login, &self.notice.ticket, &place(typeable(&way)))),
                    receipt: self.receipt(conn, (&way, number), version).await?,
                    moved_from: self.moved_from(conn, &newest, version).await?,
                    before: before.map(|before| Before {
                        version: shown(before.number),
                        size: before.length,
                        continued: false,
                    }),
                    replaced_by: behind.map(|behind| shown(behind.number)),
                    standing: match version.state {
                        VersionState::Withdrawn => Standing::Withdrawn,
                        VersionState::Damaged => Standing::Damaged,
                        _ if damage.is_some() => Standing::Damaged,
                        // It cannot be fetched any more, and what can has its own line.
                        _ if is_outdated => Standing::Withdrawn,
                        _ => Standing::Available,
                    },
                    checks: self.checks(conn, version.id).await?,
                    transport: version.transport,
                }))
            }
            (About::Deleted, _) => News::Deleted,
            (About::Expiring, _) => News::Expiring { unfinished: unfinished(version), removed_at: self.removed_at() },
            _ => News::Incomplete(unfinished(version)),
        };
        let line = FileLine { path, version: shown(number), uploaded_by: version.uploaded_by.clone(), news };
        Ok(Line { line, shorter, damage })
    }

    fn tells_of_support(&self) -> bool {
        matches!(self.notice.audience, Audience::Contact | Audience::Watcher)
    }

    /// The login that fetches with the command of this notice.
    fn fetches(&self) -> Option<&Identifier> {
        match self.notice.audience {
            Audience::Engineers => Some(&self.notice.recipient),
            Audience::Contact => self.notice.contact.as_ref(),
            Audience::Customers | Audience::Watcher | Audience::Sender => None,
        }
    }

    /// That a customer is told only of what support handed back, or of what it sent itself: the rows
    /// of notices carry no proof of what they speak of.
    fn check_audience(&self, way: &Way, version: &VersionRow) -> Result<(), Error> {
        let from_support = way.steps().first().is_some_and(|(name, _)| is_from_support(name));
        let is_for = match self.notice.audience {
            Audience::Engineers => true,
            Audience::Sender => {
                let sent = self.notice.contact.as_ref().is_some_and(|by| by.as_str() == version.uploaded_by);
                sent && !from_support
            }
            Audience::Customers | Audience::Contact | Audience::Watcher => from_support,
        };
        if is_for { Ok(()) } else { Err(Error::operator("it is not for the customer that the notice goes to")) }
    }

    /// The signed receipt, for customers. None if the server does not vouch for the version.
    async fn receipt(
        &self,
        conn: &mut Conn,
        (way, number): (&Way, u64),
        version: &VersionRow,
    ) -> Result<Option<String>, Error> {
        if self.notice.audience == Audience::Engineers {
            return Ok(None);
        }
        let Some(mut receipt) = Receipt::of(&self.notice.ticket, way, number, version, self.address) else {
            return Ok(None);
        };
        match vouch(self.repo, conn, self.keys, version, &mut receipt).await {
            Ok(()) => Ok(Some(receipt.signed(self.repo.keys.receipts()))),
            Err(error) if error.is_temporary() => Err(error),
            Err(error) => {
                tracing::error!(artifact = %version.artifact, notice = %self.notice.id, %error, "a notice has no receipt");
                Ok(None)
            }
        }
    }

    /// The ticket that a version came to before its file was moved.
    async fn moved_from(
        &self,
        conn: &mut Conn,
        file: &[u8; 16],
        version: &VersionRow,
    ) -> Result<Option<Identifier>, Error> {
        let moved = moves::to(conn, ArtifactId::from_bytes(*file)).await?;
        let came_before = |row: &Move| version.received_at.is_some_and(|came| came <= row.moved_at);
        Ok(moved.filter(came_before).map(|row| row.ticket))
    }

    /// The warning is queued this long before the removal. Counted from the notice, so that each
    /// try says the same.
    fn removed_at(&self) -> Time {
        self.notice.created_at.plus(self.repo.settings.warn)
    }

    async fn checks(&self, conn: &mut Conn, version: VersionId) -> Result<Vec<Check>, Error> {
        let of_this = checks::of_each_algorithm(checks::of_version(conn, version).await?);
        let mut all: Vec<Check> =
            of_this.iter().map(|row| Check { algorithm: row.algorithm, verdict: row.verdict, of: None }).collect();
        // If this states a digest itself, and what it was compared with is told of elsewhere, the
        // result is said here.
        if let Some(row) = checks::by_sidecar(conn, version).await?.last()
            && !self.in_this.contains(&row.version)
            && let Some(compared) = versions::by_id(conn, row.version).await?
        {
            let path = path_of(conn, self.keys, compared.artifact.as_bytes()).await?;
            let name = path.split_last().map_or_else(String::new, |(_, name)| name.to_string());
            all.push(Check { algorithm: row.algorithm, verdict: row.verdict, of: Some(name) });
        }
        Ok(all)
    }
}

/// What is there and what is missing. Of one that was only cut, how long it was to become is not
/// known.
fn unfinished(version: &VersionRow) -> Unfinished {
    Unfinished::new(version.stored, version.length)
}

fn shown(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Where an older version is read: `.versions/PATH/N`.
fn version_path(path: &SharePath, number: u64) -> SharePath {
    let number = FileName::new(number.to_string().as_bytes());
    let Ok((first, last)) = FileName::new(VERSIONS).and_then(|first| Ok((first, number?))) else { return path.clone() };
    SharePath::from_names([&[first], path.names(), &[last]].concat())
}

/// Whether a version begins with all that an older one holds: the same extents, so nothing needs to
/// be read. If that cannot be found out, it only replaced it.
async fn continues(repo: &Arc<Repo>, keys: &ShareKeys, before: VersionId, version: &VersionRow) -> bool {
    let compare = async {
        let before = versions::by_id(&mut *repo.records.read().await?, before).await?;
        let Some(before) = before.filter(|before| before.file_key.is_some()) else { return Ok(false) };
        let (_, old, _) = Content::of_version(repo, keys, &before).await?;
        let (_, new, _) = Content::of_version(repo, keys, version).await?;
        let mut beginning = crate::vault::SliceMap::from_slices(new.slices)?;
        beginning.truncate(old.length);
        Ok::<_, Error>(beginning == crate::vault::SliceMap::from_slices(old.slices)?)
    };
    compare.await.unwrap_or(false)
}
