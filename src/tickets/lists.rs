//! Artifacts over all tickets, the newest first, as an engineer asks for them every morning.
//!
//! Names are sealed, so that a pattern for names cannot be asked of the records: the names of what
//! fits everything else are opened, one after the other, and no more than [`MOST_OPENED`] for one
//! page. A page that stops there says where to go on, even if it holds nothing yet.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

use super::artifacts::{ArtifactLine, Artifacts, SenderCheck, stand_in};
use crate::model::pattern::Pattern;
use crate::model::{ArtifactId, DirectoryId, Identifier, ShareId, Time, VersionState, missing_percent};
use crate::namespace::PublicAddress;
use crate::namespace::location::openable;
use crate::namespace::tree::{self, Way};
use crate::records::entries::{self, EntryRow};
use crate::records::lists::{self, Arrival, Behind, Wanted};
use crate::records::{Conn, checks};
use crate::repo::keys::{ROUNDS, ShareKeys};
use crate::repo::set_aside::or_left_out;
use crate::repo::tickets::{existing_engineer, existing_organisation, existing_ticket};
use crate::repo::{Error, Repo};

/// Rows that are read at once, at most.
const AT_ONCE: usize = 256;
/// Rows that are looked at for one page: about as many names are opened.
const MOST_OPENED: usize = 20_000;

/// Where a page of artifacts ended, and the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Behind);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.came, hex::encode(&self.0.id))
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.rsplit_once('-').and_then(|(came, id)| {
            let id = hex::decode(id).ok().filter(|id| id.len() <= 64)?;
            Some(Self(Behind { came: came.parse().ok()?, id }))
        });
        parsed.ok_or_else(|| "a cursor is what the page before ended with, as it stands there".to_owned())
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A SHA-256, or how one begins: lists show the first digits only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestStart {
    first: [u8; 32],
    last: [u8; 32],
}

impl FromStr for DigestStart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "a SHA-256 has up to 64 hexadecimal digits; its first ones are enough".to_owned();
        if text.is_empty() || text.len() > 64 {
            return Err(form());
        }
        let filled = |digit: char| {
            let mut bytes = [0; 32];
            let rest: String = std::iter::repeat_n(digit, 64 - text.len()).collect();
            hex::decode_to_slice(format!("{text}{rest}"), &mut bytes).map(|()| bytes).map_err(|_| form())
        };
        Ok(Self { first: filled('0')?, last: filled('f')? })
    }
}

/// Which artifacts are wanted. What is none is no condition.
#[derive(Debug, Clone, Default)]
pub struct ArtifactFilter {
    /// Those of a ticket.
    pub ticket: Option<Identifier>,
    /// Those of an organisation's tickets.
    pub organisation: Option<Identifier>,
    /// Those of the tickets that an engineer works on.
    pub engineer: Option<Identifier>,
    /// Those that stand so.
    pub state: Option<VersionState>,
    /// Those that came then or later.
    pub since: Option<Time>,
    /// Those of this SHA-256.
    pub sha256: Option<DigestStart>,
    /// Those whose file name (with a slash in it: whose path) fits these wildcards: `*` and `?`.
    pub name: Option<String>,
}

/// An artifact with its ticket.
#[derive(Debug, Clone, Serialize)]
pub struct ListedArtifact {
    /// The ticket's reference.
    pub ticket: String,
    /// Whose ticket it is.
    pub organisation: String,
    /// Who works on the ticket.
    pub engineer: String,
    /// The artifact.
    #[serde(flatten)]
    pub artifact: ArtifactLine,
}

/// A part of the list of artifacts.
#[derive(Debug, Clone, Serialize)]
pub struct ArtifactPage {
    /// The newest first.
    pub artifacts: Vec<ListedArtifact>,
    /// Where the next page begins; none: there is no more.
    pub next: Option<Cursor>,
}

impl Artifacts {
    /// Artifacts over all tickets, the newest first, at most `most`, from behind `after` on. One that
    /// cannot be read takes no other one along.
    ///
    /// # Errors
    /// If there is no such ticket, organisation or engineer, or the records fail.
    pub async fn find(
        &self,
        filter: &ArtifactFilter,
        after: Option<&Cursor>,
        most: usize,
        address: &PublicAddress,
    ) -> Result<ArtifactPage, Error> {
        let mut conn = self.repo.records.read().await?;
        // A mistyped word would otherwise be a list of nothing.
        if let Some(ticket) = &filter.ticket {
            existing_ticket(&mut conn, ticket).await?;
        }
        if let Some(organisation) = &filter.organisation {
            existing_organisation(&mut conn, organisation).await?;
        }
        if let Some(engineer) = &filter.engineer {
            existing_engineer(&mut conn, engineer).await?;
        }
        let wanted = Wanted {
            ticket: filter.ticket.as_ref(),
            organisation: filter.organisation.as_ref(),
            engineer: filter.engineer.as_ref(),
            state: filter.state,
            since: filter.since,
            sha256: filter.sha256.map(|digest| (digest.first, digest.last)),
        };
        let at_once = if filter.name.is_some() { AT_ONCE } else { AT_ONCE.min(most.saturating_add(1)) };
        let name = filter.name.as_deref().map(NamePattern::of);
        let (mut names, mut found) = (Names::new(&self.repo), Vec::new());
        let (mut behind, mut looked_at) = (after.map(|cursor| cursor.0.clone()), 0);
        let mut last_listed = None;
        loop {
            let page = lists::arrivals(&mut conn, &wanted, behind.as_ref(), at_once).await?;
            let files = files_of(&mut conn, &page.rows, filter.state).await?;
            for (row, file) in page.rows.iter().zip(files) {
                let Some(file) = file else { continue };
                let Some(way) = names.way(&mut conn, row, &file, name.as_ref()).await? else { continue };
                if found.len() == most {
                    return Ok(ArtifactPage { artifacts: found, next: last_listed });
                }
                found.push(listed(&mut conn, row, &file, &way, address).await?);
                last_listed = Some(Cursor(row.behind()));
            }
            looked_at += at_once;
            behind = page.last;
            if behind.is_none() || looked_at >= MOST_OPENED {
                return Ok(ArtifactPage { artifacts: found, next: behind.map(Cursor) });
            }
        }
    }
}

/// The entry that stands for each version's file; none where readers of it see another version.
async fn files_of(
    conn: &mut Conn,
    rows: &[Arrival],
    state: Option<VersionState>,
) -> Result<Vec<Option<EntryRow>>, Error> {
    let mut ids = Vec::with_capacity(rows.len());
    for row in rows {
        let every = matches!(state, Some(VersionState::Withdrawn | VersionState::Shredded));
        let file = match row.is_own || every {
            true => Some(*row.artifact.as_bytes()),
            false => or_left_out(
                lists::file_of(conn, row).await.map_err(Error::from),
                "an artifact",
                row.artifact.as_bytes(),
            )?
            .flatten(),
        };
        ids.push(file);
    }
    let known: Vec<[u8; 16]> = ids.iter().flatten().copied().collect();
    let by_id: HashMap<[u8; 16], EntryRow> = match entries::by_ids(conn, &known).await {
        Ok(rows) => rows.into_iter().map(|row| (row.id, row)).collect(),
        // One of them cannot be read: each by itself, and that one is left out.
        Err(_) => {
            let mut some = HashMap::new();
            for id in &known {
                let row = entries::by_id(conn, id).await.map_err(Error::from);
                some.extend(or_left_out(row, "an artifact", id)?.flatten().map(|row| (*id, row)));
            }
            some
        }
    };
    Ok(ids.into_iter().map(|id| id.and_then(|id| by_id.get(&id).cloned())).collect())
}

async fn listed(
    conn: &mut Conn,
    row: &Arrival,
    file: &EntryRow,
    way: &Way,
    address: &PublicAddress,
) -> Result<ListedArtifact, Error> {
    let checks = if row.is_compared { checks::of_version(conn, row.id).await? } else { Vec::new() };
    let unfinished = row.state.is_unfinished();
    let artifact = ArtifactLine {
        id: ArtifactId::from_bytes(file.id).to_string(),
        path: way.path().to_string(),
        version: row.number,
        size: if row.sha256.is_some() { row.length } else { row.resumable_at },
        missing_percent: if unfinished { missing_percent(row.stored, row.length) } else { None },
        zeros: row.zeros,
        sha256: row.sha256.map(hex::encode),
        state: row.state,
        uploaded_by: row.uploaded_by.clone(),
        received_at: row.received_at,
        transport: row.transport,
        location: address.location(&row.ticket, &openable(way)),
        sender_checks: checks::of_each_algorithm(checks)
            .into_iter()
            .map(|row| SenderCheck { algorithm: row.algorithm, result: row.verdict })
            .collect(),
    };
    Ok(ListedArtifact {
        ticket: row.ticket.to_string(),
        organisation: row.organisation.to_string(),
        engineer: row.engineer.to_string(),
        artifact,
    })
}

/// Wildcards for a file's name, or with a slash in them for its whole path.
struct NamePattern {
    pattern: Pattern,
    of_path: bool,
}

impl NamePattern {
    fn of(text: &str) -> Self {
        let bytes = text.trim_start_matches('/').as_bytes();
        let wild: Vec<usize> =
            bytes.iter().enumerate().filter(|(_, byte)| b"*?".contains(byte)).map(|(at, _)| at).collect();
        Self { pattern: Pattern::new(bytes, &wild), of_path: text.contains('/') }
    }
}

/// The names of one list: the keys of each share and the way to each directory are looked up once.
struct Names<'a> {
    repo: &'a Repo,
    keys: HashMap<ShareId, Arc<ShareKeys>>,
    ways: HashMap<DirectoryId, Way>,
}

impl<'a> Names<'a> {
    fn new(repo: &'a Repo) -> Self {
        Self { repo, keys: HashMap::new(), ways: HashMap::new() }
    }

    /// The way to a file, if its name fits; one that cannot be read has a name that says which it is.
    async fn way(
        &mut self,
        conn: &mut Conn,
        row: &Arrival,
        file: &EntryRow,
        pattern: Option<&NamePattern>,
    ) -> Result<Option<Way>, Error> {
        for _ in 0..ROUNDS {
            match self.opened(conn, row.share, file, pattern).await {
                // The share has another key since.
                Err(Error::KeysReplaced) => {
                    self.keys.remove(&row.share);
                }
                Err(error) if error.is_temporary() => return Err(error),
                Err(error) => {
                    or_left_out::<()>(Err(error), "the name of an artifact", &file.id)?;
                    let way = Way::default().join(stand_in(&file.id)?, file.id);
                    return Ok(pattern.is_none().then_some(way));
                }
                found => return found,
            }
        }
        Err(Error::KeysReplaced)
    }

    async fn opened(
        &mut self,
        conn: &mut Conn,
        share: ShareId,
        file: &EntryRow,
        pattern: Option<&NamePattern>,
    ) -> Result<Option<Way>, Error> {
        let keys = match self.keys.get(&share) {
            Some(keys) => Arc::clone(keys),
            None => {
                let keys = self.repo.keys.share(share).await?;
                self.keys.insert(share, Arc::clone(&keys));
                keys
            }
        };
        let name = keys.open_name(conn, file).await?;
        if let Some(pattern) = pattern
            && !pattern.of_path
            && !pattern.pattern.fits(name.as_bytes()).0
        {
            return Ok(None);
        }
        let directory = file.parent.unwrap_or(DirectoryId::root_of(share));
        let above = match self.ways.get(&directory) {
            Some(way) => way.clone(),
            None => {
                let way = tree::way_of(conn, &keys, directory.as_bytes()).await?;
                self.ways.insert(directory, way.clone());
                way
            }
        };
        let way = above.join(name, file.id);
        let is_wanted =
            pattern.is_none_or(|pattern| !pattern.of_path || pattern.pattern.fits(&way.path().to_bytes()).0);
        Ok(is_wanted.then_some(way))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for came in [0, 1_764_545_000_123, -5, i64::MAX, i64::MIN] {
            let cursor = Cursor(Behind { came, id: vec![7; 16] });
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", "-", "x-00", "1-0", "1-zz", "12", "1--", &format!("1-{}", "00".repeat(65))] {
            assert!(text.parse::<Cursor>().is_err() || text == "1-", "{text}");
        }
    }

    #[test]
    fn a_digest_is_found_by_its_first_digits() {
        let digest: DigestStart = "aB3".parse().unwrap();
        assert_eq!((digest.first[..2].to_vec(), digest.last[..2].to_vec()), (vec![0xab, 0x30], vec![0xab, 0x3f]));
        assert_eq!((digest.first[31], digest.last[31]), (0, 0xff));
        let whole: DigestStart = "0f".repeat(32).parse().unwrap();
        assert_eq!(whole.first, whole.last);
        for text in ["", "g", "ä", &"0".repeat(65)] {
            assert!(text.parse::<DigestStart>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_is_for_the_name_unless_it_has_a_slash() {
        let fits = |text: &str, of: &str| NamePattern::of(text).pattern.fits(of.as_bytes()).0;
        assert!(fits("*.txt", "a.txt") && !fits("*.txt", "a.log"));
        assert!(!NamePattern::of("*.txt").of_path && NamePattern::of("logs/*").of_path);
        assert!(fits("/logs/*", "logs/a"));
    }
}
