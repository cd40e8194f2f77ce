//! A notice with all that its text needs.

use std::fmt;
use std::str::FromStr;

use tacdrop_model::{
    Algorithm, Audience, Identifier, Language, NoticeId, Priority, Reference, SharePath, Time, Transport, Verdict,
    missing_percent,
};

/// What was tried for a notice so far.
#[derive(Debug, Clone, Copy)]
pub struct Earlier {
    /// How many tries have failed.
    pub attempts: u32,
    /// How many of these were handed over and not answered.
    pub lost_answers: u32,
    /// When the first of its files was worth a notice; its age counts from here.
    pub created_at: Time,
}

/// A way to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// A mail server took it.
    Mail,
    /// An `.eml` file in the spool directory.
    Spool,
}

impl Channel {
    /// The word for it in records and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Spool => "spool",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Channel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mail" => Ok(Self::Mail),
            "spool" => Ok(Self::Spool),
            _ => Err("a channel is 'mail' or 'spool'"),
        }
    }
}

/// A notice with all that its text needs. It holds file names: it has no `Debug` and is never
/// logged.
#[derive(Clone)]
pub struct DueNotice {
    /// The notice; its `Message-ID` and its file name in the spool come from it.
    pub id: NoticeId,
    /// Whom it is for: what it says and how depends on that.
    pub audience: Audience,
    /// How many tries have failed so far.
    pub attempts: u32,
    /// How many of these were handed over and not answered.
    pub lost_answers: u32,
    /// When the first of its files was worth a notice; its age counts from here.
    pub created_at: Time,
    /// The first notice of the same ticket to the same recipient, so that all of them make one
    /// thread; `None` (or this notice itself): this one begins the thread.
    pub first_of_ticket: Option<NoticeId>,
    /// To whom.
    pub recipient: Recipient,
    /// About which ticket.
    pub ticket: TicketLine,
    /// The files, oldest first. Those behind the first [`crate::FILES_SHOWN`] are only counted, so
    /// they need not be here.
    pub files: Vec<FileLine>,
    /// How many further files that came are not in `files`.
    pub more_files: u64,
    /// How many further files that are not whole are not in `files`.
    pub more_unfinished: u64,
    /// How many further files that were deleted are not in `files`.
    pub more_deleted: u64,
    /// The artifacts whose names or places cannot be read, by id.
    pub unreadable: Vec<String>,
    /// What the ticket still needs by its checklist, in the reader's language.
    pub missing: Vec<String>,
}

impl DueNotice {
    /// What was tried for it so far.
    pub const fn earlier(&self) -> Earlier {
        Earlier { attempts: self.attempts, lost_answers: self.lost_answers, created_at: self.created_at }
    }
}

/// Who gets a notice.
#[derive(Clone)]
pub struct Recipient {
    /// The person's name, or the id where there is none.
    pub name: String,
    /// The mail address, `local@domain`.
    pub address: String,
    /// The language that the person reads.
    pub language: Language,
    /// The name of the person whom the notice was for, and who is away.
    pub instead_of: Option<String>,
}

/// A ticket, as a notice shows it.
#[derive(Clone)]
pub struct TicketLine {
    /// Its reference, shown as the ticket system writes it.
    pub reference: Reference,
    /// Its title, as the operator typed it.
    pub title: Option<String>,
    /// Its priority.
    pub priority: Priority,
    /// The organisation's name, as the operator typed it.
    pub organisation: String,
}

/// A file, as a notice shows it.
#[derive(Clone)]
pub struct FileLine {
    /// Where it lies in the share.
    pub path: SharePath,
    /// The version that the notice speaks of, from 1 on.
    pub version: u32,
    /// Login name of who sends it.
    pub uploaded_by: String,
    /// What there is to say.
    pub news: News,
}

/// What a notice says of a file.
#[derive(Clone)]
pub enum News {
    /// It came, whole.
    Arrived(Box<Arrival>),
    /// It was closed with bytes missing, and is unfinished still.
    Incomplete(Unfinished),
    /// It is unfinished and will be removed.
    Expiring {
        /// How unfinished it is.
        unfinished: Unfinished,
        /// About when.
        removed_at: Time,
    },
    /// It came, somebody was told so, and its sender deleted it since.
    Deleted,
}

/// A version that became available.
#[derive(Clone)]
pub struct Arrival {
    /// Bytes.
    pub size: u64,
    /// Those of them that were never sent, and are zeros.
    pub zeros: u64,
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
    /// When it became available.
    pub received_at: Time,
    /// Exactly where it is opened: `sftp://HOST:PORT/REF/PATH`, percent-encoded, on one line.
    pub location: String,
    /// The one-line command that fetches it; none for who has no login.
    pub fetch: Option<String>,
    /// The server's signed receipt of it, for customers.
    pub receipt: Option<String>,
    /// The ticket that it came to and was moved from, if it was.
    pub moved_from: Option<Identifier>,
    /// The version whose place it took.
    pub before: Option<Before>,
    /// The version that has taken its place since.
    pub replaced_by: Option<u32>,
    /// What has become of it since.
    pub standing: Standing,
    /// What comparing with the sender's digests showed.
    pub checks: Vec<Check>,
    /// The weakest transport that anything of it came by.
    pub transport: Transport,
}

/// The version that was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// Its number.
    pub version: u32,
    /// Its bytes.
    pub size: u64,
    /// Whether the new one begins with all of its bytes: it was shorter, and its sender went on.
    pub continued: bool,
}

/// What has become of a version between its arrival and its notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can be fetched.
    Available,
    /// Its sender deleted it.
    Withdrawn,
    /// What is stored is not what was received.
    Damaged,
}

/// What comparing with a sender's digest showed.
#[derive(Clone)]
pub struct Check {
    /// The digest's algorithm.
    pub algorithm: Algorithm,
    /// What it showed.
    pub verdict: Verdict,
    /// The file that was compared, where it is not the one of this line: then this line's file
    /// states the digest.
    pub of: Option<String>,
}

/// How much of a file is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// Bytes that came.
    pub there: u64,
    /// Per cent that is missing, 1 to 100; `None`: the end is missing, and where it lies is not
    /// known.
    pub missing: Option<u8>,
}

impl Unfinished {
    /// Of `length` bytes `there` came.
    pub fn new(there: u64, length: u64) -> Self {
        Self { there, missing: missing_percent(there, length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_survives_its_text() {
        for channel in [Channel::Mail, Channel::Spool] {
            assert_eq!(channel.as_str().parse(), Ok(channel));
            assert_eq!(serde_json::to_string(&channel).unwrap(), format!("\"{channel}\""));
        }
        assert!("fax".parse::<Channel>().is_err());
    }
}
