//! The states that things can be in. How a version moves from one to the next stands in
//! `docs/lifecycle.md` and is carried out by the services.

use std::fmt;
use std::str::FromStr;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it in records, JSON and messages.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(format!("'{text}' is no {}", $what)),
                }
            }
        }
    };
}
pub(super) use words;

words!(
    /// Whom a notice is for.
    Audience, "audience" {
        /// The ticket's engineers, and who watches with them.
        Engineers = "engineers",
        /// The ticket's customers: who they are is decided when it has settled.
        Customers = "customers",
        /// One contact, who is told what support handed back.
        Contact = "contact",
        /// One watcher, who is told what support handed back.
        Watcher = "watcher",
        /// The contact who sent what it has the receipts of.
        Sender = "sender",
    }
);

words!(
    /// Where a version stands.
    VersionState, "state of a version" {
        /// Bytes are arriving, or an upload was cut and can be continued.
        Receiving = "receiving",
        /// Whole, hashed, sealed and announced.
        Available = "available",
        /// Closed by its uploader although bytes in the middle never came; can be completed.
        Incomplete = "incomplete",
        /// Deleted by the customer; an engineer can restore it until its grace ends.
        Withdrawn = "withdrawn",
        /// Its key is gone: nobody can read it again.
        Shredded = "shredded",
        /// What is stored is not what was sealed. Never served.
        Damaged = "damaged",
    }
);

impl VersionState {
    /// Whether an upload can still go on with it.
    pub const fn is_unfinished(self) -> bool {
        matches!(self, Self::Receiving | Self::Incomplete)
    }
}

words!(
    /// Where an object lies. A version's manifest lies with its extents: in the records only if all
    /// of them do.
    ObjectPlace, "place of an object" {
        /// In the store.
        Store = "store",
        /// In the records' own table of small objects.
        Records = "records",
    }
);

words!(
    /// Whether a ticket takes uploads.
    TicketStatus, "ticket status" {
        /// Work goes on.
        Open = "open",
        /// The support house waits for the customer, whose next upload opens it again.
        Waiting = "waiting",
        /// Over: the share can be read, not written.
        Closed = "closed",
    }
);

words!(
    /// What a token of a ticket allows.
    TokenKind, "kind of token" {
        /// All that a ticket's customer may do.
        Plain = "plain",
        /// Only to send.
        UploadOnly = "upload-only",
        /// The same, typed on a network device: also by the listener for old devices.
        Device = "device",
    }
);

words!(
    /// What an engineer is to the house.
    Role, "role of an engineer" {
        /// Works on the tickets that are assigned to him or her.
        Engineer = "engineer",
        /// Sees all tickets.
        Lead = "lead",
        /// Reads all, and changes nothing.
        Auditor = "auditor",
    }
);

words!(
    /// Where a notice stands.
    NoticeState, "notice state" {
        /// Gathering the uploads of one settling time.
        Settling = "settling",
        /// To be delivered, or to be tried again.
        Pending = "pending",
        /// Handed to the mail server, or written to the spool.
        Delivered = "delivered",
        /// Given up: too many hours of failures, or refused for ever. `tacdrop doctor` shows it.
        Failed = "failed",
        /// Handed over several times, and the mail server never said whether it took it: perhaps
        /// delivered.
        Unknown = "unknown",
        /// An operator decided that it need not be delivered.
        Dismissed = "dismissed",
    }
);

/// A ticket's priority: 1 (critical) to 4 (low).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Priority(u8);

impl Priority {
    /// What a ticket has unless somebody says otherwise.
    pub const MEDIUM: Self = Self(3);

    /// The number, 1 to 4.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl TryFrom<i64> for Priority {
    type Error = &'static str;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        match u8::try_from(number) {
            Ok(n @ 1..=4) => Ok(Self(n)),
            _ => Err("a priority is 1, 2, 3 or 4"),
        }
    }
}

impl FromStr for Priority {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<i64>().map_err(|_| "a priority is 1, 2, 3 or 4")?.try_into()
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
