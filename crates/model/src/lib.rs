//! The words of the house as types, and their rules. No I/O, no async, no SQL.
//!
//! Every room may use this one; it uses none. What a customer or an operator typed becomes one of
//! these types at the edge of the program, or is refused there.
#![forbid(unsafe_code)]

pub mod alias;
pub mod audit;
pub mod deletion;
pub mod id;
pub mod language;
pub mod locked;
pub mod missing;
pub mod name;
pub mod network;
pub mod path;
pub mod pattern;
pub mod reference;
pub mod refusal;
pub mod rights;
pub mod sanitize;
pub mod sidecar;
pub mod state;
pub mod temporary;
#[cfg(feature = "test-clock")]
pub mod test_clock;
pub mod time;
pub mod transport;
pub mod word;

pub use deletion::{DeletionReason, Side};
pub use id::{ArtifactId, DirectoryId, HouseId, NoticeId, ObjectId, ShareId, TokenId, VersionId};
pub use language::Language;
pub use locked::{Level, Locked, LockedGuard};
pub use missing::missing_percent;
pub use name::{FileName, NameError};
pub use network::{LastDay, Network};
pub use path::SharePath;
pub use reference::{Reference, ReferenceError};
pub use refusal::{Kind, Refusal};
pub use sidecar::{Algorithm, Verdict};
pub use state::{Audience, NoticeState, ObjectPlace, Priority, Role, TicketStatus, TokenKind, VersionState};
pub use temporary::TemporaryNames;
pub use time::{HouseTime, Time};
pub use transport::{Door, Transport};
pub use word::{Identifier, IdentifierError};
