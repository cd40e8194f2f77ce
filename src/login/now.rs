//! Who is logged in at this moment.

use super::{Logins, Who};
use crate::model::{Door, Identifier, Time, Transport};

/// A login that is open.
pub(crate) struct OpenLogin {
    /// Names it in the audit trail.
    pub(crate) id: [u8; 16],
    pub(crate) name: Identifier,
    /// What it is: `ticket`, `upload-only`, `contact`, or the role of an engineer.
    pub(crate) role: &'static str,
    /// Its own ticket, or those in which it has something open.
    pub(crate) tickets: Vec<Identifier>,
    pub(crate) address: String,
    pub(crate) since: Time,
    /// The listener that it came by.
    pub(crate) transport: Transport,
    /// The door that it came by.
    pub(crate) door: Door,
}

impl Logins {
    /// The logins that are open, the oldest first.
    pub(crate) fn now(&self) -> Vec<OpenLogin> {
        let now = Time::now();
        let open = self.all_open().into_iter().map(|login| {
            let (role, tickets) = match &login.who {
                Who::Ticket { upload_only: false, .. } => ("ticket", vec![login.user.clone()]),
                Who::Ticket { upload_only: true, .. } => ("upload-only", vec![login.user.clone()]),
                Who::Contact { .. } => ("contact", login.grants.tickets()),
                Who::Engineer { .. } => (login.office().as_str(), login.grants.tickets()),
            };
            OpenLogin {
                id: login.id,
                name: login.user.clone(),
                role,
                tickets,
                address: login.from.to_string(),
                since: now.minus(login.since.elapsed()),
                transport: login.transport,
                door: login.door,
            }
        });
        let mut open: Vec<OpenLogin> = open.collect();
        open.sort_by_key(|login| (login.since, login.id));
        open
    }
}
