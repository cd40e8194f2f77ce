//! Delivers notices: tells the assigned engineer what came and exactly where it lies.
//!
//! This room knows neither records nor keys. It asks an [`Outbox`] (which `share` implements) for notices that are due,
//! writes each as a mail in the engineer's language, and hands it to a [`Carrier`]: a mail server or a spool directory.
//! `server` starts the one [`Dispatcher`] and gives its [`Waker`] to `share`, which calls it whenever a notice is queued.
//!
//! A notice is delivered **at least once**: it counts as delivered only when the outbox has recorded it. A repeat (after
//! a crash in between) carries the same `Message-ID` and, in the spool, the same file name, so that it never looks like a
//! second delivery. Text is made here, at the last moment; the outbox itself holds no plain file name.

pub mod carrier;
mod clock;
pub mod dispatcher;
pub mod inert;
pub mod mail;
pub mod outbox;
pub mod smtp;
pub mod spool;
mod text;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod read_back;

pub use carrier::{AnyCarrier, Carrier, DeliveryError, Permission};
pub use dispatcher::{Dispatcher, Settings, Waker};
pub use mail::{Letterhead, LetterheadError, Mail, is_address};
pub use outbox::{
    Attempt, Channel, DueNotice, Earlier, FileLine, Interrupted, News, Outbox, OutboxError, Recipient, TicketLine,
};
pub use smtp::{Login, Smtp, SmtpSettings, Tls};
pub use spool::Spool;
pub use text::FILES_SHOWN;
