//! From paths to rows: names are found by their keyed index and read with the share's name key.

use std::sync::Arc;

use crate::model::rights::{Rights, Side};
use crate::model::{DirectoryId, FileName, Identifier, Refusal, ShareId, SharePath, alias};
use crate::namespace::aliases;
use crate::records::Conn;
use crate::records::entries::{self, EntryRow};
use crate::records::tickets::Standing;
use crate::repo::keys::{ROUNDS, ShareKeys};
use crate::repo::{Error, Repo};

/// The directory that engineers hand files back in.
pub(crate) const FROM_SUPPORT: &[u8] = b"from-support";
/// Names at a share's root that begin with these words are places of the server, now or later.
pub(crate) const VIRTUAL: [&[u8]; 2] = [b".versions", b".receipts"];
/// Permission bits of a new directory.
pub(crate) const DIRECTORY_MODE: u32 = 0o750;

/// A share as somebody has reached it.
#[derive(Clone)]
pub(crate) struct ShareContext {
    pub(crate) ticket: Identifier,
    pub(crate) keys: Arc<ShareKeys>,
    /// Whether names may be given by the aliases that engineers are shown.
    pub(crate) aliases: bool,
}

impl ShareContext {
    pub(crate) fn share(&self) -> ShareId {
        self.keys.share
    }

    pub(crate) fn root(&self) -> DirectoryId {
        DirectoryId::root_of(self.share())
    }
}

/// A place in a share, whether something stands there or not. The directory it would lie in exists.
pub(crate) struct ResolvedPath {
    pub(crate) context: ShareContext,
    /// Directory, name and the name's index in it; none for the root.
    pub(crate) at: Option<(DirectoryId, FileName, [u8; 32])>,
    /// What stands there.
    pub(crate) entry: Option<EntryRow>,
    /// Whether it is `from-support` or lies in it.
    pub(crate) from_support: bool,
    /// The names from the share's root down.
    pub(crate) names: Vec<FileName>,
    /// How the share stood when the last name was looked up; none for the root, and for a share
    /// without a ticket.
    pub(crate) standing: Option<Standing>,
    /// What the login may there; nothing, until somebody says who looks.
    pub(crate) rights: Rights,
    /// Whether something stands there that the login does not see: in a drop box, what others sent.
    pub(crate) taken: bool,
}

impl ResolvedPath {
    /// Walks down to `names`. Where they are aliases, the resolved path has the names themselves.
    pub(crate) async fn find(conn: &mut Conn, context: ShareContext, names: &[FileName]) -> Result<Self, Error> {
        let root = context.root();
        let mut resolved = Self {
            at: None,
            entry: None,
            from_support: names.first().is_some_and(is_from_support),
            names: Vec::with_capacity(names.len()),
            standing: None,
            rights: Rights::NONE,
            taken: false,
            context,
        };
        if names.is_empty() {
            resolved.entry = entries::by_id(conn, root.as_bytes()).await?;
        }
        for name in names {
            let directory = match &resolved.entry {
                _ if resolved.at.is_none() => root,
                Some(entry) if entry.is_directory => DirectoryId::from_bytes(entry.id),
                Some(_) => return Err(Refusal::NotDirectory.into()),
                None => return Err(Refusal::NoSuchFile.into()),
            };
            let (entry, name, index) = resolved.step(conn, directory, name).await?;
            resolved.entry = entry;
            resolved.names.push(name.clone());
            resolved.at = Some((directory, name, index));
        }
        Ok(resolved)
    }

    /// What is meant by `given` in a directory, its own name, and that name's index.
    async fn step(
        &mut self,
        conn: &mut Conn,
        directory: DirectoryId,
        given: &FileName,
    ) -> Result<(Option<EntryRow>, FileName, [u8; 32]), Error> {
        let index = self.context.keys.names.index(directory, given);
        let found = entries::look(conn, self.context.share(), directory, &index).await?;
        match found.directory {
            Some(there) if there.is_directory => {}
            Some(_) => return Err(Refusal::NotDirectory.into()),
            None => return Err(Refusal::NoSuchFile.into()),
        }
        self.standing = found.standing;
        let keys = &self.context.keys;
        // What was shown so leads there whatever customers upload later: a name that itself has the
        // form of an alias with an id in it is always shown otherwise. All other names are first of
        // all what they are.
        let alias_first = self.shows_aliases() && alias::id_in(given).is_some();
        if (alias_first || found.entry.is_none())
            && self.shows_aliases()
            && let Some((row, itself)) = aliases::meant(conn, keys, directory, given).await?
        {
            let index = keys.names.index(directory, &itself);
            return Ok((Some(row), itself, index));
        }
        if let Some(entry) = &found.entry {
            // It stands under this index, and bears the name that belongs there.
            self.context.keys.open_name(conn, entry).await?;
        }
        Ok((found.entry, given.clone(), index))
    }

    /// On whose side of the share it is.
    pub(crate) fn side(&self) -> Side {
        if self.from_support { Side::Support } else { Side::Customer }
    }

    /// What stands there.
    pub(crate) fn existing(&self) -> Result<&EntryRow, Error> {
        self.entry.as_ref().ok_or(Error::Refused(Refusal::NoSuchFile))
    }

    /// The directory that stands there.
    pub(crate) fn directory(&self) -> Result<DirectoryId, Error> {
        match self.existing()? {
            entry if entry.is_directory => Ok(DirectoryId::from_bytes(entry.id)),
            _ => Err(Refusal::NotDirectory.into()),
        }
    }

    /// Directory, name and index; refused for the root and for `from-support` itself, which nobody
    /// may change.
    pub(crate) fn changeable(&self) -> Result<(DirectoryId, &FileName, &[u8; 32]), Error> {
        match &self.at {
            Some((directory, name, index)) if !self.is_fixed() => Ok((*directory, name, index)),
            _ => Err(Refusal::FixedPlace.into()),
        }
    }

    /// The directory that the path's last name lies in, and that name.
    pub(crate) fn place(&self) -> Result<(DirectoryId, FileName), Error> {
        let (directory, name, _) = self.changeable()?;
        Ok((directory, name.clone()))
    }

    /// Whether names below are shown by their aliases: to engineers, but not what engineers have
    /// put there themselves.
    pub(crate) fn shows_aliases(&self) -> bool {
        self.context.aliases && !self.from_support
    }

    fn is_fixed(&self) -> bool {
        match self.names.as_slice() {
            [] => true,
            [only] => is_from_support(only) || is_reserved(only),
            _ => false,
        }
    }
}

/// Walks down to `names`, or to what is shown under them as `aliases`, in a share with the keys
/// that are in force.
pub(crate) async fn find(
    repo: &Repo,
    conn: &mut Conn,
    ticket: &Identifier,
    share: ShareId,
    names: &[FileName],
    aliases: bool,
) -> Result<ResolvedPath, Error> {
    let mut at_hand = repo.keys.at_hand(share);
    for _ in 0..ROUNDS {
        // Which keys are in force is asked behind the names: if these are, they were all the time,
        // as generations only ever go up.
        let keys = match at_hand.take() {
            Some(keys) => keys,
            None => repo.keys.share(share).await?,
        };
        let context = ShareContext { ticket: ticket.clone(), keys: Arc::clone(&keys), aliases };
        let found = ResolvedPath::find(conn, context, names).await;
        let is_in_force = match found.as_ref().ok().and_then(|resolved| resolved.standing) {
            Some(standing) => standing.key_generation == keys.generation,
            None => repo.check_in_force(&keys).await.is_ok(),
        };
        if is_in_force {
            return found;
        }
    }
    Err(Error::KeysReplaced)
}

/// Whether a name at a share's root is kept for places of the server.
pub(crate) fn is_reserved(name: &FileName) -> bool {
    VIRTUAL.iter().any(|word| name.as_bytes().starts_with(word))
}

pub(crate) fn is_from_support(name: &FileName) -> bool {
    name.as_bytes() == FROM_SUPPORT
}

/// The way down to an entry: each name, with the id of the entry that has it.
#[derive(Clone, Default)]
pub(crate) struct Way(Vec<(FileName, [u8; 16])>);

impl Way {
    /// The names from the root of the share down.
    pub(crate) fn path(&self) -> SharePath {
        SharePath::from_names(self.0.iter().map(|(name, _)| name.clone()).collect())
    }

    /// The names with their entries' ids.
    pub(crate) fn steps(&self) -> &[(FileName, [u8; 16])] {
        &self.0
    }

    /// One step further.
    pub(crate) fn join(&self, name: FileName, id: [u8; 16]) -> Self {
        Self([&self.0[..], &[(name, id)]].concat())
    }
}

/// The path of an entry, climbed up from it.
pub(crate) async fn path_of(conn: &mut Conn, keys: &ShareKeys, id: &[u8; 16]) -> Result<SharePath, Error> {
    Ok(way_of(conn, keys, id).await?.path())
}

/// The way down to an entry, climbed up from it.
pub(crate) async fn way_of(conn: &mut Conn, keys: &ShareKeys, id: &[u8; 16]) -> Result<Way, Error> {
    let mut steps = Vec::new();
    let mut next = *id;
    // More names than anybody can look up are a circle in damaged records.
    for _ in 0..=crate::model::path::MAX_LOOKED_UP {
        let Some(entry) = entries::by_id(conn, &next).await? else { break };
        let (Some(parent), Some(_)) = (entry.parent, &entry.name) else {
            // Only a root has neither.
            if entry.id != *DirectoryId::root_of(keys.share).as_bytes() {
                break;
            }
            steps.reverse();
            return Ok(Way(steps));
        };
        steps.push((keys.open_name(conn, &entry).await?, entry.id));
        next = *parent.as_bytes();
    }
    Err(Error::operator(format!("the records hold no path for entry {}", hex::encode(id))))
}
