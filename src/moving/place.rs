//! The place that a file is moved to: the directories above it are made as they are needed.

use crate::audit::{self, Actor, Kind, Subject};
use crate::model::{DirectoryId, FileName, SharePath, Time};
use crate::namespace::tree::{DIRECTORY_MODE, is_reserved};
use crate::records::Conn;
use crate::records::entries::{self, NewEntry};
use crate::records::tickets::Ticket;
use crate::repo::keys::ShareKeys;
use crate::repo::tickets::check_room_for_name;
use crate::repo::{Error, Repo};
use crate::vault;

/// A free place in a share.
pub(super) struct Place {
    /// The last directory on the way that is there.
    directory: DirectoryId,
    /// The directories below it that are not.
    missing: Vec<FileName>,
    /// The name of the file.
    name: FileName,
}

impl Place {
    /// Looks for a place.
    ///
    /// # Errors
    /// A sentence if something stands there already, or on the way; or if the records fail.
    pub(super) async fn find(conn: &mut Conn, keys: &ShareKeys, path: &SharePath) -> Result<Self, Error> {
        Self::look(conn, keys, path).await?.ok_or_else(|| taken(path))
    }

    /// Whether something stands there already, or on the way.
    pub(super) async fn is_taken(conn: &mut Conn, keys: &ShareKeys, path: &SharePath) -> Result<bool, Error> {
        Ok(Self::look(conn, keys, path).await?.is_none())
    }

    async fn look(conn: &mut Conn, keys: &ShareKeys, path: &SharePath) -> Result<Option<Self>, Error> {
        let names = path.names();
        let (Some((name, above)), Some(first)) = (names.split_last(), names.first()) else {
            return Err(Error::operator("a file needs a name"));
        };
        if is_reserved(first) {
            return Err(Error::operator("names that begin with .versions or .receipts are the server's own"));
        }
        let mut directory = DirectoryId::root_of(keys.share);
        for (depth, step) in above.iter().enumerate() {
            let index = keys.names.index(directory, step);
            match entries::by_name(conn, directory, &index).await? {
                Some(row) if row.is_directory => directory = DirectoryId::from_bytes(row.id),
                Some(_) => return Ok(None),
                None => {
                    let missing = above.get(depth..).unwrap_or_default().to_vec();
                    return Ok(Some(Self { directory, missing, name: name.clone() }));
                }
            }
        }
        let index = keys.names.index(directory, name);
        if entries::by_name(conn, directory, &index).await?.is_some() {
            return Ok(None);
        }
        Ok(Some(Self { directory, missing: Vec::new(), name: name.clone() }))
    }

    pub(super) fn name(&self) -> &FileName {
        &self.name
    }

    /// Makes the directories that are missing, and gives the one for the file.
    pub(super) async fn make(
        &self,
        conn: &mut Conn,
        repo: &Repo,
        keys: &ShareKeys,
        ticket: &Ticket,
    ) -> Result<DirectoryId, Error> {
        let mut at = self.directory;
        for name in &self.missing {
            check_room_for_name(conn, &ticket.reference, &repo.settings).await?;
            let id = vault::random::array()?;
            let place = keys.place(id, at, name)?;
            let new = NewEntry {
                id,
                share: keys.share,
                place: Some(&place),
                is_directory: true,
                mode: DIRECTORY_MODE,
                modified_at: Time::now(),
                predecessor: None,
            };
            entries::add(conn, &new).await?;
            let subject = Subject { actor: &Actor::Operator, ticket: Some(&ticket.reference), id: Some(id) };
            audit::write(conn, Kind::DirectoryMade, subject, &serde_json::json!({})).await?;
            at = DirectoryId::from_bytes(id);
        }
        Ok(at)
    }
}

fn taken(path: &SharePath) -> Error {
    Error::operator(format!(
        "{path} is taken in the other ticket, or what stands on the way to it is a file; nothing was moved. Choose another \
         place with --as PATH"
    ))
}
