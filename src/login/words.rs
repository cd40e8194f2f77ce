//! What a login reads: where it is when it comes in, and why something was refused.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use super::{Login, LoginState, Who};
use crate::model::{Identifier, Language, Refusal, TicketStatus, Time};
use crate::records::tickets::Ticket;
use crate::repo::checklist::Item;

/// In the place of a moment: its ticket is open, or nothing of it is removed.
pub(super) const NEVER: i64 = i64::MAX;

impl Login {
    /// Why something was refused, in the login's language. Of a closed ticket it says until when it can
    /// be read, to whoever logged in with its token: a contact may be in several tickets at once.
    pub fn sentence(&self, refusal: Refusal) -> Cow<'static, str> {
        let (sentence, until) = (refusal.sentence(self.0.language), self.0.kept_until.load(Ordering::Relaxed));
        if refusal != Refusal::TicketClosed || until == NEVER {
            return sentence.into();
        }
        format!("{sentence} {}", can_be_read_until(Time::from_millis(until), self.0.language)).into()
    }
}

impl LoginState {
    /// Takes note of how the ticket stands that it is the login of.
    pub(super) fn note_end(&self, ticket: &Ticket) {
        if matches!(self.who, Who::Ticket { .. }) && self.user == ticket.reference {
            let policy = self.policy.as_ref().filter(|_| ticket.status == TicketStatus::Closed);
            let end = policy.and_then(|policy| policy.end_of(ticket)?.1);
            self.kept_until.store(end.map_or(NEVER, Time::millis), Ordering::Relaxed);
        }
    }
}

fn can_be_read_until(until: Time, language: Language) -> String {
    let until = until.to_the_minute();
    match language {
        Language::En => format!("Its files can be read until {until}; then they are removed."),
        Language::De => format!("Die Dateien können bis {until} gelesen werden; danach werden sie entfernt."),
    }
}

/// What a customer reads after the login. Nothing that somebody typed but what the policy says: scripts around clients (`sos
/// report --upload`) look for words like "Permission denied" in all that a client prints before its
/// prompt.
pub(super) fn greeting(
    ticket: &Ticket,
    until: Option<Time>,
    missing: &[&Item],
    merged: Option<&Identifier>,
    language: Language,
) -> String {
    let mut line = format!("Ticket {}", ticket.reference);
    if ticket.status != TicketStatus::Closed && !missing.is_empty() {
        let missing: Vec<_> = missing.iter().map(|item| item.text(language)).collect();
        let what = match language {
            Language::En => "Still missing",
            Language::De => "Es fehlt noch",
        };
        line = format!("{line}. {what}: {}.", missing.join("; "));
    }
    if ticket.status == TicketStatus::Closed {
        line = format!("{line}. {}", Refusal::TicketClosed.sentence(language));
        if let Some(into) = merged {
            line += &match language {
                Language::En => format!(" Its files are in ticket {into} now."),
                Language::De => format!(" Die Dateien sind jetzt in Ticket {into}."),
            };
        } else if let Some(until) = until {
            line = line + " " + &can_be_read_until(until, language);
        }
    }
    line
}
