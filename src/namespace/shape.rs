//! The shape of a share's tree: what may be moved where, and how deep and long a path in a share
//! may become.
//!
//! All of it is decided by ids in the transaction that changes the tree. What was found before that
//! transaction began may have been moved by another session, and two spellings of a name are one.

use crate::model::name::MAX_NAME;
use crate::model::path::{MAX_DEPTH, MAX_LOOKED_UP, MAX_PATH};
use crate::model::{DirectoryId, FileName, Refusal};
use crate::namespace::tree::ShareContext;
use crate::records::consistency::shape::{self, Extent};
use crate::records::entries::EntryRow;
use crate::records::{Conn, entries};
use crate::repo::Error;
use crate::vault::key::NAME_OVERHEAD;

/// The way from a share's root to one of its directories, as the records have it now.
pub(crate) struct Way {
    /// The directories on it from the directory up, without the root.
    passed: Vec<[u8; 16]>,
    /// Names on it, and their bytes with the `/` before each.
    extent: Extent,
}

impl Way {
    /// Climbs from a directory to the root of its share. Every directory on the way must be in
    /// sight.
    ///
    /// # Errors
    /// [`Refusal::NoSuchFile`] if the root is not reached.
    pub(crate) async fn up_from(
        conn: &mut Conn,
        context: &ShareContext,
        directory: DirectoryId,
    ) -> Result<Self, Error> {
        let mut way = Self { passed: Vec::new(), extent: Extent::default() };
        let mut next = directory;
        // More is a circle in damaged records.
        for _ in 0..=MAX_LOOKED_UP {
            let row = entries::by_id(conn, next.as_bytes()).await?;
            let Some(row) = row.filter(|row| row.is_directory && row.in_sight && row.share == context.share()) else {
                break;
            };
            let (Some(parent), Some(name)) = (row.parent, &row.name) else { return Ok(way) };
            way.passed.push(row.id);
            way.extent.depth += 1;
            way.extent.length += bytes_of(name.len().saturating_sub(NAME_OVERHEAD));
            next = parent;
        }
        Err(Refusal::NoSuchFile.into())
    }

    /// Whether one more name fits at the end of this way.
    ///
    /// # Errors
    /// [`Refusal::PathTooLong`].
    pub(crate) fn check_room(&self, name: &FileName) -> Result<(), Refusal> {
        check_name(name)?;
        check_bounds(self.with(name, Extent::default()))
    }

    /// Whether `moved` may stand at the end of this way as `name`, with all that lies below it.
    /// What goes neither deeper nor gets longer may always move: shares from before these bounds
    /// were kept can hold what is beyond them.
    ///
    /// # Errors
    /// [`Refusal::IntoItself`] if `moved` lies on the way, [`Refusal::PathTooLong`] if it or
    /// something below it would be too deep or too long.
    pub(crate) async fn check_move(
        &self,
        conn: &mut Conn,
        context: &ShareContext,
        moved: &EntryRow,
        name: &FileName,
    ) -> Result<(), Error> {
        if self.passed.contains(&moved.id) {
            return Err(Refusal::IntoItself.into());
        }
        check_name(name)?;
        let after = self.with(name, Extent::default());
        if let (Some(parent), Some(old_name)) = (moved.parent, &moved.name) {
            let before = Self::up_from(conn, context, parent).await?.extent;
            let old_length = before.length + bytes_of(old_name.len().saturating_sub(NAME_OVERHEAD));
            if after.depth <= before.depth + 1 && after.length <= old_length {
                return Ok(());
            }
        }
        let below = if moved.is_directory {
            shape::below(conn, DirectoryId::from_bytes(moved.id), NAME_OVERHEAD, MAX_DEPTH).await?
        } else {
            Extent::default()
        };
        Ok(check_bounds(self.with(name, below))?)
    }

    /// How far it goes with a name at its end and something below that.
    fn with(&self, name: &FileName, below: Extent) -> Extent {
        Extent {
            depth: self.extent.depth + 1 + below.depth,
            length: self.extent.length + bytes_of(name.as_bytes().len()) + below.length,
        }
    }
}

/// What a name of so many bytes adds to a path.
fn bytes_of(name: usize) -> u64 {
    name as u64 + 1
}

/// Whether a name is one that something in a share can have. Names that are looked up may be
/// longer.
///
/// # Errors
/// [`Refusal::PathTooLong`].
pub(crate) fn check_name(name: &FileName) -> Result<(), Refusal> {
    if name.as_bytes().len() > MAX_NAME { Err(Refusal::PathTooLong) } else { Ok(()) }
}

fn check_bounds(extent: Extent) -> Result<(), Refusal> {
    // The first `/` is not counted: clients may leave it out.
    if extent.depth > MAX_DEPTH as u64 || extent.length > MAX_PATH as u64 + 1 {
        Err(Refusal::PathTooLong)
    } else {
        Ok(())
    }
}

/// Whether a new name may stand at these names from the root of a share down.
///
/// # Errors
/// [`Refusal::PathTooLong`].
pub(crate) fn check_new(names: &[FileName]) -> Result<(), Refusal> {
    names.iter().try_for_each(check_name)?;
    let length = names.iter().map(|name| bytes_of(name.as_bytes().len())).sum();
    check_bounds(Extent { depth: names.len() as u64, length })
}
