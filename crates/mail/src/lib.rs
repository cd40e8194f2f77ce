//! Mails: a notice as a text in the engineer's language, and the ways on which it goes: a mail
//! server or a spool directory.
//!
//! This room knows neither records nor keys, nor when something is due: `notices` has the queue and
//! the loop that delivers. A repeat carries the same `Message-ID` and, in the spool, the same file
//! name, so that it never looks like a second delivery. Text is made here, at the last moment.
#![forbid(unsafe_code)]

pub mod mailer;
pub mod message;
pub mod notice;
pub mod smtp;
pub mod spool;
mod text;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod read_back;

pub use mailer::{AnyMailer, DeliveryError, Mailer, Permission};
pub use message::{Mail, Sender, SenderError, is_address};
pub use notice::{Channel, DueNotice, Earlier, FileLine, News, Recipient, TicketLine};
pub use smtp::{Login, Smtp, SmtpSettings, Tls};
pub use spool::Spool;
pub use text::FILES_SHOWN;
